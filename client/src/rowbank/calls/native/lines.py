"""The connections to one server's native endpoint."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Collection

from rowbank.addresses import split_address
from rowbank.calls.forked import forks
from rowbank.calls.native import names
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
_FAIR_S = 0.1  # Less time than that to connect says nothing of a server.
# After a connection failed, calls go over gRPC's client for so long, and twice as long each time that it fails again.
_AGAIN_S, _LONGEST_AGAIN_S = 10.0, 600.0
_MOST = 64  # Connections in use at once; further calls go over gRPC's client.
_MOST_IDLE = 16
_IDLE_S = 60.0  # One that nobody needed for so long is closed when another is given back, and used no more.
_SWITCH = "ROWBANK_NATIVE"
_UNIX = "unix:"


class Lines:
    """What a client has of a server's native endpoint. Threads may share it; without connections in a forked child.

    Args:
        target: where the client reaches the server.
        wanted: whether calls may go there at all.

    Attributes:
        why_not: why no call goes there, in words; empty: they do.
        server_id: of the process that told the address.
        tokens: what calls show; None: nothing.
    """

    def __init__(self, target: str, credentials: Credentials, *, wanted: bool = True) -> None:
        self._target = target
        self._credentials = credentials
        self._told = ("", "")
        self.why_not = _unwanted(credentials, wanted=wanted)
        self._wanted = not self.why_not
        self.tokens = self._read_tokens()
        self.address = ""
        self.server_id = ""
        self._begin()
        forks.watch(self)

    def renew(self) -> None:
        """Begins anew in a forked child; the parent's connections are closed here without a word."""
        for line in self._all:
            line.disown()
        self._begin()

    def _begin(self) -> None:
        self._idle: deque[tuple[Line, float]] = deque()  # The one used last is the last.
        self._all: dict[Line, tuple[str, str]] = {}  # With what the server had told when it was made.
        # A signal's handler may close the client, or make a call, wherever the main thread is.
        self._lock = threading.RLock()
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
        told = (address, server_id)
        try:
            why_not = self._objection(address, reached_at)
        except TimeoutError as error:
            why_not, told = str(error), ("", "")  # It is looked at again when the server tells it again.
        with self._lock:
            self._told, self.why_not = told, why_not
            self.address, self.server_id, self._not_before = "" if why_not else address, server_id, 0.0
            unused = self._drained()
        for line in unused:
            self.discard(line)

    def _objection(self, address: str, reached_at: Collection[str]) -> str:
        if not address:
            return "the server has none"
        if not address.startswith(_UNIX) and not may_go_to(address, self._credentials):
            return "a token would go there in plain text"
        if not is_direct(self._target, reached_at):
            told = ", ".join(sorted(reached_at))
            return f"the server says that it is reached at {told}, and not at {self._target}: something is in between"
        return ""

    def forget(self, server_id: str) -> None:
        """Another process answers there than `server_id` names: no more calls go there until a server tells again."""
        with self._lock:
            if self.server_id == server_id:
                self.address, self._told = "", ("", "")
                self.why_not = "another process answers there"

    def take(self, timeout_s: float) -> Line | None:
        """A connection for one call; None: there is none to be had now, and gRPC's client is to make the call."""
        while True:
            with self._lock:
                told, address = self._told, self.address
                if not address or self._closed:
                    return None
                if not self._idle:
                    if len(self._all) >= _MOST or time.monotonic() < self._not_before:
                        return None
                    break
                line, since = self._idle.pop()
            # What is between may have forgotten one that nobody used.
            if since >= time.monotonic() - _IDLE_S and line.usable():
                return line
            self.discard(line)
        return self._connect(address, told, min(_CONNECT_S, timeout_s))

    def _connect(self, address: str, told: tuple[str, str], timeout_s: float) -> Line | None:
        deadline = time.monotonic() + timeout_s
        try:
            number = _numeric(address, timeout_s)
            left_s = max(0.001, deadline - time.monotonic())
            line = Line(number, max_message_bytes=_MAX_MESSAGE_BYTES, timeout_s=left_s)
        except (OSError, InvalidRequest):
            with self._lock:  # Of threads that tried at once, one counts.
                if timeout_s >= _FAIR_S and time.monotonic() >= self._not_before:
                    self._not_before = time.monotonic() + self._pause_s
                    self._pause_s = min(2 * self._pause_s, _LONGEST_AGAIN_S)
            return None
        self._pause_s = _AGAIN_S
        with self._lock:
            if not self._closed and told == self._told:
                self._all[line] = told
                return line
        line.abandon()
        return None

    def give_back(self, line: Line) -> None:
        """Takes a connection whose call has ended."""
        now = time.monotonic()
        unused = []
        with self._lock:
            if self._closed or self._all.get(line) != self._told or len(self._idle) >= _MOST_IDLE:
                unused.append(line)
            else:
                self._idle.append((line, now))
            while self._idle and self._idle[0][1] < now - _IDLE_S:
                unused.append(self._idle.popleft()[0])
        for one in unused:
            self.discard(one)

    def discard(self, line: Line) -> None:
        """Ends a connection, also in the middle of a call."""
        with self._lock:
            self._all.pop(line, None)
        line.abandon()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Ends the connections; calls under way end within a tenth of a second."""
        with self._lock:
            self._closed = True
            unused = self._drained()
            busy = self._all.keys() - set(unused)
        for line in busy:
            line.stop()
        for line in unused:
            self.discard(line)

    def _drained(self) -> list[Line]:
        """The idle ones, which are nobody's from now on."""
        idle, self._idle = self._idle, deque()
        return [line for line, _ in idle]


def _unwanted(credentials: Credentials, *, wanted: bool) -> str:
    """Why calls may not go there, in words; empty: they may. Raises InvalidRequest."""
    if not isinstance(wanted, bool):
        raise InvalidRequest(f"native: expected True or False, got {wanted!r}")
    if Line is None:
        return "the client was installed where nghttp2 is not"
    if not wanted:
        return "the client was made with native=False"
    if credentials.ca_file:
        return "the client speaks TLS"
    return f"{_SWITCH}=0 turns it off" if os.environ.get(_SWITCH, "1") == "0" else ""


def _numeric(address: str, timeout_s: float) -> str:
    """`address` with a number in place of a name. Raises OSError."""
    if address.startswith(_UNIX):
        return address
    host, port = split_address(address)
    number = names.numbers(host, timeout_s)[0]
    return f"[{number}]:{port}" if ":" in number else f"{number}:{port}"
