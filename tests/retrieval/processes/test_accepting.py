"""Accepting at a socket that others share, over real connections."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rowbank_server.retrieval.processes.accepting import Acceptor, let_no_more_come
from rowbank_server.retrieval.processes.board import Board


class Greeter(asyncio.Protocol):
    """Says who took the connection."""

    def __init__(self, name: bytes, open_now: set[asyncio.Protocol]) -> None:
        self._name = name
        self._open_now = open_now

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._open_now.add(self)
        transport.write(self._name)

    def connection_lost(self, error: Exception | None) -> None:
        self._open_now.discard(self)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def acceptor(listener: socket.socket, board: Board | None, worker: int) -> Acceptor:
    open_now: set[asyncio.Protocol] = set()
    make: Callable[[], asyncio.Protocol] = lambda: Greeter(str(worker).encode(), open_now)  # noqa: E731
    return Acceptor(listener.dup(), make, lambda: len(open_now), board, worker)


def test_a_burst_of_connections_is_shared_evenly(listener: socket.socket, tmp_path: Path):
    board = Board.create(tmp_path / "board", 2)

    async def run() -> list[bytes]:
        clients = [socket.create_connection(listener.getsockname()) for _ in range(12)]  # They all wait already.
        both = [acceptor(listener, board, worker) for worker in range(2)]
        for one in both:
            one.start()
        loop = asyncio.get_running_loop()
        greeted = []
        for client in clients:
            client.setblocking(False)
            greeted.append(await loop.sock_recv(client, 10))
        for one in both:
            await one.drain()
        for client in clients:
            client.close()
        return greeted

    # Both are in one thread, so neither can be held up alone.
    assert sorted(asyncio.run(run())) == [b"0"] * 6 + [b"1"] * 6


def test_a_worker_that_stands_still_leaves_connections_to_others(listener: socket.socket, tmp_path: Path):
    board = Board.create(tmp_path / "board", 2)
    board.beat(1)  # It said a moment ago that it accepts, has no connection, and takes none.

    async def run() -> list[bytes]:
        one = acceptor(listener, board, 0)
        one.start()
        loop = asyncio.get_running_loop()
        greeted = []
        for _ in range(3):
            client = socket.create_connection(listener.getsockname())
            client.setblocking(False)
            greeted.append(await loop.sock_recv(client, 10))
        await one.drain()
        return greeted

    assert asyncio.run(run()) == [b"0"] * 3


def test_a_drain_takes_all_that_wait_and_resets_none(listener: socket.socket):
    async def run() -> list[bytes]:
        one = acceptor(listener, None, 0)
        clients = [socket.create_connection(listener.getsockname()) for _ in range(50)]
        listener.close()  # The drain closes the last descriptor of the socket.
        await one.drain()
        loop = asyncio.get_running_loop()
        greeted = []
        for client in clients:
            client.setblocking(False)
            greeted.append(await loop.sock_recv(client, 10))
        return greeted

    assert asyncio.run(run()) == [b"0"] * 50


def test_after_the_end_began_new_connections_wait_and_old_ones_go_on(listener: socket.socket):
    with socket.create_connection(listener.getsockname()) as before:
        let_no_more_come(listener)
        taken, _ = listener.accept()
        with taken:
            before.sendall(b"still")
            assert taken.recv(10) == b"still"
        with socket.socket() as late:
            late.setblocking(False)
            late.connect_ex(listener.getsockname())
            listener.setblocking(False)
            with pytest.raises(BlockingIOError):
                listener.accept()
            assert late.connect_ex(listener.getsockname()) != 0  # Under way, and not refused.
