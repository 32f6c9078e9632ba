"""One training step's pulls and pushes, gathered: a traced step is one Pull and one Push, however many tables it uses.

Problem: a graph is made of operations that each know one use of one table, and each would be a request of its own.
Idea: an operation that only says what will be asked for (`ask`) stands before each one that needs the answer
(`take`). The first of those that runs waits for what every use has asked and pulls it all. Towards the end of the
backward pass it is the other way round: every use hands over its gradients (`give`), one after the other, and the
last, which is known once the graph is complete, pushes all.
What it cannot do: ids that are computed from rows, or by operations with side effects after the first lookup, can not
be asked for in time; they are pulled in a second request.
"""

from __future__ import annotations

import functools
import itertools
import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from rowbank.calls import arrays
from rowbank.calls.forked import forks
from rowbank.calls.verbs import Push
from rowbank.errors import InternalError, RequestTooLarge

if TYPE_CHECKING:
    from rowbank import Table
    from rowbank.remote.accumulation import Accumulation
    from rowbank.table import Connection

_Array = npt.NDArray[Any]

# A step that fails half-way leaves what was asked; that much is kept of the latest steps, and nothing of older ones.
_OPEN_RUNS = 64

_run_numbers = itertools.count(1)
_holding = threading.Lock()
_held: Accumulation[Given] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What one use of a table wants: [U] distinct keys, [N] the place of each id among them, [U] how often each."""

    table: Table
    keys: _Array
    inverse: _Array
    counts: _Array

    @classmethod
    def of(cls, table: Table, keys: _Array) -> Asked:
        batch = arrays.distinct(np.ascontiguousarray(keys, np.int64))
        size = len(batch.keys)
        inverse = np.arange(size, dtype=np.int32) if batch.inverse is None else batch.inverse.astype(np.int32)
        counts = np.ones(size, np.int32) if batch.occurrences is None else batch.occurrences.astype(np.int32)
        return cls(table, batch.keys, inverse, counts)


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """What one use of a table has for the server: [U] distinct keys, [U, dim] gradients, [U] occurrences."""

    table: Table
    keys: _Array
    gradients: _Array
    counts: _Array


@dataclass(frozen=True, slots=True, eq=False)
class Lookup:
    """A use of a table in a graph or in eager mode, as tensors: `rows` [U, dim] float32, the rest as in `Asked`."""

    use: int
    rows: tf.Tensor
    inverse: tf.Tensor
    keys: tf.Tensor
    counts: tf.Tensor


def pull(parts: Sequence[Asked]) -> list[_Array]:
    """The rows of each part, [U, dim] float32, in one request per client and shard."""
    rows: list[_Array] = [np.zeros((0, part.table.dim), np.float32) for part in parts]
    for client, tables in _grouped(parts).items():
        wanted = {name: np.concatenate([parts[place].keys for place in places]) for name, places in tables.items()}
        pulled = client.pull(wanted)
        for name, places in tables.items():
            ends = np.cumsum([len(parts[place].keys) for place in places])
            for place, piece in zip(places, np.split(pulled[name], ends[:-1]), strict=True):
                rows[place] = piece
    return rows


def push(parts: Sequence[Given]) -> None:
    """Applies the gradients of one step, or holds them back."""
    held = _held
    if held is None:
        push_now(parts)
    else:  # TensorFlow takes the memory of its arrays back when the operation ends.
        held.add([Given(part.table, part.keys.copy(), part.gradients.copy(), part.counts.copy()) for part in parts])


def hold(accumulation: Accumulation[Given] | None) -> bool:
    """Lets an accumulation have what the steps of this process push, None: nobody; False if another has it.

    It is of the process, not of a thread: operations of a graph run in threads of TensorFlow's.
    """
    global _held
    with _holding:
        if accumulation is not None and _held is not None:
            return False
        _held = accumulation
        return True


def push_now(parts: Sequence[Given]) -> None:
    """Applies the gradients of all parts, summed per table and key, in one request per client and shard."""
    for client, tables in _grouped(parts).items():
        pushes = [
            Push(
                name,
                np.concatenate([parts[place].keys for place in places]),
                np.concatenate([parts[place].gradients for place in places]),
                np.concatenate([parts[place].counts for place in places]).astype(np.uint32),
            )
            for name, places in tables.items()
        ]
        try:
            client.push_all(pushes)
        except RequestTooLarge:
            if len(pushes) == 1:
                raise
            for one in pushes:  # Nothing was sent: the tables may still fit one by one.
                client.push_all([one])


def _grouped(parts: Sequence[Asked | Given]) -> dict[Connection, dict[str, list[int]]]:
    """Places of the parts that have keys, by client and table."""
    grouped: dict[Connection, dict[str, list[int]]] = {}
    for place, part in enumerate(parts):
        if len(part.keys):
            grouped.setdefault(part.table._client, {}).setdefault(part.table.name, []).append(place)
    return grouped


@dataclass(slots=True, eq=False)
class _Run:
    """One execution of a traced step."""

    asked: dict[int, Asked] = field(default_factory=dict)
    answered: dict[int, tuple[Asked, _Array]] = field(default_factory=dict)
    given: dict[tuple[int, int], Given] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Chain:
    """The uses whose gradients one graph computes, in the order in which they are handed over."""

    number: int
    length: int = 0


class _Runs:
    """The executions of a traced step. Thread-safe.

    There are no tensors here: TensorFlow keeps Python functions for as long as the process lives, and with them
    whatever they refer to. With a tensor that would be every graph that was ever traced.
    """

    def __init__(self) -> None:
        self._runs: OrderedDict[int, _Run] = OrderedDict()
        self._lock = threading.Lock()
        forks.watch(self)

    def renew(self) -> None:
        """Begins anew in a forked child: what runs goes on in the parent alone."""
        self._runs = OrderedDict()
        self._lock = threading.Lock()

    def begin(self) -> _Array:
        number = next(_run_numbers)
        with self._lock:
            self._runs[number] = _Run()
            while len(self._runs) > _OPEN_RUNS:
                self._runs.popitem(last=False)
        return np.int64(number)  # type: ignore[return-value]  # NumPy's scalars are arrays to TensorFlow.

    def ask(self, use: int, table: Table, number: _Array, keys: _Array) -> _Array:
        asked = Asked.of(table, keys)
        with self._lock:
            if int(number) in self._runs:
                self._runs[int(number)].asked[use] = asked
        return number

    def take(self, use: int, table: Table, number: _Array, keys: _Array) -> tuple[_Array, ...]:
        with self._lock:
            run = self._runs.get(int(number)) or _Run()
            mine = run.answered.pop(use, None)
            asked, run.asked = (run.asked, {}) if mine is None else ({}, run.asked)
        if mine is None:
            asked.setdefault(use, Asked.of(table, keys))
            answers = dict(zip(asked, zip(asked.values(), pull(list(asked.values())), strict=True), strict=True))
            mine = answers.pop(use)
            with self._lock:
                run.answered.update(answers)
        part, rows = mine
        return rows, part.inverse, part.keys, part.counts

    def give(
        self,
        chain: _Chain,
        place: int,
        table: Table,
        number: _Array,
        keys: _Array,
        gradients: _Array,
        counts: _Array,
        training: _Array,
    ) -> np.float32:
        last = place == chain.length - 1
        with self._lock:
            run = self._runs.setdefault(int(number), _Run())
            if not training:
                keys, gradients, counts = keys[:0], gradients[:0], counts[:0]
            # TensorFlow takes the memory of its arrays back when the operation ends.
            run.given[chain.number, place] = (
                Given(table, keys, gradients, counts)
                if last
                else Given(table, keys.copy(), gradients.copy(), counts.copy())
            )
            if not last:
                return np.float32(0.0)
            parts = [run.given.pop((chain.number, index), None) for index in range(chain.length)]
            if not run.given:
                self._runs.pop(int(number), None)
        whole = [part for part in parts if part is not None]
        if len(whole) < chain.length:
            raise InternalError(
                f"a training step lost the gradients of {chain.length - len(whole)} of {chain.length} lookups: "
                f"expected at most {_OPEN_RUNS} executions of one graph side by side; run fewer"
            )
        push(whole)
        return np.float32(0.0)


class TracedStep:
    """What one graph asks of tables until it takes gradients; what comes after that is another step.

    Not thread-safe while the graph is traced (tracing is not, either); its executions may run side by side.
    """

    def __init__(self) -> None:
        self._runs = _Runs()
        self._uses = itertools.count()
        self._first_take: Any = None
        self._operations_before = 0
        # A gradient may be computed in another graph than the rows: that of a branch, or of a nested function.
        self._chains: weakref.WeakKeyDictionary[Any, _Chain] = weakref.WeakKeyDictionary()
        self._last_gives: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
        with tf.device("/CPU:0"):
            self._run_number = tf.numpy_function(self._runs.begin, [], tf.int64)

    @classmethod
    def current(cls) -> TracedStep:
        """The step of the graph that is being traced."""
        graph = tf.compat.v1.get_default_graph()
        # Kept by the graph itself, so that it ends with it; a branch or loop body is a graph of its own.
        found: TracedStep | None = getattr(graph, "_rowbank_step", None)
        if found is None or found._chains:
            found = graph._rowbank_step = cls()
        return found

    def look_up(self, table: Table, keys: tf.Tensor) -> Lookup:
        """Operations that give the rows of [N] int64 keys of a table."""
        use = next(self._uses)
        with tf.device("/CPU:0"):
            asked = tf.numpy_function(
                functools.partial(self._runs.ask, use, table), [self._run_number, keys], tf.int64, stateful=False
            )
            joined = self._join(asked.op)
            types = [tf.float32, tf.int32, tf.int64, tf.int32]
            answer = tf.numpy_function(functools.partial(self._runs.take, use, table), [asked, keys], types)
        if not joined:
            self._first_take = answer[0].op
            self._operations_before = len(self._first_take.graph.get_operations())
        for tensor, shape in zip(answer, ([None, table.dim], [None], [None], [None]), strict=True):
            tensor.set_shape(shape)
        answer[1].set_shape(keys.shape)
        return Lookup(use, *answer)

    def give(self, table: Table, lookup: Lookup, gradients: tf.Tensor, training: tf.Tensor | bool) -> tf.Tensor:
        """An operation that hands over the gradients of a lookup, [U, dim]; the graph's last one pushes all.

        Returns:
            Zero, float32. Whatever shall wait for the push must use it: TensorFlow has dropped such an operation from
            the loop of Keras's `steps_per_execution` when there was a control dependency only.
        """
        graph = tf.compat.v1.get_default_graph()
        chain = self._chains.setdefault(graph, _Chain(len(self._chains)))
        last = self._last_gives.get(graph)
        with tf.device("/CPU:0"), tf.control_dependencies([] if last is None else [last]):
            done = tf.numpy_function(
                functools.partial(self._runs.give, chain, chain.length, table),
                [self._run_number, lookup.keys, gradients, lookup.counts, training],
                tf.float32,
            )
        done.set_shape([])
        chain.length += 1
        self._last_gives[graph] = done.op
        return done

    def _join(self, ask: Any) -> bool:
        """Lets the first take wait for one more `ask`, unless that could wait for the take."""
        take = self._first_take
        if take is None:
            return False
        later = {operation.name for operation in take.graph.get_operations()[self._operations_before :]}
        seen, found = {ask.name}, [ask]
        while found:
            operation = found.pop()
            for source in {tensor.op for tensor in operation.inputs}.union(operation.control_inputs):
                if source.name == take.name:
                    return False
                if source.name in seen or source.name not in later:
                    continue
                if source.op_def is None or source.op_def.is_stateful:
                    return False  # It runs after the take, as everything with side effects runs in program order.
                seen.add(source.name)
                found.append(source)
        take._add_control_inputs([ask])
        return True
