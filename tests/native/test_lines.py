"""The client's connections to a native endpoint: which are kept, when there are none, and whose they are."""

from __future__ import annotations

import concurrent.futures
import socket

import grpc
import pytest
from tests.native.echoing import echoing

from rowbank.calls.native import lines as module
from rowbank.calls.native.lines import Lines
from rowbank.calls.native.unary import NativeUnary
from rowbank.credentials import Credentials

pytest.importorskip("rowbank._http2")

TARGET = "127.0.0.1:7700"


class Text:
    """A request of bytes."""

    def __init__(self, data):
        self.data = data

    def SerializeToString(self):  # noqa: N802 - as protobuf calls it.
        return self.data


@pytest.fixture
def echo():
    with echoing() as server:
        yield server


def lines_to(address, credentials=None, target=TARGET):
    lines = Lines(target, credentials or Credentials())
    lines.learn(address, "id", [target])
    return lines


@pytest.fixture
def unary(echo):
    """A method of the echo server, by name, and its connections: (callable, lines)."""
    lines = lines_to(echo.address)
    with grpc.insecure_channel(echo.address) as channel:

        def make(name, at=None):
            other = channel.unary_unary(
                f"/t/{name}", request_serializer=lambda request: request.data, response_deserializer=bytes
            )
            return NativeUnary(at or lines, TARGET, f"/t/{name}", bytes, other), at or lines

        yield make
    lines.close()


def native_calls(echo):
    return sum(("user-agent", "rowbank-native") in seen for seen in echo.seen)


def test_a_connection_serves_one_call_after_the_other(unary, echo):
    call, lines = unary("Echo")
    for number in range(5):
        assert call(Text(b"%d" % number), timeout=30) == b"%d" % number
    assert len(lines._all) == 1
    assert native_calls(echo) == 5
    assert dict(echo.seen[-1])["rowbank-server-id"] == "id"


def test_calls_at_once_have_a_connection_each(unary, echo):
    call, lines = unary("Wait")
    made = [call.future(Text(b"%d" % number), timeout=30) for number in range(5)]
    assert len(lines._all) == 5
    assert not any(one.done() for one in made)
    with pytest.raises(grpc.FutureTimeoutError):
        made[0].result(timeout=0.01)
    echo.release.set()
    assert [one.result() for one in made] == [b"%d" % number for number in range(5)]
    assert len(lines._idle) == 5


def test_no_more_connections_than_so_many(unary, echo, monkeypatch):
    monkeypatch.setattr(module, "_MOST", 2)
    monkeypatch.setattr(module, "_MOST_IDLE", 1)
    call, lines = unary("Wait")
    made = [call.future(Text(b"%d" % number), timeout=30) for number in range(4)]
    assert len(lines._all) == 2
    echo.release.set()
    assert [one.result() for one in made] == [b"%d" % number for number in range(4)]
    assert len(lines._idle) == len(lines._all) == 1


def test_connections_that_nobody_needs_are_closed(unary, echo, monkeypatch):
    call, lines = unary("Wait")
    made = [call.future(Text(b"x"), timeout=30) for _ in range(3)]
    echo.release.set()
    for one in made:
        one.result()
    monkeypatch.setattr(module, "_IDLE_S", -1.0)
    call(Text(b"y"), timeout=30)
    assert len(lines._all) == 0


def test_metadata_and_failures_are_as_grpcs(unary, echo):
    call, _ = unary("Echo")
    answer, made = call.with_call(Text(b"x"), timeout=30, metadata=(("k-bin", b"\0\xff"), ("a", "b")))
    assert answer == b"x"
    assert dict(echo.seen[-1])["k-bin"] == b"\0\xff"
    assert dict(echo.seen[-1])["a"] == "b"
    assert dict(made.trailing_metadata())["raw-bin"] == bytes(range(256))
    fail, _ = unary("Fail")
    for make in (fail, lambda *args, **kw: fail.future(*args, **kw).result()):
        with pytest.raises(grpc.RpcError) as caught:
            make(Text("full; ümläut".encode()), timeout=30)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert caught.value.details() == "full; ümläut"
        assert ("x", "y") in [tuple(pair) for pair in caught.value.trailing_metadata() or ()]


def test_a_deadline_ends_a_call_and_its_connection(unary):
    call, lines = unary("Wait")
    with pytest.raises(grpc.RpcError) as caught:
        call(Text(b"x"), timeout=0.1)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(lines._all) == 0


