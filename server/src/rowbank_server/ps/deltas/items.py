"""What the log holds: mutations, and what happens between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rowbank_protos.v1 import deltas_pb2
from rowbank_server.ps.tables.table import ShardTable

OVERHEAD_BYTES = 256  # What an item costs beside the bytes of its record.


@dataclass(frozen=True, slots=True)
class TablesChanged:
    """All tables of the shard from here on.

    Attributes:
        unlike: ids of those that are new here and yet cannot be had from mutations alone: they have rows already, or
            are relaxed and their mutations take no positions now.
    """

    tables: tuple[deltas_pb2.FollowedTable, ...]
    unlike: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class WriteBack:
    """A step of a write-back; `stage` is a `WriteBackMark.Stage`."""

    stage: deltas_pb2.WriteBackMark.Stage
    serial: int
    flush: int


@dataclass(frozen=True, slots=True)
class FrozenFilled:
    """A model version's copy is whole; it sends no records."""

    table_id: int


@dataclass(frozen=True, slots=True)
class HandOver:
    """Nothing comes after this."""


Event = TablesChanged | WriteBack | FrozenFilled | HandOver


@dataclass(slots=True, eq=False)
class Item:
    """A mutation, or an event behind the mutation of that position.

    Attributes:
        pieces: the record; empty for an event.
        size: bytes that the item takes.
        at_ms: Unix milliseconds at which the mutation was begun.
    """

    position: int
    pieces: tuple[bytes, ...]
    event: Event | None
    size: int
    at_ms: int

    @property
    def record_bytes(self) -> int:
        """Bytes of the record."""
        return self.size - OVERHEAD_BYTES


def followed(tables: Iterable[ShardTable]) -> tuple[deltas_pb2.FollowedTable, ...]:
    """Tables as followers are told of them, in the order of their ids."""
    return tuple(
        deltas_pb2.FollowedTable(
            table_id=table.entry.table_id,
            spec=table.spec,
            created_at_s=table.entry.created_at_s,
            bucket_count=table.entry.bucket_count,
            step=table.step,
        )
        for table in sorted(tables, key=lambda table: table.entry.table_id)
    )
