"""Rows in TensorFlow checkpoints, in the layout of TFRA's own tables."""

from __future__ import annotations

from typing import Any, Protocol

import tensorflow as tf
from tensorflow.python.training.saver import BaseSaverBuilder  # TFRA's savers know this class only.


class Rows(Protocol):
    """The rows that a checkpoint holds: read whole, replaced whole."""

    def export(self, name: str | None = None) -> tuple[tf.Tensor, tf.Tensor]: ...

    def replace(self, keys: tf.Tensor, values: tf.Tensor, name: str | None = None) -> tf.Operation: ...


class TableSaveable(BaseSaverBuilder.SaveableObject):
    """Saves a table as `<name>-keys` and `<name>-values`; restoring replaces the server's rows by those."""

    def __init__(self, table: Rows, name: str, full_name: str = "") -> None:
        del full_name  # The name-based saver of TFRA's own tables reads it.
        keys, values = table.export()
        specs = [
            # TensorFlow may trace this with a tensor for the name.
            BaseSaverBuilder.SaveSpec(keys, "", name + "-keys"),
            BaseSaverBuilder.SaveSpec(values, "", name + "-values"),
        ]
        super().__init__(table, specs, name)

    def restore(self, restored_tensors: list[tf.Tensor], restored_shapes: Any, name: str | None = None) -> Any:
        del restored_shapes
        return self.op.replace(restored_tensors[0], restored_tensors[1], name=name)
