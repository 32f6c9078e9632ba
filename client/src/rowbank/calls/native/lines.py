"""The connections to one server's native endpoint."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import deque
from collections.abc import Collection

from rowbank.addresses import split_address
from rowbank.calls.forked import forks
from rowbank.calls.native.direct import is_direct
from rowbank.credentials import Credentials
from rowbank.errors import InvalidRequest
from rowbank.secure.tokens import TokenSource, may_go_to

try:
    from rowbank._http2 import Line
except ImportError:  # Built where nghttp2 is not.
    Line = None  # type: ignore[assignment, misc]

_MAX_MESSAGE_BYTES = 64 << 20
_CONNECT_S = 0.25
# After a connection failed, calls go over gRPC's client for so long, and twice as long each time that it fails again.
_AGAIN_S, _LONGEST_AGAIN_S = 10.0, 600.0
_MOST_IDLE = 16
_SWITCH = "ROWBANK_NATIVE"
_UNIX = "unix:"


class Lines:
    """What a client has of a server's native endpoint. Threads may share it; empty in a forked child.

    Args:
        target: where the client reaches the server.

    Attributes:
        server_id: of the process that told the address.
        tokens: what calls show; None: nothing.
    """

    def __init__(self, target: str, credentials: Credentials) -> None:
        self._target = target
        self._credentials = credentials
        self._told = ("", "")
        self._wanted = Line is not None and not credentials.ca_file and os.environ.get(_SWITCH, "1") != "0"
        self.tokens = self._read_tokens()
        self.address = ""
        self.server_id = ""
        self._begin()
        forks.watch(self)

    def renew(self) -> None:
        """Begins anew in a forked child; the parent's connections are closed here without a word."""
        for line in [*self._idle, *self._busy]:
            line.abandon()
        self._begin()

    def _begin(self) -> None:
        self._idle: deque[Line] = deque()
        self._busy: set[Line] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._not_before, self._pause_s = 0.0, _AGAIN_S

    def _read_tokens(self) -> TokenSource | None:
        given = self._credentials
        return TokenSource(given) if self._wanted and (given.token or given.token_file) else None

    def learn(self, address: str, server_id: str, reached_at: Collection[str]) -> None:
        """Takes in what the server says of itself.

        Args:
            address: of its native endpoint; not used where a token would not be safe, or something is in between.
            reached_at: where it says that it is reached; it may not know that yet.
        """
        if not self._wanted or not reached_at or (address, server_id) == self._told:
            return
        self._told = (address, server_id)
        self._drop_idle()
        local = address.startswith(_UNIX)
        safe = local or may_go_to(address, self._credentials)
        usable = bool(address) and safe and is_direct(self._target, reached_at)
        self.address, self.server_id, self._not_before = address if usable else "", server_id, 0.0

    def take(self, timeout_s: float) -> Line | None:
        """A connection for one call; None: there is none to be had now, and gRPC's client is to make the call."""
        if not self.address or self._closed:
            return None
        while self._idle:
            try:
                line = self._idle.pop()
            except IndexError:
                break
            if line.usable():
                self._busy.add(line)
                return line
            line.abandon()
        if time.monotonic() < self._not_before:
            return None
        try:
            line = Line(
                _numeric(self.address), max_message_bytes=_MAX_MESSAGE_BYTES, timeout_s=min(_CONNECT_S, timeout_s)
            )
        except (OSError, InvalidRequest):
            self._not_before = time.monotonic() + self._pause_s
            self._pause_s = min(2 * self._pause_s, _LONGEST_AGAIN_S)
            return None
        self._pause_s = _AGAIN_S
        with self._lock:
            if not self.closed:
                self._busy.add(line)
                return line
        line.abandon()
        return None

    def give_back(self, line: Line) -> None:
        """Takes a connection whose call has ended."""
        self._busy.discard(line)
        if self._closed or len(self._idle) >= _MOST_IDLE:
            line.abandon()
        else:
            self._idle.append(line)

    def discard(self, line: Line) -> None:
        """Ends a connection in the middle of a call."""
        self._busy.discard(line)
        line.abandon()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Ends the connections; calls under way end within a tenth of a second."""
        with self._lock:
            self._closed = True
            busy = list(self._busy)
        for line in busy:
            line.stop()
        self._drop_idle()

    def _drop_idle(self) -> None:
        idle, self._idle = self._idle, deque()
        for line in idle:
            line.abandon()


def _numeric(address: str) -> str:
    """`address` with a number in place of a name. Raises OSError."""
    if address.startswith(_UNIX):
        return address
    host, port = split_address(address)
    *_, found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
    number = str(found[0])
    return f"[{number}]:{port}" if ":" in number else f"{number}:{port}"
