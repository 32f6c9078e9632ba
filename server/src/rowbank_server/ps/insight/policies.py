"""What-ifs as the core takes them: the table fills in what was not asked for, and shards share the caps."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rowbank.errors import InvalidRequest
from rowbank_protos.v1 import insight_pb2, tables_pb2
from rowbank_server import _core
from rowbank_server.ps.tables.specs import MAX_MIN_COUNT
from rowbank_server.ps.tables.table import ShardTable

MOST = 32
_MOST_S = 4_294_967_295.0
_DEFAULT_LOW_WATERMARK = 0.9
_POLICIES: dict[int, _core.Policy] = {
    insight_pb2.WhatIf.POLICY_NONE: "none",
    insight_pb2.WhatIf.POLICY_LFU: "lfu",
    insight_pb2.WhatIf.POLICY_LRU: "lru",
}
_OF_TABLE = {
    tables_pb2.Eviction.POLICY_UNSPECIFIED: insight_pb2.WhatIf.POLICY_NONE,
    tables_pb2.Eviction.POLICY_NONE: insight_pb2.WhatIf.POLICY_NONE,
    tables_pb2.Eviction.POLICY_LFU: insight_pb2.WhatIf.POLICY_LFU,
    tables_pb2.Eviction.POLICY_LRU: insight_pb2.WhatIf.POLICY_LRU,
}


def of_table(table: ShardTable) -> insight_pb2.WhatIf:
    """The table's own policy, whole."""
    eviction = table.spec.eviction
    return insight_pb2.WhatIf(
        policy=_OF_TABLE[eviction.policy],
        max_rows=eviction.max_rows,
        max_bytes=eviction.max_bytes,
        low_watermark=eviction.low_watermark or _DEFAULT_LOW_WATERMARK,
        ttl_s=eviction.ttl_s,
        half_life_s=table.spec.frequency_half_life_s,
        min_count=table.spec.admission.min_count,
    )


def whole(table: ShardTable, asked: Sequence[insight_pb2.WhatIf]) -> list[insight_pb2.WhatIf]:
    """The table's own policy, then those that were asked for, filled in. Raises InvalidRequest."""
    if len(asked) > MOST:
        raise InvalidRequest(f"what_ifs: expected at most {MOST} policies, got {len(asked)}")
    present = of_table(table)
    filled = []
    for what_if in asked:
        one = insight_pb2.WhatIf()
        one.CopyFrom(present)
        one.MergeFrom(what_if)
        _check(table, what_if, one)
        filled.append(one)
    return [present, *filled]


def to_core(what_if: insight_pb2.WhatIf, *, row_bytes: int, shard_count: int) -> _core.WhatIf:
    """A checked policy for one shard, which has its even part of the caps, rounded up, as its eviction does."""
    caps = []
    if what_if.max_rows:
        caps.append(-(-what_if.max_rows // shard_count))
    if what_if.max_bytes:
        caps.append(max(1, -(-what_if.max_bytes // shard_count) // row_bytes))
    return _core.WhatIf(
        policy=_POLICIES[what_if.policy],
        cap_rows=min(caps, default=0),
        low_watermark=what_if.low_watermark,
        half_life_s=what_if.half_life_s,
        ttl_s=math.ceil(what_if.ttl_s),
        min_count=what_if.min_count,
    )


def approximations(table: ShardTable, policies: Sequence[insight_pb2.WhatIf], simulated: _core.Simulated) -> list[str]:
    """What is not exact about a simulation, a sentence each."""
    told = []
    if not simulated.accesses:
        return ["there are no accesses in the sample yet, so nothing is known of hit rates and regret"]
    if any(one.rate < 1 for one in simulated.policies):
        share = min(one.rate for one in simulated.policies)
        told.append(f"the sample has {share:.2g} of all keys; hit rates are those of a table as much smaller")
    if any(one.half_life_s != table.spec.frequency_half_life_s for one in policies):
        told.append("another half-life begins with the frequencies there are, and is told apart only by the sample")
    if any(one.min_count > 1 for one in policies):
        told.append("keys that have no row yet are counted exactly; the table's own counts forget")
    if any(one.evicted == 0 and one.rows_at_end > simulated.rows for one in simulated.policies):
        told.append("rows that went before the sample began are missed in larger tables, so these do a little better")
    return told


def _check(table: ShardTable, asked: insight_pb2.WhatIf, one: insight_pb2.WhatIf) -> None:
    def refuse(field: str, expected: str, got: object) -> InvalidRequest:
        return InvalidRequest(f"what-if of table {table.name!r}: {field}: expected {expected}, got {got}")

    if one.policy not in _POLICIES:
        raise refuse("policy", "NONE, LFU or LRU", one.policy)
    for field in ("ttl_s", "half_life_s"):
        value = getattr(one, field)
        if not 0 <= value <= _MOST_S:
            raise refuse(field, "seconds of at least 0, below 2^32", value)
    if not 0 < one.low_watermark <= 1:
        raise refuse("low_watermark", "above 0 and at most 1", one.low_watermark)
    if one.min_count > MAX_MIN_COUNT:
        raise refuse("min_count", f"at most {MAX_MIN_COUNT}", one.min_count)
    if one.policy == insight_pb2.WhatIf.POLICY_NONE and (asked.max_rows or asked.max_bytes):
        raise refuse("policy", "lfu or lru beside a cap, as the table has none", "none")
