"""Plain questions: small requests to one path, answered without a task, a scope and an application each.

A request is kept from uvicorn until it has arrived whole, if by its head it may be a plain one. Then whoever answers
plain questions is asked. What it does not take goes to uvicorn as if it had just arrived, as does what is slow to
arrive. While an answer is waited for, what comes on the same connection is kept, so answers go out in the order of
requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from rowbank_server.web.certificates import TellsOfCertificate
from rowbank_server.web.joined import JoinedWrites

Headers = Sequence[tuple[bytes, bytes]]
_WHOLE_WITHIN_S = 0.05  # Of a head without its body, which many clients send apart; slower ones go the other way.
_MOST_BYTES = 2048
# Of a head with one of these, how the request is to be answered depends on more than its body.
_TELLING = frozenset({b"transfer-encoding", b"upgrade", b"x-request-timeout-ms"})


class Questions(Protocol):
    """Whoever answers plain questions.

    Attributes:
        path: the only one of which requests are taken, by POST.
    """

    path: bytes

    def ask(self, content: bytes, headers: Headers, line: Line) -> bool:
        """Whether it takes this request, whose answer it then gives to `line`, now or later on the event loop.

        Args:
            headers: names in lower case.
        """


class Line(Protocol):
    """Where a request came from and its answer goes."""

    @property
    def peer(self) -> tuple[str, int] | None:
        """The address of the other side, if it has one."""

    def is_gone(self) -> bool:
        """Whether nobody is there any more."""

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Sends the answer to what was asked; who is gone gets nothing."""


class PlainQuestions(TellsOfCertificate):
    """A connection that has plain questions answered by `questions`; None: by nobody, all goes to the application."""

    questions: Questions | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._kept: bytes | None = None  # The body, so far, of a request that is kept.
        self._whole = False
        self._asked = False
        self._early = b""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def peer(self) -> tuple[str, int] | None:
        """The address of the other side."""
        return self.client

    def is_gone(self) -> bool:
        """Whether the connection is closed."""
        return bool(self.transport.is_closing())

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._kept, self._early = None, b""
        super().connection_lost(exc)

    def is_early(self, data: bytes) -> bool:
        """Whether an answer is waited for; then `data` is kept until it is sent, and nothing more is read."""
        if self._asked:
            self._early += data
            self.flow.pause_reading()
        return self._asked

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._kept is None:
            return
        if self.transport.is_closing():
            self._kept = None
        elif self._whole:
            self._ask()
        elif self._timer is None:
            self._timer = self.loop.call_later(_WHOLE_WITHIN_S, self._let_go)

    def on_message_begin(self) -> None:
        if self._kept is not None:  # Another one follows in the same piece: uvicorn keeps them in line.
            self._let_go()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self.questions is not None and self.url == self.questions.path and self._may_be_plain():
            self._kept, self._whole = b"", False
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._kept is None:
            super().on_body(body)
        else:
            self._kept += body

    def on_message_complete(self) -> None:
        if self._kept is None:
            super().on_message_complete()
        else:
            self._whole = True

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Sends the answer to what was asked."""
        if self.transport.is_closing():
            self._asked, self._early = False, b""
            return
        always = self.server_state.default_headers
        pieces = [STATUS_LINE[status], _joined(always)]
        for name, value in headers:
            pieces += (name, b": ", value, b"\r\n")
        pieces += (b"\r\n", body)
        assert isinstance(self.transport, JoinedWrites)
        self.transport.send(b"".join(pieces))
        if (b"connection", b"close") in always:  # The server ends.
            self.transport.close()
        self.on_response_complete()
        if self._early and not self.transport.is_closing():
            self.loop.call_soon(self._go_on)
        else:
            self._asked, self._early = False, b""

    def _may_be_plain(self) -> bool:
        """Whether a head says nothing that the application has to look at, and nothing is being answered."""
        if self.cycle is not None and not self.cycle.response_complete:
            return False
        if self.flow.write_paused:  # Of who does not read its answers; the application waits until it does.
            return False
        if self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
            return False
        parser = self.parser
        if parser.get_method() != b"POST" or parser.get_http_version() != "1.1" or not parser.should_keep_alive():
            return False
        length = None
        for name, value in self.headers:
            if name == b"content-length":
                length = value
            elif name in _TELLING:
                return False
        return not self.expect_100_continue and length is not None and int(length) <= _MOST_BYTES

    def _ask(self) -> None:
        content, self._asked = self._kept, True
        self._stop_waiting()
        assert content is not None
        assert self.questions is not None
        if self.questions.ask(content, self.headers, self):
            self._kept = None
        else:
            self._asked = False
            self._let_go()

    def _let_go(self) -> None:
        """Gives uvicorn what was kept from it."""
        self._stop_waiting()
        content, self._kept = self._kept, None
        super().on_headers_complete()
        if content:
            super().on_body(content)
        if self._whole:
            super().on_message_complete()

    def _go_on(self) -> None:
        early, self._early, self._asked = self._early, b"", False
        if not self.transport.is_closing():
            self.flow.resume_reading()  # More may have come since the answer.
            self.data_received(early)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _joined(headers: Headers) -> bytes:
    return b"".join(b"%b: %b\r\n" % one for one in headers)
