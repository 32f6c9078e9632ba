"""Writes towers as ONNX: embedding rows in, a vector out. No table is looked up inside; serving brings the rows.

The exporter knows the layers that our towers are made of and refuses every other one: a tower that computes something
else in serving than in training is worse than no tower. What it wrote is run and compared before it is handed out.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import tf_keras
from onnx import TensorProto, helper, numpy_helper

from rowbank_trainer.errors import ExportError
from rowbank_trainer.two_tower.popularity import POPULARITY_INPUT
from rowbank_trainer.two_tower.towers import SQUARED_NORM_FLOOR, StepDropout, UnitNorm
from rowbank_trainer.two_tower.user_history import HISTORY_INPUT, TINY, blend_rows

OPSET = 17
INPUT, OUTPUT = "rows", "vector"
TOLERANCE = 1e-5
_IR_VERSION = 8  # The first with opset 17: older runtimes read it too.


@dataclass(slots=True)
class _Graph:
    """Nodes and constants written so far; `tip` is the name of the latest value."""

    tip: str = INPUT
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node with one output, which becomes the tip."""
        self.tip = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [self.tip], **attributes))
        return self.tip


class Last(enum.Enum):
    """What comes after a vector's numbers."""

    NOTHING = "nothing"
    ONE = "one"
    POPULARITY = "popularity"  # As an input, [batch, 1], has it.


@dataclass(frozen=True, slots=True)
class HistoryInput:
    """A second input of a tower: rows of items, [batch, length, dim], zeros where there is none.

    Attributes:
        length: rows per entity.
        weight: of their mean, against the own row's.
    """

    length: int
    weight: float


def export_tower(
    tower: tf_keras.Sequential,
    *,
    dim: int,
    length: int,
    history: HistoryInput | None = None,
    last: Last = Last.NOTHING,
) -> bytes:
    """A tower as ONNX, checked against the original.

    Args:
        tower: [batch, dim] to [batch, vector_dim], made of `Dense`, `Dropout`, `StepDropout` and `UnitNorm` layers.
        dim: of a row.
        history: what is blended with the row before the tower, as `user_history.blend_rows` does; only with length 0.
        last: what comes after the tower's numbers.
        length: rows per entity, averaged before the tower: the graph takes [batch, length, dim]. 0: [batch, dim].
    Raises:
        ExportError: a layer cannot be expressed, or the graph differs from the tower by more than `TOLERANCE`.
    """
    graph = _Graph()
    if length:
        graph.add("ReduceMean", graph.tip, axes=[1], keepdims=0)
    if history is not None:
        _add_history(graph, history)
    for layer in tower.layers:
        _add_layer(graph, layer)
    if last is not Last.NOTHING:
        _add_last(graph, last)
    graph.add("Identity", graph.tip)
    graph.nodes[-1].output[0] = OUTPUT
    shape: list[str | int] = ["batch", length, dim] if length else ["batch", dim]
    inputs = {INPUT: shape}
    if history is not None:
        inputs[HISTORY_INPUT] = ["batch", history.length, dim]
    if last is Last.POPULARITY:
        inputs[POPULARITY_INPUT] = ["batch", 1]
    width = int(tower.output_shape[-1]) + (0 if last is Last.NOTHING else 1)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            tower.name,
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, one) for name, one in inputs.items()],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", width])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="rowbank-train",
    )
    model.ir_version = _IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    _verify(data, tower, dim=dim, length=length, history=history, last=last)
    return data


def _add_last(graph: _Graph, last: Last) -> None:
    vector = graph.tip
    number = POPULARITY_INPUT
    if last is Last.ONE:
        first = graph.add("Slice", vector, *(graph.constant([at], np.int64) for at in (0, 1, 1)))
        number = graph.add("Add", graph.add("Mul", first, graph.constant(0.0)), graph.constant(1.0))
    graph.add("Concat", vector, number, axis=-1)


def _add_history(graph: _Graph, history: HistoryInput) -> None:
    """Blends the row with the mean of the history's rows; a row of zeros is one that is missing."""
    row = graph.tip

    def present(name: str) -> str:
        """1 for a row with a number other than zero, else 0; the last dimension stays, with size 1."""
        largest = graph.add("ReduceMax", graph.add("Abs", name), axes=[-1], keepdims=1)
        return graph.add("Cast", graph.add("Greater", largest, graph.constant(0.0)), to=TensorProto.FLOAT)

    second = graph.constant([1], np.int64)
    count = graph.add("ReduceSum", present(HISTORY_INPUT), second, keepdims=0)
    total = graph.add("ReduceSum", HISTORY_INPUT, second, keepdims=0)
    one = graph.constant(1.0)
    mean = graph.add("Div", total, graph.add("Max", count, one))
    theirs = graph.add("Mul", graph.add("Min", count, one), graph.constant(history.weight))
    own = graph.add("Mul", present(row), graph.constant(1.0 - history.weight))
    both = graph.add("Add", graph.add("Mul", own, row), graph.add("Mul", theirs, mean))
    graph.add("Div", both, graph.add("Max", graph.add("Add", own, theirs), graph.constant(TINY)))


