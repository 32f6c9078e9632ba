"""What operators are told: tables, statistics, evictions, single rows, servers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rowbank._checks import at_least
from rowbank._checks import number as _number
from rowbank.errors import InvalidRequest
from rowbank.specs import TableSpec
from rowbank_protos import columns
from rowbank_protos.v1 import admin_pb2, tables_pb2

_REASONS = {
    admin_pb2.EVICTION_REASON_CAPACITY: "capacity",
    admin_pb2.EVICTION_REASON_BYTES: "bytes",
    admin_pb2.EVICTION_REASON_TTL: "ttl",
    admin_pb2.EVICTION_REASON_RESTRICT: "restrict",
    admin_pb2.EVICTION_REASON_MANUAL: "manual",
}


@dataclass(frozen=True, slots=True)
class TableInfo:
    """A table and its size over all shards.

    Attributes:
        table_id: number of the table in Redis keys.
        created_at_s: Unix seconds.
        bytes: RAM held for rows and index.
        step: the highest step pushed.
        slots: name and width of each part of a row's optimizer state, in the order of exported slots.
        frozen: whether it is a model version's read-only copy.
    """

    spec: TableSpec
    table_id: int
    created_at_s: int
    bucket_count: int
    rows: int
    bytes: int
    step: int
    slots: tuple[tuple[str, int], ...] = ()
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class TableStats:
    """A table's size and counters over all shards; counters count since the servers started.

    Attributes:
        bytes: RAM held for rows and index; `payload_bytes` of them are values and optimizer state.
        dirty_rows: rows that are not yet written to Redis in their present state.
        regretted_rows: pushed keys that had been evicted a short while before.
        step: the highest step pushed.
        last_write_back_s: Unix seconds, of the shard that is furthest behind; 0: some shard never wrote.
        second_chance_rows, second_chance_bytes: evicted rows that would come back with their keys, and about how much
            of Redis they take.
        second_chance_stored, second_chance_returned: evicted rows that were kept, and those that came back.
        second_chance_missed: keys that returned and got new rows, since theirs could not be had.
        second_chance_expired: kept rows that made way for newer ones.
    """

    table: str
    dim: int
    rows: int
    bytes: int
    payload_bytes: int
    dirty_rows: int
    pulled_rows: int
    pulled_found: int
    pulled_initialized: int
    pulled_not_admitted: int
    pushed_rows: int
    inserted_rows: int
    evicted_rows: int
    removed_rows: int
    regretted_rows: int
    corrupt_rows: int
    step: int
    last_write_back_s: float
    second_chance_rows: int = 0
    second_chance_bytes: int = 0
    second_chance_stored: int = 0
    second_chance_returned: int = 0
    second_chance_missed: int = 0
    second_chance_expired: int = 0


@dataclass(frozen=True, slots=True)
class ShardStats:
    """One shard's own view: its tables, and whether it reaches Redis."""

    shard: int
    shard_count: int
    target: str
    uptime_s: float
    redis_connected: bool
    tables: tuple[TableStats, ...]


@dataclass(frozen=True, slots=True)
class EvictionEvent:
    """One eviction cycle.

    Attributes:
        at_ms: Unix milliseconds.
        reason: "capacity", "bytes", "ttl", "restrict" or "manual".
        score_cut: the highest score that was evicted.
        outcome: "below_watermark", "out_of_time" or "nothing_to_evict".
        ages: rows that went by seconds since their last use, frequencies: by frequency: of level 0 those with 0, of
            level n those from 2**(n-1) to 2**n - 1; without zeros at the end.
        regretted: keys that were pushed again soon after they were evicted, since the event before of the same table
            and shard.
    """

    at_ms: int
    table: str
    reason: str
    rows: int
    bytes: int
    score_cut: float
    duration_ms: float
    rows_left: int
    shard: int
    outcome: str
    ages: tuple[int, ...] = ()
    frequencies: tuple[int, ...] = ()
    regretted: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class RestrictReport:
    """What a restriction did, or would do, over all shards.

    Attributes:
        bytes: RAM of the evicted rows.
        score_cut: the highest score that was evicted on any shard.
        duration_ms: the slowest shard's time.
        sample_keys: [S] int64, some evicted keys, lowest score first within a shard.
    """

    rows_before: int
    rows_after: int
    evicted: int
    bytes: int
    score_cut: float
    duration_ms: float
    sample_keys: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class RowInfo:
    """Everything about one row.

    Attributes:
        found: whether the row is stored; if not, `values` is its initial value and the rest is empty.
        values: [dim] float32.
        last_used: Unix seconds.
        position: the last mutation that was applied to the row.
        slots: optimizer state by name, each float32.
        score: what eviction would rank it by.
        dirty: not yet written to Redis in its present state.
    """

    key: int
    found: bool
    values: npt.NDArray[np.float32]
    frequency: int
    last_used: int
    position: int
    slots: dict[str, npt.NDArray[np.float32]]
    bucket: int
    shard: int
    score: float
    dirty: bool


