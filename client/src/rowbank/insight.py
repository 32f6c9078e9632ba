"""What operators ask of eviction: policies to try in thought, why a row is where it is or gone, rows by frequency."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rowbank._checks import at_least, number
from rowbank.admin import RowInfo, row_info
from rowbank.errors import InvalidRequest
from rowbank_protos.v1 import deltas_pb2, insight_pb2

_POLICIES = {
    "none": insight_pb2.WhatIf.POLICY_NONE,
    "lfu": insight_pb2.WhatIf.POLICY_LFU,
    "lru": insight_pb2.WhatIf.POLICY_LRU,
}
_NAMES = {number_: name for name, number_ in _POLICIES.items()}
REASONS = {
    deltas_pb2.REMOVAL_REASON_REMOVED: "removed",
    deltas_pb2.REMOVAL_REASON_CLEARED: "cleared",
    deltas_pb2.REMOVAL_REASON_CAPACITY: "capacity",
    deltas_pb2.REMOVAL_REASON_BYTES: "bytes",
    deltas_pb2.REMOVAL_REASON_TTL: "ttl",
    deltas_pb2.REMOVAL_REASON_RESTRICT: "restrict",
    deltas_pb2.REMOVAL_REASON_MANUAL: "manual",
}
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_AMOUNT = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?(?:[eE][0-9]+)?)(k|M|G|KiB|MiB|GiB|TiB)?")
_MOST_S = 4_294_967_295.0


@dataclass(frozen=True, slots=True)
class WhatIf:
    """A policy to try in thought, over all shards. What is None is as the table has it.

    Attributes:
        policy: "lfu", "lru" or "none".
        max_rows, max_bytes: caps; 0: none.
        low_watermark: share of the cap that a cycle evicts down to, above 0 and at most 1.
        ttl_s: rows that were not used for so long expire; 0: none does.
        half_life_s: of frequencies; 0: they do not decay.
        min_count: occurrences that a key needs for its row, at most 255.
    """

    policy: str | None = None
    max_rows: int | None = None
    max_bytes: int | None = None
    low_watermark: float | None = None
    ttl_s: float | None = None
    half_life_s: float | None = None
    min_count: int | None = None

    @classmethod
    def parse(cls, text: str) -> WhatIf:
        """The policy in `text`, such as "max_rows=2M,policy=lfu,half_life_s=3600". Raises `InvalidRequest`."""
        given: dict[str, Any] = {}
        known = [field.name for field in dataclasses.fields(cls)]
        for part in text.split(","):
            name, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals or name not in known:
                raise InvalidRequest(f"what-if: expected NAME=VALUE with NAME one of {', '.join(known)}, got {part!r}")
            if name in given:
                raise InvalidRequest(f"what-if: {name} is given twice in {text!r}")
            given[name] = value if name == "policy" else _amount(name, value)
        return cls(**given)

    def to_proto(self) -> insight_pb2.WhatIf:
        """The policy on the wire. Raises `InvalidRequest`."""
        message = insight_pb2.WhatIf()
        if self.policy is not None:
            if self.policy not in _POLICIES:
                raise InvalidRequest(f"policy: expected one of {', '.join(_POLICIES)}, got {self.policy!r}")
            message.policy = _POLICIES[self.policy]
        for name in ("max_rows", "max_bytes", "min_count"):
            value = getattr(self, name)
            if value is not None:
                setattr(message, name, at_least(name, value, 0, bits=8 if name == "min_count" else 62))
        for name in ("ttl_s", "half_life_s"):
            value = getattr(self, name)
            if value is not None:
                expected = "seconds of at least 0, below 2**32"
                checked = number(name, value, expected, low=0.0, high=_MOST_S, error=InvalidRequest)
                setattr(message, name, checked)
        if self.low_watermark is not None:
            expected = "a number above 0 and at most 1"
            message.low_watermark = number(
                "low_watermark", self.low_watermark, expected, above=0.0, high=1.0, error=InvalidRequest
            )
        return message

    @classmethod
    def from_proto(cls, message: insight_pb2.WhatIf) -> WhatIf:
        """The policy in `message`."""
        given = {field.name: getattr(message, field.name) for field, _ in message.ListFields()}
        given["policy"] = _NAMES.get(given.get("policy", 0))
        return cls(**given)

    def __str__(self) -> str:
        parts = [f"policy={self.policy}"] if self.policy else []
        for name in ("max_rows", "max_bytes", "ttl_s", "half_life_s", "min_count"):
            value = getattr(self, name)
            if value and not (name == "min_count" and value == 1):
                parts.append(f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}")
        if self.low_watermark and (self.max_rows or self.max_bytes) and self.low_watermark != 0.9:
            parts.append(f"low_watermark={self.low_watermark:g}")
        return ",".join(parts)


@dataclass(frozen=True, slots=True)
class SimulatedPolicy:
    """What a policy would do, over all shards.

    Attributes:
        policy: whole: what was not asked for is what the table has.
        hit_rate: share of pulls that would have found their rows, of pushes if the sample has no pulls; None: the
            sample has nothing to count.
        regret_share: share of pushes of keys that had been evicted a short while before; None as above.
        regretted_per_hour, evicted_per_hour: about.
        rows_kept_now: of the rows that there are, if it were the policy from now on.
        rows_later: that the table would have after the traffic of the sample.
        bytes_later: RAM of those.
        more_bytes: than the rows that there are now.
    """

    policy: WhatIf
    hit_rate: float | None
    regret_share: float | None
    regretted_per_hour: float
    evicted_per_hour: float
    rows_kept_now: int
    rows_later: int
    bytes_later: int
    more_bytes: int


@dataclass(frozen=True, slots=True)
class Simulation:
    """What policies would do with the traffic of late.

    Attributes:
        rows, bytes: there are now.
        accesses: in the sample, which has `rate` of all keys (the lowest of the shards') and `sampled_s` seconds.
        measured_hit_rate: what the table itself found in the counted part of the sample.
        present: the table's own policy.
        policies: as they were asked for.
        approximations: what is not exact, a sentence each.
    """

    table: str
    rows: int
    bytes: int
    accesses: int
    rate: float
    sampled_s: float
    measured_hit_rate: float | None
    present: SimulatedPolicy
    policies: tuple[SimulatedPolicy, ...]
    approximations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Departure:
    """One time that a key left its table.

    Attributes:
        at_s: Unix seconds.
        reason: "capacity", "bytes", "ttl", "restrict", "manual" or "removed".
        score_cut: rows that scored less went first; 0: not by score.
        frequency, last_used: of the row then.
        came_back: whether it has a row again, or left again later.
    """

    at_s: int
    reason: str
    score_cut: float
    frequency: int
    last_used: int
    came_back: bool


@dataclass(frozen=True, slots=True)
class Emptying:
    """One time that all rows of a table went: `what` is "cleared" or "dropped"; `rows` 0: not told."""

    at_s: int
    what: str
    rows: int


@dataclass(frozen=True, slots=True, eq=False)
class RowExplanation:
    """Why a row is where it is, or gone.

    Attributes:
        row: the row, or the initial value that its key reads.
        rows: of its shard; `rows_before` of them go before it.
        share_before: `rows_before` of `rows`; None without a row.
        score: as it counts now; of `ranked_by`, "frequency" or "last_used".
        policy: "lfu", "lru" or "none".
        min_count: occurrences that a key needs for its row; 0 and 1: one. `seen`: about how many there were.
        departures, emptyings: newest first; `known_since_s`: those before are not known; 0: none was noted yet.
        departures_known: whether Redis could be asked.
        client_id, caller: who changed the row last; empty: not known any more.
        expires_in_s: until its age takes it; None: it does not.
        cold: it has no row, but its values are kept, and it comes back trained; see `Eviction.second_chance_bytes`.
        verdict: in a sentence.
    """

    row: RowInfo
    rows: int
    rows_before: int
    share_before: float | None
    score: float
    ranked_by: str
    policy: str
    min_count: int
    seen: int
    departures: tuple[Departure, ...]
    emptyings: tuple[Emptying, ...]
    known_since_s: int
    departures_known: bool
    client_id: str
    caller: str
    expires_in_s: float | None
    cold: bool
    verdict: str


@dataclass(frozen=True, slots=True)
class FrequencyHistogram:
    """Rows by frequency as it counts now, and by seconds since the last use.

    Attributes:
        frequencies, ages: of level 0 those with 0, of level n those from 2**(n-1) to 2**n - 1; no zeros at the end.
    """

    rows: int
    frequencies: tuple[int, ...]
    ages: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Advice:
    """Which cap would keep rows from going too early.

    Attributes:
        at_s: when it was found out, Unix seconds.
        regret_share: share of pushes of keys that had been evicted a short while before; below `regret_below` is good.
        max_rows: that would do, over all shards; 0: none is needed, or none that was tried would do.
        regret_then: with it.
        more_bytes: that it costs.
        text: in a sentence.
    """

    table: str
    at_s: int
    regret_share: float
    regret_below: float
    max_rows_now: int
    max_rows: int
    regret_then: float
    more_bytes: int
    text: str


def merge_simulations(table: str, messages: Sequence[insight_pb2.SimulateEvictionResponse]) -> Simulation:
    """One simulation of the shards' own; at least one message."""
    rows = sum(message.rows for message in messages)
    now_bytes = sum(message.rows * message.row_bytes for message in messages)
    columns = list(zip(*(message.policies for message in messages), strict=True))
    sizes = [message.row_bytes for message in messages]
    merged = [_merge_policies(parts, sizes, now_bytes) for parts in columns]
    live = [
        _Hits.of(part, hits_of_pulls=part.live_pull_hits, hits_of_pushes=part.live_push_hits) for part in columns[0]
    ]
    return Simulation(
        table=table,
        rows=rows,
        bytes=now_bytes,
        accesses=sum(message.accesses for message in messages),
        rate=min(message.rate for message in messages),
        sampled_s=max(message.sampled_s for message in messages),
        measured_hit_rate=_Hits.rate(live),
        present=merged[0],
        policies=tuple(merged[1:]),
        approximations=tuple(dict.fromkeys(text for message in messages for text in message.approximations)),
    )


@dataclass(frozen=True, slots=True)
class _Hits:
    """Of all keys of a shard: what those in the sample stand for."""

    pulls: float
    pull_hits: float
    pushes: float
    push_hits: float

    @classmethod
    def of(cls, part: insight_pb2.SimulatedPolicy, *, hits_of_pulls: int, hits_of_pushes: int) -> _Hits:
        """Keys that are asked for all the time are in the sample or not by chance, and find their rows either way: what
        the sample has too many or too few of accesses is taken for theirs."""

        def hits(found: int, sampled: int, of_all: float) -> float:
            if not part.rate:
                return 0.0
            return min(max((found - sampled) / part.rate + of_all, 0.0), of_all)

        return cls(
            part.all_pulls,
            hits(hits_of_pulls, part.pulls, part.all_pulls),
            part.all_pushes,
            hits(hits_of_pushes, part.pushes, part.all_pushes),
        )

    @staticmethod
    def rate(shards: Sequence[_Hits]) -> float | None:
        pulls, pushes = sum(one.pulls for one in shards), sum(one.pushes for one in shards)
        if pulls:
            return sum(one.pull_hits for one in shards) / pulls
        return sum(one.push_hits for one in shards) / pushes if pushes else None


def _merge_policies(
    parts: Sequence[insight_pb2.SimulatedPolicy], row_bytes: Sequence[int], now_bytes: int
) -> SimulatedPolicy:
    hits = [_Hits.of(part, hits_of_pulls=part.pull_hits, hits_of_pushes=part.push_hits) for part in parts]
    pushes = sum(one.pushes for one in hits)
    regretted = sum(part.regretted / part.rate for part in parts if part.rate)
    counted_s = max(part.counted_s for part in parts)
    per_hour = 3600 / max(counted_s, 1.0)
    later = sum(round(part.rows_at_end) * size for part, size in zip(parts, row_bytes, strict=True))
    return SimulatedPolicy(
        policy=WhatIf.from_proto(parts[0].policy),
        hit_rate=_Hits.rate(hits),
        regret_share=min(regretted / pushes, 1.0) if pushes else None,
        regretted_per_hour=regretted * per_hour,
        evicted_per_hour=sum(part.evicted / part.rate for part in parts if part.rate) * per_hour,
        rows_kept_now=sum(part.rows_kept_now for part in parts),
        rows_later=sum(round(part.rows_at_end) for part in parts),
        bytes_later=later,
        more_bytes=later - now_bytes,
    )


def explanation(key: int, message: insight_pb2.ExplainRowResponse) -> RowExplanation:
    """The explanation in `message`."""
    row = row_info(key, message.row)
    departures = tuple(
        Departure(one.at_s, REASONS.get(one.reason, "unknown"), one.score_cut, one.frequency, one.last_used,
                  one.came_back)
        for one in message.departures
    )  # fmt: skip
    emptyings = tuple(
        Emptying(one.at_s, "dropped" if one.dropped else "cleared", one.rows) for one in message.emptyings
    )
    told = RowExplanation(
        row=row,
        rows=message.rows,
        rows_before=message.rows_before,
        share_before=message.rows_before / message.rows if row.found and message.rows else None,
        score=message.score,
        ranked_by="last_used" if message.ranked_by_last_used else "frequency",
        policy=message.policy,
        min_count=message.min_count,
        seen=message.seen,
        departures=departures,
        emptyings=emptyings,
        known_since_s=message.known_since_s,
        departures_known=not message.departures_unknown,
        client_id=message.client_id,
        caller=message.caller,
        expires_in_s=message.expires_in_s or None,
        cold=message.cold,
        verdict="",
    )
    return dataclasses.replace(told, verdict=_verdict(told))


def _verdict(told: RowExplanation) -> str:
    if told.row.found:
        if told.policy == "none" or told.share_before is None:
            return "it has a row; the table evicts none by score"
        if told.share_before > 0.5:
            return f"it has a row; {_percent(told.share_before)} of its shard's {told.rows:,} rows would go before it"
        place = (told.rows_before + 1) / max(told.rows, 1)
        return f"it has a row, and would go among the first {_percent(place)} of its shard's {told.rows:,} rows"
    newest = told.departures[0] if told.departures else None
    emptied = told.emptyings[0] if told.emptyings else None
    if newest is not None and (emptied is None or newest.at_s >= emptied.at_s):
        return f"it is gone: {_WHY[newest.reason]}" if newest.reason in _WHY else "it is gone"
    if told.min_count > 1 and told.seen:
        return f"it has no row yet: seen about {told.seen} times of {told.min_count} that it needs"
    if emptied is not None:
        return f"it has no row: the table was {emptied.what}, and it has not been pushed since"
    if not told.departures_known:
        return "it has no row; whether it had one is not known, as Redis does not answer"
    if told.min_count > 1:
        return f"it has no row and was not seen lately; it needs {told.min_count} occurrences"
    return "it has no row, and none that left is known: it was never pushed, or that was too long ago"


_WHY = {
    "capacity": "the table was over max_rows",
    "bytes": "the table was over max_bytes",
    "ttl": "it had not been used for ttl_s",
    "restrict": "a program restricted the table",
    "manual": "an operator evicted",
    "removed": "a caller removed it",
}


def _percent(share: float) -> str:
    percent = share * 100
    return f"{percent:.2g} %" if percent < 10 else f"{percent:.0f} %"


def merge_histograms(messages: Sequence[insight_pb2.CountFrequenciesResponse]) -> FrequencyHistogram:
    """One histogram of the shards' own."""
    return FrequencyHistogram(
        rows=sum(message.rows for message in messages),
        frequencies=add_levels([message.frequencies for message in messages]),
        ages=add_levels([message.ages for message in messages]),
    )


def add_levels(histograms: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The sums, without zeros at the end."""
    sums = [0] * max(map(len, histograms), default=0)
    for histogram in histograms:
        for level, count in enumerate(histogram):
            sums[level] += count
    while sums and not sums[-1]:
        del sums[-1]
    return tuple(sums)


def level_text(level: int) -> str:
    """The numbers of a level of a histogram: "0", "1", "2-3", "4-7"."""
    if level < 2:
        return str(level)
    return f"{1 << (level - 1)}-{(1 << level) - 1}"


def _amount(name: str, text: str) -> int | float:
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise InvalidRequest(
            f"what-if: {name}: expected a number of at least 0, such as 0.5, 1_000_000, 2.5M or 512MiB, got {text!r}"
        )
    value = float(found[1].replace("_", "")) * _UNITS[found[2] or ""]
    if name in ("max_rows", "max_bytes", "min_count"):
        if value != int(value) or value >= 2**62:
            raise InvalidRequest(f"what-if: {name}: expected a whole number below 2**62, got {text!r}")
        return int(value)
    return value
