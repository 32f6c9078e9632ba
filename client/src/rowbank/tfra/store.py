"""A server table seen as TFRA sees a key-value table, in NumPy: any shape of keys, defaults, and any value type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from rowbank import Store
from rowbank.tfra import functions
from rowbank.tfra.codec import Codec
from rowbank.tfra.failures import InvalidArgument, in_tensorflow_terms
from rowbank.tfra.keys import KeyCodec

if TYPE_CHECKING:
    from rowbank import Client, Table

_Array = npt.NDArray[Any]
_BATCH_ROWS = 1 << 20  # Of one call to the client, which splits it further; restoring a checkpoint may bring more.
_ROUND_ROWS = 500_000  # Evicted in one round of a restriction; their keys come back in the answer.


class _Found(Protocol):
    """Rows [n, row_width] float32 as stored, and which of them exist [n] bool."""

    @property
    def values(self) -> npt.NDArray[np.float32]: ...
    @property
    def found(self) -> npt.NDArray[np.bool_]: ...


class RowStore:
    """Rows of `dim` values of one type under keys of one type. Thread-safe, as `rowbank.Table` is.

    Args:
        client: the connection that the table belongs to.
        table: the server table; its dim is `codec.row_width(dim)`.
        dim: values per row as TFRA counts them.
        codec: how values are stored.
        value_dtype: the NumPy type of the values.
        keys: how keys become the server's int64.
        describe: says by which plain values another process opens the same store.
    """

    def __init__(
        self,
        client: Client,
        table: Table,
        *,
        dim: int,
        codec: Codec,
        value_dtype: Any,
        keys: KeyCodec,
        describe: Callable[[], dict[str, Any]],
    ) -> None:
        self.client = client
        self.table = table
        self.dim = dim
        self._codec = codec
        self.value_dtype = np.dtype(value_dtype)
        self.keys = keys
        self._describe = describe
        self._description: dict[str, Any] | None = None
        self._number = functions.number()

    def function(self, kind: str, call: Callable[..., Any], **settings: Any) -> functions.Named:
        """A function on these rows as a graph may name it; `settings` are for the maker of the kind."""
        return functions.Named(call, self._number, kind, {"store": self.description, **settings})

    def method(self, name: str) -> functions.Named:
        """A method of this store as a graph may name it."""
        return self.function("method", getattr(self, name), name=name)

    @property
    def description(self) -> dict[str, Any]:
        """The plain values by which another process opens the same store."""
        if self._description is None:
            self._description = self._describe()
        return self._description

    @in_tensorflow_terms
    def lookup(self, keys: _Array, defaults: _Array) -> tuple[_Array, _Array]:
        """Reads rows without side effects.

        Args:
            keys: any shape.
            defaults: for missing keys: as many elements as the answer, else [dim] for every row, else one element.
        Returns:
            values `keys.shape + [dim]` and exists `keys.shape` bool.
        """
        keys = self.as_keys(keys)
        flat = self.keys.find(keys)
        fallback = self._defaults(defaults, flat.size)
        parts = [self._filled(self.table.lookup(flat[part]), fallback[part]) for part in _batches(flat.size)]
        values, exists = (
            parts[0] if len(parts) == 1 else (np.concatenate(column) for column in zip(*parts, strict=True))
        )
        return values.reshape((*keys.shape, self.dim)), exists.reshape(keys.shape)

    def answer(self, keys: _Array, rows: _Found, defaults: _Array) -> tuple[_Array, _Array]:
        """What `lookup` answers, given the rows."""
        shape = self.as_keys(keys).shape
        values, exists = self._filled(rows, self._defaults(defaults, len(rows.found)))
        return values.reshape((*shape, self.dim)), exists.reshape(shape)

    @in_tensorflow_terms
    def write(self, keys: _Array, values: _Array, exists: _Array | None = None) -> None:
        """`insert`, or, with `exists`, `accum`."""
        if exists is None:
            self.insert(keys, values)
        else:
            self.accum(keys, values, exists)

    def part(self, keys: _Array, values: _Array, exists: _Array | None = None, *, touch: bool) -> Store:
        """What `write` sends, checked, as a part of a larger request. Not for an `accum` that is done here."""
        keys = self.as_keys(keys)
        rows = self._codec.encode(self._rows(keys, values))
        seen = None if exists is None else self._seen(keys, exists)
        return Store(self.table.name, self.keys.keep(keys), rows, exists=seen, touch=touch)

    @property
    def adds_on_the_server(self) -> bool:
        """Whether the server carries out `accum`."""
        return self._codec.additive

    def fits_one_call(self, keys: _Array) -> bool:
        """Whether so many keys may go in one call to the client."""
        return bool(np.size(keys) <= _BATCH_ROWS)

    def as_keys(self, keys: Any) -> _Array:
        """Keys as an array of their type, in their shape."""
        return np.asarray(keys, dtype=self.keys.dtype)

    @in_tensorflow_terms
    def insert(self, keys: _Array, values: _Array) -> None:
        """Overwrites rows; of repeated keys the last one stays. `values` is `keys.shape + [dim]`."""
        keys = self.as_keys(keys)
        rows = self._rows(keys, values)
        flat = self.keys.keep(keys)
        for part in _batches(flat.size):
            self.table.upsert(flat[part], self._codec.encode(rows[part]))

    @in_tensorflow_terms
    def accum(self, keys: _Array, deltas: _Array, exists: _Array) -> None:
        """Adds where a row is present and was seen, inserts where it is absent and was not, ignores the rest.

        Args:
            keys: any shape.
            deltas: `keys.shape + [dim]`, sums or whole rows.
            exists: as many booleans as keys: whether the caller saw the row.
        Side effects: the server adds, so that programs may add to a row at once, except for float64 and bool, which
            are read, added to here and written.
        """
        keys = self.as_keys(keys)
        rows = self._rows(keys, deltas)
        seen = self._seen(keys, exists)
        flat = self.keys.keep(keys)
        for part in _batches(flat.size):
            if self._codec.additive:
                self.table.accumulate(flat[part], self._codec.encode(rows[part]), seen[part])
            else:
                self._add_here(flat[part], rows[part], seen[part])

    @in_tensorflow_terms
    def remove(self, keys: _Array) -> None:
        """Deletes rows; missing keys are no error."""
        self.discard(self.keys.find(self.as_keys(keys)))

    @in_tensorflow_terms
    def discard(self, keys: npt.NDArray[np.int64]) -> None:
        """Deletes rows by the server's keys, as `restrict` answers them."""
        for part in _batches(keys.size):
            self.table.remove(keys[part])

    @in_tensorflow_terms
    def touch(self, keys: _Array) -> None:
        """Counts one use of each stored row and renews its last use."""
        flat = self.keys.find(self.as_keys(keys))
        for part in _batches(flat.size):
            self.table.touch(flat[part])

    @in_tensorflow_terms
    def restrict(self, num_reserved: int, *, by: str) -> npt.NDArray[np.int64]:
        """Evicts down to the `num_reserved` rows with the highest score; answers the server's keys that went.

        Goes in rounds, so that no answer is larger than a request may be.

        Args:
            num_reserved: rows to keep.
            by: "frequency" or "last_used".
        """
        evicted = [np.empty(0, np.int64)]
        rows = int(self.table.size())
        while rows > num_reserved:
            keep = max(num_reserved, rows - _ROUND_ROWS)
            report = self.table.restrict(keep, trigger=keep, by=by, sample=rows - keep)
            if not report.evicted:
                break
            evicted.append(report.sample_keys)
            rows = report.rows_after
        return np.concatenate(evicted)

    @in_tensorflow_terms
    def clear(self) -> None:
        """Deletes every row."""
        self.table.clear()

    @in_tensorflow_terms
    def replace(self, keys: _Array, values: _Array) -> None:
        """Makes these the only rows, as restoring a checkpoint does."""
        self._rows(self.as_keys(keys), values)
        self.table.clear()
        self.insert(keys, values)

    @in_tensorflow_terms
    def size(self) -> np.int64:
        """Rows stored."""
        return np.int64(self.table.size())

    @in_tensorflow_terms
    def export(self) -> tuple[_Array, _Array]:
        """All keys [N] and values [N, dim]."""
        keys, values = [np.empty(0, self.keys.dtype)], [np.empty((0, self.dim), self.value_dtype)]
        for chunk in self.table.export():
            keys.append(self.keys.restore(chunk.keys))
            values.append(self._codec.decode(np.asarray(chunk.values), self.value_dtype))
        return np.concatenate(keys), np.concatenate(values)

    @in_tensorflow_terms
    def usage(self) -> tuple[_Array, _Array, _Array]:
        """All keys [N] with their frequency [N] uint32 and last use [N] uint32, Unix seconds."""
        keys, frequency, last_used = [np.empty(0, self.keys.dtype)], [np.empty(0, np.uint32)], [np.empty(0, np.uint32)]
        for chunk in self.table.export():
            keys.append(self.keys.restore(chunk.keys))
            frequency.append(chunk.frequency)
            last_used.append(chunk.last_used)
        return np.concatenate(keys), np.concatenate(frequency), np.concatenate(last_used)

    @in_tensorflow_terms
    def status(self, keys: _Array, column: str) -> tuple[_Array, _Array]:
        """[N, 1] int32 frequency or last use of [N] keys, 0 for missing ones, and which of them exist."""
        parts = []
        flat = self.keys.find(self.as_keys(keys))
        for part in _batches(flat.size):
            rows = self.table.lookup(flat[part], with_metadata=True)
            counts: Any = rows.frequency if column == "frequency" else rows.last_used
            parts.append((np.where(rows.found, counts, 0).astype(np.int32).reshape(-1, 1), rows.found))
        return tuple(np.concatenate(column) for column in zip(*parts, strict=True))  # type: ignore[return-value]

    def _filled(self, rows: _Found, fallback: _Array) -> tuple[_Array, _Array]:
        values = self._codec.decode(rows.values, self.value_dtype)
        if not rows.found.all():
            values = np.where(rows.found[:, None], values, fallback)
        return values, rows.found

    def _add_here(self, keys: npt.NDArray[np.int64], deltas: _Array, seen: npt.NDArray[np.bool_]) -> None:
        distinct, first, index = np.unique(keys, return_index=True, return_inverse=True)
        zeros = np.zeros((len(distinct), self.dim), self.value_dtype)
        values, found = self._filled(self.table.lookup(distinct), zeros)
        adds = found[index] & seen
        np.add.at(values, index[adds], deltas[adds])
        inserts = ~found & ~seen[first]
        values[inserts] = deltas[first[inserts]]
        written = inserts.copy()
        written[index[adds]] = True
        self.table.upsert(distinct[written], self._codec.encode(values[written]))

    def _seen(self, keys: _Array, exists: _Array) -> npt.NDArray[np.bool_]:
        seen = np.ascontiguousarray(exists, dtype=np.bool_).reshape(-1)
        if seen.size != keys.size:
            raise InvalidArgument(f"Expected shape {list(keys.shape)} for exists, got {list(exists.shape)}")
        return seen

    def _rows(self, keys: _Array, values: _Array) -> _Array:
        expected = (*keys.shape, self.dim)
        if values.shape != expected:
            raise InvalidArgument(f"Expected shape {list(expected)} for value, got {list(values.shape)}")
        return np.ascontiguousarray(values, dtype=self.value_dtype).reshape(-1, self.dim)

    def _defaults(self, defaults: _Array, count: int) -> _Array:
        if defaults.size == count * self.dim:
            return defaults.reshape(count, self.dim)
        if defaults.size in (1, self.dim):
            return np.broadcast_to(defaults.reshape(-1), (count, self.dim))
        if defaults.ndim == 2 and defaults.shape[1] == self.dim and defaults.shape[0]:
            return np.broadcast_to(defaults[0], (count, self.dim))
        raise InvalidArgument(
            f"Expected shape [{count}, {self.dim}], [{self.dim}] or [] for default values, got {list(defaults.shape)}"
        )


def _batches(count: int) -> Iterator[slice]:
    """Slices that cover `count` rows; one empty slice for none."""
    for start in range(0, max(count, 1), _BATCH_ROWS):
        yield slice(start, min(start + _BATCH_ROWS, count))
