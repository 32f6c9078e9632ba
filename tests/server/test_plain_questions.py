"""Plain questions beside all others, on real connections: who answers what, in which order, and what nobody takes."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httptools
import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send

from rowbank_server.web.plain import Headers, Line
from rowbank_server.web.protocol import HEAD_TIMEOUT_S, MAX_HEAD_BYTES, GuardedProtocol

_WAIT_S = 20.0


class Echo:
    """Answers plain questions with their body, after a turn of the event loop, or once `let` is called.

    It takes no body that has a `?`, and keeps the answer of one that has a `!`.
    """

    path = b"/ask"

    def __init__(self) -> None:
        self.held: list[tuple[Line, bytes]] = []
        self.holds = threading.Event()
        self.headers: list[Headers] = []
        self.loop: asyncio.AbstractEventLoop | None = None

    def ask(self, content: bytes, headers: Headers, line: Line) -> bool:
        """Takes it, or not."""
        if b"?" in content:
            return False
        self.headers.append(list(headers))
        self.loop = asyncio.get_running_loop()
        if b"!" in content:
            self.held.append((line, content))
            self.holds.set()
        else:
            self.loop.call_soon(self._answer, line, content)
        return True

    def let(self) -> bool:
        """Answers what is kept; whether its caller is gone."""
        assert self.holds.wait(_WAIT_S)
        assert self.loop is not None
        (line, content), gone = self.held.pop(), threading.Event()
        told = threading.Event()

        def answer() -> None:
            if line.is_gone():
                gone.set()
            self._answer(line, content)
            told.set()

        # As an answer of a batch: in a turn of the loop after which it looks at its connections.
        self.loop.call_soon_threadsafe(self.loop.call_soon, answer)
        assert told.wait(_WAIT_S)
        return gone.is_set()

    @staticmethod
    def _answer(line: Line, content: bytes) -> None:
        body = b"plain " + content
        line.answer(200, [(b"content-length", b"%d" % len(body)), (b"x-by", b"plain")], body)


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    body, more = b"app ", True
    while more:
        message: Message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    head = [(b"content-length", b"%d" % len(body)), (b"x-path", scope["raw_path"])]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


class Served:
    """A server with both in a thread."""

    def __init__(self, echo: Echo, **settings: Any) -> None:
        class Protocol(GuardedProtocol):
            questions = echo

        config = uvicorn.Config(_app, http=Protocol, log_config=None, access_log=False, lifespan="off", **settings)
        self.server = uvicorn.Server(config)
        self.listener = config.__class__(_app, host="127.0.0.1", port=0, log_config=None).bind_socket()
        self.listener.listen()
        self.address = self.listener.getsockname()
        self.thread = threading.Thread(target=self.server.run, args=([self.listener],), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Ends it."""
        self.server.should_exit = True
        self.thread.join(_WAIT_S)
        assert not self.thread.is_alive()


