"""Who follows a shard now, and how far behind each is."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from rowbank.errors import Overloaded
from rowbank_protos.v1 import deltas_pb2
from rowbank_server.ps.deltas.asking import Asked
from rowbank_server.ps.deltas.log import DeltaLog


@dataclass(slots=True, eq=False)
class Follower:
    """One stream; written by its own thread alone.

    Attributes:
        index: of the next item of the log; None: it reads the journal.
        position: sent so far.
    """

    asked: Asked
    index: int | None = None
    position: int = 0
    source: str = ""
    sent_bytes: int = 0
    connected: float = field(default_factory=time.monotonic)


SERVERS = 16  # Standbys and replicas that may follow whoever else does.
_SERVER_ROLES = frozenset({"standby", "replica"})


class Followers:
    """Thread-safe.

    Args:
        most: how many may follow, servers left out.
    """

    def __init__(self, log: DeltaLog, *, most: int) -> None:
        self._log = log
        self._most = most
        self._lock = threading.Lock()
        self._current: list[Follower] = []

    @contextlib.contextmanager
    def joined(self, asked: Asked) -> Iterator[Follower]:
        """Around a stream. Raises Overloaded if there are as many as may be."""
        follower = Follower(asked)
        with self._lock:
            self._require_room(asked)
            self._current.append(follower)
        try:
            yield follower
        finally:
            with self._lock:
                self._current.remove(follower)

    def _require_room(self, asked: Asked) -> None:
        serves = asked.role in _SERVER_ROLES
        alike = sum((follower.asked.role in _SERVER_ROLES) == serves for follower in self._current)
        if alike >= (SERVERS if serves else self._most):
            who, advice = ("servers", "at most") if serves else ("followers", "setting max_followers:")
            raise Overloaded(
                f"this shard has {alike} {who} that follow it, and no more may ({advice} {alike})",
                metadata={"setting": "" if serves else "max_followers", "limit": str(alike)},
            )

    def current(self) -> list[deltas_pb2.Follower]:
        """All, the oldest first."""
        with self._lock:
            followers = list(self._current)
        return [self._describe(follower) for follower in followers]

    def _describe(self, follower: Follower) -> deltas_pb2.Follower:
        asked = follower.asked
        index = self._log.first()[0] if follower.index is None else follower.index
        behind, oldest_ms = self._log.lag(index)
        return deltas_pb2.Follower(
            name=asked.name,
            role=asked.role,
            address=asked.address,
            detail=asked.detail,
            tables=sorted(asked.tables),
            position=follower.position,
            lag_records=behind,
            lag_s=max(0.0, time.time() - oldest_ms / 1e3) if behind and oldest_ms else 0.0,
            source=follower.source,
            sent_bytes=follower.sent_bytes,
            connected_s=time.monotonic() - follower.connected,
        )
