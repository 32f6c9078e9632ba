"""Writes that are sent together: what arrives, in which pieces, and what becomes of it at the end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from rowbank_server.web.joined import JoinedWrites

LARGE = b"z" * 300_000


class _Server(asyncio.Protocol):
    """Answers each piece that comes by `act`, over joined writes."""

    def __init__(self, act: Callable[[JoinedWrites], None]) -> None:
        self._act = act

    def connection_made(self, transport: Any) -> None:
        self.transport = JoinedWrites(transport, asyncio.get_running_loop())

    def data_received(self, data: bytes) -> None:
        self._act(self.transport)


def _asked(act: Callable[[JoinedWrites], None], *, until: int) -> list[bytes]:
    """The pieces that arrive, until so many bytes are there or the connection ends."""

    def client(port: int) -> list[bytes]:
        pieces: list[bytes] = []
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(b"?")
            while sum(map(len, pieces)) < until and (piece := connection.recv(1 << 20)):
                pieces.append(piece)
        return pieces

    async def run() -> list[bytes]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Server(act), "127.0.0.1", 0)
        try:
            return await loop.run_in_executor(None, client, server.sockets[0].getsockname()[1])
        finally:
            server.close()

    return uvloop.run(run())


def test_pieces_and_the_end_come_after_what_was_written_before() -> None:
    def act(transport: JoinedWrites) -> None:
        transport.write(b"a")
        transport.writelines([b"b", b"c"])
        transport.write(b"d")
        transport.write_eof()

    assert b"".join(_asked(act, until=9)) == b"abcd"


def test_a_head_and_its_body_arrive_together() -> None:
    def act(transport: JoinedWrites) -> None:
        transport.write(b"head")
        assert transport.get_write_buffer_size() == 4
        transport.write(b"body")

    assert _asked(act, until=8) == [b"headbody"]


def test_what_is_written_alone_is_sent_at_the_end_of_the_turn() -> None:
    assert _asked(lambda transport: transport.write(b"alone"), until=5) == [b"alone"]


@pytest.mark.parametrize("parts", [[b"a", LARGE], [LARGE, b"a"], [b"a", b"", b"b", b"c", LARGE, b"d"]])
def test_the_order_is_kept(parts: list[bytes]) -> None:
    def act(transport: JoinedWrites) -> None:
        for part in parts:
            transport.write(part)

    whole = b"".join(parts)
    assert b"".join(_asked(act, until=len(whole))) == whole


def test_what_was_written_is_sent_before_the_connection_closes() -> None:
    def act(transport: JoinedWrites) -> None:
        transport.write(b"last words")
        transport.close()
        assert transport.is_closing()

    assert _asked(act, until=1000) == [b"last words"]


def test_of_an_aborted_connection_nothing_more_is_sent() -> None:
    def act(transport: JoinedWrites) -> None:
        transport.write(b"never")
        transport.abort()
        assert transport.get_write_buffer_size() == 0

    with contextlib.suppress(ConnectionResetError):
        assert _asked(act, until=1000) == []


@pytest.mark.parametrize("parts", [[b"head", b"body"], [LARGE], [b"head", LARGE]])
def test_who_is_gone_is_sent_nothing(parts: list[bytes]) -> None:
    """Of requests that came at once, the server learns only for the last one that its caller is gone."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        made = _Server(lambda transport: transport.abort())
        made.connection_lost = lambda exc: gone.set()  # type: ignore[method-assign]
        server = await loop.create_server(lambda: made, "127.0.0.1", 0)
        with socket.socket() as caller:
            caller.setblocking(False)
            await loop.sock_connect(caller, server.sockets[0].getsockname())
            await loop.sock_sendall(caller, b"?")
            await gone.wait()
            for part in parts:
                made.transport.write(part)
            made.transport.send(b"all at once")
            assert made.transport.is_closing()
            with contextlib.suppress(ConnectionResetError):
                assert await loop.sock_recv(caller, 100) == b""
        server.close()

    uvloop.run(run())