@dataclass(frozen=True, slots=True, eq=False)
class TopRows:
    """Keys with the highest scores, highest first: [N] int64, [N] uint32, [N] uint32 Unix seconds."""

    keys: npt.NDArray[np.int64]
    frequency: npt.NDArray[np.uint32]
    last_used: npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """One shard and its limits; `server_id` is new at every start.

    Attributes:
        redis_eviction_policy: Redis's maxmemory-policy when the server started; empty: it does not tell.
        redis_may_evict: whether by that Redis may take rows away by itself.
    """

    target: str
    version: str
    namespace: str
    shard: int
    shard_count: int
    bucket_count: int
    max_keys_per_request: int
    max_message_bytes: int
    server_id: str
    redis_eviction_policy: str = ""
    redis_may_evict: bool = False


@dataclass(frozen=True, slots=True)
class FollowerInfo:
    """Somebody who follows a shard.

    Attributes:
        role: "standby" or "replica"; empty: a client's follower.
        address: of a server.
        detail: "keys", "rows" or "records".
        tables: by name; empty: all.
        position: what it was sent so far.
        lag_records: mutations that are done and not sent.
        lag_s: age of the oldest of those; 0: none.
        source: where it is served from: "ring", "journal" or "picture".
    """

    name: str
    role: str
    address: str
    detail: str
    tables: tuple[str, ...]
    position: int
    lag_records: int
    lag_s: float
    source: str
    sent_bytes: int
    connected_s: float


@dataclass(frozen=True, slots=True)
class ShardProcess:
    """A process of a shard, as it says itself, or, if it does not answer, as was last known of it.

    Attributes:
        role: "owner", "standby" or "replica"; empty: not known.
        state: in a word or a short sentence.
        position: of the last mutation that it has done.
        age_s: how far behind the owner its rows are; 0 for the owner.
        rows: as it last said; 0: not known.
        answers: whether it answered now.
        followers: who follows it.
        memory_used_bytes: its RAM; of `memory_limit_bytes`, that it may have now; 0: not known, no limit.
        growth_refused: whether it refuses new rows and tables until there is more room.
        fastest_growing_table: in the last minute; empty: none grew.
        native_address: of its native endpoint; empty: it has none, or does not answer.
    """

    shard: int
    role: str
    address: str
    state: str
    epoch: int
    position: int
    age_s: float
    rows: int
    version: str
    server_id: str
    answers: bool
    followers: tuple[FollowerInfo, ...] = ()
    memory_used_bytes: int = 0
    memory_limit_bytes: int = 0
    growth_refused: bool = False
    fastest_growing_table: str = ""
    native_address: str = ""


def merge_table_infos(messages: Sequence[tables_pb2.TableInfo]) -> TableInfo:
    """One table as its shards know it; at least one message."""
    first = messages[0]
    return TableInfo(
        spec=TableSpec.from_proto(first.spec),
        table_id=first.table_id,
        created_at_s=first.created_at_s,
        bucket_count=first.bucket_count,
        rows=sum(message.rows for message in messages),
        bytes=sum(message.bytes for message in messages),
        step=max(message.step for message in messages),
        slots=tuple((slot.name, slot.width) for slot in first.slots),
        frozen=first.spec.frozen,
    )


_SUMMED = (
    "rows", "bytes", "payload_bytes", "dirty_rows", "pulled_rows", "pulled_found", "pulled_initialized",
    "pulled_not_admitted", "pushed_rows", "inserted_rows", "evicted_rows", "removed_rows", "regretted_rows",
    "corrupt_rows", "second_chance_rows", "second_chance_bytes", "second_chance_stored", "second_chance_returned",
    "second_chance_missed", "second_chance_expired",
)  # fmt: skip


def shard_stats(target: str, answer: admin_pb2.GetStatsResponse) -> ShardStats:
    """What the shard at `target` answered of itself."""
    return ShardStats(
        shard=answer.shard,
        shard_count=answer.shard_count,
        target=target,
        uptime_s=answer.uptime_s,
        redis_connected=answer.redis_connected,
        tables=tuple(merge_table_stats([stats]) for stats in answer.tables),
    )


