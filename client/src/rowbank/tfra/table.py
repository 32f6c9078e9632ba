"""The table object behind `de.Variable`: TFRA's calls as TensorFlow operations on a server table."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.python.saved_model import save_context  # Whether a SavedModel is being made; there is no public way.

from rowbank.tfra import files, functions
from rowbank.tfra.checkpoint import TableSaveable
from rowbank.tfra.order import Order
from rowbank.tfra.steps import Marks, step_of

if TYPE_CHECKING:
    from rowbank.tfra.store import RowStore


_as_written = tf.autograph.experimental.do_not_convert  # `fit` rewrites what it calls, which takes long.


class RemoteTable(tf.__internal__.tracking.Trackable):
    """One server table with the interface of `de.CuckooHashTable`.

    Operations are Python functions in the graph: they run in the process that built it, in program order within a
    `tf.function`. Wrong arguments raise `tf.errors.InvalidArgumentError`; in eager mode the server's other errors
    arrive as their own class (`rowbank.errors`), in a graph as `tf.errors.UnknownError` naming it.

    Args:
        store: the rows.
        key_dtype, value_dtype: TensorFlow types.
        default_value: [dim] of `value_dtype`, for missing keys when a lookup brings none.
        name: the name that TFRA gave.
        checkpoint: whether checkpoints hold the rows.
        saveable_factory: makes the checkpoint's saveable; None for the usual one.
    """

    def __init__(
        self,
        store: RowStore,
        *,
        key_dtype: tf.DType,
        value_dtype: tf.DType,
        default_value: tf.Tensor,
        name: str,
        checkpoint: bool,
        saveable_factory: Callable[..., Any] | None,
    ) -> None:
        self._store = store
        self._key_dtype = key_dtype
        self._value_dtype = value_dtype
        self._default_value = default_value
        self._name = name
        self._checkpoint = checkpoint
        self._saveable_factory = saveable_factory or TableSaveable
        self._order = Order()
        self._new_obj_trackable = None  # TFRA's restore code reads it.
        if checkpoint and not tf.executing_eagerly():
            _ensure_operation(name)
            self.saveable = self._saveable_factory(table=self, name=name, full_name=name)
            tf.compat.v1.add_to_collection(tf.compat.v1.GraphKeys.SAVEABLE_OBJECTS, self.saveable)

    @property
    def name(self) -> str:
        """The name that TFRA gave; the server's is `server_table.name`."""
        return self._name

    @property
    def store(self) -> RowStore:
        """The rows, for NumPy callers."""
        return self._store

    @property
    def _resource_handle(self) -> tf.Tensor:
        """A tensor in the table's graph, which `de.warm_start` puts its operations beside."""
        return self._default_value

    @property
    def key_dtype(self) -> tf.DType:
        """TensorFlow type of the keys."""
        return self._key_dtype

    @property
    def value_dtype(self) -> tf.DType:
        """TensorFlow type of the values."""
        return self._value_dtype

    @_as_written
    def lookup(
        self, keys: Any, dynamic_default_values: Any = None, return_exists: bool = False, name: str | None = None
    ) -> Any:
        """Reads rows; never inserts.

        Args:
            keys: any shape, also of unknown rank.
            dynamic_default_values: for missing keys: the answer's shape, a row, or a scalar; None: the table's.
            return_exists: whether to answer (values, exists).
        Returns:
            values `keys.shape + [dim]`; exists `keys.shape` bool.
        """
        step = step_of(keys, self._store)
        keys = tf.convert_to_tensor(keys, dtype=self._key_dtype, name="keys")
        defaults = self._default_value if dynamic_default_values is None else dynamic_default_values
        defaults = tf.convert_to_tensor(defaults, dtype=self._value_dtype, name="default_values")
        if step is not None:
            values, exists = step.lookup(self._store, keys, defaults, self._value_dtype, name)
        else:
            outputs = [self._value_dtype, tf.bool]
            values, exists = self._call(self._store.method("lookup"), [keys, defaults], outputs, name, changes=False)
        if keys.shape.rank is not None:
            values.set_shape(keys.shape.concatenate([self._store.dim]))
            exists.set_shape(keys.shape)
        return (values, exists) if return_exists else values

    @_as_written
    def insert(self, keys: Any, values: Any, name: str | None = None) -> Any:
        """Overwrites the rows of `keys` with `values`, shaped `keys.shape + [dim]`."""
        step = step_of(keys, self._store)
        keys = tf.convert_to_tensor(keys, dtype=self._key_dtype, name="keys")
        values = tf.convert_to_tensor(values, dtype=self._value_dtype, name="values")
        if step is not None:
            return step.write(self._store, keys, values, None, name)
        written = self._call(self._store.method("insert"), [keys, values], [], name)
        self._order.wrote(written, keys)
        return written

    @_as_written
    def accum(self, keys: Any, values_or_deltas: Any, exists: Any, name: str | None = None) -> Any:
        """Adds to present rows that `exists` says were seen, inserts absent ones that were not, ignores the rest."""
        step = step_of(keys, self._store) if self._store.adds_on_the_server else None
        keys = tf.convert_to_tensor(keys, dtype=self._key_dtype, name="keys")
        deltas = tf.convert_to_tensor(values_or_deltas, dtype=self._value_dtype, name="values_or_deltas")
        exists = tf.convert_to_tensor(exists, dtype=tf.bool, name="exists")
        if step is not None:
            return step.write(self._store, keys, deltas, exists, name)
        written = self._call(self._store.method("accum"), [keys, deltas, exists], [], name)
        self._order.wrote(written, keys)
        return written

    @_as_written
    def remove(self, keys: Any, name: str | None = None) -> Any:
        """Deletes rows; missing keys are ignored.

        Raises:
            TypeError: `keys` have another type than the table's.
        """
        return self._call(self._store.method("remove"), [self._typed_keys(keys)], [], name)

    @_as_written
    def touch(self, keys: Any, name: str | None = None, *, of: Any = None) -> Any:
        """Counts one use of each stored row on the server, after a training step's write of the same keys.

        Args:
            keys: of this table.
            of: those of the whole variable, of which `keys` were taken; None: the same.
        """
        step = step_of(keys, self._store)
        if step is not None and step.touch(self._store):
            return tf.no_op(name=name)
        with tf.control_dependencies(self._order.before_count(keys if of is None else of)):
            return self._call(self._store.method("touch"), [self._typed_keys(keys)], [], name)

    @_as_written
    def clear(self, name: str | None = None) -> Any:
        """Deletes every row."""
        return self._call(self._store.method("clear"), [], [], name)

    @_as_written
    def size(self, name: str | None = None) -> tf.Tensor:
        """Rows stored, a scalar int64."""
        rows = self._call(self._store.method("size"), [], tf.int64, name, changes=False)
        rows.set_shape([])
        return rows

    @_as_written
    def export(self, name: str | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """All keys [N] and values [N, dim], in memory at once."""
        types = [self._key_dtype, self._value_dtype]
        keys, values = self._call(self._store.method("export"), [], types, name, changes=False)
        keys.set_shape([None])
        values.set_shape([None, self._store.dim])
        return keys, values

    @_as_written
    def replace(self, keys: tf.Tensor, values: tf.Tensor, name: str | None = None) -> Any:
        """Makes these the only rows; for restoring."""
        return self._call(self._store.method("replace"), [keys, values], [], name)

    def save_to_file_system(
        self,
        dirpath: Any,
        file_name: str | None = None,
        dirpath_env: str = "TFRA_SAVED_KV",
        append_to_file: bool = False,
        buffer_size: int = 4194304,
        name: str | None = None,
    ) -> Any:
        """Writes `<file_name>-keys` and `<file_name>-values`, raw arrays as TFRA writes them.

        Args:
            dirpath: the folder, made if missing; an environment variable named `dirpath_env` goes before it.
            file_name: without the ending; None: the table's name.
            append_to_file: whether to add to existing files.
            buffer_size: rows written at a time.
        """
        options: dict[str, Any] = {
            "file_name": file_name or self._name,
            "dirpath_env": dirpath_env,
            "append": append_to_file,
            "buffer_rows": buffer_size,
        }
        save = self._store.function("save", functools.partial(files.save, self._store, **options), options=options)
        return self._call(save, [tf.convert_to_tensor(dirpath, tf.string)], [], name)

    def load_from_file_system(
        self,
        dirpath: Any,
        file_name: str | None = None,
        dirpath_env: str = "TFRA_SAVED_KV",
        load_entire_dir: bool = False,
        buffer_size: int = 4194304,
        name: str | None = None,
    ) -> Any:
        """Inserts the rows of files that TFRA or `save_to_file_system` wrote; rows already there stay.

        Raises:
            tf.errors.NotFoundError: a file is not there.
        """
        options: dict[str, Any] = {
            "file_name": file_name or self._name,
            "dirpath_env": dirpath_env,
            "entire_directory": load_entire_dir,
            "buffer_rows": buffer_size,
        }
        load = self._store.function("load", functools.partial(files.load, self._store, **options), options=options)
        return self._call(load, [tf.convert_to_tensor(dirpath, tf.string)], [], name)

    def _gather_saveables_for_checkpoint(self) -> dict[str, Any]:
        # The rows go into the checkpoint beside a SavedModel, but no function that would restore them: loading it must
        # not replace the server's rows.
        if not self._checkpoint or save_context.in_save_context():
            return {}
        return {"table": functools.partial(self._saveable_factory, table=self, name=self._name, full_name=self._name)}

    def _typed_keys(self, keys: Any) -> tf.Tensor:
        if hasattr(keys, "dtype") and tf.as_dtype(keys.dtype) != self._key_dtype:
            raise TypeError(f"Signature mismatch. Keys must be dtype {self._key_dtype}, got {keys.dtype}.")
        return tf.convert_to_tensor(keys, dtype=self._key_dtype, name="keys")

    def mark(self, *, changes: bool) -> None:
        """Notes that an operation which uses the rows, or changes them, is being traced."""
        if not tf.executing_eagerly():
            Marks.of(self._store).use(changes=changes)

    def _call(
        self, function: functions.Named, inputs: list[Any], outputs: Any, name: str | None, *, changes: bool = True
    ) -> Any:
        self.mark(changes=changes)
        return functions.run(function, inputs, outputs, name)


def _ensure_operation(name: str) -> None:
    """An operation of that very name: a meta graph refers to what a `Saver` saves by names of operations."""
    try:
        tf.compat.v1.get_default_graph().get_operation_by_name(name)
    except KeyError:
        with tf.control_dependencies(None):
            tf.no_op(name=f"{name}/")  # With a slash at the end, no scope is put before it.
