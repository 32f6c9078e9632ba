"""Which keys go to which shard, in which request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rowbank import hashing
from rowbank.calls.arrays import Array, Keys
from rowbank.errors import RequestTooLarge

# What a request may hold beside its columns: names, lengths, request id, per table.
_OVERHEAD_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Layout:
    """How keys are spread over shards."""

    shard_count: int
    bucket_count: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request, and the answer to it, may hold."""

    max_keys: int
    max_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Keys of one table that travel in one request to one shard.

    Attributes:
        keys: [n] int64.
        where: their positions among the table's keys: a slice if they are contiguous there.
        whole: whether these are all of the table's keys, in order.
    """

    table: str
    keys: Keys
    where: slice | npt.NDArray[np.intp]
    whole: bool

    def of(self, column: Array) -> Array:
        """This piece's part of a column that has an entry per key of the table."""
        return column if self.whole else column[self.where]


def by_shard(table: str, keys: Keys, layout: Layout) -> list[tuple[int, Piece]]:
    """The pieces of `keys` per shard that owns any, shards ascending, the order of keys kept within each."""
    if len(keys) == 0:
        return []
    if layout.shard_count == 1:
        return [(0, Piece(table, keys, slice(0, len(keys)), True))]
    shards = hashing.shard_of(keys, shard_count=layout.shard_count, bucket_count=layout.bucket_count)
    order = np.argsort(shards, kind="stable")
    ends = np.cumsum(np.bincount(shards, minlength=layout.shard_count))
    pieces = []
    for shard, (start, end) in enumerate(zip(np.r_[0, ends[:-1]], ends, strict=True)):
        if end > start:
            where = order[start:end]
            pieces.append((shard, Piece(table, keys[where], where, False)))
    return pieces


def requests(pieces: Iterable[tuple[Piece, int]], limits: Limits) -> Iterator[list[Piece]]:
    """Fills one request after the other with (piece, bytes per row), cutting pieces where a limit is reached."""
    request: list[Piece] = []
    keys_left, bytes_left = limits.max_keys, limits.max_bytes
    for piece, row_bytes in pieces:
        if row_bytes + _OVERHEAD_BYTES > limits.max_bytes:
            raise too_large(f"table {piece.table!r}: one row of {row_bytes} bytes", limits)
        start = 0
        while start < len(piece.keys):
            room = min(keys_left, (bytes_left - _OVERHEAD_BYTES) // row_bytes)
            if room <= 0:
                yield request
                request, keys_left, bytes_left = [], limits.max_keys, limits.max_bytes
                continue
            part = _cut(piece, start, start + room)
            request.append(part)
            keys_left -= len(part.keys)
            bytes_left -= len(part.keys) * row_bytes + _OVERHEAD_BYTES
            start += len(part.keys)
    if request:
        yield request


def _cut(piece: Piece, start: int, stop: int) -> Piece:
    if start == 0 and stop >= len(piece.keys):
        return piece
    if isinstance(piece.where, slice):
        where: slice | npt.NDArray[np.intp] = slice(
            piece.where.start + start, min(piece.where.start + stop, piece.where.stop)
        )
    else:
        where = piece.where[start:stop]
    return Piece(piece.table, piece.keys[start:stop], where, False)


def too_large(what: str, limits: Limits) -> RequestTooLarge:
    """The error for what does not fit into one request."""
    return RequestTooLarge(
        f"{what} does not fit into one request to a shard: expected at most {limits.max_keys} keys "
        f"(server setting max_keys_per_request) and {limits.max_bytes} bytes (max_message_bytes)",
        metadata={"max_keys_per_request": str(limits.max_keys), "max_message_bytes": str(limits.max_bytes)},
    )
