"""The first part of an exported tower: what `TowerInput` computes, as nodes of a graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from rowbank_trainer.schema.spec import QuotientRemainder
from rowbank_trainer.two_tower.blocks import TINY, TowerInput
from rowbank_trainer.two_tower.graph import Graph
from rowbank_trainer.two_tower.plan import ColumnPlan, SidePlan

EXAMPLES = 64
Arrays = dict[str, npt.NDArray[Any]]


def input_shapes(plan: SidePlan) -> dict[str, list[str | int]]:
    """Shapes of the graph's inputs, by name."""
    shapes: dict[str, list[str | int]] = {}
    for one in plan.columns:
        if not one.parts:
            shapes[one.input] = ["batch", 1]
        for part in one.parts:
            lengths = [one.length] if one.length else []
            shapes[part.input] = ["batch", *lengths, part.table.dim]
    return shapes


def add_input(graph: Graph, before: TowerInput) -> None:
    """Adds the nodes; the tip is then the tower's input."""
    columns = before.plan.columns
    if before.plan.combine == "concat":
        blocks = [_block(graph, before, one) for one in columns]
        graph.add("Concat", *blocks, axis=-1)
        return
    if len(columns) == 1:
        graph.tip = _block(graph, before, columns[0])
        return
    weights, weighted = [], []
    for one in columns:
        block, present = _pooled(graph, before, one)
        weights.append(graph.add("Mul", present, graph.constant(one.column.weight)))
        weighted.append(graph.add("Mul", weights[-1], block))
    total, weight = graph.add("Sum", *weighted), graph.add("Sum", *weights)
    graph.add("Div", total, graph.add("Max", weight, graph.constant(TINY)))


def _block(graph: Graph, before: TowerInput, one: ColumnPlan) -> str:
    if one.parts:
        return _pooled(graph, before, one)[0] if one.length else _vectors(graph, before, one)
    name = one.column.name
    number, (mean, deviation, _) = one.input, before.numbers(name)
    if before.scalings[name].log:
        above = graph.add("Max", number, graph.constant(0.0))
        number = graph.add("Log", graph.add("Add", above, graph.constant(1.0)))
    return graph.add("Div", graph.add("Sub", number, graph.constant(mean)), graph.constant(deviation))


def _vectors(graph: Graph, before: TowerInput, one: ColumnPlan) -> str:
    """Vectors of a column's values, of the rows of its parts: [batch, width] or [batch, length, width]."""
    rows = [part.input for part in one.parts]
    if isinstance(one.embedding, QuotientRemainder):
        return graph.add("Mul" if one.embedding.combiner == "multiply" else "Add", *rows)
    if not one.mixed:
        return graph.add("Concat", *rows, axis=-1) if len(rows) > 1 else rows[0]
    kernels = before.projections.kernels
    wide = [
        graph.add("MatMul", part.input, graph.constant(kernels[part.table.name].numpy()))
        if part.table.name in kernels
        else part.input
        for part in one.parts
    ]
    return graph.add("Sum", *wide)


def _pooled(graph: Graph, before: TowerInput, one: ColumnPlan) -> tuple[str, str]:
    """The mean of a column's rows, without those of zeros, and 1, or 0 where there is none; [batch, 1]."""
    rows = _vectors(graph, before, one)
    if not one.length:
        return rows, _present(graph, rows)
    second, one_of = graph.constant([1], np.int64), graph.constant(1.0)
    count = graph.add("ReduceSum", _present(graph, rows), second, keepdims=0)
    total = graph.add("ReduceSum", rows, second, keepdims=0)
    mean = graph.add("Div", total, graph.add("Max", count, one_of))
    return mean, graph.add("Min", count, one_of)


def _present(graph: Graph, rows: str) -> str:
    """1 for a row with a number other than zero, else 0; the last dimension stays, with size 1."""
    largest = graph.add("ReduceMax", graph.add("Abs", rows), axes=[-1], keepdims=1)
    return graph.add("Cast", graph.add("Greater", largest, graph.constant(0.0)), to=TensorProto.FLOAT)


def examples(before: TowerInput, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """The same rows and numbers as a graph takes them, and as a `TowerInput` does: some large, a fifth missing."""
    fed: Arrays = {}
    taken: Arrays = {}
    for one in before.plan.columns:
        name = one.column.name
        if not one.parts:
            mean, deviation, _ = before.numbers(name)
            scaled = mean + deviation * rng.normal(size=EXAMPLES)
            numbers = np.expm1(scaled) if before.scalings[name].log else scaled
            taken[name] = numbers.astype(np.float32)
            fed[one.input] = taken[name][:, None]
            continue
        length = one.length or 1
        taken[f"{name}/counts"] = np.full(EXAMPLES, length, np.int64)
        for part in one.parts:
            rows = rng.normal(size=(EXAMPLES, length, part.table.dim))
            rows *= rng.choice([0.0, 0.05, 1.0, 1.0, 10.0], size=(EXAMPLES, length, 1))
            rows[0] = 0.0
            taken[part.input] = rows.reshape(-1, part.table.dim).astype(np.float32)
            fed[part.input] = (rows if one.length else rows[:, 0]).astype(np.float32)
    return fed, taken