def _add_layer(graph: _Graph, layer: tf_keras.layers.Layer) -> None:
    if isinstance(layer, (tf_keras.layers.InputLayer, tf_keras.layers.Dropout, StepDropout)):
        return  # Nothing happens in them when a model serves.
    if isinstance(layer, tf_keras.layers.Dense):
        _add_dense(graph, layer)
    elif isinstance(layer, tf_keras.layers.Activation) and layer.activation is tf_keras.activations.linear:
        return
    elif isinstance(layer, UnitNorm):
        squares = graph.add("Mul", graph.tip, before := graph.tip)
        total = graph.add("ReduceSum", squares, graph.constant([-1], np.int64), keepdims=1)
        norm = graph.add("Sqrt", graph.add("Max", total, graph.constant(SQUARED_NORM_FLOOR)))
        graph.add("Div", before, norm)
    else:
        raise ExportError(
            f"layer {layer.name!r} ({type(layer).__name__}) cannot be exported; "
            "towers are made of Dense, Dropout and UnitNorm"
        )


def _add_dense(graph: _Graph, layer: tf_keras.layers.Dense) -> None:
    activation = tf_keras.activations.serialize(layer.activation)
    if activation not in _ACTIVATIONS:
        raise ExportError(
            f"layer {layer.name!r}: activation {activation!r} cannot be exported; "
            f"expected one of {', '.join(_ACTIVATIONS)}"
        )
    graph.add("MatMul", graph.tip, graph.constant(layer.kernel.numpy()))
    if layer.use_bias:
        graph.add("Add", graph.tip, graph.constant(layer.bias.numpy()))
    _ACTIVATIONS[activation](graph)


def _gelu(graph: _Graph) -> None:
    """x / 2 * (1 + erf(x / sqrt(2))): the exact form, which Keras means by "gelu"."""
    before = graph.tip
    erf = graph.add("Erf", graph.add("Mul", before, graph.constant(1.0 / math.sqrt(2.0))))
    gate = graph.add("Mul", graph.add("Add", erf, graph.constant(1.0)), graph.constant(0.5))
    graph.add("Mul", before, gate)


def _operator(name: str) -> Callable[[_Graph], None]:
    def add(graph: _Graph) -> None:
        graph.add(name, graph.tip)

    return add


_ACTIVATIONS: dict[str, Callable[[_Graph], None]] = {
    "linear": lambda graph: None,
    "relu": _operator("Relu"),
    "tanh": _operator("Tanh"),
    "sigmoid": _operator("Sigmoid"),
    "gelu": _gelu,
}


def _verify(
    data: bytes, tower: tf_keras.Sequential, *, dim: int, length: int, history: HistoryInput | None, last: Last
) -> None:
    """Runs graph and tower on the same rows, among them zeros and large ones."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(64, length, dim) if length else (64, dim)).astype(np.float32)
    rows *= np.repeat([0.0, 0.05, 1.0, 10.0], 16).astype(np.float32).reshape(-1, *[1] * (rows.ndim - 1))
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    inputs = {INPUT: rows}
    before = rows.mean(axis=1) if length else rows
    if history is not None:
        met = rng.normal(size=(64, history.length, dim)).astype(np.float32)
        met *= np.arange(history.length)[None, :, None] < np.arange(64)[:, None, None] % (history.length + 1)
        inputs[HISTORY_INPUT] = met
        before = blend_rows(rows, met, history.weight)
    number = np.ones((64, 1), np.float32)
    if last is Last.POPULARITY:
        inputs[POPULARITY_INPUT] = number = rng.normal(size=(64, 1)).astype(np.float32)
    written = session.run([OUTPUT], inputs)[0]
    expected = tower(before, training=False).numpy()
    if last is not Last.NOTHING:
        expected = np.concatenate([expected, number], axis=1)
    difference = float(np.abs(written - expected).max())
    if not difference <= TOLERANCE:
        raise ExportError(
            f"tower {tower.name!r}: the exported graph differs from the model by {difference:.2e}; "
            f"expected at most {TOLERANCE:.0e}"
        )
