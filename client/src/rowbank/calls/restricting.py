"""Restrict: one cut through the rows of all shards, so that what stays is the best of the table, not of each shard.

Problem: the rows to go are the lowest of all, and no shard knows the others'. Idea: rows of all shards have one order,
in which no two are equal (score, last use, a hash of the key). Each shard gives a sample of its ranks, which says
between which two ranks the cut lies; then each counts its rows below those and lists the few between; so the cut is
known, and with it how many rows each shard keeps. That is all that the shards are then told, so a request that is made
again does no harm. A sample of a shard that lists all of its rows saves the second question; one that misleads, or a
table that is written to meanwhile, costs another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank import admin
from rowbank._checks import at_least
from rowbank.calls import methods
from rowbank.calls.near_cache import writing
from rowbank.calls.verbs import Calls, score_of
from rowbank.errors import InternalError, InvalidRequest
from rowbank_protos.v1 import admin_pb2

_REASONS = {"restrict": admin_pb2.EVICTION_REASON_RESTRICT, "manual": admin_pb2.EVICTION_REASON_MANUAL}
_SAMPLE = 16_384  # Ranks that a shard's first answer has.
_LISTED = 65_536  # And a later one: 3 % of two million rows.
_MOST_ROUNDS = 16

Lots = npt.NDArray[np.uint64]
Place = tuple[int, int]


def restrict(
    calls: Calls,
    table: str,
    num_reserved: int,
    trigger: int | None,
    by: str,
    *,
    sample: int,
    preview: bool,
    reason: str = "restrict",
) -> admin.RestrictReport:
    """See `Table.restrict`. Not retried: a repeat does no harm, but would report that nothing was to be done."""
    keep = at_least("num_reserved", num_reserved, 0)
    above = keep if trigger is None else at_least("trigger", trigger, 0, also=", or None")
    if 0 < above < keep:
        raise InvalidRequest(f"trigger: expected at least num_reserved = {keep}, or None, got {above}")
    named = at_least("sample", sample, 0, bits=32)
    if reason not in _REASONS:
        raise InvalidRequest(f"reason: expected one of {', '.join(_REASONS)}, got {reason!r}")
    request = admin_pb2.RestrictRequest(
        table=table,
        num_reserved=keep,
        trigger=above,
        score=score_of(by),
        reason=_REASONS[reason],
        sample_keys=named,
    )
    requests = [request]
    if calls.layout.shard_count > 1:
        shares, request.now_s = _shares(calls, request)
        requests = [request] * calls.layout.shard_count
        if shares is not None:
            requests = [_with_share(request, share) for share in shares]
    method = methods.PREVIEW_EVICTION if preview else methods.RESTRICT
    with writing(None if preview else calls.near, {table: None}):
        answers = calls.transport.run(method, list(enumerate(requests)), retry=preview)
    return admin.merge_restrictions(answers, named)


def _with_share(request: admin_pb2.RestrictRequest, share: int) -> admin_pb2.RestrictRequest:
    own = admin_pb2.RestrictRequest()
    own.CopyFrom(request)
    own.num_reserved = own.trigger = share
    return own


@dataclass(frozen=True, slots=True)
class _Bracket:
    """Two ranks with the cut between them; None: no bound."""

    low: Place | None = None
    high: Place | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Standing:
    """What all shards say of the rows in a bracket.

    Attributes:
        rows, below, within: [shards] int64.
        standing, lot, shard: [N], of the listed rows in the order of eviction.
        weight: [N], how many rows each stands for.
    """

    rows: npt.NDArray[np.int64]
    below: npt.NDArray[np.int64]
    within: npt.NDArray[np.int64]
    standing: Lots
    lot: Lots
    shard: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float64]

    @classmethod
    def of(cls, answers: Sequence[admin_pb2.RankRowsResponse]) -> _Standing:
        standings = [np.frombuffer(answer.standings, "<u8") for answer in answers]
        counts = np.array([len(part) for part in standings], np.int64)
        within = np.array([answer.within for answer in answers], np.int64)
        standing = np.concatenate(standings)
        lot = np.concatenate([np.frombuffer(answer.lots, "<u8") for answer in answers])
        shard = np.repeat(np.arange(len(answers)), counts)
        order = np.lexsort((lot, standing))
        return cls(
            rows=np.array([answer.rows for answer in answers], np.int64),
            below=np.array([answer.below for answer in answers], np.int64),
            within=within,
            standing=standing[order],
            lot=lot[order],
            shard=shard[order],
            weight=np.repeat(within / np.maximum(counts, 1), counts)[order],
        )

    @property
    def listed(self) -> bool:
        """Whether every row within is."""
        return len(self.shard) == int(self.within.sum())

    def shares(self, going: int) -> list[int]:
        """How many rows each shard keeps when the first `going` of all go; the last of them is listed."""
        first = np.bincount(self.shard[: going - int(self.below.sum())], minlength=len(self.rows))
        kept: list[int] = (self.rows - self.below - first).tolist()
        return kept

    def narrowed(self, bracket: _Bracket, going: int) -> _Bracket:
        """A bracket within `bracket` that most likely has the `going`-th row in it, by the listed ones."""
        below, within = int(self.below.sum()), int(self.within.sum())
        if going <= below:
            return _Bracket(None, bracket.low)
        if going > below + within:
            return _Bracket(bracket.high, None)
        at = int(np.searchsorted(np.cumsum(self.weight), going - below))
        margin = int(2.5 * np.sqrt(len(self.shard))) + 1  # Five standard deviations of a place in the sample.
        low, high = at - margin, at + margin
        return _Bracket(
            bracket.low if low < 0 else self._place(low), bracket.high if high >= len(self.shard) else self._place(high)
        )

    def _place(self, index: int) -> Place:
        return int(self.standing[index]), int(self.lot[index])


def _shares(calls: Calls, request: admin_pb2.RestrictRequest) -> tuple[list[int] | None, int]:
    """How many rows each shard keeps, None if none is to go, and the second at which frequencies were compared."""
    ask = admin_pb2.RankRowsRequest(table=request.table, score=request.score, limit=_SAMPLE)
    least = max(request.num_reserved, request.trigger)
    bracket = _Bracket()
    for _ in range(_MOST_ROUNDS):
        answers = calls.transport.run(methods.RANK_ROWS, [(shard, ask) for shard in range(calls.layout.shard_count)])
        found = _Standing.of(answers)
        rows = int(found.rows.sum())
        now_s = max(answer.now_s for answer in answers)
        if rows <= least:
            return None, now_s
        if any(answer.now_s != now_s for answer in answers):  # Clocks differ: once more, by the latest of them.
            ask.now_s = now_s
            continue
        going, below = rows - request.num_reserved, int(found.below.sum())
        if found.listed and below < going <= below + int(found.within.sum()):
            return found.shares(going), now_s
        bracket = found.narrowed(bracket, going)
        ask = _asked(request, bracket, now_s)
    raise InternalError(
        f"table {request.table!r}: its rows changed faster than they were counted, {_MOST_ROUNDS} times in a row; "
        "nothing was evicted; try again when fewer rows are written"
    )


def _asked(request: admin_pb2.RestrictRequest, bracket: _Bracket, now_s: int) -> admin_pb2.RankRowsRequest:
    def rank(place: Place | None) -> Any:
        return None if place is None else admin_pb2.Rank(standing=place[0], lot=place[1])

    return admin_pb2.RankRowsRequest(
        table=request.table,
        score=request.score,
        now_s=now_s,
        low=rank(bracket.low),
        high=rank(bracket.high),
        limit=_LISTED,
    )
