"""HTTP connections: who is slow with a request or with its answer, or sends a request without end, is let go."""

from __future__ import annotations

import asyncio
from typing import Any

from rowbank_server.web.joined import JoinedWrites
from rowbank_server.web.plain import PlainQuestions

HEAD_TIMEOUT_S = 10.0  # From the first word to the end of the head; of a new connection, from its beginning.
MAX_HEAD_BYTES = 64 << 10
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 29\r\nconnection: close\r\n\r\nThe request head is too large"
)


class GuardedProtocol(PlainQuestions):
    """Bounds the time and the bytes of a request's head, and the end of a connection, which uvicorn does not.

    Of a body that comes after its answer nothing is of use, and uvicorn waits for its end for ever: each piece of it
    ends the time after which a quiet connection is closed.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_bytes = 0
        self._in_head = True
        self._after_answer = False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(JoinedWrites(transport, self.loop))  # type: ignore[arg-type]
        self._expect_end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.is_early(data):  # It is no head that is slow or long: nobody has looked for its end.
            return
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if not self._in_head or not self._head_bytes or self.transport.is_closing():
            return
        if self._deadline is None:  # Only of a head that has not arrived whole.
            self._expect_end()
        if self._head_bytes > MAX_HEAD_BYTES:
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._cancel()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head, self._head_bytes = True, 0
        if self._after_answer:
            self._after_answer = False
            self._cancel()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._expect_reader()
        elif not self._in_head and self.cycle is not None and self.cycle.response_complete:
            self._after_answer = True
            self._expect_end()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._expect_reader()

    def _expect_end(self) -> None:
        self._cancel()
        self._deadline = self.loop.call_later(HEAD_TIMEOUT_S, self._give_up)

    def _expect_reader(self, left: int | None = None) -> None:
        """Of a connection that closes: `left` bytes of its answers were not read a while ago."""
        now_left = self.transport.get_write_buffer_size()
        if left is not None and now_left >= left:
            self.transport.abort()
        elif now_left:
            self._cancel()
            self._deadline = self.loop.call_later(HEAD_TIMEOUT_S, self._expect_reader, now_left)

    def _cancel(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.close()
            self._expect_reader()
