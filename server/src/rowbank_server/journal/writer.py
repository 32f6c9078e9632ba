"""The connections that append to a journal and that wait for disks and replicas."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Sequence
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from rowbank_server.storage.connection import Redis, translated
from rowbank_server.storage.node import NodeConnection, joined, packed

_WHAT = "journal"
_ID_IS_TAKEN = "equal or smaller"
_LONGEST_WAIT_S = 3600.0  # Where connections have no time limit.
_BARRIER_MS = 2000  # Redis's own time limit for one wait; the wait is repeated.


class StreamWriter(NodeConnection):
    """Appends groups of records to one stream."""

    def __init__(self, redis: Redis, key: str) -> None:
        super().__init__(redis, key)
        self._unanswered = 0  # The group of a try that may have arrived.

    @property
    def key(self) -> str:
        """The stream's name."""
        return self._key

    def plain_socket(self) -> socket.socket | None:
        """The connection's socket, for whoever appends by himself between two calls; None: there is none that bytes
        may be written to as they are."""
        found = getattr(self._connection, "_sock", None)
        return found if isinstance(found, socket.socket) and not isinstance(found, ssl.SSLSocket) else None

    def timeout_s(self) -> float:
        """How long an answer may take."""
        return float(getattr(self._connection, "socket_timeout", None) or _LONGEST_WAIT_S)

    def lose(self, group: int, *, unknown: bool) -> None:
        """Gives up the connection over which somebody tried to append `group`; `unknown`: whether it arrived."""
        if unknown:
            self._unanswered = group
        self.close()

    def append(self, group: int, records: Sequence[Sequence[bytes]]) -> bool:
        """Appends `records`, each given in pieces, as entry `group`, a number that rises: once, however often tried.

        Returns False if the stream does not exist: it was sealed, or Redis lost it.

        Raises:
            RedisUnavailable: it is not known whether they were appended; try again.
        """
        command = _xadd(self._key.encode(), group, records)
        with translated(_WHAT):
            if self.is_open:
                # A connection that went stale while it lay idle is no failure yet.
                with contextlib.suppress(RedisConnectionError):
                    return self._append_once(group, command)
            return self._append_once(group, command)

    def _append_once(self, group: int, command: list[bytes]) -> bool:
        self.open()  # If this fails, nothing was sent.
        try:
            return self.call(command) is not None
        except ResponseError as error:
            if self._unanswered == group and _ID_IS_TAKEN in str(error):
                return True  # An earlier try arrived. Without one, the id would be another writer's.
            raise
        except BaseException:
            self._unanswered = group
            raise


class Barrier(NodeConnection):
    """Waits until what any connection wrote before is on Redis's disk, or on a replica where that is all it offers."""

    def __init__(self, redis: Redis, state_key: str) -> None:
        super().__init__(redis, state_key)
        self._command: tuple[bytes, ...] | None = None
        self._asking = threading.Lock()  # Any number of callers may ask at once, over one connection.

    def supported(self) -> bool:
        """Whether this Redis can tell. Thread-safe. Raises RedisUnavailable."""
        with self._asking, translated(_WHAT):
            self._command = self._find_command()
        return self._command is not None

    def passed(self) -> bool:
        """Waits for up to two seconds; False: not there yet. Raises RedisUnavailable."""
        if self._command is None and not self.supported():
            return False
        command = self._command
        assert command is not None
        # Both commands speak of this connection's own last write, so there has to be one.
        with translated(_WHAT):
            self.call([packed(b"HINCRBY", self._key.encode(), b"barriers", b"1")])
            answer = self.call([packed(*command)])
        return int(answer[0] if isinstance(answer, list) else answer) >= 1

    def _find_command(self) -> tuple[bytes, ...] | None:
        known: Any = self.call([packed(b"COMMAND", b"INFO", b"WAITAOF")])
        facts = b"".join(self.call([packed(b"INFO", part)]) for part in (b"persistence", b"replication"))
        has_command = known and next(iter(known.values() if isinstance(known, dict) else known))
        if has_command and b"aof_enabled:1" in facts and self._syncs():
            return b"WAITAOF", b"1", b"0", b"%d" % _BARRIER_MS
        if b"connected_slaves:0" not in facts:
            return b"WAIT", b"1", b"%d" % _BARRIER_MS
        return None

    def _syncs(self) -> bool:
        """Whether Redis syncs its file by itself. One that does not tell is taken to."""
        try:
            answer: Any = self.call([packed(b"CONFIG", b"GET", b"appendfsync")])
        except ResponseError:  # No permission.
            return True
        return b"no" not in (answer.values() if isinstance(answer, dict) else answer)


def close_quietly(connection: NodeConnection | None) -> None:
    """Closes a connection that may be broken."""
    if connection is not None:
        with contextlib.suppress(Exception):
            connection.close()


def _xadd(key: bytes, group: int, records: Sequence[Sequence[bytes]]) -> list[bytes]:
    """XADD in Redis's protocol, in pieces: large ones are the callers' own bytes, not copies."""
    entry_id = b"%d-0" % group
    out = [
        b"*%d\r\n$4\r\nXADD\r\n$%d\r\n%b\r\n$10\r\nNOMKSTREAM\r\n$%d\r\n%b\r\n"
        % (4 + 2 * len(records), len(key), key, len(entry_id), entry_id)
    ]
    for place, pieces in enumerate(records):
        name = b"%d" % place
        out.append(b"$%d\r\n%b\r\n$%d\r\n" % (len(name), name, sum(map(len, pieces))))
        out += pieces
        out.append(b"\r\n")
    return list(joined(out))