class Caller:
    """One connection, and what came back on it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=_WAIT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.bodies: list[bytes] = []
        self.closed = False
        self._parser = httptools.HttpResponseParser(self)
        self._body = b""

    def on_message_begin(self) -> None:
        self._body = b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self.bodies.append(self._body)

    def send(self, data: bytes) -> None:
        """Sends some of a request, or several."""
        self.socket.sendall(data)

    def until(self, count: int) -> list[bytes]:
        """The bodies of the first `count` answers."""
        while len(self.bodies) < count and not self.closed:
            piece = self.socket.recv(65_536)
            self.closed = not piece
            if piece:
                self._parser.feed_data(piece)
        return self.bodies[:count]


def request(body: bytes, *, path: str = "/ask", headers: str = "", version: str = "1.1") -> bytes:
    """A POST as it goes over the wire."""
    return f"POST {path} HTTP/{version}\r\nHost: t\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.fixture
def echo() -> Echo:
    """Who answers plain questions."""
    return Echo()


@pytest.fixture
def served(echo: Echo) -> Iterator[Served]:
    """A running server."""
    made = Served(echo)
    yield made
    made.stop()


@pytest.fixture
def caller(served: Served) -> Iterator[Caller]:
    """A connection to it."""
    made = Caller(served.address)
    yield made
    made.socket.close()


def test_a_plain_question_is_answered_past_the_application(echo: Echo, caller: Caller) -> None:
    for number in range(3):
        caller.send(request(b"%d" % number, headers="X-Request-Id: r7\r\n"))
        assert caller.until(number + 1)[number] == b"plain %d" % number
    assert (b"x-request-id", b"r7") in echo.headers[0]


def test_head_and_body_may_come_apart_and_in_pieces(caller: Caller) -> None:
    whole = request(b"in pieces")
    for place in range(len(whole)):
        caller.send(whole[place : place + 1])
    assert caller.until(1)[0] in (b"plain in pieces", b"app in pieces")  # The latter where the machine was slow.
    head, body = whole[:-9], whole[-9:]
    caller.send(head)
    caller.send(body)
    assert caller.until(2)[1] in (b"plain in pieces", b"app in pieces")


def test_a_body_that_is_long_in_coming_is_waited_for_by_the_application(served: Served, caller: Caller) -> None:
    whole = request(b"slow")
    caller.send(whole[:-2])
    until_given_up = threading.Event()
    while not served.server.server_state.tasks:  # The application's task, which waits for the rest.
        assert not until_given_up.wait(0.005)
    caller.send(whole[-2:])
    assert caller.until(1) == [b"app slow"]
    caller.send(request(b"next"))
    assert caller.until(2)[1] == b"plain next"


@pytest.mark.parametrize(
    "asked",
    [
        request(b"not mine?"),
        request(b"not mine", path="/ask?ids=string"),
        request(b"not mine", path="/asked"),
        request(b"not mine", headers="X-Request-Timeout-Ms: 50\r\n"),
        request(b"not mine" * 400),
        b"POST /ask HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n8\r\nnot mine\r\n0\r\n\r\n",
        b"PUT /ask HTTP/1.1\r\nhost: t\r\ncontent-length: 8\r\n\r\nnot mine",
    ],
)
def test_what_is_not_plain_goes_to_the_application(caller: Caller, asked: bytes) -> None:
    caller.send(asked)
    assert caller.until(1)[0].startswith(b"app not mine")
    caller.send(request(b"but this"))
    assert caller.until(2)[1] == b"plain but this"


@pytest.mark.parametrize("asked", [request(b"last", headers="Connection: close\r\n"), request(b"last", version="1.0")])
def test_a_connection_that_ends_with_its_answer_ends_with_it(caller: Caller, asked: bytes) -> None:
    caller.send(asked)
    assert caller.until(2) == [b"app last"]
    assert caller.closed


def test_a_request_that_wants_to_be_told_to_go_on_is_told(caller: Caller) -> None:
    whole = request(b"go on", headers="Expect: 100-continue\r\n")
    caller.send(whole[:-5])
    assert caller.socket.recv(100).startswith(b"HTTP/1.1 100 Continue")
    caller.send(whole[-5:])
    assert caller.until(1) == [b"app go on"]


def test_answers_come_in_the_order_of_requests(echo: Echo, caller: Caller) -> None:
    caller.send(request(b"first!"))
    assert echo.holds.wait(_WAIT_S)
    caller.send(request(b"second?") + request(b"third") + request(b"fourth", path="/other") + request(b"fifth"))
    assert not echo.let()
    bodies = caller.until(5)
    assert [body.split()[1] for body in bodies] == [b"first!", b"second?", b"third", b"fourth", b"fifth"]
    assert bodies[0] == b"plain first!"
    assert bodies[1] == b"app second?"


def test_many_questions_behind_one_that_waits_are_no_long_head(echo: Echo, served: Served, caller: Caller) -> None:
    caller.send(request(b"first!"))
    assert echo.holds.wait(_WAIT_S)
    behind = [b"%d" % number + b"x" * 1000 for number in range(4 * MAX_HEAD_BYTES // 1000)]
    sender = threading.Thread(target=caller.send, args=(b"".join(map(request, behind)),))
    sender.start()
    (connection,) = served.server.server_state.connections
    _until(lambda: connection.flow.read_paused)
    assert not echo.let()
    assert [body.split()[1] for body in caller.until(1 + len(behind))] == [b"first!", *behind]
    sender.join(_WAIT_S)


def test_a_head_that_comes_in_pieces_behind_one_that_waits_is_read_to_its_end(
    echo: Echo, served: Served, caller: Caller
) -> None:
    caller.send(request(b"first!"))
    assert echo.holds.wait(_WAIT_S)
    whole = request(b"second")
    caller.send(whole[:10])
    (connection,) = served.server.server_state.connections
    _until(lambda: connection.flow.read_paused)
    caller.send(whole[10:20])  # Nobody reads it yet.
    assert not echo.let()
    assert caller.until(1) == [b"plain first!"]
    caller.send(whole[20:])
    caller.socket.settimeout(HEAD_TIMEOUT_S / 2)
    assert caller.until(2)[1] in (b"plain second", b"app second")


def test_who_does_not_read_its_answers_is_not_read_from(served: Served, caller: Caller) -> None:
    asked, state = [b"0"], served.server.server_state
    caller.send(request(b"0"))
    assert caller.until(1) == [b"plain 0"]
    (connection,) = state.connections
    while connection.cycle is None:  # No answer has waited for a reader.
        assert connection.transport.get_write_buffer_size() < 1 << 20, len(asked)
        asked.append(b"%d" % len(asked))
        caller.send(request(asked[-1] + b"x" * 1900))
        _until(lambda: state.total_requests == len(asked) or connection.cycle is not None)
    assert [body.split()[1].rstrip(b"x") for body in caller.until(len(asked))] == asked
    caller.send(request(b"next"))
    assert caller.until(len(asked) + 1)[-1] == b"plain next"


def _until(condition: Callable[[], bool]) -> None:
    waited, deadline = threading.Event(), time.monotonic() + _WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        waited.wait(0.001)


def test_nobody_is_answered_who_is_gone(echo: Echo, served: Served, caller: Caller) -> None:
    caller.send(request(b"wait!"))
    assert echo.holds.wait(_WAIT_S)
    caller.socket.close()
    waited = threading.Event()
    while served.server.server_state.connections:
        assert not waited.wait(0.005)
    assert echo.let()
    again = Caller(served.address)
    again.send(request(b"another"))
    assert again.until(1) == [b"plain another"]
    again.socket.close()


def test_connections_beyond_the_limit_are_refused_by_the_application(echo: Echo) -> None:
    served = Served(echo, limit_concurrency=2)
    try:
        first = Caller(served.address)
        first.send(request(b"one"))
        assert first.until(1) == [b"plain one"]
        second = Caller(served.address)
        second.send(request(b"two"))
        assert second.until(1) == [b"Service Unavailable"]
        first.socket.close()
        second.socket.close()
    finally:
        served.stop()


def test_what_is_no_http_is_refused(caller: Caller) -> None:
    caller.send(request(b"one!")[:-4] + b"\x00\x01 nothing\r\n\r\n\x00")
    caller.until(9)
    assert caller.closed


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_requests_in_any_pieces(caller: Caller, seed: int) -> None:
    print("seed", seed)
    chance = random.Random(seed)
    asked: list[bytes] = []
    waiting = b""
    for number in range(300):
        body = b"%d" % number + (b"?" if chance.random() < 0.2 else b"") + b"x" * chance.choice([0, 3, 1500, 5000])
        path = chance.choice(["/ask", "/ask", "/ask", "/other"])
        headers = chance.choice(["", "", "Accept: */*\r\n", "X-Request-Timeout-Ms: 9\r\n"])
        waiting += request(body, path=path, headers=headers)
        asked.append(body)
        if chance.random() < 0.3:  # Otherwise the next one comes in the same piece.
            waiting = _send_in_pieces(caller, waiting, chance)
        if not waiting and chance.random() < 0.7:
            caller.until(len(asked))
    caller.send(waiting)
    bodies = caller.until(len(asked))
    assert [body.split(b" ", 1)[1] for body in bodies] == asked
    assert {body.split(b" ", 1)[0] for body in bodies} == {b"plain", b"app"}


def _send_in_pieces(caller: Caller, data: bytes, chance: random.Random) -> bytes:
    """What is left: nothing."""
    while data:
        size = chance.choice([7, 60, 130, 400, 5000])
        caller.send(data[:size])
        data = data[size:]
    return data
