"""TFRA's restrict policies with the counting and the eviction done by the server.

TFRA's own policies keep the counts in a second table, which every step reads and writes, and which a restriction
exports whole. A Rowbank row carries its frequency and its last use, so a step sends only the keys, and a restriction
is one call per table that answers with the keys that went, which are then removed from the optimizer's slots.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow_recommenders_addons import dynamic_embedding as de
from tensorflow_recommenders_addons.dynamic_embedding.python.ops.dynamic_embedding_variable import make_partition

from rowbank.tfra import functions
from rowbank.tfra.creator import TableCreator
from rowbank.tfra.failures import in_tensorflow_terms
from rowbank.tfra.store import RowStore

_Array = npt.NDArray[Any]


class ServerStatus(tf.__internal__.tracking.Trackable):
    """What a policy ranks a variable's rows by, read from the server; `restrict_policy.status` answers it.

    Args:
        var: the `de.Variable`.
        name: as TFRA would call its status variable.
        column: "frequency" or "last_used".
    """

    def __init__(self, var: de.Variable, name: str, column: str) -> None:
        self._var = var
        self.name = name
        self._column = column
        self._number = functions.number()

    @property
    def key_dtype(self) -> tf.DType:
        """TensorFlow type of the keys."""
        return tf.as_dtype(self._var.key_dtype)

    @property
    def value_dtype(self) -> tf.DType:
        """TensorFlow type of the counts or times."""
        return tf.int32

    @property
    def dim(self) -> int:
        """Numbers for each key."""
        return 1

    def size(self) -> tf.Tensor:
        """Rows ranked, a scalar int64: every row of the variable."""
        return tf.add_n([table.size() for table in self._var.tables])

    def lookup(self, keys: Any, return_exists: bool = False, name: str | None = None) -> Any:
        """The status of keys, `keys.shape + [1]` int32, 0 where there is no row; with `return_exists`, and whether."""
        keys = tf.convert_to_tensor(keys, dtype=self._var.key_dtype)
        flat = tf.reshape(keys, [-1])
        places = self._var.partition_fn(flat, self._var.shard_num)
        parts, indices = make_partition(flat, places, self._var.shard_num)
        answers = [self._of(table, part, name) for table, part in zip(self._var.tables, parts, strict=True)]
        order = tf.argsort(tf.concat(indices, 0)) if len(answers) > 1 else None
        status, exists = (tf.concat(column, 0) for column in zip(*answers, strict=True))
        if order is not None:
            status, exists = tf.gather(status, order), tf.gather(exists, order)
        shape = tf.shape(keys)
        status = tf.reshape(status, tf.concat([shape, [1]], 0))
        return (status, tf.reshape(exists, shape)) if return_exists else status

    def export(self) -> tuple[tf.Tensor, tf.Tensor]:
        """All keys [N] and their status [N, 1] int32 (counts, or Unix seconds)."""
        for table in self._var.tables:
            table.mark(changes=False)
        stores = [table.store for table in self._var.tables]
        settings = {"stores": [store.description for store in stores], "column": self._column}
        export = functions.Named(lambda: usage(stores, self._column), self._number, "usage", settings)
        keys, status = functions.run(export, [], [self._var.key_dtype, tf.int32])
        keys.set_shape([None])
        status.set_shape([None, 1])
        return keys, status

    def _of(self, table: Any, keys: tf.Tensor, name: str | None) -> Any:
        table.mark(changes=False)
        store: RowStore = table.store
        call = store.function("status", lambda part: store.status(part, self._column), column=self._column)
        return functions.run(call, [keys], [tf.int32, tf.bool], name)


@in_tensorflow_terms
def usage(stores: Sequence[RowStore], column: str) -> tuple[_Array, _Array]:
    """All keys [N] of a variable's tables and what ranks them, [N, 1] int32."""
    parts = [store.usage() for store in stores]
    status = np.concatenate([part[1 if column == "frequency" else 2] for part in parts]).astype(np.int32)
    return np.concatenate([part[0] for part in parts]), status.reshape(-1, 1)


