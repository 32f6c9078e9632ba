"""Towers as ONNX compute what they compute in Keras, or are refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnxruntime
import pytest
import tf_keras
from tests.trainer.sides import tower_input

from rowbank_trainer.errors import ExportError
from rowbank_trainer.schema.spec import Column
from rowbank_trainer.two_tower import export
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.export import OUTPUT, export_tower
from rowbank_trainer.two_tower.graph import Graph
from rowbank_trainer.two_tower.towers import build_tower

ID = Column("user_id", "id", table="user")
CONFIG = TwoTowerConfig(dim=12, vector_dim=8, hidden=(20, 16), hidden_dropout=0.2)


def run_graph(data: bytes, rows: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run([OUTPUT], {session.get_inputs()[0].name: rows})[0]


@pytest.mark.parametrize("batch", [1, 7])
def test_row_tower_equals_keras(batch: int) -> None:
    tower = build_tower("user", CONFIG, seed=3)
    rows = np.random.default_rng(1).normal(size=(batch, 12)).astype(np.float32)
    vectors = run_graph(export_tower(tower_input(ID, dim=12), tower), rows)
    np.testing.assert_allclose(vectors, tower(rows, training=False).numpy(), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_pooling_tower_takes_the_mean_of_the_rows_that_are_there() -> None:
    tower = build_tower("title", CONFIG, seed=4)
    rows = np.random.default_rng(2).normal(size=(5, 6, 12)).astype(np.float32)
    rows[1, 2:], rows[2, 0], rows[3] = 0.0, 0.0, 0.0
    words = Column("title", "text", table="words", length=6)
    vectors = run_graph(export_tower(tower_input(words, dim=12), tower), rows)
    none = np.zeros(12, np.float32)
    means = np.stack([rows[0].mean(0), rows[1, :2].mean(0), rows[2, 1:].mean(0), none, rows[4].mean(0)])
    np.testing.assert_allclose(vectors, tower(means, training=False).numpy(), atol=1e-5)


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh", "sigmoid", "gelu"])
def test_activations_equal_keras(activation: str) -> None:
    tower = tf_keras.Sequential([tf_keras.layers.InputLayer((4,)), tf_keras.layers.Dense(3, activation=activation)])
    rows = np.float32([[-6, -1, 0, 0.5], [1, 2, 3, 9]])
    vectors = run_graph(export_tower(tower_input(ID, dim=4), tower), rows)
    np.testing.assert_allclose(vectors, tower(rows).numpy(), atol=1e-5)


def test_foreign_layers_and_activations_are_refused() -> None:
    layers = tf_keras.layers
    tower = tf_keras.Sequential([layers.InputLayer((4,)), layers.LayerNormalization(name="norm")])
    with pytest.raises(ExportError, match=r"layer 'norm' \(LayerNormalization\) cannot be exported"):
        export_tower(tower_input(ID, dim=4), tower)
    tower = tf_keras.Sequential([layers.InputLayer((4,)), layers.Dense(2, activation="selu", name="first")])
    with pytest.raises(ExportError, match="layer 'first': activation 'selu' cannot be exported"):
        export_tower(tower_input(ID, dim=4), tower)


def test_a_graph_that_computes_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(graph: Graph) -> None:
        graph.add("Relu", graph.tip)

    monkeypatch.setitem(export._ACTIVATIONS, "gelu", wrong)
    with pytest.raises(ExportError, match="the exported graph differs from the model by"):
        export_tower(tower_input(ID, dim=12), build_tower("user", CONFIG, seed=3))


def test_equal_seeds_give_equal_towers() -> None:
    plain = dataclasses.replace(CONFIG, hidden_dropout=0.0)
    first, second, other = (
        [weight.numpy() for weight in build_tower("user", plain, seed=seed).trainable_weights] for seed in (1, 1, 2)
    )
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], other[0])
