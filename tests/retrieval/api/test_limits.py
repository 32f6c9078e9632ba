"""Too much, too slow and too late: what the service does then, and what it does not."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import grpc
import httpx
import pytest
from tests.retrieval.api.conftest import Both
from tests.retrieval.support import until

from rowbank.errors import DeadlineExceeded, from_rpc_error
from rowbank_protos.v1 import retrieval_pb2 as pb


@pytest.fixture(scope="module")
def options() -> tuple[str, ...]:
    return ("--body-timeout-s", "0.5")


def connect(both: Both) -> socket.socket:
    parts = urlsplit(both.api.url)
    connection = socket.create_connection((parts.hostname, parts.port))
    connection.settimeout(60)
    return connection


def head(length: int, path: str = "/v1/recommend") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()


def received(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data or b"}" not in data:
        more = connection.recv(65536)
        if not more:
            break
        data += more
    return data


@pytest.mark.parametrize("path", ["/v1/recommend", "/v1/items:import"])
def test_a_body_that_does_not_come(both: Both, path: str) -> None:
    with connect(both) as connection:
        connection.sendall(head(100, path) + b'{"user')
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"urn:rowbank:problem:body-timeout" in answer
    assert b"within 0.5 s (setting body_timeout_s)" in answer


def test_slow_bodies_keep_nobody_waiting(both: Both) -> None:
    connections = [connect(both) for _ in range(50)]
    try:
        for connection in connections:
            connection.sendall(head(4 << 20) + b" " * 1000)
        assert both.http.post("/v1/recommend", json={"user_id": 1}).status_code == 200
    finally:
        for connection in connections:
            connection.close()


def test_heads_that_do_not_end_or_do_not_come_are_let_go(both: Both) -> None:
    with connect(both) as slow, connect(both) as large:
        slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nx-slow: ")
        try:
            large.sendall(
                b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"x-flood: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 4000
            )
            assert received(large).startswith(b"HTTP/1.1 431 ")
        except OSError:
            pass  # It was ended while it was still being written to.
        assert both.http.post("/v1/recommend", json={"user_id": 1}).status_code == 200
        assert slow.recv(1) == b""  # After ten seconds.


def test_many_requests_in_one_packet_are_all_answered(both: Both) -> None:
    with connect(both) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 99)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = b""
        while more := connection.recv(65536):
            data += more
    assert data.count(b"HTTP/1.1 200 ") == 100


def test_a_body_that_is_too_large_is_not_read(both: Both) -> None:
    with connect(both) as connection:
        connection.sendall(head((4 << 20) + 1))
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"at most 4194304 are read" in answer


def test_large_bodies_are_answered(both: Both) -> None:
    """They are parsed beside the event loop."""
    body = {"user_id": 1, "exclude": [100 + number % 5 for number in range(10_000)], "k": 3}
    large = both.http.post("/v1/recommend", json=body).json()
    assert (
        large["items"]
        == both.http.post("/v1/recommend", json={**body, "exclude": list(range(100, 105))}).json()["items"]
    )
    assert both.http.post("/v1/recommend", content=b'{"user_id": 1, "k": ' + b"9" * 100_000).status_code in (400, 422)


def test_a_message_that_is_too_large(both: Both) -> None:
    request = pb.RecommendRequest(user_id=1, cursor="x" * (5 << 20))
    with pytest.raises(grpc.RpcError) as failure:
        both.rpc("Recommend", request)
    assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_deadline_that_is_long_over(both: Both) -> None:
    with pytest.raises(grpc.RpcError) as failure:
        both.stub.Recommend(pb.RecommendRequest(user_id=1), timeout=1e-6)
    assert isinstance(from_rpc_error(failure.value), DeadlineExceeded)
    enough = both.http.post("/v1/recommend", json={"user_id": 1}, headers={"x-request-timeout-ms": "600000"})
    assert enough.status_code == 200


def test_callers_that_hang_up_do_no_harm(both: Both) -> None:
    for _ in range(20):
        with connect(both) as connection:
            body = b'{"user_id": 1}'
            connection.sendall(head(len(body)) + body)
    assert both.http.post("/v1/recommend", json={"user_id": 1}).status_code == 200
    until(lambda: httpx.get(f"{both.api.url}/healthz").status_code == 200)
    assert "Traceback" not in both.api.log