@in_tensorflow_terms
def restrict(
    stores: Sequence[RowStore], slots: Sequence[Sequence[RowStore]], *, num_reserved: int, trigger: int, by: str
) -> None:
    """Evicts all but the best rows of a variable's tables if there are more than `trigger`, with their slots' rows."""
    if sum(int(store.size()) for store in stores) <= trigger:
        return
    share = num_reserved // len(stores)
    for index, store in enumerate(stores):
        evicted = store.restrict(share, by=by)
        if evicted.size:
            for slot in slots:
                slot[index].discard(evicted)


class _ServerRestrictPolicy(de.RestrictPolicy):
    """Ranks rows by what the server knows of them; a subclass says by what."""

    _by: ClassVar[str]
    _status_name: ClassVar[str]

    def __init__(self, var: de.Variable) -> None:
        super().__init__(var)
        if not isinstance(var.kv_creator, TableCreator):
            raise TypeError(
                f"{type(self).__name__} works on variables whose kv_creator is rowbank.tfra.TableCreator, got "
                f"{type(var.kv_creator).__name__}; for others use TFRA's de.{type(self).__name__}"
            )
        self._restrict_var = ServerStatus(var, f"{var.name}/{self._status_name}", self._by)

    @property
    def status(self) -> ServerStatus:
        """The counts or times, read from the server."""
        return self._restrict_var

    @tf.autograph.experimental.do_not_convert
    def apply_update(self, ids: Any) -> Any:
        """Counts one use of each key of a training step, in one call per table.

        Args:
            ids: keys in any shape, or a variable holding them.
        Returns:
            An operation, None in eager mode.
        """
        if self.var.shard_num == 1:
            return self.var.tables[0].touch(ids)
        keys = tf.reshape(tf.convert_to_tensor(ids, dtype=self.var.key_dtype), [-1])
        parts, _ = make_partition(keys, self.var.partition_fn(keys, self.var.shard_num), self.var.shard_num)
        return tf.group([table.touch(part, of=ids) for table, part in zip(self.var.tables, parts, strict=True)])

    @tf.autograph.experimental.do_not_convert
    def apply_restriction(self, num_reserved: int, **kwargs: Any) -> Any:
        """Keeps the `num_reserved` best rows if there are more than `trigger`; slot rows of the others go too.

        Args:
            num_reserved: rows to keep; each of several tables keeps an equal share.
            trigger: rows above which anything happens; default `num_reserved`.
        Returns:
            An operation, None in eager mode.
        Raises:
            TypeError: a number is no integer.
            ValueError: a number is negative.
        """
        trigger = kwargs.get("trigger", num_reserved)
        for name, value in (("num_reserved", num_reserved), ("trigger", trigger)):
            if not isinstance(value, int):
                raise TypeError(f"{name} should be integer, got {value!r}")
            if value < 0:
                raise ValueError(f"{name} should be non-negative, got {value}")

        stores = [table.store for table in self.var.tables]
        slots = [[table.store for table in slot.tables] for slot in self._own_slots()]
        for table in [*self.var.tables, *(table for slot in self._own_slots() for table in slot.tables)]:
            table.mark(changes=True)
        options = {"num_reserved": num_reserved, "trigger": trigger, "by": self._by}
        settings = {
            "stores": [store.description for store in stores],
            "slots": [[store.description for store in slot] for slot in slots],
            "options": options,
        }
        call = functools.partial(restrict, stores, slots, **options)
        return functions.run(functions.Named(call, functions.number(), "restrict", settings), [], [])

    def _own_slots(self) -> list[de.Variable]:
        """TFRA hands over the slots of all variables that an optimizer trains; those named after ours are ours."""
        return [slot for slot in self.params_in_slots if slot.name.startswith(f"{self.var.name}/")]


class FrequencyRestrictPolicy(_ServerRestrictPolicy):
    """Evicts the rows that were trained in the fewest steps: TFRA's policy of that name, on the server."""

    _by = "frequency"
    _status_name = "frequency"

    @property
    def freq_var(self) -> ServerStatus:
        """`status`, as TFRA's policy calls it, too."""
        return self.status


class TimestampRestrictPolicy(_ServerRestrictPolicy):
    """Evicts the rows whose last training step is longest ago: TFRA's policy of that name, on the server."""

    _by = "last_used"
    _status_name = "timestamp"

    @property
    def tstp_var(self) -> ServerStatus:
        """`status`, as TFRA's policy calls it, too."""
        return self.status