def merge_table_stats(messages: Sequence[admin_pb2.TableStats]) -> TableStats:
    """One table's statistics over its shards; at least one message."""
    return TableStats(
        table=messages[0].table,
        dim=messages[0].dim,
        step=max(message.step for message in messages),
        last_write_back_s=min(message.last_write_back_s for message in messages),
        **{name: sum(getattr(message, name) for message in messages) for name in _SUMMED},
    )


def eviction_event(message: admin_pb2.EvictionEvent) -> EvictionEvent:
    """The event in `message`."""
    return EvictionEvent(
        at_ms=message.at_ms,
        table=message.table,
        reason=_REASONS.get(message.reason, "unspecified"),
        rows=message.rows,
        bytes=message.bytes,
        score_cut=message.score_cut,
        duration_ms=message.duration_ms,
        rows_left=message.rows_left,
        shard=message.shard,
        outcome=message.outcome,
        ages=tuple(message.ages),
        frequencies=tuple(message.frequencies),
        regretted=message.regretted,
    )


def evictions_request(
    table: str | None, *, limit: int, since_s: float | None, until_s: float | None, reasons: Sequence[str]
) -> admin_pb2.ListEvictionsRequest:
    """See `Client.evictions`. Raises `InvalidRequest`."""
    numbers = {name: number for number, name in _REASONS.items()}
    if unknown := [reason for reason in reasons if reason not in numbers]:
        raise InvalidRequest(f"reasons: expected some of {', '.join(numbers)}, got {unknown[0]!r}")

    def milliseconds(what: str, moment: float | None) -> int:
        if moment is None:
            return 0
        expected = "Unix seconds of at least 0"
        return int(_number(what, moment, expected, low=0.0, high=1e11, error=InvalidRequest) * 1000)

    return admin_pb2.ListEvictionsRequest(
        table=table or "",
        limit=at_least("limit", limit, 1, bits=32),
        since_ms=milliseconds("since_s", since_s),
        until_ms=milliseconds("until_s", until_s),
        reasons=[numbers[reason] for reason in reasons],
    )


def merge_restrictions(messages: Sequence[admin_pb2.RestrictResponse], sample: int) -> RestrictReport:
    """One report over all shards, with at most `sample` keys, taken from the shards in turn."""
    samples = [columns.unpack_keys(message.sample, name="sample") for message in messages]
    turns = sorted((place, shard) for shard, keys in enumerate(samples) for place in range(len(keys)))
    chosen = [samples[shard][place] for place, shard in turns[:sample]]
    return RestrictReport(
        rows_before=sum(message.rows_before for message in messages),
        rows_after=sum(message.rows_after for message in messages),
        evicted=sum(message.evicted for message in messages),
        bytes=sum(message.bytes for message in messages),
        score_cut=max((message.score_cut for message in messages if message.evicted), default=0.0),
        duration_ms=max(message.duration_ms for message in messages),
        sample_keys=np.array(chosen, dtype=np.int64),
    )


def row_info(key: int, message: admin_pb2.DescribeRowResponse) -> RowInfo:
    """The row in `message`."""
    return RowInfo(
        key=key,
        found=message.found,
        values=np.frombuffer(message.values, dtype="<f4"),
        frequency=message.frequency,
        last_used=message.last_used,
        position=message.position,
        slots={name: np.frombuffer(data, dtype="<f4") for name, data in sorted(message.slots.items())},
        bucket=message.bucket,
        shard=message.shard,
        score=message.score,
        dirty=message.dirty,
    )


def merge_top(messages: Sequence[admin_pb2.TopRowsResponse], limit: int, *, by_frequency: bool) -> TopRows:
    """The `limit` best of every shard's best; ties keep the order of the shards."""
    keys = np.concatenate([columns.unpack_keys(message.keys) for message in messages])
    frequency = np.concatenate([np.frombuffer(message.frequency, dtype="<u4") for message in messages])
    last_used = np.concatenate([np.frombuffer(message.last_used, dtype="<u4") for message in messages])
    score = (frequency if by_frequency else last_used).astype(np.int64)
    order = np.argsort(-score, kind="stable")[:limit]
    return TopRows(keys=keys[order], frequency=frequency[order], last_used=last_used[order])


def server_info(target: str, message: admin_pb2.GetServerInfoResponse) -> ServerInfo:
    """The answer of the server at `target`."""
    return ServerInfo(
        target=target,
        version=message.version,
        namespace=message.namespace,
        shard=message.shard,
        shard_count=message.shard_count,
        bucket_count=message.bucket_count,
        max_keys_per_request=message.max_keys_per_request,
        max_message_bytes=message.max_message_bytes,
        server_id=message.server_id,
        redis_eviction_policy=message.redis_eviction_policy,
        redis_may_evict=message.redis_may_evict,
    )
