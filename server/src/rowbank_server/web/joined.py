"""A transport that sends the head of an answer with its body: uvicorn writes them apart, and each write is sent.

A send is a call of the system and a packet of its own, which takes longer than to make a small answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

_MOST_JOINED = 64 << 10  # Bytes that are copied to be sent at once.


class JoinedWrites:
    """Keeps what is written until the next write of the same turn of the event loop, or until the end of the turn.

    All else is the transport's own.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Sends `data` after all that was written before; who is gone is sent nothing."""
        if self._transport.is_closing():
            self._held = b""
        elif self._held:
            held, self._held = self._held, b""
            if len(data) <= _MOST_JOINED:
                self._transport.write(held + data)
                return
            self._transport.write(held)
            self._transport.write(data)
        elif len(data) > _MOST_JOINED:
            self._transport.write(data)
        elif data:
            self._held = bytes(data)
            self._loop.call_soon(self._flush)

    def send(self, data: bytes) -> None:
        """As `write`, of what nothing is to be joined with."""
        self._flush()
        if not self._transport.is_closing():
            self._transport.write(data)

    def writelines(self, pieces: Iterable[bytes]) -> None:
        """The same for all of `pieces`."""
        self.write(b"".join(pieces))

    def write_eof(self) -> None:
        """Says that nothing comes any more."""
        self._flush()
        self._transport.write_eof()

    def close(self) -> None:
        """Closes the connection when all is sent."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Closes the connection at once; what waits to be sent is lost."""
        self._held = b""
        self._transport.abort()

    def get_write_buffer_size(self) -> int:
        """Bytes that were written and are not sent."""
        return len(self._held) + self._transport.get_write_buffer_size()

    def _flush(self) -> None:
        held, self._held = self._held, b""
        if held and not self._transport.is_closing():  # Who went away meanwhile is sent nothing.
            self._transport.write(held)
