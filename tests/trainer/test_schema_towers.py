"""Towers of a schema's columns, against NumPy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from rich.console import Console
from tests.trainer.shop import COLOURS, NEWCOMER, schema, shop, words_of

import rowbank
from rowbank.text import token_key
from rowbank_trainer.data import Dataset
from rowbank_trainer.errors import TrainerError, UsageError
from rowbank_trainer.schema.spec import Column, Side, TableOptions
from rowbank_trainer.two_tower.batches import BatchSource
from rowbank_trainer.two_tower.config import TwoTowerConfig, Variant
from rowbank_trainer.two_tower.export import OUTPUT, export_tower
from rowbank_trainer.two_tower.features import PAD_KEY
from rowbank_trainer.two_tower.job import Job, run
from rowbank_trainer.two_tower.model import TwoTower
from rowbank_trainer.two_tower.plan import plan_of
from rowbank_trainer.two_tower.problem import Problem, prepare
from rowbank_trainer.two_tower.publication import Publication
from rowbank_trainer.two_tower.tables.static import StaticTables

CONFIG = TwoTowerConfig(
    epochs=2, batch_size=64, dim=6, vector_dim=5, hidden=(7,), activation="tanh", row_dropout=0.0, learning_rate=0.02,
    log_every=5,
)  # fmt: skip
Rows = Callable[[str, list[int]], np.ndarray]


@pytest.fixture(scope="module")
def data() -> Dataset:
    return shop()


@pytest.fixture(scope="module")
def problem(data: Dataset) -> Problem:
    return prepare(data, CONFIG, schema())


def mean(rows: np.ndarray, width: int) -> np.ndarray:
    there = [row for row in rows if row.any()]
    return np.mean(there, axis=0) if there else np.zeros(width)


class ByHand:
    """The towers' inputs by their definition, one entity at a time."""

    def __init__(self, problem: Problem, rows: Rows) -> None:
        self.problem, self.rows = problem, rows
        assert problem.users is not None
        assert problem.items is not None
        self.users, self.items = problem.users, problem.items
        trained = np.unique(problem.train.user_ids)
        ages = self.users.numbers["age"][np.isin(self.users.ids, trained)].astype(np.float64)
        self.age = (np.nanmean(ages), np.nanstd(ages))
        prices = self.items.numbers["price"][np.isin(self.items.ids, problem.train.item_ids)].astype(np.float64)
        self.price = (np.nanmean(np.log1p(prices)), np.nanstd(np.log1p(prices)))

    def user(self, user: int) -> np.ndarray:
        place = np.flatnonzero(self.users.ids == user)
        said = {name: values[place[0]] if len(place) else None for name, values in self.users.stored.items()}
        train = self.problem.train
        mine = sorted(np.flatnonzero(train.user_ids == user).tolist(), key=lambda row: train.times[row])
        return np.concatenate([
            mean(self.rows("user", [user]), 6),
            mean(self.rows("colour", [token_key(said["colour"])] if said["colour"] else []), 3),
            [0.0 if said["age"] is None else (said["age"] - self.age[0]) / self.age[1]],
            mean(self.rows("group", (said["likes"] or [])[:2]), 4),
            mean(self.rows("item", [int(train.item_ids[row]) for row in mine][-5:]), 6),
        ])  # fmt: skip

    def item(self, item: int) -> np.ndarray:
        place = int(np.flatnonzero(self.items.ids == item)[0])
        group, price, words = (self.items.stored[name][place] for name in ("group", "price", "words"))
        return np.concatenate([
            mean(self.rows("item", [item]), 6),
            mean(self.rows("group", [] if group is None else [group]), 4),
            [0.0 if price is None else (np.log1p(price) - self.price[0]) / self.price[1]],
            mean(self.rows("words", words_of(words)), 5),
            mean(self.rows("item", self.related(item)), 6),
        ])  # fmt: skip

    def related(self, item: int) -> list[int]:
        """By the formula; of equal scores any order is right, so those of the problem are taken if they are as good."""
        train = self.problem.train
        met_by = {one: set(train.user_ids[train.item_ids == one].tolist()) for one in self.items.ids.tolist()}
        met = {user: len(set(train.item_ids[train.user_ids == user].tolist())) for user in train.user_ids.tolist()}

        def score(other: int) -> float:
            both = met_by[item] & met_by[other]
            return (
                sum(1 / met[user] for user in both) / np.sqrt(len(met_by[item]) * len(met_by[other])) if both else 0.0
            )

        keys = self.problem.features.item.columns[4].keys
        assert keys is not None
        place = int(np.flatnonzero(self.items.ids == item)[0])
        found = keys.values[keys.starts[place] : keys.starts[place + 1]].tolist()
        best = sorted((score(other) for other in met_by if other != item), reverse=True)[:3]
        np.testing.assert_allclose([score(other) for other in found], [one for one in best if one > 0], rtol=1e-5)
        return found


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


def test_columns_go_into_towers_as_numpy_computes(problem: Problem) -> None:
    model, tables, rows = static(problem)
    hand = ByHand(problem, rows)
    users = np.array([hand.user(int(user)) for user in problem.user_keys])
    items = np.array([hand.item(int(item)) for item in problem.catalogue.item_ids])
    found = model.user_vectors(tables, problem.features, problem.user_keys)
    np.testing.assert_allclose(found, tower(model, "user", users), atol=1e-5)
    np.testing.assert_allclose(model.item_vectors(tables, problem.features), tower(model, "item", items), atol=1e-5)


