"""Dense weights that several workers train at once: a table of the server holds them, and its optimizer moves them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from rowbank import Adam, Client, TableSpec, Zeros

_ROW = 256  # Weights in a row.


class SharedDense:
    """The towers' weights, laid end to end in rows of a table.

    Each worker reads them before a step and sends gradients after it. All rows are sent every time, so the server's
    Adam does what Keras's does, with the steps of all workers counted.

    Args:
        name: of the table.
        learning_rate: of Adam.
        lead: whether this worker stores the initial weights, in a table of its making.
    """

    def __init__(self, client: Client, name: str, *, learning_rate: float, lead: bool) -> None:
        spec = TableSpec(name, dim=_ROW, initializer=Zeros(), optimizer=Adam(learning_rate))
        self._table = client.create_table(spec, exist_ok=not lead)
        self.name = name
        self.variables: list[tf.Variable] = []
        self._keys: npt.NDArray[np.int64] = np.zeros(0, np.int64)

    def bind(self, variables: Sequence[tf.Variable], *, store: bool) -> None:
        """Says which variables these are, the same in every worker, and if told to stores their values."""
        self.variables = list(variables)
        flat = np.concatenate([np.zeros(0, np.float32), *(variable.numpy().reshape(-1) for variable in self.variables)])
        self._keys = np.arange(-(-len(flat) // _ROW), dtype=np.int64)
        if store and len(flat):
            self._table.upsert(self._keys, self._rows(flat))

    def load(self) -> None:
        """Reads the weights into the variables, outside a graph."""
        if not self.variables:
            return
        start, flat = 0, self._pull()
        for variable in self.variables:
            size = int(np.prod(variable.shape))
            variable.assign(flat[start : start + size].reshape(variable.shape))
            start += size

    def read(self) -> list[tf.Operation]:
        """Operations that read the weights into the variables."""
        if not self.variables:  # Towers without layers have no weights.
            return []
        with tf.device("/CPU:0"):
            flat = tf.numpy_function(self._pull, [], tf.float32)
        sizes = [int(np.prod(variable.shape)) for variable in self.variables]
        flat.set_shape([len(self._keys) * _ROW])
        parts = tf.split(flat, [*sizes, len(self._keys) * _ROW - sum(sizes)])
        return [
            variable.assign(tf.reshape(part, variable.shape))
            for variable, part in zip(self.variables, parts, strict=False)
        ]

    def send(self, gradients: Sequence[tf.Tensor]) -> tf.Tensor:
        """An operation that sends gradients, in the order of the variables."""
        if not self.variables:
            return tf.constant(True)
        flat = tf.concat([tf.reshape(gradient, [-1]) for gradient in gradients], axis=0)
        with tf.device("/CPU:0"):
            return tf.numpy_function(self._push, [flat], tf.bool)

    def _pull(self) -> npt.NDArray[np.float32]:
        return np.ascontiguousarray(self._table.pull(self._keys)).reshape(-1)

    def _push(self, flat: npt.NDArray[np.float32]) -> np.bool_:
        self._table.push(self._keys, self._rows(flat))
        return np.bool_(True)

    def _rows(self, flat: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        padded = np.zeros(len(self._keys) * _ROW, np.float32)
        padded[: len(flat)] = flat
        return padded.reshape(-1, _ROW)
