"""Accepts connections from a listening socket that several processes share, evenly, and ends without losing one."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
import struct
import sys
from collections.abc import Callable

from rowbank_server.retrieval.processes.board import Board
from rowbank_server.security.tls import ServedTls

BACKLOG = 2048
_AT_ONCE = 64  # Connections that a process which is alone takes before its others get a turn.
_LET_OTHERS_S = 0.002
_HANDSHAKE_S = 10.0  # A connection whose TLS takes longer to come about is given up.
_LAST_S = 0.05  # How long connections that were on their way when the end began are still waited for.


class Acceptor:
    """Takes connections off a listening socket and gives them to protocols.

    All workers of a service wait at one socket, so a connection that waits there is nobody's: whoever is free takes it,
    and it outlives a worker that is killed or stands still. But the first to wake would take all that come in a burst,
    and a few long-lived connections would end up in one process. So a worker takes one connection at a time, and one
    that has more of them than another lets the others go first for 2 ms.

    Args:
        protocol: makes the protocol of a connection.
        connections: how many this process has.
        board, worker: what the workers know of each other, and which this one is; None: it is alone.
        tls: what connections are protected with; None: nothing.
    """

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        connections: Callable[[], int],
        board: Board | None = None,
        worker: int = 0,
        *,
        tls: ServedTls | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._listener.setblocking(False)
        self._protocol = protocol
        self._connections = connections
        self._board = board
        self._worker = worker
        self._tls = tls
        self._opening: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._beat: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins to accept."""
        self._loop.add_reader(self._listener.fileno(), self._ready)
        self._tell()

    async def drain(self) -> None:
        """Takes the connections that wait and those on their way, then closes the socket.

        Other workers may hold it, too: the last one to close it has taken what was left.
        """
        let_no_more_come(self._listener)
        if self._timer is not None:
            self._timer.cancel()
            self._loop.add_reader(self._listener.fileno(), self._ready)
        if self._beat is not None:
            self._beat.cancel()
        if self._board is not None:
            self._board.leave(self._worker)
        self._board = None  # From here on it takes all that there is.
        await asyncio.sleep(_LAST_S)
        self._loop.remove_reader(self._listener.fileno())
        while self._accept():
            pass
        self._listener.close()
        if self._opening:
            await asyncio.wait(self._opening)

    def _tell(self) -> None:
        if self._board is not None:
            self._board.set_connections(self._worker, self._connections() + len(self._opening))
            self._board.beat(self._worker)
            self._beat = self._loop.call_later(self._board.beat_s, self._tell)

    def _ready(self) -> None:
        if self._board is None:
            for _ in range(_AT_ONCE):
                if not self._accept():
                    return
            return
        self._board.set_connections(self._worker, self._connections() + len(self._opening))
        if not self._board.is_fullest(self._worker):
            self._take_one()
            return
        self._loop.remove_reader(self._listener.fileno())
        self._timer = self._loop.call_later(_LET_OTHERS_S, self._take_one_and_go_on)

    def _take_one(self) -> None:
        if self._accept() and self._board is not None:
            self._board.set_connections(self._worker, self._connections() + len(self._opening))

    def _take_one_and_go_on(self) -> None:
        self._timer = None
        self._take_one()  # If it still waits, the others are busy or stand still.
        self._loop.add_reader(self._listener.fileno(), self._ready)

    def _accept(self) -> bool:
        """Whether there was a connection."""
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionError:  # It went away while it waited.
            return True
        except OSError:  # Out of descriptors: what waits goes on waiting, and others may have some left.
            return False
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._open(connection))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return True

    async def _open(self, connection: socket.socket) -> None:
        try:
            if self._tls is None:
                await self._loop.connect_accepted_socket(self._protocol, connection)
            else:
                await self._loop.connect_accepted_socket(
                    self._protocol, connection, ssl=self._tls.for_http(), ssl_handshake_timeout=_HANDSHAKE_S
                )
        except OSError:
            if self._tls is not None:
                self._tls.handshake_failed()
            connection.close()


def let_no_more_come(listener: socket.socket) -> None:
    """From now on the kernel leaves new connections at this socket unanswered, in whichever process it is open.

    Closing a listening socket resets the connections that wait in it, so they have to be taken off before; but while
    one takes them off, more come. This filter drops their first packet (SYN without ACK), which their callers send
    again a second later, to whoever listens then; connections that are half open still get through. Only on Linux;
    elsewhere a connection of the last moment may be reset.
    """
    if sys.platform != "linux":
        return
    load_flags, keep_syn_ack = (0x30, 0, 0, 13), (0x54, 0, 0, 0x12)
    skip_unless_syn, drop, let_through = (0x15, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF)
    steps = (load_flags, keep_syn_ack, skip_unless_syn, drop, let_through)
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    with contextlib.suppress(OSError):  # A socket of another family has no such packets.
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(steps), ctypes.addressof(code)))


_SO_ATTACH_FILTER = 26