def test_the_loss_of_a_batch_is_that_of_numpy(problem: Problem) -> None:
    model, tables, rows = static(problem)
    hand, order = ByHand(problem, rows), np.arange(30, 30 + CONFIG.batch_size)
    (batch,) = BatchSource(problem, tables, CONFIG).batches(order, drop_remainder=True)
    users, items = problem.train.user_ids[order], problem.train.item_ids[order]
    left = tower(model, "user", np.array([hand.user(int(user)) for user in users]))
    right = tower(model, "item", np.array([hand.item(int(item)) for item in items]))
    scores = left @ right.T / CONFIG.temperature
    copies = (items[:, None] == items[None, :]) & ~np.eye(len(items), dtype=bool)
    expected = np.mean(np.log(np.exp(np.where(copies, -np.inf, scores)).sum(axis=1)) - np.diag(scores))
    assert float(model.compute_loss(batch, training=True)) == pytest.approx(float(expected), rel=1e-4)


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


def train(data: Dataset, out: Path, target: str, variant: Variant, **options) -> str:
    text = StringIO()
    settings = {"publication": Publication(publish=True), "schema": schema(), "config": CONFIG, **options}
    config, publication = settings.pop("config"), settings.pop("publication")
    job = Job(config, (variant,), False, target, publication, out, f"shop-{variant.value}", {}, **settings)
    run(job, data, Console(file=text, width=200))
    return text.getvalue()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("variant", [Variant.STATIC, Variant.TFRA_LOCAL, Variant.ROWBANK_TFRA, Variant.ROWBANK])
def test_what_is_published_computes_what_was_trained(
    data: Dataset, problem: Problem, tmp_path: Path, target: str, variant: Variant
) -> None:
    """Rows from the server by the manifest and the stored features, through the published towers."""
    train(data, tmp_path, target, variant)
    with rowbank.Client(target) as client:
        manifest = client.models.list(f"shop-{variant.value}")[0].manifest
        inputs = {part.name: part for part in (*manifest.query.inputs, *manifest.candidate.inputs)}
        views = {"user": manifest.user_view, "item": manifest.item_view}
        said = {name: (part.feature, part.kind, part.length, part.pad_key, part.newest)
                for name, part in inputs.items()}  # fmt: skip
        assert said == {
            "user_id": ("user_id", "keys", 0, 0, False),
            "colour": (f"{views['user']}:colour", "text_keys", 0, 0, False),
            "age": (f"{views['user']}:age", "numbers", 0, 0, False),
            "likes": (f"{views['user']}:likes", "keys", 2, PAD_KEY, False),
            "met": (f"{views['user']}:history", "keys", 5, PAD_KEY, True),
            "item_id": ("item_id", "keys", 0, 0, False),
            "group": (f"{views['item']}:group", "keys", 0, PAD_KEY, False),
            "price": (f"{views['item']}:price", "numbers", 0, 0, False),
            "words": (f"{views['item']}:words", "words", 3, 0, False),
            "related": (f"{views['item']}:related", "keys", 3, PAD_KEY, False),
        }  # fmt: skip
        assert inputs["met"].table == inputs["item_id"].table == inputs["related"].table
        assert inputs["likes"].table == inputs["group"].table

        def rows(table: str, keys: list[int]) -> np.ndarray:
            name = next(part.table for name, part in inputs.items() if name in (f"{table}_id", table))
            return client.table(name).lookup(np.array(keys, np.int64)).values

        hand = ByHand(problem, rows)
        stored = client.features.read(views["user"], [1, NEWCOMER, 2])
        assert stored[1].values["colour"] == COLOURS[NEWCOMER % 4]
        assert stored[2].values["colour"] == ""
        assert stored[2].values["age"] == pytest.approx(hand.age[0], rel=1e-6)
        items = client.features.read(views["item"], problem.catalogue.item_ids)
        graph = onnxruntime.InferenceSession(client.models.read_file(manifest.name, manifest.version, "candidate.onnx"))
        fed = {
            "item_id": rows("item", problem.catalogue.item_ids.tolist()),
            "group": rows("group", [item.values["group"] for item in items]),
            "price": np.array([[item.values["price"]] for item in items]),
            "words": np.array([padded(rows("words", words_of(item.values["words"])), 3, 5) for item in items]),
            "related": np.array([padded(rows("item", list(item.values["related"])), 3, 6) for item in items]),
        }
        vectors = graph.run([OUTPUT], {name: np.asarray(part, np.float32) for name, part in fed.items()})[0]
        before = np.array([hand.item(int(item)) for item in problem.catalogue.item_ids])
        weights = {one.name: one for one in graph.get_inputs()}
        assert set(weights) == set(fed)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    again = onnxruntime.InferenceSession((tmp_path / "candidate.onnx").read_bytes())
    wanted = {"item_id": before[:, :6], "group": before[:, 6:10]}
    np.testing.assert_allclose(fed["item_id"], wanted["item_id"], atol=1e-6)
    np.testing.assert_allclose(fed["group"], wanted["group"], atol=1e-6)
    del again


@pytest.mark.timeout(600)
def test_going_on_needs_the_same_schema(data: Dataset, tmp_path: Path, start_ps) -> None:
    target = start_ps().target
    train(data, tmp_path / "a", target, Variant.ROWBANK)
    later = train(data, tmp_path / "b", target, Variant.ROWBANK, going_on="latest", publication=Publication())
    assert "Goes on from version" in later
    whole = schema()
    other = schema(item=Side((*whole.item.columns[:2], Column("price", "numeric"), *whole.item.columns[3:])))
    with pytest.raises(TrainerError, match=r"has another schema: item: columns: price: scale was 'log' and is 'stand"):
        train(data, tmp_path / "c", target, Variant.ROWBANK, going_on="latest", schema=other)
    with pytest.raises(TrainerError, match="has another schema"):
        train(data, tmp_path / "d", target, Variant.ROWBANK, going_on="latest", schema=None)
