"""The history of evictions: a capped stream in Redis that all shards append to.

An eviction happens in RAM whether Redis can be reached or not; events wait here until they can be appended.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Collection

from google.protobuf import json_format

from rowbank.errors import RedisUnavailable
from rowbank_protos.v1 import admin_pb2
from rowbank_server.storage.connection import Redis, translated
from rowbank_server.storage.layout import Layout

_WAITING_EVENTS = 1000  # While Redis is away; the oldest are given up.
_PAGE = 256
_CLOCKS_MS = 3_600_000
_FIELD = b"event"


class EvictionHistory:
    """Appends and lists eviction events. Thread-safe."""

    def __init__(self, redis: Redis, layout: Layout, *, max_events: int) -> None:
        self._redis = redis
        self._key = layout.evictions
        self._max_events = max_events
        self._waiting: collections.deque[admin_pb2.EvictionEvent] = collections.deque(maxlen=_WAITING_EVENTS)
        self._lock = threading.Lock()
        self._rows: collections.Counter[tuple[str, int]] = collections.Counter()

    @property
    def rows(self) -> dict[tuple[str, int], int]:
        """How many rows went, by table and reason, since this process started."""
        with self._lock:
            return dict(self._rows)

    def record(self, event: admin_pb2.EvictionEvent) -> None:
        """Keeps `event`, in Redis as soon as that can be reached."""
        self._waiting.append(event)
        with self._lock:
            self._rows[event.table, event.reason] += event.rows
        try:
            self.append_waiting()
        except RedisUnavailable:
            return  # The next write-back tries again, and says what is wrong.

    def append_waiting(self) -> None:
        """Appends what waits. Raises RedisUnavailable when Redis cannot be used; then it goes on waiting."""
        with self._lock, translated("eviction history"):
            while self._waiting:
                text = json_format.MessageToJson(self._waiting[0], preserving_proto_field_name=True, indent=None)
                self._redis.xadd(self._key, {_FIELD: text}, maxlen=self._max_events, approximate=True)
                self._waiting.popleft()

    def newest(
        self,
        *,
        table: str,
        limit: int,
        since_ms: int = 0,
        until_ms: int = 0,
        reasons: Collection[int] = (),
        shown: Callable[[str], bool] = lambda table: True,
    ) -> list[admin_pb2.EvictionEvent]:
        """At most `limit` events of `table` (empty: of all tables), newest first. Raises RedisUnavailable.

        Args:
            shown: which tables' events are told.
            since_ms, until_ms: Unix milliseconds, the latter not included; 0: no bound.
            reasons: empty: all.
        """
        events: list[admin_pb2.EvictionEvent] = []
        # An event is appended a moment after its time, by Redis's clock; an hour is for clocks that disagree.
        oldest = str(max(since_ms - _CLOCKS_MS, 0)) if since_ms else "-"
        before = str(until_ms + _CLOCKS_MS) if until_ms else "+"
        while len(events) < limit:
            with translated("eviction history"):
                page: list[tuple[bytes, dict[bytes, bytes]]] = self._redis.xrevrange(
                    self._key, max=before, min=oldest, count=_PAGE
                )
            for entry_id, fields in page:
                event = json_format.Parse(fields[_FIELD], admin_pb2.EvictionEvent(), ignore_unknown_fields=True)
                within = event.at_ms >= since_ms and (not until_ms or event.at_ms < until_ms)
                asked = (not table or event.table == table) and (not reasons or event.reason in reasons)
                if within and asked and shown(event.table):
                    events.append(event)
                before = f"({entry_id.decode()}"
            if len(page) < _PAGE:
                break
        return events[:limit]
