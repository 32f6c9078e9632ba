"""Several lookups of one shadow in a training step.

Problem: a TFRA layer has one shadow variable, with one buffer for the ids of a step and one for their rows. A second
lookup in the same step overwrites both, while the gradients of the first one still name rows by their places in them:
they reach the rows of other ids, silently if there are no fewer of those. Idea: the second lookup of a step appends the
ids that are new to those of the first, so that places stay what they were, reads the rows of all, and answers its own.
Which lookups make one step: those in one tape, or in one traced graph, until gradients are taken.
What it cannot do: where that is not known, in functions within functions, loops and branches, a later lookup begins
anew. So whoever takes gradients of a lookup checks that the ids at its places are still its own, and raises before
anything is applied. That is exact: equal ids, or a branch that was not taken, are no error.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import record  # Of this and the next there is no public way.
from tensorflow.python.ops import control_flow_v2_func_graphs as flow
from tensorflow_recommenders_addons import dynamic_embedding as de

from rowbank.tfra.creator import TableCreator
from rowbank.tfra.failures import InvalidArgument

_FLOW = (flow.CondBranchFuncGraph, flow.WhileBodyFuncGraph)
_GROUPS = "_rowbank_lookups"  # Of a graph, or of a shadow's ids in eager mode.
_replaced = de.shadow_ops.embedding_lookup


@functools.wraps(_replaced)
@tf.autograph.experimental.do_not_convert
def embedding_lookup(shadow: Any, ids: Any, *args: Any, **kwargs: Any) -> Any:
    """TFRA's lookup, right for several in a step where the rows are on Rowbank."""
    own = shadow._get_on_device_or_primary() if hasattr(shadow, "_get_on_device_or_primary") else shadow
    ids = tf.convert_to_tensor(ids)
    trains = de.ModelMode.CURRENT_SETTING == de.ModelMode.TRAIN and own.trainable
    if not (trains and isinstance(own.params.kv_creator, TableCreator) and own.ids.dtype == ids.dtype):
        return _replaced(shadow, ids, *args, **kwargs)
    flat = ids.shape.rank == 1
    group = _Group.of(own)
    if group is None or not flat or not group.may_grow():
        rows = _replaced(shadow, ids, *args, **kwargs)
        return _Group.begin(own, grows=flat).tie_first(own, rows, ids)
    everything, places = _appended(_current(own.ids.handle, ids.dtype), ids)
    rows = tf.gather(_replaced(shadow, everything, *args, **kwargs), places)
    return group.tie_later(own, rows, ids, places)


de.shadow_ops.embedding_lookup = embedding_lookup


