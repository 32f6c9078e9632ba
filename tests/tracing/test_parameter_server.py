"""Spans of a shard's requests, and the ids in its logs and answers, over real sockets."""

from __future__ import annotations

import json
import re

import grpc
import numpy as np
import pytest
from tests.processes import until
from tests.server.support import f32, i64, sgd

from rowbank.errors import TableNotFound, from_rpc_error
from rowbank_protos.v1 import rows_pb2, rows_pb2_grpc, tables_pb2, tables_pb2_grpc

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"
SERVER = 2  # The kind of span, as OTLP numbers them.
STAGES = {
    "pull": ["queue", "pull.decode", "pull.encode", "pull.look_up"],
    "push": ["queue", "push.decode", "commit.apply", "commit.append_wait"],
}


def create(channel, table, dim=2):
    spec = tables_pb2.TableSpec(name=table, dim=dim, optimizer=sgd(1.0))
    tables_pb2_grpc.TableServiceStub(channel).CreateTable(tables_pb2.CreateTableRequest(spec=spec))


def pull_of(table, *keys):
    return rows_pb2.PullRequest(tables=[rows_pb2.TableKeys(table=table, keys=i64(*keys))])


def push_of(table, *keys):
    part = rows_pb2.TableGradients(table=table, keys=i64(*keys), gradients=f32(np.ones((len(keys), 2))))
    return rows_pb2.PushRequest(tables=[part])


def trailers(call):
    return dict(call.trailing_metadata())


def test_a_pull_and_a_push_with_their_stages(collector, start_ps):
    ps = start_ps(environment=collector.environment)
    with grpc.insecure_channel(ps.target) as channel:
        create(channel, "t")
        rows = rows_pb2_grpc.RowServiceStub(channel)
        headers = (("traceparent", SAMPLED), ("x-request-id", "check-out/17"))
        _, pushed = rows.Push.with_call(push_of("t", 5, 6, 7), metadata=headers)
        _, pulled = rows.Pull.with_call(pull_of("t", 5, 777000777), metadata=headers)
    assert trailers(pushed)["x-request-id"] == trailers(pulled)["x-request-id"] == "check-out/17"
    for method, keys in (("push", 3), ("pull", 2)):
        span = collector.one(f"rowbank.v1.RowService/{method.title()}", TRACE)
        assert (span.parent, span.kind, span.service, span.failed) == (PARENT, SERVER, "rowbank-ps", False)
        facts = span.attributes
        assert (facts["rowbank.tables"], facts["rowbank.keys"]) == (["t"], keys)
        assert (facts["rpc.system"], facts["rpc.grpc.status_code"]) == ("grpc", 0)
        assert facts["rowbank.request_id"] == "check-out/17"
        mine = sorted((one for one in collector.spans if one.parent == span.id), key=lambda one: one.start_ns)
        assert [one.name for one in mine] == STAGES[method]
        assert all(span.start_ns <= one.start_ns <= one.end_ns <= span.end_ns for one in mine)
    assert b"777000777" not in collector.raw
    assert np.int64(777000777).tobytes() not in collector.raw


def test_a_stream_is_one_span_and_leaves_nothing_behind(collector, start_ps):
    ps = start_ps("--log-format", "json", "--log-level", "debug", environment=collector.environment)
    with grpc.insecure_channel(ps.target) as channel:
        create(channel, "t")
        rows = rows_pb2_grpc.RowServiceStub(channel)
        rows.Push(push_of("t", *range(50)))
        headers = (("traceparent", SAMPLED), ("x-request-id", "of-a-stream"))
        chunks = list(rows.Export(rows_pb2.ExportRequest(table="t", chunk_rows=1), metadata=headers))
        assert sum(len(chunk.keys) for chunk in chunks) == 50 * 8
        given_up = rows.Export(rows_pb2.ExportRequest(table="t", chunk_rows=1), metadata=(("x-request-id", "left"),))
        next(given_up)
        given_up.cancel()
        for _ in range(40):  # As many as there are threads, and more.
            rows.Pull(pull_of("t", 1))
    span = collector.one("rowbank.v1.RowService/Export", TRACE)
    assert (span.parent, span.failed, span.attributes["rpc.grpc.status_code"]) == (PARENT, False, 0)
    assert ps.terminate() == 0
    pulls = [json.loads(line) for line in ps.log.splitlines() if "RowService/Pull" in line]
    assert len({line["request_id"] for line in pulls}) == 40
    assert "Failed to detach" not in ps.log


