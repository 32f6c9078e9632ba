"""That a step's count follows its write, in graphs whose operations run in no order of their own.

TFRA writes a variable's rows and then lets its restrict policy count their use, as two operations of one group. In a
`tf.function` they run in program order; in a graph of TensorFlow 1 either may come first, and a count that comes first
does not find a row that the write is about to store. So there the count is made to wait for the write. It waits for
that write only which TFRA's `update_op` has just made: of the same keys, under the same control dependencies (the
optimizer's update of the buffer), and not counted yet. A count that somebody else asks for stands for itself, so that
running it writes nothing.
"""

from __future__ import annotations

import weakref
from typing import Any

import tensorflow as tf

_DEPTH = 8  # Operations between a variable's keys and a table's: reshaping and partitioning.


class Order:
    """The last write to one table in each graph."""

    def __init__(self) -> None:
        self._writes: weakref.WeakKeyDictionary[Any, tuple[Any, frozenset[Any], tf.Tensor]] = (
            weakref.WeakKeyDictionary()
        )

    def wrote(self, operation: Any, keys: tf.Tensor) -> None:
        """Notes a write of the rows of `keys`; nothing in eager mode or where program order holds."""
        if tf.executing_eagerly():
            return
        graph = tf.compat.v1.get_default_graph()
        if not getattr(graph, "_add_control_dependencies", False):
            self._writes[graph] = operation, _dependencies(graph), keys

    def before_count(self, keys: Any) -> list[Any]:
        """The operations that a count of the uses of `keys` has to wait for: none, or the write, which is then used up.

        Args:
            keys: those of the count, or those of the whole variable.
        """
        if tf.executing_eagerly():
            return []
        graph = tf.compat.v1.get_default_graph()
        found = self._writes.get(graph)
        if found is None:
            return []
        operation, dependencies, written = found
        if not dependencies or dependencies != _dependencies(graph) or not _derives(written, keys):
            return []
        del self._writes[graph]
        return [operation]


def _dependencies(graph: Any) -> frozenset[Any]:
    return frozenset(graph._current_control_dependencies())


def _derives(tensor: Any, source: Any) -> bool:
    """Whether `tensor` is `source`, or is made of it in a few operations."""
    level = [tensor]
    for _ in range(_DEPTH):
        if any(one is source for one in level):
            return True
        level = [one for made in level for one in made.op.inputs]
    return False