class _Group:
    """The lookups of one shadow in one step, so far."""

    def __init__(self, *, grows: bool) -> None:
        self._lookups = 1
        self._grows = grows
        self._differentiated = False
        self._token: tf.Tensor | None = None  # In eager mode: what the tape of the group has recorded.

    @classmethod
    def of(cls, shadow: Any) -> _Group | None:
        """The group of a shadow in this graph, or in eager mode the latest one."""
        if tf.executing_eagerly():
            return getattr(shadow.ids, _GROUPS, None)
        return getattr(tf.compat.v1.get_default_graph(), _GROUPS, {}).get(id(shadow.ids))

    @classmethod
    def begin(cls, shadow: Any, *, grows: bool) -> _Group:
        """A new group in the place of the one before."""
        group = cls(grows=grows)
        if tf.executing_eagerly():
            setattr(shadow.ids, _GROUPS, group)
        else:
            graph = tf.compat.v1.get_default_graph()
            if not hasattr(graph, _GROUPS):
                setattr(graph, _GROUPS, {})
            getattr(graph, _GROUPS)[id(shadow.ids)] = group
        return group

    def may_grow(self) -> bool:
        """Whether another lookup joins."""
        if self._differentiated or not self._grows:
            return False
        if not tf.executing_eagerly():
            return True
        return self._token is not None and bool(record.should_record_backprop([self._token]))

    def tie_first(self, shadow: Any, rows: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """The rows of the first lookup, which are the whole buffer until others join."""

        def passed(upstream: Any) -> Any:
            if self._lookups == 1 or isinstance(upstream, tf.IndexedSlices):
                return upstream
            return tf.IndexedSlices(upstream, tf.range(tf.shape(upstream)[0]))

        return self._tied(rows, _Check(shadow, ids, tf.range(tf.size(ids)), whole=not self._grows), passed)

    def tie_later(self, shadow: Any, rows: tf.Tensor, ids: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
        """The rows of another lookup, taken from the buffer."""
        self._lookups += 1
        return self._tied(rows, _Check(shadow, ids, places, whole=False), lambda upstream: upstream)

    def _tied(self, rows: tf.Tensor, check: _Check, passed: Callable[[Any], Any]) -> tf.Tensor:
        """The rows; who takes gradients of them passes the check, and ends the group."""

        @tf.custom_gradient
        def tied(rows: tf.Tensor) -> Any:
            def back(upstream: Any) -> Any:
                self._differentiated = True
                with tf.control_dependencies(check.operations()):
                    return passed(tf.nest.map_structure(tf.identity, upstream, expand_composites=True))

            return tf.identity(rows), back

        answer = tied(rows)
        if tf.executing_eagerly() and record.should_record_backprop([answer]):
            self._token = answer[:0]
        return answer


class _Check:
    """That the gradients of a lookup still meet its rows.

    Args:
        shadow: whose lookup it was.
        ids: that were looked up.
        places: where they were among the ids of the shadow.
        whole: whether there must be no others.
    """

    def __init__(self, shadow: Any, ids: tf.Tensor, places: tf.Tensor, *, whole: bool) -> None:
        self._name = shadow.name.removesuffix(":0").removesuffix("-shadow")
        self._ids, self._places, self._whole = tf.reshape(ids, [-1]), places, whole
        self._handle = shadow.ids.handle
        graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        if isinstance(graph, _FLOW):  # The gradient of a branch or loop takes nothing but what its forward part has.
            self._handle = graph.capture(self._handle)

    def operations(self) -> list[Any]:
        """Operations that raise if they do not; in eager mode it raises at once."""
        now = _current(self._handle, self._ids.dtype)
        count = tf.size(now)
        padded = tf.concat([now, tf.zeros([1], now.dtype)], 0)  # So that there is something at every place asked for.
        found = tf.gather(padded, tf.minimum(self._places, count))
        same = tf.reduce_all(tf.equal(found, self._ids)) & tf.reduce_all(self._places < count)
        if self._whole:
            same &= tf.equal(count, tf.size(self._ids))
        if not tf.executing_eagerly():
            return [tf.debugging.Assert(same, [self._message()])]
        if not same:
            raise InvalidArgument(self._message())
        return []

    def _message(self) -> str:
        return (
            f"{self._name!r} was called several times in this step, in places (functions within functions, loops, "
            "branches, tapes) where its lookups cannot be joined, so that gradients of one would reach the rows of "
            "another; nothing was applied. Look all ids up in one call (tf.concat), or make one "
            "de.shadow_ops.ShadowVariable for each call over the same variable, or use rowbank.keras.Embedding"
        )


def _current(handle: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """The ids of a shadow as they are now, flat.

    When TensorFlow optimizes a graph it takes the size that a variable is first given there for its size from then on,
    and computes with it. Bytes have no such size.
    """
    now = tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype)
    if not tf.executing_eagerly():
        with tf.device("/CPU:0"):
            now = tf.io.parse_tensor(tf.io.serialize_tensor(now), dtype)
    return tf.reshape(now, [-1])


def _appended(old: tf.Tensor, new: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """`old` [n] with those of `new` [m] behind that it lacks, and the place of each of `new` in that."""
    both = tf.concat([old, new], 0)
    distinct, index = tf.unique(both)
    count = tf.size(both) - tf.size(new)
    first = tf.math.unsorted_segment_min(tf.range(tf.size(both)), index, tf.size(distinct))
    joins = first >= count
    place = tf.where(joins, count + tf.cumsum(tf.cast(joins, tf.int32)) - 1, first)
    everything = tf.concat([both[:count], tf.boolean_mask(distinct, joins)], 0)
    return everything, tf.gather(place, index[count:])
