"""Why a row is where it is, or gone: what the table, the histories and the latest mutations say of one key."""

from __future__ import annotations

import time

import numpy as np

from rowbank.errors import RedisUnavailable
from rowbank_protos.v1 import admin_pb2, insight_pb2, tables_pb2
from rowbank_server.ps.durability.authors import Authors
from rowbank_server.ps.tables.table import ShardTable
from rowbank_server.storage.departures import DepartureHistory
from rowbank_server.storage.emptyings import Emptyings

_NAMES = {tables_pb2.Eviction.POLICY_LFU: "lfu", tables_pb2.Eviction.POLICY_LRU: "lru"}


class Explainer:
    """Thread-safe."""

    def __init__(self, departures: DepartureHistory, emptyings: Emptyings, authors: Authors) -> None:
        self._departures = departures
        self._emptyings = emptyings
        self._authors = authors

    def explain(
        self, table: ShardTable, row: admin_pb2.DescribeRowResponse, key: int
    ) -> insight_pb2.ExplainRowResponse:
        """Everything that is known; `row` is the key's, as it is described."""
        now, eviction = int(time.time()), table.spec.eviction
        by_last_used = eviction.policy == tables_pb2.Eviction.POLICY_LRU
        told = insight_pb2.ExplainRowResponse(
            row=row,
            rows=table.rows.size(),
            ranked_by_last_used=by_last_used,
            policy=_NAMES.get(eviction.policy, "none"),
            min_count=table.spec.admission.min_count,
        )
        standing = table.rows.standing(key, score="last_used" if by_last_used else "frequency", now=now)
        if standing is not None:
            told.rows, told.rows_before, told.score = standing
            author = self._authors.of(row.position)
            if author is not None:
                told.client_id, told.caller = author.client_id, author.caller
            if eviction.ttl_s:
                told.expires_in_s = max(row.last_used + eviction.ttl_s - now, 0.0)
        elif table.second_chance.on:
            with table.second_chance.lock:
                told.cold = len(table.second_chance.rows.find(np.array([key], np.int64))[0]) > 0
        if standing is None and table.admits_by_count:
            told.seen = table.rows.seen(key)
        self._add_past(table, key, told, present=standing is not None)
        return told

    def _add_past(self, table: ShardTable, key: int, told: insight_pb2.ExplainRowResponse, *, present: bool) -> None:
        try:
            departures = self._departures.find(table.entry.table_id, key)
            told.known_since_s = self._departures.reaches_back_to(table.entry.table_id)
            emptyings = self._emptyings.of(table.name)
        except RedisUnavailable:
            told.departures_unknown = True
            return
        for place, one in enumerate(departures):
            told.departures.add(
                at_s=one.at_s,
                reason=one.reason,
                score_cut=one.score_cut,
                frequency=one.frequency,
                last_used=one.last_used,
                came_back=present or place > 0,
            )
        for emptied in emptyings:
            told.emptyings.add(at_s=emptied.at_s, dropped=emptied.dropped, rows=emptied.rows)
