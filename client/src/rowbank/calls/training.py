"""Pull and push: all tables of a step in one request per shard."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank._checks import at_least, float32
from rowbank.calls import arrays, methods, routing, wire
from rowbank.calls.near_cache import NearRead, NearTables
from rowbank.calls.routing import Piece
from rowbank.calls.verbs import Calls, Push
from rowbank.errors import DimMismatch, InvalidRequest, NonFiniteGradient
from rowbank.specs import TableSpec
from rowbank_protos import columns
from rowbank_protos.v1 import common_pb2, rows_pb2

_FLOAT16_MAX = 65504.0
_KEY_BYTES = 8

SpecOf = Callable[[str], TableSpec]


@dataclass(frozen=True, slots=True, eq=False)
class _Pulled:
    """One table's part of a pull: its distinct keys, the caller's shape, and where the rows are gathered."""

    spec: TableSpec
    shape: tuple[int, ...]
    batch: arrays.Distinct
    parts: list[tuple[Piece, npt.NDArray[np.float32]]]
    near: NearRead | None = None

    @property
    def asked(self) -> arrays.Keys:
        """The keys that servers are asked for."""
        return self.batch.keys if self.near is None else self.near.missing

    def rows(self) -> npt.NDArray[np.float32]:
        """[*shape, dim], in the order of the caller's keys; read-only."""
        if self.near is not None:
            values = self.near.values
        elif len(self.parts) == 1 and self.parts[0][0].whole:
            values = self.parts[0][1]
        else:
            values = np.empty((len(self.batch.keys), self.spec.dim), np.float32)
            for piece, part in self.parts:
                values[piece.where] = part
        result: npt.NDArray[np.float32] = self.batch.spread(values).reshape(*self.shape, self.spec.dim)
        result.flags.writeable = False
        return result


def pull(
    calls: Calls, spec_of: SpecOf, keys: Mapping[str, Any], wire_dtype: common_pb2.DataType
) -> dict[str, npt.NDArray[np.float32]]:
    """See `Client.pull`."""
    wire_dtype = calls.dtype or wire_dtype
    pulled: dict[str, _Pulled] = {}
    for table, given in keys.items():
        flat, shape = calls.as_keys(given)
        pulled[table] = _Pulled(spec_of(table), shape, arrays.distinct(flat), [])
    if calls.near is None:
        _ask(calls, pulled, wire_dtype)
    else:
        _ask_for_missing(calls, calls.near, pulled, wire_dtype)
    return {table: part.rows() for table, part in pulled.items()}


def _ask_for_missing(
    calls: Calls, near: NearTables, pulled: dict[str, _Pulled], wire_dtype: common_pb2.DataType
) -> None:
    done = False
    try:
        for table, part in pulled.items():
            pulled[table] = dataclasses.replace(part, near=near.read(part.spec, part.batch.keys))
        _ask(calls, pulled, wire_dtype)
        done = True
    finally:
        for part in pulled.values():
            if part.near is not None:
                part.near.end(keep=done)


def _ask(calls: Calls, pulled: Mapping[str, _Pulled], wire_dtype: common_pb2.DataType) -> None:
    per_shard: list[list[tuple[Piece, int]]] = [[] for _ in range(calls.layout.shard_count)]
    for table, part in pulled.items():
        row_bytes = max(
            _KEY_BYTES, calls.row_bytes(part.spec.dim, wire_dtype) + 1
        )  # A request holds the keys, its answer the rows.
        for shard, piece in routing.by_shard(table, part.asked, calls.layout):
            per_shard[shard].append((piece, row_bytes))
    requests = [list(routing.requests(pieces, calls.limits)) for pieces in per_shard]
    for wave in range(max(map(len, requests))):
        _pull_wave(calls, pulled, [(shard, parts[wave]) for shard, parts in enumerate(requests) if wave < len(parts)],
                   wire_dtype)  # fmt: skip


def _pull_wave(
    calls: Calls,
    pulled: Mapping[str, _Pulled],
    wave: Sequence[tuple[int, list[Piece]]],
    wire_dtype: common_pb2.DataType,
) -> None:
    requests = []
    for shard, pieces in wave:
        request = rows_pb2.PullRequest(wire_dtype=wire_dtype)
        for piece in pieces:
            request.tables.add(table=piece.table, keys=columns.pack_keys(piece.keys))
        requests.append((shard, request))
    for (_, pieces), answer in zip(wave, calls.read(methods.PULL, requests), strict=True):
        for piece, rows in zip(pieces, answer.tables, strict=True):
            spec = pulled[piece.table].spec
            try:
                stored = columns.unpack_read(
                    rows.values, row_count=len(piece.keys), dim=spec.dim, value_type=wire_dtype
                )
            except columns.ColumnError as error:
                raise DimMismatch(
                    f"table {piece.table!r}: expected rows of dim {spec.dim}, as when this client first used it; "
                    f"it was made anew since: {error}",
                    metadata={"table": piece.table},
                ) from None
            values, near = arrays.widen(stored, wire_dtype), pulled[piece.table].near
            if near is None:
                pulled[piece.table].parts.append((piece, values))
            else:
                status = columns.unpack_bytes(rows.status, row_count=len(piece.keys), name="status")
                near.take(piece.where, values, status)


