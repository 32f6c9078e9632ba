"""A table as one shard serves it: the native rows, its catalog entry, its optimizer step and its counters."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rowbank.errors import TableFrozen, WrongShard
from rowbank_protos.v1 import admin_pb2, common_pb2, tables_pb2
from rowbank_server import _core
from rowbank_server.ps.tables import specs
from rowbank_server.ps.tables.second_chance import MAX_WAITING_BYTES, SecondChance
from rowbank_server.storage.catalog import CatalogEntry

_ANY_POSITION = 1 << 63  # Above all positions.


@dataclass(frozen=True, slots=True)
class Ownership:
    """Which buckets a shard owns: a contiguous range of each table's."""

    shard: int
    shard_count: int

    def buckets(self, bucket_count: int) -> range:
        """The buckets b with b * shard_count // bucket_count == shard."""
        first, end = (-(-index * bucket_count // self.shard_count) for index in (self.shard, self.shard + 1))
        return range(first, end)


@dataclass(slots=True)
class Unsettled:
    """What a write-back has written of a table, and Redis may lose as long as the write-back has not ended.

    Attributes:
        keys: buckets and keys ([n] int64) of rows that were written or deleted.
        cleared: whether all that Redis held of the table was deleted first.
        common_row: whether the common row was written.
        replaced: whether all that Redis held was replaced.
    """

    keys: list[tuple[int, npt.NDArray[np.int64]]] = field(default_factory=list)
    cleared: bool = False
    common_row: bool = False
    replaced: bool = False


class ShardTable:
    """One table on one shard. Thread-safe.

    Attributes:
        entry: what the catalog says; replaced as a whole when the spec is updated.
        rows: the native table.
        mutation_lock: held while a journaled mutation takes its position and is applied; taken after `write_lock`, and
            of several tables in the order of their ids.
        write_lock: held while rows are written to or deleted from Redis, so that a drop and a write-back take turns.
        dropped: nothing may be written any more; only read and set under `write_lock`.
        mirror_stale: the table was cleared, so all that Redis holds of it must be deleted first; as `dropped`.
        mirror_unknown: nobody knows what Redis holds of the table, so all of it must be replaced; as `dropped`.
        corrupt_rows: stored rows that failed their checks when the table was loaded.
        removal_position: the position of the last removal or clearing that is in the journal; as `journaled_position`.
        unsettled: what was written to Redis since the last write-back that ended; as `dropped`.
        common_position: the position that the common row had seen when it was loaded, or replayed to.
        seen_through: no row has seen a later position than this, as far as replay knows, which need not look then.
        last_write_back_s: Unix seconds of the last write-back that had something to write; 0: none yet.
        second_chance: what may come back of the rows that were evicted.
        steps: the highest step pushed.
    """

    def __init__(self, entry: CatalogEntry, ownership: Ownership, *, step: int = 0) -> None:
        self.entry = entry
        self.rows = specs.build_table(entry.spec, bucket_count=entry.bucket_count)
        self.mutation_lock = _core.MutationLock()
        self.write_lock = threading.Lock()
        self.dropped = False
        self.mirror_stale = False
        self.mirror_unknown = False
        self.unsettled = Unsettled()
        self.last_write_back_s = 0.0
        self.buckets = ownership.buckets(entry.bucket_count)
        self._ownership = ownership
        self.second_chance = SecondChance(self.rows.packed_row_bytes, len(self.buckets))
        self._give_second_chance(entry.spec)
        self.mutation_lock.optimizer = entry.spec.optimizer.SerializeToString(deterministic=True)
        self.corrupt_rows = 0
        self.common_position = 0
        self.removal_position = 0
        self.seen_through = _ANY_POSITION
        self.steps = _core.StepCounter(step)
        self._replayed = self.rows.stats()

    @property
    def name(self) -> str:
        """The table's name."""
        return self.entry.name

    @property
    def spec(self) -> tables_pb2.TableSpec:
        """The canonical spec."""
        return self.entry.spec

    @property
    def dim(self) -> int:
        """Values per row."""
        return self.entry.spec.dim

    @property
    def durability(self) -> int:
        """When a mutation is acknowledged: a `Durability`."""
        return self.entry.spec.durability

    @property
    def journaled(self) -> bool:
        """Whether the journal has every mutation before it is acknowledged."""
        return self.durability != common_pb2.DURABILITY_RELAXED

    @property
    def synced(self) -> bool:
        """Whether a disk has it, too."""
        return self.durability == common_pb2.DURABILITY_SYNCED

    @property
    def frozen(self) -> bool:
        """Whether the rows are a model version's read-only copy."""
        return self.entry.spec.frozen

    def require_mutable(self) -> None:
        """Raises TableFrozen if callers may not change the rows."""
        if self.frozen:
            raise TableFrozen(
                f"table {self.name!r} is a read-only copy that belongs to a model version; change the table that it "
                "was taken from, and publish again",
                metadata={"table": self.name},
            )

    @property
    def admits_by_count(self) -> bool:
        """Whether a key gets its row only after some occurrences."""
        return self.entry.spec.admission.min_count > 1

    @property
    def journaled_position(self) -> int:
        """The position of the last mutation that is in the journal; written under `mutation_lock`."""
        return self.mutation_lock.journaled_position

    @journaled_position.setter
    def journaled_position(self, position: int) -> None:
        self.mutation_lock.journaled_position = position

    @property
    def optimizer_bytes(self) -> bytes:
        """The optimizer that the rows are updated with, serialized; changes under `mutation_lock` alone."""
        return self.mutation_lock.optimizer

    @property
    def step(self) -> int:
        """The highest step pushed."""
        return self.steps.step

    def next_step(self, asked: int) -> int:
        """The step of a push: `asked`, or for 0 the one after the highest so far."""
        return self.steps.next(asked)

    def raise_step(self, step: int) -> None:
        """Lets the next push be a later one than `step`; never sets the step back."""
        self.steps.raise_to(step)

    def require_owned(self, keys: npt.NDArray[np.int64]) -> None:
        """Raises WrongShard if another shard owns one of `keys`."""
        if self._ownership.shard_count == 1 or not len(keys):
            return
        buckets = _core.bucket_of(keys, self.entry.bucket_count)
        foreign = (buckets < self.buckets.start) | (buckets >= self.buckets.stop)
        if not foreign.any():
            return
        at = int(foreign.argmax())
        owner = int(buckets[at]) * self._ownership.shard_count // self.entry.bucket_count
        me = f"{self._ownership.shard}/{self._ownership.shard_count}"
        raise WrongShard(
            f"table {self.name!r}: key {int(keys[at])} belongs to shard {owner}/{self._ownership.shard_count}, "
            f"this is shard {me}; check the order and number of the client's targets",
            metadata={"table": self.name, "owner": str(owner), "shard": me},
        )

    def update(self, entry: CatalogEntry) -> None:
        """Takes over an updated spec; no mutation sees half of it."""
        with self.mutation_lock:
            if entry.spec.optimizer != self.entry.spec.optimizer:
                self.rows.set_hyperparameters(specs.build_optimizer(entry.spec))
                self.mutation_lock.optimizer = entry.spec.optimizer.SerializeToString(deterministic=True)
            if entry.spec.admission != self.entry.spec.admission:
                self.rows.set_min_count(entry.spec.admission.min_count)
            turned = self._give_second_chance(entry.spec)
            self.entry = entry
        if turned:  # What was stored before it was off is nothing to begin with.
            with self.write_lock:
                self.second_chance.reset()

    def forget_evicted(self) -> None:
        """Nothing of what was evicted comes back: what Redis has of it is not known."""
        with self.write_lock:
            if self.second_chance.on:
                self.second_chance.reset()

    def _give_second_chance(self, spec: tables_pb2.TableSpec) -> bool:
        """Keeps evicted rows as the spec has it; returns whether that began or ended."""
        share = -(-spec.eviction.second_chance_bytes // self._ownership.shard_count)
        self.rows.keep_evicted(MAX_WAITING_BYTES if share else 0)
        return self.second_chance.configure(share)

    def clear(self) -> int:
        """Removes all rows; returns how many. REQUIRES: the caller holds `write_lock`."""
        self.mirror_stale = True
        if self.second_chance.on:
            self.second_chance.reset()
        return self.rows.clear()

    def reset_common_row(self) -> None:
        """Makes the common row what it is in a new table."""
        fresh = specs.build_table(self.entry.spec, bucket_count=1)
        fresh.mark_common_row_dirty()
        packed = fresh.take_common_row()
        assert packed is not None
        self.rows.load_common_row(packed)
        self.rows.mark_common_row_dirty()

    @property
    def slots(self) -> list[tuple[str, int]]:
        """Name and width of each slot: [dim] float32, but one number per row in `accumulator_mean`."""
        return [(name, 1 if name == "accumulator_mean" else self.dim) for name in self.rows.slot_names]

    def describe_slots(self, slots: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        """Splits a row's [slot_width] slots by name."""
        parts, start = {}, 0
        for name, width in self.slots:
            parts[name] = slots[start : start + width]
            start += width
        return parts

    def end_replay(self) -> None:
        """Counts from here: what was replayed was counted by the process that did it first."""
        self._replayed = self.rows.stats()
        self.second_chance.restart_counts()

    def stats(self) -> admin_pb2.TableStats:
        """Sizes now and counters since the start, what was replayed left out."""
        rows, counts, replayed = self.rows.size(), self.rows.stats(), self._replayed
        chance = self.second_chance
        cold_rows, cold_bytes = chance.size()
        value_bytes = 4 if self.spec.value_dtype == common_pb2.DATA_TYPE_FLOAT32 else 2
        return admin_pb2.TableStats(
            table=self.name,
            rows=rows,
            bytes=self.rows.bytes(),
            dirty_rows=self.rows.dirty_rows(),
            pulled_rows=counts.pulled_found + counts.pulled_initialized + counts.pulled_not_admitted,
            pulled_found=counts.pulled_found,
            pulled_initialized=counts.pulled_initialized,
            pulled_not_admitted=counts.pulled_not_admitted,
            pushed_rows=counts.pushed - replayed.pushed,
            inserted_rows=counts.inserted - replayed.inserted,
            evicted_rows=counts.evicted + counts.expired,
            removed_rows=counts.removed - replayed.removed,
            regretted_rows=counts.regretted - replayed.regretted,
            step=self.step,
            last_write_back_s=self.last_write_back_s,
            corrupt_rows=self.corrupt_rows,
            dim=self.dim,
            payload_bytes=rows * (self.dim * value_bytes + 4 * self.rows.slot_width),
            second_chance_rows=cold_rows,
            second_chance_bytes=cold_bytes,
            second_chance_stored=chance.stored,
            second_chance_returned=chance.returned,
            second_chance_missed=chance.missed,
            second_chance_expired=chance.expired,
        )

    def info(self) -> tables_pb2.TableInfo:
        """The table as clients see it."""
        return tables_pb2.TableInfo(
            spec=self.spec,
            table_id=self.entry.table_id,
            created_at_s=self.entry.created_at_s,
            rows=self.rows.size(),
            bytes=self.rows.bytes(),
            step=self.step,
            bucket_count=self.entry.bucket_count,
            slots=[tables_pb2.Slot(name=name, width=width) for name, width in self.slots],
        )