def test_calls_that_are_cancelled_or_dropped_leave_nothing(unary):
    call, lines = unary("Wait")
    made = call.future(Text(b"x"), timeout=30)
    made.cancel()
    with pytest.raises(grpc.RpcError) as caught:
        made.result()
    assert caught.value.code() is grpc.StatusCode.CANCELLED
    made = call.future(Text(b"x"), timeout=30)
    assert len(lines._all) == 1
    del made
    assert len(lines._all) == 0


def test_a_request_that_cannot_be_written_leaves_nothing(unary):
    call, lines = unary("Echo")
    with pytest.raises(TypeError):
        call(Text(3), timeout=30)
    assert len(lines._all) == 0
    assert call(Text(b"x"), timeout=30) == b"x"


def test_close_wakes_calls_that_wait(unary, echo):
    call, lines = unary("Wait")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(call, Text(b"x"), timeout=60)
        assert echo.begun.acquire(timeout=30)
        lines.close()
        with pytest.raises(grpc.RpcError) as caught:
            waiting.result(timeout=10)
        assert caught.value.code() is grpc.StatusCode.CANCELLED
    assert lines.take(1.0) is None
    assert len(lines._all) == 0


def test_grpc_makes_the_calls_where_the_endpoint_cannot_be_reached(unary, echo):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gone = f"127.0.0.1:{listener.getsockname()[1]}"
    call, lines = unary("Echo", lines_to(gone))
    assert call(Text(b"x"), timeout=30) == b"x"
    assert call.future(Text(b"y"), timeout=30).result() == b"y"
    assert native_calls(echo) == 0
    lines.learn(echo.address, "id", [TARGET])  # It is told anew, and tried at once.
    assert call(Text(b"z"), timeout=30) == b"z"
    assert native_calls(echo) == 1


def test_a_server_that_went_and_came_back_between_two_calls_is_no_failure(unary, echo):
    """The connection of the first call is found closed, and gRPC makes the second where nobody listens any more."""
    with echoing() as gone:
        call, _ = unary("Echo", lines_to(gone.address))
        assert call(Text(b"x"), timeout=30) == b"x"
        assert native_calls(gone) == 1
    assert call(Text(b"y"), timeout=30) == b"y"
    assert native_calls(echo) == 0


def test_the_address_that_is_told_later_is_used_later(unary, echo):
    with echoing() as other:
        call, lines = unary("Wait", lines_to(other.address))
        made = call.future(Text(b"x"), timeout=30)
        lines.learn(echo.address, "new", [TARGET])
        other.release.set()
        assert made.result() == b"x"
        assert len(lines._idle) == 0  # It leads to where no call goes any more.
        echo.release.set()
        assert call(Text(b"y"), timeout=30) == b"y"
        assert len(lines._idle) == 1
        lines.close()


@pytest.mark.parametrize(
    ("address", "target", "told", "credentials", "used"),
    [
        ("127.0.0.1:1", TARGET, [TARGET], {}, True),
        ("127.0.0.1:1", "localhost:7700", [TARGET], {}, True),
        ("127.0.0.1:1", "127.0.0.1:7701", [TARGET], {}, False),  # Something is in between.
        ("127.0.0.1:1", TARGET, [], {}, False),
        ("", TARGET, [TARGET], {}, False),
        ("127.0.0.1:1", TARGET, [TARGET], {"token": "secret"}, True),
        ("unix:/nowhere", TARGET, [TARGET], {"token": "secret"}, True),
        ("192.0.2.1:1", TARGET, [TARGET], {"token": "secret"}, False),  # In plain text over a network.
        ("192.0.2.1:1", TARGET, [TARGET], {}, True),
        ("127.0.0.1:1", TARGET, [TARGET], {"ca_file": "ca.pem"}, False),
    ],
)
def test_when_an_endpoint_is_used(address, target, told, credentials, used):
    lines = Lines(target, Credentials(**credentials))
    lines.learn(address, "id", told)
    assert lines.address == (address if used else "")


def test_the_variable_that_turns_it_off(monkeypatch):
    monkeypatch.setenv("ROWBANK_NATIVE", "0")
    assert lines_to("127.0.0.1:1").address == ""


def test_tokens_are_shown_and_renewed(unary, echo, tmp_path):
    path = tmp_path / "token"
    path.write_text("first")
    call, _ = unary("Echo", lines_to(echo.address, Credentials(token_file=str(path))))
    call(Text(b"x"), timeout=30)
    assert dict(echo.seen[-1])["authorization"] == "Bearer first"
    path.write_text("second")
    call(Text(b"x"), timeout=30)
    assert dict(echo.seen[-1])["authorization"] == "Bearer second"