@dataclass(frozen=True, slots=True)
class Overrides:
    """What holds for one push only; None: the table's own."""

    step: int | None = None
    learning_rate: float | None = None
    clip_value: float | None = None
    max_norm: float | None = None

    def __post_init__(self) -> None:
        if self.step is not None:
            at_least("step", self.step, 1, also=", or None")
        if self.learning_rate is not None:
            expected = "a finite number of at least 0"
            float32("learning_rate", self.learning_rate, expected, low=0.0, error=InvalidRequest)
        for name in ("clip_value", "max_norm"):
            if getattr(self, name) is not None:
                expected = "a finite number above 0, or None"
                float32(name, getattr(self, name), expected, above=0.0, error=InvalidRequest)


@dataclass(frozen=True, slots=True, eq=False)
class _Summed:
    """One table's part of a push, summed per distinct key and packed for the wire."""

    spec: TableSpec
    keys: arrays.Keys
    gradients: arrays.Array
    counts: npt.NDArray[np.uint32] | None


def push(
    calls: Calls, spec_of: SpecOf, pushes: Sequence[Push], overrides: Overrides, wire_dtype: common_pb2.DataType
) -> dict[str, int]:
    """See `Client.push`."""
    summed = [_sum(calls, spec_of(part.table), part, wire_dtype) for part in pushes]
    steps = {part.table: 0 for part in pushes}
    per_shard = [wire.PushMessage(wire_dtype) for _ in range(calls.layout.shard_count)]
    sizes: list[list[tuple[Piece, int]]] = [[] for _ in range(calls.layout.shard_count)]
    for part in summed:
        row_bytes = _KEY_BYTES + part.gradients.itemsize * part.spec.dim + (0 if part.counts is None else 4)
        pieces = dict(routing.by_shard(part.spec.name, part.keys, calls.layout))
        for shard in range(calls.layout.shard_count):
            # Shards count a table's pushes by themselves: one that has no key in this push must count it too, lest
            # the shards' steps drift apart.
            counts_only = shard not in pieces and overrides.step is None and len(part.keys) > 0
            if shard in pieces or counts_only:
                piece = pieces.get(shard) or Piece(part.spec.name, part.keys[:0], slice(0, 0), False)
                sizes[shard].append((piece, row_bytes))
                _add_gradients(per_shard[shard], part, piece, overrides)
    for pieces_and_bytes in sizes:
        if sum(1 for _ in routing.requests(pieces_and_bytes, calls.limits)) > 1:
            keys = sum(len(piece.keys) for piece, _ in pieces_and_bytes)
            total = sum(len(piece.keys) * row_bytes for piece, row_bytes in pieces_and_bytes)
            raise routing.too_large(f"push: {keys} distinct keys in {total} bytes", calls.limits)
    requests = [(shard, request) for shard, request in enumerate(per_shard) if request.tables]
    for shard, request in requests:
        request.request_id = calls.request_id(shard)
    with contextlib.ExitStack() as writes:
        if calls.near is not None:
            for part in summed:
                writes.enter_context(calls.near.pushing(part.spec, part.keys, part.gradients, overrides))
        answers = calls.transport.run(methods.PUSH, requests)
    for (_, request), answer in zip(requests, answers, strict=True):
        for table, step in zip(request.tables, answer.steps, strict=True):
            steps[table.table] = max(steps[table.table], step)
    return steps


def _sum(calls: Calls, spec: TableSpec, part: Push, wire_dtype: common_pb2.DataType) -> _Summed:
    flat, shape = calls.as_keys(part.keys)
    rows = arrays.as_values("gradients", part.gradients, shape=shape, dim=spec.dim, table=spec.name)
    counts = None if part.counts is None else arrays.as_counts(part.counts, shape=shape)
    batch = arrays.distinct(flat)
    sums = arrays.sum_repeats(batch, rows)
    largest = _FLOAT16_MAX if wire_dtype == columns.FLOAT16 else None
    if largest is not None and len(sums) and float(np.abs(sums).max()) > largest:
        raise NonFiniteGradient(
            f"gradients: table {spec.name!r}: expected at most {largest} to fit wire_dtype 'float16', "
            f"got {float(np.abs(sums).max())}; use 'bfloat16' or 'float32'",
            metadata={"table": spec.name},
        )
    narrow = arrays.narrow if calls.rounding is None else calls.rounding.narrow
    return _Summed(spec, batch.keys, narrow(sums, wire_dtype), arrays.sum_counts(batch, counts))


def _add_gradients(request: wire.PushMessage, part: _Summed, piece: Piece, overrides: Overrides) -> None:
    request.tables.append(
        wire.TableGradients(
            table=piece.table,
            keys=piece.keys,
            gradients=piece.of(part.gradients),
            counts=None if part.counts is None else piece.of(part.counts),
            step=int(overrides.step or 0),
            learning_rate=overrides.learning_rate,
            clip_value=overrides.clip_value,
            max_norm=overrides.max_norm,
        )
    )
