"""Towers of a schema's columns, against NumPy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from tests.trainer.by_hand import ByHand, Rows
from tests.trainer.composed import Vectors, composed, kernels_of
from tests.trainer.shop import schema, shop

from rowbank.text import token_key
from rowbank_trainer.data import Dataset
from rowbank_trainer.errors import TrainerError, UsageError
from rowbank_trainer.schema.spec import Column, Side, TableOptions
from rowbank_trainer.two_tower.batches import BatchSource
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.export import OUTPUT, Last, export_tower
from rowbank_trainer.two_tower.model import TwoTower
from rowbank_trainer.two_tower.plan import plan_of
from rowbank_trainer.two_tower.problem import Problem, prepare
from rowbank_trainer.two_tower.tables.static import StaticTables
from rowbank_trainer.two_tower.training import TrainingRun

CONFIG = TwoTowerConfig(
    epochs=2, batch_size=64, dim=6, vector_dim=5, hidden=(7,), activation="tanh", row_dropout=0.0, learning_rate=0.02,
    log_every=5,
)  # fmt: skip


@pytest.fixture(scope="module")
def data() -> Dataset:
    return shop()


@pytest.fixture(scope="module")
def problem(data: Dataset) -> Problem:
    return prepare(data, CONFIG, schema())


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def static(problem: Problem, config: TwoTowerConfig = CONFIG) -> tuple[TwoTower, StaticTables, Rows]:
    tables = StaticTables(problem, config)
    model = TwoTower(problem, tables, config, np.zeros(len(problem.catalogue), np.float32))

    def rows(table: str, keys: list[int]) -> np.ndarray:
        return tables.rows(table, np.array(keys, np.int64))

    return model, tables, rows


def tower(model: TwoTower, side: str, inputs: np.ndarray) -> np.ndarray:
    """Dense of 7 with tanh, dense of 5, length one."""
    first, second = (layer for layer in getattr(model, f"{side}_tower").layers if layer.weights)
    (w1, b1), (w2, b2) = (tuple(part.numpy() for part in layer.weights) for layer in (first, second))
    return unit(np.tanh(inputs @ w1 + b1) @ w2 + b2)


@pytest.fixture(scope="module")
def composed_problem(data: Dataset) -> Problem:
    return prepare(data, CONFIG, composed())


def hand_of(problem: Problem, model: TwoTower, rows: Rows) -> ByHand:
    if problem.plan.item.columns[0].plain:
        return ByHand(problem, rows)
    return ByHand(problem, Vectors(problem, rows, kernels_of(model)), by_column=True)


@pytest.mark.parametrize("name", ["problem", "composed_problem"])
def test_columns_go_into_towers_as_numpy_computes(name: str, request: pytest.FixtureRequest) -> None:
    problem: Problem = request.getfixturevalue(name)
    model, tables, rows = static(problem)
    hand = hand_of(problem, model, rows)
    users = np.array([hand.user(int(user)) for user in problem.user_keys])
    items = np.array([hand.item(int(item)) for item in problem.catalogue.item_ids])
    found = model.user_vectors(tables, problem.features, problem.user_keys)
    np.testing.assert_allclose(found, tower(model, "user", users), atol=1e-5)
    np.testing.assert_allclose(model.item_vectors(tables, problem.features), tower(model, "item", items), atol=1e-5)


@pytest.mark.parametrize("name", ["problem", "composed_problem"])
def test_the_loss_of_a_batch_is_that_of_numpy(name: str, request: pytest.FixtureRequest) -> None:
    problem: Problem = request.getfixturevalue(name)
    model, tables, rows = static(problem)
    hand, order = hand_of(problem, model, rows), np.arange(30, 30 + CONFIG.batch_size)
    (batch,) = BatchSource(problem, tables, CONFIG).batches(order, drop_remainder=True)
    users, items = problem.train.user_ids[order], problem.train.item_ids[order]
    left = tower(model, "user", np.array([hand.user(int(user)) for user in users]))
    right = tower(model, "item", np.array([hand.item(int(item)) for item in items]))
    scores = left @ right.T / CONFIG.temperature
    copies = (items[:, None] == items[None, :]) & ~np.eye(len(items), dtype=bool)
    expected = np.mean(np.log(np.exp(np.where(copies, -np.inf, scores)).sum(axis=1)) - np.diag(scores))
    assert float(model.compute_loss(batch, training=True)) == pytest.approx(float(expected), rel=1e-4)


def test_towers_of_composed_embeddings_are_exported(composed_problem: Problem) -> None:
    """An input for each part; a value of which a row is missing adds nothing, by a graph of two rows each."""
    model, _, _ = static(composed_problem)
    data = export_tower(model.item_input, model.item_tower)
    session = onnxruntime.InferenceSession(data)
    shapes = {one.name: one.shape[1:] for one in session.get_inputs()}
    assert shapes == {
        "item_id.0": [6], "item_id.1": [4], "item_id.2": [2], "group.0": [2], "group.1": [2], "price": [1],
        "words.0": [3, 5], "related.0": [3, 6], "related.1": [3, 4], "related.2": [3, 2],
    }  # fmt: skip
    rng = np.random.default_rng(2)
    fed = {name: rng.normal(size=(1, *shape)).astype(np.float32) for name, shape in shapes.items()}
    fed["item_id.0"][:], fed["item_id.2"][:], fed["related.1"][:], fed["words.0"][0, 1] = 0.0, 0.0, 0.0, 0.0
    fed["related.0"][0, 1:], fed["related.2"][0, [0, 2]] = 0.0, 0.0
    kernels, scaling = kernels_of(model), model.item_input.scalings["price"]
    before = np.concatenate([
        fed["item_id.1"][0] @ kernels["item.1"],
        fed["group.0"][0], fed["group.1"][0],
        (np.log1p(np.maximum(fed["price"][0], 0.0)) - scaling.mean) / scaling.deviation,
        fed["words.0"][0, [0, 2]].mean(axis=0),
        (fed["related.0"][0, 0] + fed["related.2"][0, 1] @ kernels["item.2"]) / 2,
    ])  # fmt: skip
    np.testing.assert_allclose(session.run([OUTPUT], fed)[0], tower(model, "item", before[None]), atol=1e-5)


def test_a_shared_table_is_looked_up_once(problem: Problem) -> None:
    """Item ids, histories and related items: one look-up; its gradients reach the rows of all of them."""
    model, tables, _ = static(problem)
    calls: dict[str, int] = dict.fromkeys(tables.layers, 0)
    for name, layer in tables.layers.items():

        def counted(keys: tf.Tensor, name: str = name, call: Callable = layer.call) -> tf.Tensor:
            calls[name] += 1
            return call(keys)

        layer.call = counted
    (batch,) = BatchSource(problem, tables, CONFIG).batches(np.arange(64), drop_remainder=True)
    model.compute_loss(batch)
    assert calls == dict.fromkeys(("user", "colour", "group", "item", "words"), 1)


def test_dropped_columns_are_missing(data: Dataset) -> None:
    """With a share of 0.5 about half of a batch goes without, each column on its own draw."""
    whole = schema()
    columns = [dataclasses.replace(column, dropout=0.5) for column in whole.user.columns]
    problem = prepare(data, CONFIG, schema(user=Side(tuple(columns))))
    order = np.arange(64)
    (batch,) = BatchSource(problem, StaticTables(problem, CONFIG), CONFIG).batches(order, drop_remainder=True)
    kept = batch["user/user_id/counts"].numpy()
    assert set(kept.tolist()) == {0, 1}
    assert 16 <= kept.sum() <= 48
    assert len(batch["user/user_id"]) == kept.sum()
    met = batch["user/met/counts"].numpy() > 0
    assert 16 <= met.sum() <= 48
    assert (met != (kept > 0)).any()
    missing = np.isnan(batch["user/age"].numpy()).sum()
    (plain,) = BatchSource(problem := prepare(data, CONFIG, whole), StaticTables(problem, CONFIG), CONFIG).batches(
        order, drop_remainder=True
    )
    assert missing > np.isnan(plain["user/age"].numpy()).sum()


def padded(rows: np.ndarray, length: int, dim: int) -> np.ndarray:
    return np.concatenate([rows, np.zeros((length - len(rows), dim))])


def test_exported_towers_compute_what_numpy_computes(problem: Problem) -> None:
    model, _, rows = static(problem)
    hand = ByHand(problem, rows)
    session = onnxruntime.InferenceSession(export_tower(model.user_input, model.user_tower))
    shapes = {one.name: one.shape for one in session.get_inputs()}
    assert shapes == {
        "user_id": ["batch", 6], "colour": ["batch", 3], "age": ["batch", 1], "likes": ["batch", 2, 4],
        "met": ["batch", 5, 6],
    }  # fmt: skip
    fed: dict[str, list[np.ndarray]] = {name: [] for name in shapes}
    for user in problem.user_keys.tolist():
        place = np.flatnonzero(hand.users.ids == user)
        said = {name: values[place[0]] if len(place) else None for name, values in hand.users.stored.items()}
        keys = problem.features.user.columns[4].keys
        assert keys is not None
        at = int(np.searchsorted(problem.user_keys, user))
        met = keys.values[keys.starts[at] : keys.starts[at + 1]].tolist()
        fed["user_id"].append(rows("user", [user])[0])
        fed["colour"].append(padded(rows("colour", [token_key(said["colour"])] if said["colour"] else []), 1, 3)[0])
        fed["age"].append(np.array([hand.age[0] if said["age"] is None else said["age"]]))
        fed["likes"].append(padded(rows("group", (said["likes"] or [])[:2]), 2, 4))
        fed["met"].append(padded(rows("item", met), 5, 6))
    vectors = session.run([OUTPUT], {name: np.array(part, np.float32) for name, part in fed.items()})[0]
    expected = tower(model, "user", np.array([hand.user(int(user)) for user in problem.user_keys]))
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "settings", "words"),
    [
        ({}, {"hidden": (), "output_layer": False}, "those of users have 20 numbers, those of items 22"),
        (
            {"item": Side((Column("item_id", "id", table="item"), Column("words", "text", table="words", length=3)))},
            {"hidden": (), "output_layer": False},
            "those of users have 20 numbers, those of items 11",
        ),
        ({"tables": {"user": TableOptions(dim=4)}, "user": Side((Column("user_id", "id", table="step"),))}, {},
         "a table cannot be called 'step'"),
    ],
)  # fmt: skip
def test_schemas_that_cannot_be_built_are_refused(changes: dict, settings: dict, words: str) -> None:
    changes = {**changes, "tables": {}} if "user" in changes else changes
    with pytest.raises(UsageError, match=words):
        plan_of(schema(**changes), dataclasses.replace(CONFIG, **settings))


def test_a_column_without_values_is_refused(data: Dataset) -> None:
    more = Side((*schema().item.columns, Column("brand", "categorical", table="brand")))
    with pytest.raises(TrainerError, match="no file has values of column 'brand'"):
        prepare(data, CONFIG, schema(item=more))


def test_columns_may_be_called_as_the_graph_calls_its_own(data: Dataset) -> None:
    """A number "popularity", and a constant one, which has no deviation to divide by."""
    assert data.users is not None
    numbers = {"popularity": data.users.numbers["age"], "vector": np.full(len(data.users.ids), 0.1, np.float32)}
    dataset = dataclasses.replace(data, users=dataclasses.replace(data.users, numbers=numbers))
    users = Side((Column("user_id", "id", table="user"), Column("popularity", "numeric"), Column("vector", "numeric")))
    problem = prepare(dataset, CONFIG, schema(user=users, tables={}))
    model, _, _ = static(problem)
    session = onnxruntime.InferenceSession(export_tower(model.user_input, model.user_tower, last=Last.ONE))
    assert [one.name for one in session.get_inputs()] == ["user_id", "popularity.column", "vector.column"]
    assert model.user_input.numbers("vector") == pytest.approx((0.1, 1.0, 0.1))


def test_items_of_which_nothing_is_known_are_not_recommended(data: Dataset) -> None:
    """Of an item that nobody met in training there is no row, unless something else that it has was trained."""
    cold = int(data.catalogue.item_ids[7])
    train = data.interactions.take(np.flatnonzero(data.interactions.item_ids != cold))
    held_out = data.interactions.take(np.flatnonzero(data.interactions.item_ids == cold))
    parted = dataclasses.replace(data, interactions=train, held_out=held_out)
    users = Side((Column("user_id", "id", table="user"),))
    bare, grouped = Column("item_id", "id", table="item"), Column("group", "categorical", table="group")
    unknown, recalls = {}, {}
    for name, columns in {"bare": (bare,), "grouped": (bare, grouped)}.items():
        problem = prepare(parted, CONFIG, schema(user=users, item=Side(columns), tables={}))
        tables = StaticTables(problem, CONFIG)
        trained = TrainingRun(name, problem, tables, CONFIG, limits=None)
        unknown[name] = np.flatnonzero(trained.model.unknown_items(tables, problem.features)).tolist()
        recalls[name] = trained.judge(problem, problem.evaluator()).unseen[20]
    assert unknown == {"bare": [7], "grouped": []}
    assert recalls["bare"] == 0.0 < recalls["grouped"]


def test_a_history_is_declared_where_columns_are(data: Dataset) -> None:
    with pytest.raises(
        UsageError, match=r'--history 3: .* history = \{ type = "history", length = 3 \}, and leave out'
    ):
        prepare(data, dataclasses.replace(CONFIG, history=3), schema())
