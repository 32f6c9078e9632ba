"""Rows in TensorFlow checkpoints, in the layout of TFRA's own tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.python.training.saver import BaseSaverBuilder  # TFRA's savers know this class only.

if TYPE_CHECKING:
    from rowbank.tfra.table import RemoteTable


class TableSaveable(BaseSaverBuilder.SaveableObject):
    """Saves a table as `<name>-keys` and `<name>-values`; restoring replaces the server's rows by those."""

    def __init__(self, table: RemoteTable, name: str, full_name: str = "") -> None:
        del full_name  # The name-based saver of TFRA's own tables reads it.
        keys, values = table.export()
        specs = [
            BaseSaverBuilder.SaveSpec(keys, "", f"{name}-keys"),
            BaseSaverBuilder.SaveSpec(values, "", f"{name}-values"),
        ]
        super().__init__(table, specs, name)

    def restore(self, restored_tensors: list[tf.Tensor], restored_shapes: Any, name: str | None = None) -> Any:
        del restored_shapes
        return self.op.replace(restored_tensors[0], restored_tensors[1], name=name)
