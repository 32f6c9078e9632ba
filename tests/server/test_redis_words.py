"""What redis-py says of failures comes out in our words: real failures of real sockets."""

from __future__ import annotations

import re
import socket
import threading

import pytest
import redis

from rowbank.redis_words import describe


def failure(url: str) -> str:
    with pytest.raises((redis.RedisError, OSError)) as caught:
        redis.Redis.from_url(url, socket_timeout=0.5, retry=None).ping()
    return describe(caught.value)


def listener(answer: bytes | None) -> socket.socket:
    """Accepts, and sends `answer` for what it reads; None: says nothing; empty: hangs up."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()

    def serve() -> None:
        while answer is not None:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(100)
                connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return server


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "no answer in time"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what answers there is no Redis"),
    ],
)
def test_what_is_no_redis(answer, words):
    with listener(answer) as server:
        assert failure(f"redis://127.0.0.1:{server.getsockname()[1]}/0") == words


def test_a_connection_that_ends():
    with listener(b"") as server:
        text = failure(f"redis://127.0.0.1:{server.getsockname()[1]}/0")
    assert re.fullmatch("the connection was closed|the connection to 127.0.0.1:[0-9]+ was lost", text)


def test_nothing_listens(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        assert failure(f"redis://127.0.0.1:{port}/0") == f"127.0.0.1:{port}: connection refused, nothing listens there"
    assert failure(f"unix://{tmp_path}/none.sock") == f"{tmp_path}/none.sock: there is no socket"


def test_what_redis_itself_says_stays(redis_url):
    client = redis.Redis.from_url(redis_url)
    with pytest.raises(redis.ResponseError) as caught:
        client.execute_command("NOSUCHCOMMAND")
    assert describe(caught.value).startswith("unknown command")
