"""Reads the hashes of entities, under whatever kind of key they were written.

We write an entity's id as INT64. A feature store that others fill may have INT32 or string ids; these are other keys.
So a read asks for the kinds that were met so far in one request, and, for entities that are not there or too old, once
more for the others: who writes through us pays nothing but for strangers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import redis

from rowbank.errors import InvalidFeature
from rowbank_server.features import layout, reading
from rowbank_server.features.hash_reads import read_hashes
from rowbank_server.features.layout import KeyKind
from rowbank_server.features.reading import FeatureStatus, Plan, StoredRow

_ALL = (KeyKind.INT64, KeyKind.INT32, KeyKind.STRING)


class EntityReader:
    """Thread-safe, as its Redis client is. Raises what redis-py raises."""

    def __init__(self, client: redis.Redis, namespace: str, clock: Callable[[], float]) -> None:
        self._redis: Any = client
        self._namespace = namespace
        self._clock = clock
        self._met: dict[str, tuple[KeyKind, ...]] = {}

    def has_met_others(self, join_key: str) -> bool:
        """Whether entities of this join key were met under other kinds of keys than ours."""
        return join_key in self._met

    def keys(self, join_key: str, entity: int) -> list[bytes]:
        """Every key that an entity may have; ours first."""
        return [layout.entity_key(join_key, entity, self._namespace, kind) for kind in _kinds(_ALL, entity)]

    def read(self, plans: Sequence[Plan], entities: Sequence[int]) -> list[list[StoredRow] | InvalidFeature]:
        """A row per plan for each entity, or why it cannot be read."""
        join_key = plans[0].view.entity
        met = self._met.get(join_key, (KeyKind.INT64,))
        found = self._read(plans, entities, met)
        strangers = [at for at, outcome in enumerate(found) if _is_without(outcome)]
        others = tuple(kind for kind in _ALL if kind not in met)
        if not strangers or not others:
            return found
        for at, outcome in zip(strangers, self._read(plans, [entities[at] for at in strangers], others), strict=True):
            if not _is_absent(outcome):
                mine = found[at]  # Too old, or nothing.
                if isinstance(mine, list) and isinstance(outcome, list):
                    outcome = _united([mine, outcome])
                found[at] = outcome
                self._met[join_key] = _ALL
        return found

    def read_own(self, pipe: Any, plans: Sequence[Plan], entity: int) -> list[StoredRow]:
        """A row per plan through a pipeline that answers at once and watches our own key; what that lacks is looked
        for under the others, which nobody changes through us. Raises InvalidFeature."""
        key = layout.entity_key(plans[0].view.entity, entity, self._namespace)
        rows = _rows(plans, entity, pipe.hmget(key, _hash_fields(plans)), self._clock())
        if all(len(row.values) == len(plan.fields) for row, plan in zip(rows, plans, strict=True)):
            return rows
        (others,) = self._read(plans, [entity], [kind for kind in _ALL if kind is not KeyKind.INT64])
        if isinstance(others, InvalidFeature):
            raise others
        return _united([rows, others])

    def _read(
        self, plans: Sequence[Plan], entities: Sequence[int], kinds: Sequence[KeyKind]
    ) -> list[list[StoredRow] | InvalidFeature]:
        join_key, hash_fields = plans[0].view.entity, _hash_fields(plans)
        keys = [
            [layout.entity_key(join_key, entity, self._namespace, kind) for kind in _kinds(kinds, entity)]
            for entity in entities
        ]
        replies = iter(read_hashes(self._redis, list(itertools.chain.from_iterable(keys)), hash_fields))
        now = self._clock()
        return [
            _outcome(plans, entity, list(itertools.islice(replies, len(mine))), now)
            for entity, mine in zip(entities, keys, strict=True)
        ]


def _kinds(kinds: Sequence[KeyKind], entity: int) -> list[KeyKind]:
    return [kind for kind in kinds if layout.can_hold(kind, entity)]


def _hash_fields(plans: Sequence[Plan]) -> list[bytes]:
    return [field for plan in plans for field in plan.hash_fields]


def _outcome(
    plans: Sequence[Plan], entity: int, replies: Sequence[Any], now: float
) -> list[StoredRow] | InvalidFeature:
    for reply in replies:
        if isinstance(reply, redis.ResponseError) and str(reply).startswith("WRONGTYPE"):
            view = plans[0].view
            return InvalidFeature(f"{view.name} of {view.entity} {entity}: what Redis has under its key is no hash")
        if isinstance(reply, Exception):
            raise reply
    try:
        return _united([_rows(plans, entity, reply, now) for reply in replies])
    except InvalidFeature as error:
        return error


def _rows(plans: Sequence[Plan], entity: int, reply: Sequence[bytes | None], now: float) -> list[StoredRow]:
    rows, start = [], 0
    for plan in plans:
        end = start + len(plan.hash_fields)
        rows.append(reading.parse(plan, entity, reply[start:end], now))
        start = end
    return rows


def _united(kinds: Sequence[Sequence[StoredRow]]) -> list[StoredRow]:
    """One row per plan, of a list of such rows for each kind of key."""
    if len(kinds) == 1:
        return list(kinds[0])
    return [reading.united(rows) for rows in zip(*kinds, strict=True)]


def _is_absent(outcome: list[StoredRow] | InvalidFeature) -> bool:
    return isinstance(outcome, list) and all(row.status is FeatureStatus.NOT_FOUND for row in outcome)


def _is_without(outcome: list[StoredRow] | InvalidFeature) -> bool:
    """Whether another kind of key might have what this one lacks: nothing is there, or nothing that is not too old."""
    return isinstance(outcome, list) and all(row.status is not FeatureStatus.PRESENT for row in outcome)
