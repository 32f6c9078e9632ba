"""The other losses, against their formulas in NumPy, and that models learn by them."""

from __future__ import annotations

import dataclasses
import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from rowbank_trainer.data import Dataset
from rowbank_trainer.errors import UsageError
from rowbank_trainer.two_tower.batches import BatchSource
from rowbank_trainer.two_tower.config import TwoTowerConfig, Variant
from rowbank_trainer.two_tower.job import Job, run
from rowbank_trainer.two_tower.loss import (
    alignment_and_uniformity,
    cosine_contrastive,
    drawn_log_q,
    mixed_log_q,
    pairwise,
    sampled_softmax,
)
from rowbank_trainer.two_tower.objective import Objective
from rowbank_trainer.two_tower.problem import prepare
from rowbank_trainer.two_tower.publication import Publication
from rowbank_trainer.two_tower.tables.static import StaticTables

SIZE, DRAWN, CATALOGUE = 9, 5, 7


@pytest.fixture
def batch() -> dict[str, np.ndarray]:
    """Unit vectors of users, their right items, and candidates: the right items and drawn ones, with copies."""
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(2 * SIZE + DRAWN, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = rng.integers(0, CATALOGUE, SIZE)
    return {
        "users": vectors[:SIZE],
        "items": vectors[SIZE : 2 * SIZE],
        "candidates": vectors[SIZE:],
        "ids": ids,
        "candidate_ids": np.concatenate([ids, rng.integers(0, CATALOGUE, DRAWN)]),
        "q": rng.dirichlet(np.ones(CATALOGUE)),
    }


def tensors(batch: dict[str, np.ndarray], *names: str) -> list[tf.Tensor]:
    return [tf.constant(batch[name], tf.int64 if "ids" in name else tf.float32) for name in names]


def chances(batch: dict[str, np.ndarray], power: float) -> np.ndarray:
    """Of each item of the catalogue, to be one of the batch or of those drawn by `power`."""
    by_power = batch["q"] ** power / (batch["q"] ** power).sum()
    return (batch["q"] * SIZE + by_power * DRAWN) / (SIZE + DRAWN)


@pytest.mark.parametrize("power", [0.0, 0.75, 1.0])
def test_chances_of_candidates(batch: dict[str, np.ndarray], power: float) -> None:
    log_q = tf.constant(np.log(batch["q"]))
    found = mixed_log_q(log_q, drawn_log_q(log_q, log_q, power), in_batch=SIZE, drawn=DRAWN)
    np.testing.assert_allclose(np.exp(found), chances(batch, power), rtol=1e-5)


@pytest.mark.parametrize("hardest", [0, 3, 100])
@pytest.mark.parametrize("corrected", [True, False])
def test_sampled_softmax(batch: dict[str, np.ndarray], corrected: bool, hardest: int) -> None:
    log_q = np.log(chances(batch, 0.0))
    expected = []
    for user, item, own in zip(batch["users"], batch["items"], batch["ids"], strict=True):
        right = user @ item / 0.2 - corrected * log_q[own]
        wrong = [
            user @ vector / 0.2 - corrected * log_q[other]
            for vector, other in zip(batch["candidates"], batch["candidate_ids"], strict=True)
            if other != own
        ]
        wrong = sorted(wrong, reverse=True)[: hardest or None]
        expected.append(np.log(np.exp([right, *wrong]).sum()) - right)
    q32 = tf.constant(log_q, tf.float32)
    found = sampled_softmax(
        *tensors(batch, "users", "items", "candidates", "ids", "candidate_ids"), temperature=0.2,
        item_log_q=tf.gather(q32, batch["ids"]) if corrected else None,
        candidate_log_q=tf.gather(q32, batch["candidate_ids"]) if corrected else None,
        hardest=hardest,
    )  # fmt: skip
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_cosine_contrastive(batch: dict[str, np.ndarray]) -> None:
    expected = []
    for user, item, own in zip(batch["users"], batch["items"], batch["ids"], strict=True):
        above = [
            max(0.0, user @ vector - 0.3)
            for vector, other in zip(batch["candidates"], batch["candidate_ids"], strict=True)
            if other != own
        ]
        expected.append(1.0 - user @ item + 5.0 * np.mean(above))
    found = cosine_contrastive(
        *tensors(batch, "users", "items", "candidates", "ids", "candidate_ids"), margin=0.3, weight=5.0
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_pairwise(batch: dict[str, np.ndarray]) -> None:
    batch["wrong"] = batch["candidates"][-SIZE:]
    margins = [user @ (right - wrong) / 0.5 for user, right, wrong in
               zip(batch["users"], batch["items"], batch["wrong"], strict=True)]  # fmt: skip
    found = pairwise(*tensors(batch, "users", "items", "wrong"), temperature=0.5)
    np.testing.assert_allclose(found, -np.log(1.0 / (1.0 + np.exp(-np.array(margins)))), rtol=1e-4)


def test_alignment_and_uniformity(batch: dict[str, np.ndarray]) -> None:
    def uniformity(vectors: np.ndarray) -> float:
        pairs = [np.exp(-2.0 * ((one - other) ** 2).sum()) for a, one in enumerate(vectors)
                 for b, other in enumerate(vectors) if a != b]  # fmt: skip
        return float(np.log(np.mean(pairs)))

    spread = uniformity(batch["users"]) + uniformity(batch["items"])
    expected = ((batch["users"] - batch["items"]) ** 2).sum(axis=1) + 1.5 * spread
    found = alignment_and_uniformity(*tensors(batch, "users", "items"), gamma=3.0)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("text", ["", "softmax:3", "sampled", "sampled:0", "mixed:-1", "ccl:many", "hinge", "bpr:"])
def test_other_losses_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--loss: expected softmax \(items of the batch\), sampled:N .* got"):
        Objective.parse(text)
    with pytest.raises(UsageError, match=r"--loss directau is for --similarity cosine, got dot"):
        TwoTowerConfig(loss="directau", similarity="dot")


def test_drawn_items_are_even_and_repeat_with_the_order(small: Dataset, quick: TwoTowerConfig) -> None:
    config = dataclasses.replace(quick, loss="sampled:20000")
    problem = prepare(small, config)
    source = BatchSource(problem, StaticTables(problem, config), config)
    order = np.random.default_rng(1).permutation(config.batch_size * 2)
    first, again = ([inputs["drawn"].numpy() for inputs in source.batches(order, drop_remainder=True)] for _ in "ab")
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])
    counts = np.bincount(np.concatenate(first), minlength=len(problem.catalogue))
    expected = 40000 / len(problem.catalogue)
    assert len(counts) == len(problem.catalogue)
    assert np.abs(counts - expected).max() < 6 * np.sqrt(expected)


