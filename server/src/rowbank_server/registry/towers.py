"""ONNX towers: rows of embedding tables and numbers in, one vector per entity out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from rowbank.errors import InvalidModel
from rowbank_protos.v1 import models_pb2

_PROBE_BATCH = 3  # Not 1: a graph with a fixed batch of one must not pass.


class TowerGraph:
    """A tower that was checked against its manifest. Thread-safe.

    Args:
        tower: the manifest's part.
        data: the ONNX file.
        vector_dim: the width of the output.
        threads: cores that one run may use.
    Raises:
        InvalidModel: the file is no ONNX graph, or its inputs or output are not the manifest's.
    """

    def __init__(self, tower: models_pb2.Tower, data: bytes, vector_dim: int, *, threads: int = 1) -> None:
        self.tower = tower
        self._vector_dim = vector_dim
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # What goes wrong is raised; nothing is printed besides.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # Every failure of the runtime has its own class, without a common one.
            raise InvalidModel(f"file {tower.file!r} is no ONNX graph that can be run: {error}") from error
        self._check_names()
        self._probe()

    def _check_names(self) -> None:
        file = self.tower.file
        expected = {tower_input.name for tower_input in self.tower.inputs}
        got = {graph_input.name: graph_input.type for graph_input in self._session.get_inputs()}
        if expected != got.keys():
            raise InvalidModel(f"file {file!r}: the manifest names inputs {sorted(expected)}, the graph {sorted(got)}")
        for name, kind in got.items():
            if kind != "tensor(float)":
                raise InvalidModel(f"file {file!r}: input {name!r} must be float32, the graph takes {kind}")
        outputs = [graph_output.name for graph_output in self._session.get_outputs()]
        if self.tower.output not in outputs:
            raise InvalidModel(f"file {file!r}: the manifest names output {self.tower.output!r}, the graph {outputs}")

    def _probe(self) -> None:
        zeros = {i.name: np.zeros(input_shape(i, _PROBE_BATCH), np.float32) for i in self.tower.inputs}
        try:
            vectors = self._session.run([self.tower.output], zeros)[0]
        except Exception as error:  # As above.
            shapes = {name: list(rows.shape) for name, rows in zeros.items()}
            raise InvalidModel(f"file {self.tower.file!r} cannot take inputs of {shapes}: {error}") from error
        expected = (_PROBE_BATCH, self._vector_dim)
        if vectors.shape != expected or vectors.dtype != np.float32:
            raise InvalidModel(
                f"file {self.tower.file!r}: output {self.tower.output!r} must be {list(expected)} float32 for a batch "
                f"of {_PROBE_BATCH} (vector_dim {self._vector_dim}), got {list(vectors.shape)} {vectors.dtype}"
            )

    def run(self, rows: Mapping[str, npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        """Vectors [batch, vector_dim] float32 for the rows, or numbers, of each input: [batch, dim], or
        [batch, length, dim]."""
        batch = len(next(iter(rows.values())))
        # The runtime takes other kernels for a batch of one, which add up in another order: the same entity would get
        # another last bit alone than among others. So nothing runs alone.
        filled = {name: np.repeat(one, 2, axis=0) if batch == 1 else one for name, one in rows.items()}
        vectors: npt.NDArray[np.float32] = self._session.run([self.tower.output], filled)[0]
        return vectors[:batch]


def input_shape(tower_input: models_pb2.TowerInput, batch: int) -> tuple[int, ...]:
    """The shape of one input's rows, or numbers, for `batch` entities."""
    if tower_input.length:
        return batch, tower_input.length, tower_input.dim
    return batch, tower_input.dim
