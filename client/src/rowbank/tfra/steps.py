"""One read and one write per training step, instead of one of each for the rows and for every slot.

TFRA reads and writes a variable and each optimizer slot with an operation of its own, all on the keys that one variable
holds during a step, the shadow's `ids`. Inside a `tf.function` they are traced before any of them runs. So while they
are traced, later lookups join the first one, which then reads all their tables in one request and hands their rows on
as a tensor; and earlier writes join the last one, which gets their tensors, writes all of them in one request, and
leaves them nothing to do. What joins is decided by the order of the program alone: a lookup joins if its table has not
been changed since the first one, a write if no table of the earlier ones has been used since. A function that is traced
with automatic control dependencies runs all of its operations in program order, so the program cannot tell the
difference, except that a step's writes are done whole or not at all.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow_recommenders_addons import dynamic_embedding as de

from rowbank.tfra import functions
from rowbank.tfra.failures import in_tensorflow_terms

if TYPE_CHECKING:
    from rowbank.tfra.store import RowStore

_Array = npt.NDArray[Any]

_clock = itertools.count(1)
_ATTRIBUTE = "_rowbank_steps"  # Of a graph: its steps, which end with it.


class Marks:
    """When a server table was last used, and changed, by an operation that was traced; any table object of it asks."""

    _all: ClassVar[dict[tuple[int, str], Marks]] = {}

    def __init__(self) -> None:
        self.used = 0
        self.changed = 0

    @classmethod
    def of(cls, store: RowStore) -> Marks:
        """The marks of a store's server table."""
        return cls._all.setdefault((id(store.client), store.table.name), cls())

    def use(self, *, changes: bool) -> int:
        """Notes an operation; answers its number."""
        self.used = next(_clock)
        if changes:
            self.changed = self.used
        return self.used


def step_of(ids: Any, store: RowStore) -> Step | None:
    """The step that an operation on the keys `ids` belongs to; None if it stands for itself."""
    if tf.executing_eagerly() or not isinstance(ids, de.DEResourceVariable):
        return None
    graph = tf.compat.v1.get_default_graph()
    if not getattr(graph, "_add_control_dependencies", False):  # Operations may run in any order, or not at all.
        return None
    if not hasattr(graph, _ATTRIBUTE):
        setattr(graph, _ATTRIBUTE, {})
    steps: dict[tuple[int, int], Step] = getattr(graph, _ATTRIBUTE)
    return steps.setdefault((id(ids), id(store.client)), Step())


class Step:
    """Operations of one graph on the keys in one variable.

    Only this object has tensors: TensorFlow keeps Python functions for as long as the process lives, and with them
    whatever they refer to.
    """

    def __init__(self) -> None:
        self._reads: _Reads | None = None
        self._read: list[tf.Tensor] = []  # Keys of the first lookup, rows of those that joined, which of them exist.
        self._writes: _Writes | None = None
        self._written: list[tf.Tensor] = []  # Inputs of the writes so far.

    def lookup(self, store: RowStore, keys: tf.Tensor, defaults: tf.Tensor, value_dtype: tf.DType, name: Any) -> Any:
        """Traces a lookup; answers values and exists."""
        marks = Marks.of(store)
        reads = self._reads
        if reads is None or store is reads.first or marks.changed > reads.began:
            reads = self._reads = _Reads(store, marks.use(changes=False))
            outputs = [value_dtype, tf.bool, tf.float32, tf.bool]
            read = store.function("first lookup", reads.read, number=functions.number())
            values, exists, *others = functions.run(read, [keys, defaults], outputs, name)
            self._read = [keys, *others]
            return values, exists
        marks.use(changes=False)
        place = reads.join(store)
        call = functools.partial(reads.take, store, place)
        take = store.function("joined lookup", call, number=functions.number())
        return functions.run(take, [keys, defaults, *self._read], [value_dtype, tf.bool], name)

    def write(self, store: RowStore, keys: tf.Tensor, values: tf.Tensor, exists: tf.Tensor | None, name: Any) -> Any:
        """Traces an insertion or, with `exists`, an accumulation."""
        writes = self._writes
        if writes is None or not writes.may_grow(store):
            writes, self._written = _Writes(), []
            self._writes = writes
        inputs = [keys, values] if exists is None else [keys, values, exists]
        self._written += inputs
        place = writes.add(store, len(inputs))
        write = functions.local(functools.partial(writes.run, place), f"the write to table {store.table.name!r}")
        return functions.run(write, list(self._written), [], name)

    def touch(self, store: RowStore) -> bool:
        """Whether a touch of a store's rows now goes with the write of these rows."""
        return self._writes is not None and self._writes.touch(store)