def test_drawn_items_are_as_frequent_as_their_counts_to_the_power(small: Dataset, quick: TwoTowerConfig) -> None:
    config = dataclasses.replace(quick, loss="sampled:40000", negative_power=0.5)
    problem = prepare(small, config)
    source = BatchSource(problem, StaticTables(problem, config), config)
    (inputs,) = source.batches(np.arange(config.batch_size), drop_remainder=True)
    counts = np.bincount(inputs["drawn"].numpy(), minlength=len(problem.catalogue))
    roots = np.sqrt(np.maximum(problem.item_counts, 0.1))
    expected = 40000 * roots / roots.sum()
    assert np.abs(counts - expected).max() < 6 * np.sqrt(expected.max())
    assert np.corrcoef(counts, expected)[0, 1] > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"negative_power": 1.5}, "--negative-power must be from 0 to 1, got 1.5"),
        (
            {"negative_power": 0.5},
            "--negative-power is for losses that draw items, sampled, mixed, bpr, ccl; got",
        ),
        ({"hard_negatives": -1}, "--hard-negatives must be at least 0, got -1"),
        (
            {"hard_negatives": 5, "loss": "bpr"},
            "--hard-negatives is for --loss softmax, sampled, mixed; got",
        ),
    ],
)
def test_negatives_that_a_loss_does_not_take_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TwoTowerConfig(**options)


@pytest.mark.parametrize("options", [{"loss": "bpr"}, {"loss": "sampled:9"}, {"logq": "none"}])
def test_an_uncorrected_positive_is_for_losses_with_a_correction(options: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="--logq-positive uncorrected is for losses with a correction"):
        TwoTowerConfig(logq_positive="uncorrected", **options)
    with pytest.raises(UsageError, match=r"--logq-positive must be one of corrected, uncorrected, got 'none'"):
        TwoTowerConfig(logq_positive="none")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("positive", ["corrected", "uncorrected"])
def test_a_model_learns_with_the_positive_uncorrected(
    small: Dataset, quick: TwoTowerConfig, tmp_path: Path, positive: str
) -> None:
    for loss in ("softmax", "mixed:64"):
        assert _top_50(small, dataclasses.replace(quick, loss=loss, logq_positive=positive), tmp_path) > 1.5 * 50 / 300


@pytest.mark.timeout(600)
@pytest.mark.parametrize("loss", ["sampled:64", "bpr", "ccl:64", "directau"])
def test_a_model_learns_by_every_loss(small: Dataset, quick: TwoTowerConfig, tmp_path: Path, loss: str) -> None:
    """Well above chance, which finds 50 of 300 items."""
    assert _top_50(small, dataclasses.replace(quick, loss=loss), tmp_path) > 1.5 * 50 / 300


@pytest.mark.timeout(600)
def test_a_model_learns_from_hard_negatives_drawn_by_frequency(
    small: Dataset, quick: TwoTowerConfig, tmp_path: Path
) -> None:
    config = dataclasses.replace(quick, loss="mixed:64", negative_power=0.75, hard_negatives=20)
    assert _top_50(small, config, tmp_path) > 1.5 * 50 / 300


def _top_50(small: Dataset, config: TwoTowerConfig, tmp_path: Path) -> float:
    """What a model of static tables reaches, by its report."""
    run(
        Job(config, (Variant.STATIC,), False, None, Publication(), tmp_path, "objectives", {}), small,
        Console(file=StringIO()),
    )  # fmt: skip
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["config"]["loss"] == config.loss
    reached: float = metrics["variants"][0]["accuracy"]["unseen"]["top_50"]
    return reached
