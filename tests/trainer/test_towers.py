"""Towers without layers, and users who are known by what they met, against NumPy."""

from __future__ import annotations

import dataclasses
import json
from io import StringIO
from pathlib import Path

import httpx
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from rich.console import Console
from tests.processes import PATIENT, UpProcess, closing, until
from tests.trainer.sides import tower_input

import rowbank
from rowbank_trainer.data import Dataset
from rowbank_trainer.errors import TrainerError, UsageError
from rowbank_trainer.schema.spec import Column
from rowbank_trainer.two_tower import key_lists
from rowbank_trainer.two_tower.batches import BatchSource
from rowbank_trainer.two_tower.config import TwoTowerConfig, Variant, parse_widths
from rowbank_trainer.two_tower.export import OUTPUT, Last, export_tower
from rowbank_trainer.two_tower.features import PAD_KEY
from rowbank_trainer.two_tower.job import Job, run
from rowbank_trainer.two_tower.model import TwoTower
from rowbank_trainer.two_tower.problem import Problem, prepare
from rowbank_trainer.two_tower.publication import Publication
from rowbank_trainer.two_tower.tables.static import StaticTables
from rowbank_trainer.two_tower.towers import build_tower

ID = Column("user_id", "id", table="user", weight=0.7)
HISTORY = Column("history", "history", table="item", length=4, weight=0.3)
IDENTITY = TwoTowerConfig(dim=6, vector_dim=6, hidden=(), output_layer=False, row_dropout=0.0)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def by_loops(rows: np.ndarray, history: np.ndarray, weight: float) -> np.ndarray:
    """The user tower's input by its definition, one user at a time."""
    blended = np.zeros_like(rows)
    for user, row in enumerate(rows):
        met = [item for item in history[user] if item.any()]
        if met and row.any():
            blended[user] = (1.0 - weight) * row + weight * np.mean(met, axis=0)
        elif met:
            blended[user] = np.mean(met, axis=0)
        else:
            blended[user] = row
    return blended


def some_rows() -> tuple[np.ndarray, np.ndarray]:
    """Rows and histories: whole, with gaps, empty, of a user without a row, and of nobody."""
    rng = np.random.default_rng(5)
    rows, history = rng.normal(size=(6, 6)).astype(np.float32), rng.normal(size=(6, 4, 6)).astype(np.float32)
    history[1, 2:], history[2, :], history[3, 1], history[5, :] = 0.0, 0.0, 0.0, 0.0
    rows[4:] = 0.0
    return rows, history