class _Reads:
    """A first lookup, and those that it reads for."""

    def __init__(self, first: RowStore, began: int) -> None:
        self.first = first
        self.began = began
        self._joined: list[RowStore] = []

    def join(self, store: RowStore) -> int:
        """The place of a store's rows among those of the others."""
        if store not in self._joined:
            self._joined.append(store)
        return self._joined.index(store)

    @in_tensorflow_terms
    def read(self, keys: _Array, defaults: _Array) -> tuple[_Array, _Array, _Array, _Array]:
        """The first lookup's answer, the rows of the stores that joined, flat, and which of them exist."""
        none = np.empty(0, np.float32), np.empty(0, np.bool_)
        if not self._joined or not self.first.fits_one_call(keys):
            return *self.first.lookup(keys, defaults), *none
        flat = self.first.keys.find(self.first.as_keys(keys))
        tables = [store.table.name for store in (self.first, *self._joined)]
        rows = [*self.first.client.lookup(dict.fromkeys(tables, flat)).values()]
        others = np.concatenate([part.values.reshape(-1) for part in rows[1:]])
        return *self.first.answer(keys, rows[0], defaults), others, np.concatenate([part.found for part in rows[1:]])

    @in_tensorflow_terms
    def take(
        self, store: RowStore, place: int, keys: _Array, defaults: _Array, read: _Array, rows: _Array, found: _Array
    ) -> tuple[_Array, _Array]:
        """The answer of a lookup that joined; it looks up by itself if it turns out to have other keys."""
        keys, read = store.as_keys(keys), store.as_keys(read)
        if not rows.size or not np.array_equal(keys, read):
            return store.lookup(keys, defaults)
        start = sum(other.table.dim for other in self._joined[:place]) * keys.size
        values = rows[start : start + store.table.dim * keys.size].reshape(keys.size, store.table.dim)
        return store.answer(keys, Found(values, found[place * keys.size : (place + 1) * keys.size]), defaults)


@dataclass(frozen=True, slots=True)
class Found:
    """Rows [n, dim] as stored, and which of them exist [n]."""

    values: npt.NDArray[np.float32]
    found: npt.NDArray[np.bool_]


@dataclass(slots=True)
class _Part:
    """One write: how many inputs it has, when it was traced, and whether its rows are touched afterwards."""

    store: RowStore
    arity: int
    traced: int
    touch: bool = False


@dataclass(slots=True)
class _Writes:
    """Writes that the last of them carries out."""

    _parts: list[_Part] = field(default_factory=list)

    def may_grow(self, store: RowStore) -> bool:
        """Whether a write of `store` may follow: nothing has used the tables since, and its own is not among them."""
        names = [part.store.table.name for part in self._parts]
        return store.table.name not in names and self._untouched()

    def add(self, store: RowStore, arity: int) -> int:
        """Appends a write of so many inputs; answers its place."""
        self._parts.append(_Part(store, arity, Marks.of(store).use(changes=True)))
        return len(self._parts) - 1

    def touch(self, store: RowStore) -> bool:
        """Lets the write of a store touch its rows too; False if that is too late or done."""
        for part in self._parts:
            if part.store is store and not part.touch and self._untouched():
                part.touch = True
                return True
        return False

    @in_tensorflow_terms
    def run(self, place: int, *arrays: _Array) -> None:
        """Writes everything, if this is the last of the writes."""
        if place < len(self._parts) - 1:
            return
        given, stored = iter(arrays), []
        for part in self._parts:
            keys, values, *exists = itertools.islice(given, part.arity)
            if not part.store.fits_one_call(keys):
                part.store.write(keys, values, *exists)
                if part.touch:
                    part.store.touch(keys)
            else:
                stored.append(part.store.part(keys, values, *exists, touch=part.touch))
        self._parts[0].store.client.store(stored)

    def _untouched(self) -> bool:
        return all(Marks.of(part.store).used == part.traced for part in self._parts)
