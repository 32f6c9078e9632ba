"""Refuses what would make tables grow beyond their budgets, or the process beyond its memory.

Rows that exist are read, trained, evicted and removed whatever the memory is; only new rows and new tables are refused.
What the journal or another process says has happened is never refused: this stands before a mutation is decided.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rowbank.errors import MemoryLimit
from rowbank_protos.v1 import tables_pb2
from rowbank_server.ps.tables.mutations import Accumulate, Import, Mutation, Push, Store, Upsert
from rowbank_server.ps.tables.table import ShardTable

_NEW_TABLES = "(new)"
_UNBOUNDED = 1 << 62


@dataclass(slots=True)
class MemoryState:
    """What is known of this process's memory; written by one thread, read by all.

    Attributes:
        used: bytes of RAM.
        limit: bytes that it may have now; 0: nobody knows, or it is not limited.
        room: bytes that it may still take.
        refusing: whether growth is refused until there is more room.
        grown_most: the table that grew most lately, and by how many bytes; empty: none did.
    """

    used: int = 0
    limit: int = 0
    room: int = _UNBOUNDED
    refusing: bool = False
    grown_most: tuple[str, int] = ("", 0)


class Growth:
    """Decides whether rows and tables may come to be. Thread-safe.

    Attributes:
        refused: requests that were refused, by table.
    """

    def __init__(self, memory: MemoryState, *, shard_count: int) -> None:
        self._memory = memory
        self._shard_count = shard_count
        self.refused: Counter[str] = Counter()

    def require(self, mutation: Mutation) -> None:
        """Raises MemoryLimit if there is no room for the rows that `mutation` would add; then none of it is done."""
        for table, keys in _may_add(mutation):
            budget = budget_of(table.spec, self._shard_count)
            if budget or self._memory.refusing or table.rows.growth_bytes(len(keys)) > self._memory.room:
                self._require(table, _absent(table, keys), budget)

    def require_new_table(self, name: str) -> None:
        """Raises MemoryLimit if there is no room for another table."""
        if self._memory.refusing:
            self.refused[_NEW_TABLES] += 1
            raise self._refusal(name, f"table {name!r} cannot be made")

    def _require(self, table: ShardTable, rows: int, budget: int) -> None:
        if not rows:
            return
        if budget and (table.rows.size() + rows) * table.rows.row_bytes > budget:
            self.refused[table.name] += 1
            raise MemoryLimit(
                f"table {table.name!r}: {rows} new rows of {table.rows.row_bytes} bytes do not fit: it has "
                f"{table.rows.size()} rows here, and a budget of {budget} bytes (eviction.max_bytes, without a policy, "
                "divided by the shards); nothing was done. Rows that it has go on being trained. Raise the budget, "
                "give the table a policy (lfu or lru), or remove rows",
                metadata={"table": table.name, "limit_bytes": str(budget)},
            )
        if self._memory.refusing or table.rows.growth_bytes(rows) > self._memory.room:
            self.refused[table.name] += 1
            raise self._refusal(table.name, f"table {table.name!r} cannot take in {rows} new rows")

    def _refusal(self, table: str, what: str) -> MemoryLimit:
        memory = self._memory
        grown, grown_bytes = memory.grown_most
        lately = f" Table {grown!r} grew most lately, by {grown_bytes} bytes in a minute." if grown else ""
        return MemoryLimit(
            f"{what}: this shard has {memory.used} bytes of RAM and may have {memory.limit} (setting "
            f"memory_limit_bytes); nothing was done. Rows that exist go on being read and trained.{lately} Remove or "
            "evict rows, drop tables, or give the shard more memory",
            metadata={"table": grown or table, "limit_bytes": str(memory.limit)},
        )


def budget_of(spec: tables_pb2.TableSpec, shard_count: int) -> int:
    """Bytes that one shard may have of a table that nothing is evicted from; 0: no budget."""
    if spec.eviction.policy != tables_pb2.Eviction.POLICY_NONE or spec.frozen:
        return 0
    return -(-spec.eviction.max_bytes // shard_count)


def _may_add(mutation: Mutation) -> Iterator[tuple[ShardTable, npt.NDArray[np.int64]]]:
    """The tables and keys of which a mutation makes rows where there are none."""
    if isinstance(mutation, Push):
        for part in mutation.parts:
            yield part.table, part.keys
    elif isinstance(mutation, Store):
        for one in mutation.parts:
            yield from _may_add(one)
    elif isinstance(mutation, Accumulate):
        yield mutation.table, mutation.keys[mutation.exists == 0]
    elif isinstance(mutation, Upsert | Import):
        yield mutation.table, mutation.keys


def _absent(table: ShardTable, keys: npt.NDArray[np.int64]) -> int:
    """How many of `keys` have no row, each counted once."""
    return len(np.unique(keys[table.rows.contains(keys) == 0]))
