"""Applies records of a journal to tables: at a start those of a predecessor, and those of an owner that is followed.

A record is applied to the rows that have not seen its position, with the optimizer's numbers of its own time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Set

from rowbank_protos.v1 import tables_pb2
from rowbank_server.journal.records import CorruptRecordError, Kind, Record
from rowbank_server.ps.decoding import decode
from rowbank_server.ps.durability.dedup import DedupWindow
from rowbank_server.ps.tables import specs
from rowbank_server.ps.tables.mutations import Mutation, Push
from rowbank_server.ps.tables.table import ShardTable

_NO_LIMIT = 1 << 62


class RecordApplier:
    """For one thread at a time. What a record says of tables that were not added is left out."""

    def __init__(self, dedup: DedupWindow) -> None:
        self._dedup = dedup
        self._tables: dict[int, ShardTable] = {}
        self._optimizers: dict[int, bytes | None] = {}  # That of a table's rows; None: not known.

    @property
    def table_ids(self) -> Set[int]:
        """The tables that were added."""
        return self._tables.keys()

    def add(self, table: ShardTable) -> None:
        """From now on records are applied to `table`, instead of an earlier one with its id."""
        self._tables[table.entry.table_id] = table
        self._optimizers[table.entry.table_id] = table.optimizer_bytes

    def updated(self, table_id: int) -> None:
        """The spec of a table was updated, and with it the optimizer that its rows have."""
        if table_id in self._optimizers:
            self._optimizers[table_id] = None

    def forget(self, table_id: int) -> None:
        """From now on no records are applied to that table."""
        self._tables.pop(table_id, None)
        self._optimizers.pop(table_id, None)

    def apply(self, record: Record, *, only: Set[int] | None = None) -> None:
        """Applies a record, and remembers its answer for repeats of its request.

        Args:
            only: ids of the tables that it is applied to; None: all.
        Raises:
            CorruptRecordError, RequestError, ValueError: it makes no sense; a part of it may have been applied.
        """
        self._apply(record, self._tables.keys() if only is None else only)
        self.remember(record)

    def remember(self, record: Record) -> None:
        """Remembers a record's answer for repeats of its request."""
        if record.client_id:
            self._dedup.replay(record.client_id, record.sequence, record.kind, record.answer)

    def use_own_optimizers(self) -> None:
        """Lets the tables go on with the optimizers of their specs, whatever the last records had."""
        for table_id, table in self._tables.items():
            self._use_optimizer(table_id, table.optimizer_bytes)

    def _apply(self, record: Record, concerned: Set[int]) -> None:
        request = decode.parse(record.kind, record.body)
        names = decode.tables_named(record.kind, request)
        if len(names) != len(record.tables):
            raise CorruptRecordError(f"the head has {len(record.tables)} tables, the request {len(names)}")
        kept = [place for place, part in enumerate(record.tables) if part.table_id in concerned]
        if record.kind in (Kind.PUSH, Kind.STORE):
            parts = [request.tables[place] for place in kept]  # The others were dropped since.
            del request.tables[:]
            request.tables.extend(parts)
        elif not kept:
            return
        tables = [self._tables[record.tables[place].table_id] for place in kept]
        mutation = decode.build(record.kind, request, tables, max_keys=_NO_LIMIT)
        for place, table in zip(kept, tables, strict=True):
            self._use_optimizer(table.entry.table_id, record.tables[place].optimizer)
            table.journaled_position = record.position
        if isinstance(mutation, Push):
            for part, place in zip(mutation.parts, kept, strict=True):
                part.step = part.table.next_step(record.tables[place].step)
            missing: Mutation = mutation.after(record.position, [record.tables[place].outcome for place in kept])
        else:
            missing = mutation.after(record.position)
        with contextlib.ExitStack() as held:
            missing.lock_first(held)
            missing.apply(now=record.now_s, position=record.position)
        for table in tables:
            table.seen_through = max(table.seen_through, record.position)

    def _use_optimizer(self, table_id: int, serialized: bytes) -> None:
        if self._optimizers[table_id] != serialized:
            table = self._tables[table_id]
            spec = tables_pb2.TableSpec(name=table.name, optimizer=tables_pb2.Optimizer.FromString(serialized))
            table.rows.set_hyperparameters(specs.build_optimizer(spec))
            self._optimizers[table_id] = serialized
