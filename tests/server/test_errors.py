"""What handlers raise, as callers see it."""

from __future__ import annotations

import concurrent.futures

import grpc
import pytest
from prometheus_client import CollectorRegistry
from tests.server.support import refused

from rowbank.errors import InternalError, TableNotFound, from_rpc_error
from rowbank_protos.v1 import rows_pb2, rows_pb2_grpc
from rowbank_server.ps.services.errors import ErrorInterceptor
from rowbank_server.ps.services.metrics import RequestMetrics


class Failing(rows_pb2_grpc.RowServiceServicer):
    """Fails as told by the table's name."""

    def Size(self, request, context):  # noqa: N802
        if request.table == "missing":
            raise TableNotFound("there is none", metadata={"table": "missing"})
        if len(request.table) > 1000:
            raise TableNotFound(f"there is no {request.table}, sorry", metadata={"table": request.table})
        raise ZeroDivisionError("a secret of the implementation")

    def Export(self, request, context):  # noqa: N802
        yield rows_pb2.ExportResponse(slot_width=1)
        self.Size(request, context)


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def rows(registry):
    interceptors = [ErrorInterceptor(RequestMetrics(registry))]
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2), interceptors=interceptors)
    rows_pb2_grpc.add_RowServiceServicer_to_server(Failing(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield rows_pb2_grpc.RowServiceStub(channel)
    server.stop(0).wait()


def test_errors_of_ours_travel_with_reason_and_metadata(rows, registry):
    with pytest.raises(grpc.RpcError) as caught:
        rows.Size(rows_pb2.SizeRequest(table="missing"))
    error = from_rpc_error(caught.value)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert type(error) is TableNotFound
    assert (error.message, error.metadata) == ("there is none", {"table": "missing"})
    assert registry.get_sample_value("rowbank_requests_total", {"method": "Size", "code": "NOT_FOUND"}) == 1
    assert registry.get_sample_value("rowbank_request_seconds_count", {"method": "Size"}) == 1


@pytest.mark.parametrize("letter", ["a", "\u20ac", "\n"])
def test_a_text_that_is_too_long_for_a_status_loses_its_middle(rows, letter):
    with pytest.raises(grpc.RpcError) as caught:
        rows.Size(rows_pb2.SizeRequest(table=letter * 100_000))
    error = from_rpc_error(caught.value)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert type(error) is TableNotFound
    assert error.message.startswith("there is no ")
    assert error.message.endswith(f"{letter}, sorry")
    assert len(error.metadata["table"].encode()) < 600


def test_a_defect_is_internal_and_its_trace_stays_in_the_log(rows, registry, caplog):
    with refused(InternalError, "Size failed on the server", "ZeroDivisionError", "log") as _:
        rows.Size(rows_pb2.SizeRequest())
    assert "a secret of the implementation" in caplog.text
    assert registry.get_sample_value("rowbank_requests_total", {"method": "Size", "code": "INTERNAL"}) == 1


def test_a_stream_may_fail_after_it_began(rows):
    received = []
    with refused(TableNotFound, "there is none"):
        for answer in rows.Export(rows_pb2.ExportRequest(table="missing")):
            received.append(answer.slot_width)
    assert received == [1]
