"""Preprocessing and settings."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rowbank.text import token_key
from rowbank_trainer.data import Catalogue, Dataset, Interactions
from rowbank_trainer.errors import TrainerError
from rowbank_trainer.two_tower.config import TwoTowerConfig, Variant
from rowbank_trainer.two_tower.problem import prepare


def dataset() -> Dataset:
    catalogue = Catalogue(
        np.array([5, 6, 7]), ("The Matrix (1999)", "A, B: C! d e f g", "Never Seen"), ((),) * 3, (1999, 0, 0)
    )
    users = np.array([1] * 6 + [2] * 4)
    items = np.array([5, 5, 5, 6, 6, 6, 5, 6, 5, 6])
    return Dataset("tiny", Interactions(users, items, np.ones(10, np.float32), np.arange(10)), catalogue)


def test_titles_become_keys_of_their_words() -> None:
    problem = prepare(dataset(), TwoTowerConfig(batch_size=2))
    words = [["the", "matrix", "1999"], ["a", "b", "c", "d", "e", "f"], ["never", "seen"]]
    expected = [[token_key(word) for word in title] + [0] * (6 - len(title)) for title in words]
    np.testing.assert_array_equal(problem.item_keys, expected)


def test_items_are_counted_in_training() -> None:
    problem = prepare(dataset(), TwoTowerConfig(batch_size=2))
    assert len(problem.train) == 8
    counts = [int((problem.train.item_ids == item).sum()) for item in (5, 6)]
    np.testing.assert_array_equal(problem.item_counts, [*counts, 0])


def test_vocabulary_counts_what_training_sees() -> None:
    problem = prepare(dataset(), TwoTowerConfig(batch_size=2))
    assert problem.vocabulary == {"user": 2, "item": 3 + 6}  # Words of two titles.


def test_validation_is_a_part_of_the_training_interactions() -> None:
    config = TwoTowerConfig(batch_size=2)
    test = prepare(dataset(), config)
    validation = prepare(dataset(), dataclasses.replace(config, evaluate_on="validation", validation_fraction=0.25))
    assert len(validation.train) + len(validation.held_out) == len(test.train)
    times = np.concatenate([validation.train.times, validation.held_out.times])
    assert set(times) == set(test.train.times)  # No test interaction is looked at.


def test_a_batch_must_fit_into_the_training_part() -> None:
    with pytest.raises(TrainerError, match=r"8 training interactions are fewer than one batch of 9; give a smaller"):
        prepare(dataset(), TwoTowerConfig(batch_size=9))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"epochs": 0}, "--epochs must be at least 1, got 0"),
        ({"batch_size": 1}, "--batch-size must be at least 2"),
        ({"learning_rate": float("nan")}, "--learning-rate must be above 0"),
        ({"row_dropout": 1.0}, r"--row-dropout must be in \[0, 1\)"),
        ({"split": "random:0"}, "--split random: expected a fraction"),
        ({"restrict_keep": 0.9, "restrict_trigger": 0.5}, "restrict_keep <= restrict_trigger"),
        ({"evaluate_on": "train"}, "--evaluate-on must be 'test' or 'validation', got 'train'"),
    ],
)
def test_bad_settings_are_refused(change: dict[str, object], problem: str) -> None:
    with pytest.raises(TrainerError, match=problem):
        dataclasses.replace(TwoTowerConfig(), **change)


def test_variants_are_a_comma_list() -> None:
    assert Variant.parse_list("static, rowbank") == (Variant.STATIC, Variant.ROWBANK)
    with pytest.raises(TrainerError, match="unknown kind 'statik'; expected a comma list of static, tfra-local"):
        Variant.parse_list("static,statik")
    with pytest.raises(TrainerError, match="'static' is listed twice"):
        Variant.parse_list("static,static")
    with pytest.raises(TrainerError, match="unknown kind ''"):
        Variant.parse_list("")