def graph(data: bytes, **inputs: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run([OUTPUT], inputs)[0]


@pytest.fixture(scope="module")
def by_id(small: Dataset) -> Dataset:
    """`small`, whose items are known by their ids."""
    return dataclasses.replace(small, catalogue=dataclasses.replace(small.catalogue, titled=False))


@pytest.fixture(scope="module")
def remembering(quick: TwoTowerConfig) -> TwoTowerConfig:
    """Towers without layers, and the last 7 items."""
    return dataclasses.replace(
        quick, hidden=(), output_layer=False, row_dropout=0.0, history=7, history_weight=0.4, temperature=0.1
    )


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_a_tower_without_layers_is_its_row(similarity: str) -> None:
    tower = build_tower("user", dataclasses.replace(IDENTITY, similarity=similarity), seed=1)
    assert not tower.trainable_weights
    rows = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
    expected = unit(rows) if similarity == "cosine" else rows
    np.testing.assert_allclose(tower(rows).numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(graph(export_tower(tower_input(ID, dim=6), tower), user_id=rows), expected, atol=1e-6)


def test_widths_of_towers_are_those_asked_for() -> None:
    config = dataclasses.replace(IDENTITY, hidden=(5, 3), vector_dim=3)
    shapes = [tuple(weight.shape) for weight in build_tower("user", config, seed=1).trainable_weights]
    assert shapes == [(6, 5), (5,), (5, 3), (3,)]
    assert (parse_widths("none"), parse_widths("128,64")) == ((), (128, 64))


@pytest.mark.parametrize("text", ["", "12,", "0", "-1", "wide", "none,3"])
def test_other_widths_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--hidden: expected widths such as 128 or 128,64, or none, got"):
        parse_widths(text)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"hidden": (6,), "vector_dim": 5},
            "without an output layer vectors have the last width, 6, got --vector-dim 5",
        ),
        ({"activation": "selu"}, "--activation must be one of gelu, relu, tanh, sigmoid, linear, got 'selu'"),
        ({"history": -1}, "--history must be at least 0, got -1"),
        ({"related": -1}, "--related must be at least 0, got -1"),
        ({"related_weight": 0.0}, "--related-weight must be above 0 and below 1, got 0.0"),
        ({"related": 5, "logq": "table"}, "--related: related items are counted .* use --logq counts"),
        ({"popularity_weight": -0.1}, "--popularity-weight must be at least 0, got -0.1"),
        ({"history_weight": 1.0}, "--history-weight must be above 0 and below 1, got 1.0"),
        ({"history": 5, "logq": "table"}, "--history: the items of histories are counted .* use --logq counts"),
    ],
)
def test_towers_that_cannot_be_are_refused(changed: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        dataclasses.replace(IDENTITY, **changed)


def test_missing_rows_count_nothing() -> None:
    rows, history = some_rows()
    before = tower_input(ID, HISTORY, dim=6)
    inputs = {"user_id": rows, "history": history.reshape(-1, 6), "history/counts": np.full(6, 4)}
    blended = before({name: tf.constant(value) for name, value in inputs.items()})
    np.testing.assert_allclose(blended, by_loops(rows, history, 0.3), atol=1e-6)


@pytest.mark.parametrize("hidden", [(), (9,)])
def test_a_graph_with_a_history_computes_the_masked_mean(hidden: tuple[int, ...]) -> None:
    tower = build_tower("user", dataclasses.replace(IDENTITY, hidden=hidden, output_layer=bool(hidden)), seed=2)
    rows, history = some_rows()
    data = export_tower(tower_input(ID, HISTORY, dim=6), tower)
    vectors = graph(data, user_id=rows, history=history)
    before = by_loops(rows, history, 0.3)
    np.testing.assert_allclose(vectors, tower(before, training=False).numpy(), atol=1e-5)
    if not hidden:
        np.testing.assert_allclose(vectors[:5], unit(before[:5]), atol=1e-5)
        assert not vectors[5].any()  # Of a user of whom nothing is known.


def test_popularity_is_the_last_number_of_a_vector() -> None:
    tower = build_tower("item", IDENTITY, seed=2)
    rows, _ = some_rows()
    number = np.array([[0.5], [-1.0], [0.0], [2.0], [3.0], [0.25]], np.float32)
    users = graph(export_tower(tower_input(ID, dim=6), tower, last=Last.ONE), user_id=rows)
    before = tower_input(ID, dim=6)
    items = graph(export_tower(before, tower, last=Last.POPULARITY), user_id=rows, popularity=number)
    np.testing.assert_allclose(users[:4], np.hstack([unit(rows[:4]), np.ones((4, 1))]), atol=1e-6)
    np.testing.assert_allclose(items[:4], np.hstack([unit(rows[:4]), number[:4]]), atol=1e-6)
    np.testing.assert_array_equal(users[:, 6], np.ones(6))
    np.testing.assert_array_equal(items[:, 6:], number)


def last_items(problem: Problem, user: int, length: int) -> list[int]:
    """A user's last training items by time; equal times in the order of the data."""
    mine = np.flatnonzero(problem.train.user_ids == user)
    ordered = sorted(mine.tolist(), key=lambda row: problem.train.times[row])
    return [int(problem.train_positions[row]) for row in ordered][-length:]


def test_histories_are_the_last_training_items(by_id: Dataset, remembering: TwoTowerConfig) -> None:
    problem = prepare(by_id, remembering)
    found = problem.features.user.columns[1].keys
    assert found is not None
    taken = key_lists.take(found, np.array([3, 0, 3]))
    positions, counts = problem.catalogue.positions(taken.values), key_lists.counts_of(taken)
    expected = [last_items(problem, int(problem.user_keys[user]), 7) for user in (3, 0, 3)]
    assert counts.tolist() == [len(one) for one in expected]
    assert positions.tolist() == [item for one in expected for item in one]


def test_titles_have_no_histories(small: Dataset, remembering: TwoTowerConfig) -> None:
    for name in ("history", "related"):
        config = dataclasses.replace(remembering, **{"history": 0, name: 3})
        with pytest.raises(UsageError, match=rf"--{name} takes items that are known by their ids, .* without --items"):
            prepare(small, config)
    with pytest.raises(UsageError, match=r"--history takes items that are known by their ids, .* without --items"):
        prepare(small, remembering)


def test_training_blends_as_numpy_does(by_id: Dataset, remembering: TwoTowerConfig) -> None:
    """The loss of a batch, and the vectors that are judged, from the rows of tables that were never trained."""
    problem = prepare(by_id, remembering)
    tables = StaticTables(problem, remembering)
    log_q = np.zeros(len(problem.catalogue), np.float32)
    model = TwoTower(problem, tables, remembering, log_q)
    order = np.arange(40, 40 + remembering.batch_size)
    (batch,) = BatchSource(problem, tables, remembering).batches(order, drop_remainder=True)

    users = problem.train.user_ids[order]
    history = np.zeros((len(order), 7, remembering.dim), np.float32)
    for place, user in enumerate(users):
        items = last_items(problem, int(user), 7)
        history[place, : len(items)] = tables.rows("item", problem.catalogue.item_ids[items])
    vectors = unit(by_loops(tables.rows("user", users), history, 0.4))
    np.testing.assert_allclose(model.user_vectors(tables, problem.features, users), vectors, atol=1e-5)
    ids = problem.train.item_ids[order]
    scores = vectors @ unit(tables.rows("item", ids)).T / 0.1
    copies = (ids[:, None] == ids[None, :]) & ~np.eye(len(ids), dtype=bool)
    wrong = np.where(copies, -np.inf, scores)
    expected = np.mean(np.log(np.exp(wrong).sum(axis=1)) - np.diag(scores))
    assert float(model.compute_loss(batch)) == pytest.approx(float(expected), rel=1e-4)


def test_gradients_reach_the_items_of_histories(by_id: Dataset, remembering: TwoTowerConfig) -> None:
    """The mean of two rows gives half of its gradient to each."""
    problem = prepare(by_id, remembering)
    tables = StaticTables(problem, remembering)
    model = TwoTower(problem, tables, remembering, np.zeros(len(problem.catalogue), np.float32))
    inputs = {
        "item": tf.constant([0, 1], tf.int64),
        "user/user_id": tf.constant([0, 1], tf.int64),
        "item/item_id": tf.constant([0, 1], tf.int64),
        "user/history": tf.constant([2, 3], tf.int64),
        "user/history/counts": tf.constant([2, 0], tf.int64),
    }
    with tf.GradientTape() as tape:
        loss = model.compute_loss(inputs)
    gradient = tf.convert_to_tensor(tape.gradient(loss, tables.layers["item"].embeddings)).numpy()
    assert np.abs(gradient[2]).max() > 0.0
    np.testing.assert_allclose(gradient[2], gradient[3], atol=1e-7)
    assert not gradient[4:].any()


def train(dataset: Dataset, config: TwoTowerConfig, out: Path, target: str, variant: Variant = Variant.ROWBANK) -> None:
    job = Job(config, (variant,), False, target, Publication(activate=True), out, "remembers", {})
    run(job, dataset, Console(file=StringIO(), width=140))


def served(server: UpProcess, body: dict) -> dict:
    return httpx.post(f"{server.http_url}/v1/recommend", json=body, timeout=30.0).json()


@pytest.mark.timeout(600)
def test_what_is_served_is_what_numpy_computes(by_id: Dataset, remembering: TwoTowerConfig, tmp_path: Path) -> None:
    """Also for somebody who came after the training, and is known by what was written since."""
    config = dataclasses.replace(remembering, epochs=2, popularity_weight=0.03, related=5, related_weight=0.7)
    problem = prepare(by_id, config)
    user, stranger = int(problem.user_keys[7]), 10**9
    server = UpProcess(
        "--data-dir", str(tmp_path / "data"), "--model", "remembers", log=tmp_path / "log", environment=PATIENT
    )
    with closing(server):
        server.wait_ready()
        train(by_id, config, tmp_path / "out", server.target)
        until(lambda: httpx.get(f"{server.http_url}/readyz").status_code == 200, what="the model is served")
        with rowbank.Client(server.target) as client:
            manifest = client.models.get("remembers").manifest
            taken = manifest.query.inputs[1]
            assert (taken.name, taken.feature, taken.length, taken.pad_key) == (
                "history", f"{manifest.user_view}:history", 7, PAD_KEY,
            )  # fmt: skip
            assert taken.table == manifest.candidate.inputs[0].table
            met = client.features.read(manifest.user_view, [user])[0].values["history"]
            assert len(met) > 7  # So that the oldest ones must be left out.
            items = client.table("remembers/1.item").pull(problem.catalogue.item_ids)
            row = client.table("remembers/1.user").pull([user])
            features = client.features.read(manifest.item_view, problem.catalogue.item_ids)
        answers = {
            "stored": served(server, {"user_id": user, "k": 10}),
            "stranger": served(
                server, {"features": {"user_id": stranger, "history": [int(item) for item in met[:3]]}, "k": 10}
            ),
        }
    positions = {name: problem.catalogue.positions(np.array(part)) for name, part in
                 {"stored": met[-7:], "stranger": met[:3]}.items()}  # fmt: skip
    inputs = {
        "stored": 0.6 * row[0] + 0.4 * items[positions["stored"]].mean(axis=0),
        "stranger": items[positions["stranger"]].mean(axis=0),
    }
    trained = np.isin(problem.catalogue.item_ids, problem.train.item_ids)
    vectors = items.copy()
    for place in np.flatnonzero(trained):
        related = problem.catalogue.positions(np.array(features[place].values["related"]))
        assert len(related) == 5
        vectors[place] = 0.3 * items[place] + 0.7 * items[related].mean(axis=0)
    counts = np.array([(problem.train.item_ids == item).sum() for item in problem.catalogue.item_ids])
    for name, before in inputs.items():
        scores = np.where(trained, (unit(vectors) @ unit(before) + 0.03 * np.log(1 + counts)) / 0.1, -np.inf)
        best = np.argsort(-scores)[:10]
        assert answers[name]["source"] == "personal", answers[name]
        assert [item["id"] for item in answers[name]["items"]] == problem.catalogue.item_ids[best].tolist()
        np.testing.assert_allclose([item["score"] for item in answers[name]["items"]], scores[best], rtol=1e-3)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("variant", [Variant.STATIC, Variant.ROWBANK_TFRA])
def test_every_kind_of_table_trains_and_publishes_histories(
    by_id: Dataset, remembering: TwoTowerConfig, tmp_path: Path, start_ps, variant: Variant
) -> None:
    address = start_ps().target
    train(by_id, dataclasses.replace(remembering, epochs=1), tmp_path, address, variant)
    with rowbank.Client(address) as client:
        assert len(client.models.get("remembers").manifest.query.inputs) == 2


@pytest.mark.timeout(600)
def test_a_version_with_another_history_is_not_gone_on_from(
    by_id: Dataset, remembering: TwoTowerConfig, tmp_path: Path, start_ps
) -> None:
    address = start_ps().target
    config = dataclasses.replace(remembering, epochs=1, popularity_weight=0.05)
    train(by_id, config, tmp_path, address)
    for history in (7, 5):
        job = Job(
            dataclasses.replace(config, history=history), (Variant.ROWBANK,), False, address, Publication(),
            tmp_path / str(history), "remembers", {}, going_on="active",
        )  # fmt: skip
        if history == 7:
            run(job, by_id, Console(file=StringIO()))
            continue
        with pytest.raises(TrainerError, match=r"takes the last 7 items of a user; got --history 5"):
            run(job, by_id, Console(file=StringIO()))


@pytest.mark.timeout(600)
def test_popularity_counts_where_the_model_is_judged(
    by_id: Dataset, remembering: TwoTowerConfig, tmp_path: Path
) -> None:
    """With a weight that leaves nothing else, the model ranks as popularity alone does."""
    config = dataclasses.replace(remembering, epochs=1, popularity_weight=1e4)
    job = Job(config, (Variant.STATIC,), False, None, Publication(), tmp_path, "popular", {})
    run(job, by_id, Console(file=StringIO()))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    found, popular = metrics["variants"][0]["accuracy"], metrics["baseline"]
    assert found["recall"]["top_20"] == pytest.approx(popular["recall"]["top_20"], abs=0.02)  # Of equal counts either.
