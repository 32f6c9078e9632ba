"""Writes towers as ONNX: embedding rows in, a vector out. No table is looked up inside; serving brings the rows.

The exporter knows the layers that our towers are made of and refuses every other one: a tower that computes something
else in serving than in training is worse than no tower. What it wrote is run and compared before it is handed out.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
import tf_keras
from onnx import TensorProto, helper

from rowbank_trainer.errors import ExportError
from rowbank_trainer.two_tower.blocks import TowerInput
from rowbank_trainer.two_tower.export_input import EXAMPLES, add_input, examples, input_shapes
from rowbank_trainer.two_tower.graph import Graph
from rowbank_trainer.two_tower.popularity import POPULARITY_INPUT
from rowbank_trainer.two_tower.towers import SQUARED_NORM_FLOOR, StepDropout, UnitNorm

OPSET = 17
OUTPUT = "vector"
TOLERANCE = 1e-5
_IR_VERSION = 8  # The first with opset 17: older runtimes read it too.


class Last(enum.Enum):
    """What comes after a vector's numbers."""

    NOTHING = "nothing"
    ONE = "one"
    POPULARITY = "popularity"  # As an input, [batch, 1], has it.


def export_tower(before: TowerInput, tower: tf_keras.Sequential, *, last: Last = Last.NOTHING) -> bytes:
    """A tower as ONNX, checked against the original.

    The graph takes an input for each of the columns' parts: [batch, dim] float32 rows, or [batch, length, dim] of
    columns with several keys, zeros for those that are missing; and [batch, 1] of numbers, as they are in files.

    Args:
        before: what makes the tower's input of its columns.
        tower: made of `Dense`, `Dropout`, `StepDropout` and `UnitNorm` layers.
        last: what comes after the tower's numbers.
    Raises:
        ExportError: a layer cannot be expressed, or the graph differs from the tower by more than `TOLERANCE`.
    """
    graph = Graph()
    add_input(graph, before)
    for layer in tower.layers:
        _add_layer(graph, layer)
    if last is not Last.NOTHING:
        _add_last(graph, last)
    graph.add("Identity", graph.tip)
    graph.nodes[-1].output[0] = OUTPUT
    inputs = input_shapes(before.plan)
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
    _verify(data, before, tower, last)
    return data


def _add_last(graph: Graph, last: Last) -> None:
    vector = graph.tip
    number = POPULARITY_INPUT
    if last is Last.ONE:
        first = graph.add("Slice", vector, *(graph.constant([at], np.int64) for at in (0, 1, 1)))
        number = graph.add("Add", graph.add("Mul", first, graph.constant(0.0)), graph.constant(1.0))
    graph.add("Concat", vector, number, axis=-1)


def _add_layer(graph: Graph, layer: tf_keras.layers.Layer) -> None:
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


def _add_dense(graph: Graph, layer: tf_keras.layers.Dense) -> None:
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


def _gelu(graph: Graph) -> None:
    """x / 2 * (1 + erf(x / sqrt(2))): the exact form, which Keras means by "gelu"."""
    before = graph.tip
    erf = graph.add("Erf", graph.add("Mul", before, graph.constant(1.0 / math.sqrt(2.0))))
    gate = graph.add("Mul", graph.add("Add", erf, graph.constant(1.0)), graph.constant(0.5))
    graph.add("Mul", before, gate)


def _operator(name: str) -> Callable[[Graph], None]:
    def add(graph: Graph) -> None:
        graph.add(name, graph.tip)

    return add


_ACTIVATIONS: dict[str, Callable[[Graph], None]] = {
    "linear": lambda graph: None,
    "relu": _operator("Relu"),
    "tanh": _operator("Tanh"),
    "sigmoid": _operator("Sigmoid"),
    "gelu": _gelu,
}


def _verify(data: bytes, before: TowerInput, tower: tf_keras.Sequential, last: Last) -> None:
    """Runs graph and tower on the same rows and numbers, among them missing ones, zeros and large ones."""
    rng = np.random.default_rng(0)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    fed, taken = examples(before, rng)
    number = np.ones((EXAMPLES, 1), np.float32)
    if last is Last.POPULARITY:
        fed[POPULARITY_INPUT] = number = rng.normal(size=(EXAMPLES, 1)).astype(np.float32)
    written = session.run([OUTPUT], fed)[0]
    expected = tower(before({name: tf.constant(value) for name, value in taken.items()}), training=False).numpy()
    if last is not Last.NOTHING:
        expected = np.concatenate([expected, number], axis=1)
    difference = float(np.abs(written - expected).max())
    if not difference <= TOLERANCE:
        raise ExportError(
            f"tower {tower.name!r}: the exported graph differs from the model by {difference:.2e}; "
            f"expected at most {TOLERANCE:.0e}"
        )