def test_a_refusal_says_which_and_not_what(collector, start_ps):
    ps = start_ps(environment=collector.environment)
    with grpc.insecure_channel(ps.target) as channel:
        with pytest.raises(grpc.RpcError) as raised:
            rows_pb2_grpc.RowServiceStub(channel).Pull(pull_of("absent", 1), metadata=(("traceparent", SAMPLED),))
    error = from_rpc_error(raised.value)
    assert isinstance(error, TableNotFound)
    assert re.fullmatch("[0-9a-f]{32}", error.request_id)
    span = collector.one("rowbank.v1.RowService/Pull", TRACE)
    assert (span.attributes["error.type"], span.attributes["rpc.grpc.status_code"]) == ("TABLE_NOT_FOUND", 5)
    assert not span.failed  # It is the caller's fault, and nobody's to look at.
    assert span.events == 0  # An exception's text may have ids of rows.
    assert span.attributes["rowbank.request_id"] == error.request_id


def test_head_sampling_is_the_callers(collector, start_ps):
    ps = start_ps(environment=collector.environment)
    with grpc.insecure_channel(ps.target) as channel:
        create(channel, "t")
        rows = rows_pb2_grpc.RowServiceStub(channel)
        rows.Pull(pull_of("t", 1), metadata=(("traceparent", UNSAMPLED),))
        rows.Pull(pull_of("t", 1), metadata=(("traceparent", SAMPLED.replace(TRACE, "a" * 32)),))
    collector.one("rowbank.v1.RowService/Pull", "a" * 32)
    assert not [one for one in collector.spans if one.trace == TRACE]


def test_a_trace_of_ones_own_sampler(collector, start_ps):
    """OpenTelemetry's own variables count: here, nothing is begun that no caller began."""
    ps = start_ps(environment={**collector.environment, "OTEL_TRACES_SAMPLER": "parentbased_always_off"})
    with grpc.insecure_channel(ps.target) as channel:
        create(channel, "t")
        rows_pb2_grpc.RowServiceStub(channel).Pull(pull_of("t", 1), metadata=(("traceparent", SAMPLED),))
    collector.one("rowbank.v1.RowService/Pull", TRACE)
    assert {one.trace for one in collector.spans} == {TRACE}


def test_a_collector_that_stands_still_holds_nobody_up(collector, start_ps):
    """The queue of spans is full and stays so; requests go on, the memory does not grow, and the end comes soon."""
    collector.hold.set()
    small = {"OTEL_BSP_MAX_QUEUE_SIZE": "64", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "32"}
    ps = start_ps(environment={**collector.environment, **small})
    with grpc.insecure_channel(ps.target) as channel:
        create(channel, "t")
        rows = rows_pb2_grpc.RowServiceStub(channel)
        until(lambda: rows.Pull(pull_of("t", 1)) and collector.requests > 0, what="a first export")
        before = resident_bytes(ps.pid)
        for _ in range(2000):
            rows.Pull(pull_of("t", *range(8)), timeout=20)
        assert resident_bytes(ps.pid) - before < 16 << 20
    assert ps.terminate(timeout_s=20) == 0
    assert "spans were left unsent" in ps.log


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_logs_have_the_ids_of_the_request(start_ps):
    """Also where nothing records spans."""
    ps = start_ps("--log-format", "json", "--log-level", "debug")
    with grpc.insecure_channel(ps.target) as channel:
        headers = (("traceparent", SAMPLED), ("x-request-id", "of-a-log"))
        spec = tables_pb2.TableSpec(name="logged", dim=2, optimizer=sgd(1.0))
        request = tables_pb2.CreateTableRequest(spec=spec)
        tables_pb2_grpc.TableServiceStub(channel).CreateTable(request, metadata=headers)
    until(lambda: "of-a-log" in ps.log, what="the request in the log")
    lines = [json.loads(line) for line in ps.log.splitlines() if line.startswith("{")]
    logged = [line for line in lines if line.get("request_id") == "of-a-log"]
    assert "TableService/CreateTable: OK in " in logged[-1]["message"]
    assert {line["trace_id"] for line in logged} == {TRACE}
    assert [line for line in lines if "request_id" not in line]


@pytest.mark.parametrize("given", ["", "with space", "x" * 129, "line%0d%0a", 'quote"', "[brackets]"])
def test_an_unsound_request_id_is_replaced(given, target):
    with grpc.insecure_channel(target) as channel:
        with pytest.raises(grpc.RpcError) as raised:
            rows_pb2_grpc.RowServiceStub(channel).Pull(pull_of("absent", 1), metadata=(("x-request-id", given),))
    assert re.fullmatch("[0-9a-f]{32}", from_rpc_error(raised.value).request_id)
