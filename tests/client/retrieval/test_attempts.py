"""When a call is made again, and where: services that are away, mute, starting, overloaded or of another kind."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest
from tests.client.retrieval.conftest import free_port
from tests.processes import until

from rowbank import RetrievalClient
from rowbank.errors import (
    ClientClosed,
    DeadlineExceeded,
    NotReady,
    Overloaded,
    RedisUnavailable,
    RequestError,
    ServiceUnavailable,
    VersionMismatch,
    to_status,
)
from rowbank.retrieval import Event
from rowbank_protos.v1 import retrieval_pb2, retrieval_pb2_grpc


class Scripted(retrieval_pb2_grpc.RetrievalServiceServicer):
    """A gRPC server of the real protocol that fails as told, then answers with its name as the version."""

    def __init__(self, name: str, failures: list[RequestError | None]) -> None:
        self.name, self.failures, self.calls = name, failures, 0

    def _next(self, context: grpc.ServicerContext) -> None:
        self.calls += 1
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            code, message, trailers = to_status(failure)
            context.set_trailing_metadata(trailers)
            context.abort(code, message)

    def Recommend(self, request, context):  # noqa: N802
        self._next(context)
        return retrieval_pb2.RecommendResponse(model_version=self.name)

    def RecordEvents(self, request, context):  # noqa: N802
        self._next(context)
        return retrieval_pb2.RecordEventsResponse(events=len(request.events), users=1)

    def UpsertItems(self, request, context):  # noqa: N802
        self._next(context)
        errors = [retrieval_pb2.EntityError(index=1, reason="INVALID_FEATURE", message="no")]
        return retrieval_pb2.UpsertEntitiesResponse(written=len(request.entities) - 1, errors=errors)


@contextlib.contextmanager
def serving(name: str, *failures: RequestError | None) -> Iterator[tuple[str, Scripted]]:
    servicer = Scripted(name, list(failures))
    server = grpc.server(futures.ThreadPoolExecutor(4))
    retrieval_pb2_grpc.add_RetrievalServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", servicer
    finally:
        server.stop(None)


EVENTS = [Event(1, 100), Event(2, 101)]


def test_reads_are_made_again_until_the_service_answers():
    with serving("a", NotReady("loading"), RedisUnavailable("gone")) as (target, servicer):
        with RetrievalClient(target, timeout_s=60) as client:
            assert client.recommend(1).model_version == "a"
            assert servicer.calls == 3


def test_the_next_address_answers_for_one_that_is_away():
    with serving("b") as (target, _):
        with RetrievalClient([f"127.0.0.1:{free_port()}", target], timeout_s=60) as client:
            assert [client.recommend(1).model_version for _ in range(3)] == ["b", "b", "b"]
            assert client.record_events(EVENTS).events == 2  # Nothing was sent to the one that is away.


def test_the_next_address_answers_for_one_that_refuses():
    with serving("a", NotReady("draining")) as (first, one), serving("b") as (second, _):
        with RetrievalClient(f"{first},{second}", timeout_s=60) as client:
            assert client.recommend(1).model_version == "b"
            assert one.calls == 1


def test_the_next_address_answers_for_one_that_is_mute():
    """A socket that takes connections and says nothing, as a stopped process does."""
    with socket.create_server(("127.0.0.1", 0)) as mute, serving("b") as (target, _):
        with RetrievalClient([f"127.0.0.1:{mute.getsockname()[1]}", target], timeout_s=4) as client:
            assert client.recommend(1).model_version == "b"


def test_an_overloaded_service_is_left_alone_for_as_long_as_it_asked():
    """For a time beyond the deadline there is no second attempt."""
    hour = Overloaded("too many", metadata={"retry_after_s": "3600"})
    with serving("a", hour) as (target, servicer), RetrievalClient(target, timeout_s=60) as client:
        with pytest.raises(Overloaded, match=r"1 attempt in .*too many"):
            client.recommend(1)
        assert servicer.calls == 1
    moment = Overloaded("too many", metadata={"retry_after_s": "0.01"})
    with serving("a", moment) as (target, servicer), RetrievalClient(target, timeout_s=60) as client:
        assert client.recommend(1).model_version == "a"
        assert client.record_events(EVENTS).events == 2


def test_an_overload_says_when_to_come_again():
    assert Overloaded("full").metadata == {"retry_after_s": "1"}
    assert Overloaded("full", metadata={"retry_after_s": "5"}).metadata == {"retry_after_s": "5"}


def test_events_are_made_again_only_where_they_were_refused():
    full = Overloaded("full", metadata={"retry_after_s": "0.01"})
    with serving("a", NotReady("loading"), full) as (target, servicer):
        with RetrievalClient(target, timeout_s=60) as client:
            assert client.record_events(EVENTS).events == 2
            assert servicer.calls == 3
    with serving("a", RedisUnavailable("gone")) as (target, servicer), RetrievalClient(target, timeout_s=60) as client:
        with pytest.raises(RedisUnavailable, match="may have been done all the same"):
            client.record_events([*EVENTS, Event(1, 102, id="c")])
        assert servicer.calls == 1


def test_events_with_ids_are_made_again_whatever_happened():
    with serving("a", RedisUnavailable("gone")) as (target, servicer), RetrievalClient(target, timeout_s=60) as client:
        assert client.record_events([Event(1, 100, id="a"), Event(2, 101, id="b")]).events == 2
        assert servicer.calls == 2


def test_a_failure_in_the_middle_says_what_was_done_before():
    with serving("a", None, RedisUnavailable("gone")) as (target, _), RetrievalClient(target, timeout_s=60) as client:
        with pytest.raises(RedisUnavailable, match="1 request of this call had been answered before") as caught:
            client.record_events([Event(1, 100)] * 1001)
        assert caught.value.metadata["requests_answered"] == "1"


def test_reports_of_several_requests_are_put_together():
    with serving("a") as (target, servicer), RetrievalClient(target, timeout_s=60) as client:
        report = client.put_items({item: {"title": "x" * 3000} for item in range(700)})
        assert servicer.calls == 3  # 3 kB each: about 350 of them are a megabyte.
        assert report.written == 697
        assert len(report.faults) == 3
        assert (report.faults[0].id, report.faults[0].reason) == (1, "INVALID_FEATURE")
        assert client.put_items({}).written == 0


def test_nothing_listens_anywhere():
    target = f"127.0.0.1:{free_port()}"
    with RetrievalClient(target, timeout_s=0.3) as client:
        with pytest.raises(ServiceUnavailable, match=rf"attempts? in .*{target}: connection refused.*grpc_bind"):
            client.recommend(1)
        with pytest.raises(ServiceUnavailable):
            client.record_events(EVENTS)


def test_a_client_that_does_not_wait_is_told_at_once():
    """After one attempt at each address."""
    gone = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    with RetrievalClient(gone, timeout_s=600, wait_for_ready=False) as client:
        with pytest.raises(ServiceUnavailable, match=r"connection refused: nothing listens there; is a retrieval"):
            client.recommend(1)
    with serving("b") as (target, _), RetrievalClient([gone[0], target], wait_for_ready=False) as client:
        assert client.recommend(1, timeout_s=60).model_version == "b"


def test_a_mute_service_ends_with_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        with RetrievalClient(f"127.0.0.1:{mute.getsockname()[1]}") as client:
            with pytest.raises((DeadlineExceeded, ServiceUnavailable), match="attempt"):
                client.recommend(1, timeout_s=0.5)


def test_a_parameter_server_is_told_apart(target):
    with RetrievalClient(target, timeout_s=60) as client:
        with pytest.raises(VersionMismatch, match="is it a retrieval service"):
            client.recommend(1)


def test_http_is_told_apart(served):
    with RetrievalClient(f"127.0.0.1:{served.http.base_url.port}", timeout_s=1) as client:
        with pytest.raises(ServiceUnavailable, match="no gRPC is spoken there, but HTTP"):
            client.recommend(1)


def test_close_ends_a_call_that_waits():
    with serving("a", *[NotReady("loading")] * 10_000) as (target, servicer):
        client = RetrievalClient(target, timeout_s=600)
        failures: list[BaseException] = []

        def ask() -> None:
            try:
                client.recommend(1)
            except BaseException as error:
                failures.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        until(lambda: servicer.calls)
        client.close()
        client.close()
        asking.join(60)
        assert [type(one) for one in failures] == [ClientClosed]
        with pytest.raises(ClientClosed):
            client.recommend(1)
