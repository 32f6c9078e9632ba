"""The connections that append to a journal and that wait for disks and replicas."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from redis.exceptions import AskError, ClusterDownError, MovedError, ReadOnlyError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from rowbank_server.storage.connection import Redis, is_cluster, translated

_WHAT = "journal"
_JOIN_BELOW_BYTES = 16 << 10  # Smaller pieces are copied together; larger ones go to the socket as they are.
_ID_IS_TAKEN = "equal or smaller"
_BARRIER_MS = 2000  # Redis's own time limit for one wait; the wait is repeated.


class _NodeConnection:
    """One connection to the node that holds `key`, kept from call to call. For one thread."""

    def __init__(self, redis: Redis, key: str) -> None:
        self._redis = redis
        self._key = key
        self._pool: Any = None
        self._connection: Any = None

    def close(self) -> None:
        """Gives the connection up; the next call opens another."""
        if self._connection is not None:
            self._connection.disconnect()
            self._pool.release(self._connection)
            self._connection = None

    def _send(self, pieces: list[bytes]) -> Any:
        """Raises what redis-py raises; unless that is an answer of Redis, the connection is closed."""
        try:
            connection = self._connected()
            connection.send_packed_command(pieces, check_health=False)
            return connection.read_response()
        except ResponseError as error:
            # Of a former master the name may lead to the new one now.
            if isinstance(error, (MovedError, AskError, ClusterDownError, ReadOnlyError)):
                self.close()
                if is_cluster(self._redis):
                    self._redis.nodes_manager.initialize()
            raise
        except BaseException:
            self.close()
            raise

    def _connected(self) -> Any:
        if self._connection is None:
            client = self._redis
            if is_cluster(client):
                client = client.get_redis_connection(client.get_node_from_key(self._key))
            self._pool = client.connection_pool
            self._connection = self._pool.get_connection()
        return self._connection


class StreamWriter(_NodeConnection):
    """Appends groups of records to one stream."""

    def __init__(self, redis: Redis, key: str) -> None:
        super().__init__(redis, key)
        self._unanswered = 0  # The group of a try that may have arrived.

    def append(self, group: int, records: Sequence[Sequence[bytes]]) -> bool:
        """Appends `records`, each given in pieces, as entry `group`, a number that rises: once, however often tried.

        Returns False if the stream does not exist: it was sealed, or Redis lost it.

        Raises:
            RedisUnavailable: it is not known whether they were appended; try again.
        """
        command = _xadd(self._key.encode(), group, records)
        with translated(_WHAT):
            if self._connection is not None:
                # A connection that went stale while it lay idle is no failure yet.
                with contextlib.suppress(RedisConnectionError):
                    return self._append_once(group, command)
            return self._append_once(group, command)

    def _append_once(self, group: int, command: list[bytes]) -> bool:
        self._connected()  # If this fails, nothing was sent.
        try:
            return self._send(command) is not None
        except ResponseError as error:
            if self._unanswered == group and _ID_IS_TAKEN in str(error):
                return True  # An earlier try arrived. Without one, the id would be another writer's.
            raise
        except BaseException:
            self._unanswered = group
            raise


class Barrier(_NodeConnection):
    """Waits until what any connection wrote before is on Redis's disk, or on a replica where that is all it offers."""

    def __init__(self, redis: Redis, state_key: str) -> None:
        super().__init__(redis, state_key)
        self._command: tuple[bytes, ...] | None = None

    def supported(self) -> bool:
        """Whether this Redis can tell. Raises RedisUnavailable."""
        with translated(_WHAT):
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
            self._send(_packed(b"HINCRBY", self._key.encode(), b"barriers", b"1"))
            answer = self._send(_packed(*command))
        return int(answer[0] if isinstance(answer, list) else answer) >= 1

    def _find_command(self) -> tuple[bytes, ...] | None:
        known: Any = self._send(_packed(b"COMMAND", b"INFO", b"WAITAOF"))
        facts = b"".join(self._send(_packed(b"INFO", part)) for part in (b"persistence", b"replication"))
        if known and next(iter(known.values() if isinstance(known, dict) else known)) and b"aof_enabled:1" in facts:
            return b"WAITAOF", b"1", b"0", b"%d" % _BARRIER_MS
        if b"connected_slaves:0" not in facts:
            return b"WAIT", b"1", b"%d" % _BARRIER_MS
        return None


def close_quietly(connection: _NodeConnection | None) -> None:
    """Closes a connection that may be broken."""
    if connection is not None:
        with contextlib.suppress(Exception):
            connection.close()


def _packed(*arguments: bytes) -> list[bytes]:
    parts = [b"*%d\r\n" % len(arguments)]
    parts += [b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments]
    return [b"".join(parts)]


def _xadd(key: bytes, group: int, records: Sequence[Sequence[bytes]]) -> list[bytes]:
    """XADD in Redis's protocol, in pieces: large ones are the callers' own bytes, not copies."""
    entry_id = b"%d-0" % group
    out: list[bytes] = []
    small = [
        b"*%d\r\n$4\r\nXADD\r\n$%d\r\n%b\r\n$10\r\nNOMKSTREAM\r\n$%d\r\n%b\r\n"
        % (4 + 2 * len(records), len(key), key, len(entry_id), entry_id)
    ]
    for place, pieces in enumerate(records):
        name = b"%d" % place
        small.append(b"$%d\r\n%b\r\n$%d\r\n" % (len(name), name, sum(map(len, pieces))))
        for piece in pieces:
            if len(piece) < _JOIN_BELOW_BYTES:
                small.append(piece)
            else:
                out += [b"".join(small), piece]
                small = []
        small.append(b"\r\n")
    return [*out, b"".join(small)]
