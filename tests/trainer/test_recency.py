"""Popularity by what was met lately, worked out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rowbank import Client
from rowbank_trainer.data import Catalogue, Dataset, Interactions
from rowbank_trainer.data.splits import Split
from rowbank_trainer.errors import UsageError
from rowbank_trainer.evaluation import popularity_scorer
from rowbank_trainer.recency import decayed_counts
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.popularity import popularity, write_popularity
from rowbank_trainer.two_tower.problem import prepare, problem_of
from rowbank_trainer.two_tower.runs import RunTables

_DAY_S = 86_400


def met(items: list[int], days: list[float], unit: str = "s", ticks_per_s: int = 1) -> Interactions:
    """Interactions of user 1."""
    times = np.array([round((19_000 + day) * _DAY_S) * ticks_per_s for day in days], np.int64)
    return Interactions(
        np.ones(len(items), np.int64), np.array(items), np.ones(len(items), np.float32), times, time_unit=unit
    )


# Item 5 was met on days 0 and 4, item 6 on day 2, item 7 never; a count halves every two days before day 4.
INTERACTIONS = met([5, 6, 5], [0.0, 2.0, 4.0])
CATALOGUE = Catalogue(np.array([5, 6, 7]), ("5", "6", "7"), ((),) * 3, (0,) * 3, titled=False)
DECAYED = [0.25 + 1.0, 0.5, 0.0]


@pytest.mark.parametrize(("unit", "ticks_per_s"), [("s", 1), ("ms", 10**3), ("ns", 10**9)])
def test_an_interaction_counts_half_for_each_half_life_before_the_newest(unit: str, ticks_per_s: int) -> None:
    interactions = met([5, 6, 5], [0.0, 2.0, 4.0], unit, ticks_per_s)
    counts = decayed_counts(np.array([0, 1, 0]), interactions, catalogue=3, half_life_days=2.0)
    np.testing.assert_allclose(counts, DECAYED, rtol=1e-12)


def test_without_a_half_life_all_count_alike() -> None:
    positions = np.array([0, 1, 0])
    assert decayed_counts(positions, INTERACTIONS, catalogue=3, half_life_days=0.0).tolist() == [2.0, 1.0, 0.0]
    none = INTERACTIONS.take(np.zeros(0, np.int64))
    assert decayed_counts(positions[:0], none, catalogue=3, half_life_days=2.0).tolist() == [0.0, 0.0, 0.0]


def test_recent_popularity_ranks_by_decayed_counts() -> None:
    """Item 5 was met twice long ago, item 6 once lately."""
    interactions = met([5, 5, 6], [0.0, 0.0, 8.0])
    plain = popularity_scorer(CATALOGUE, interactions)(np.array([1]), slice(0, 3))
    recent = popularity_scorer(CATALOGUE, interactions, half_life_days=2.0)(np.array([1]), slice(0, 3))
    np.testing.assert_allclose(plain, [[2.0, 1.0, 0.0]])
    np.testing.assert_allclose(recent, [[2 / 16, 1.0, 0.0]])


def test_the_number_of_an_item_is_the_weight_times_the_logarithm_of_one_more_than_its_count() -> None:
    config = TwoTowerConfig(batch_size=2, popularity_weight=0.5, popularity_half_life_days=2.0)
    dataset = Dataset("tiny", INTERACTIONS, CATALOGUE)
    problem = problem_of(dataset, Split(INTERACTIONS, INTERACTIONS), config)
    found = popularity(problem, config)
    np.testing.assert_allclose(found, 0.5 * np.log(1.0 + np.array(DECAYED))[:, None], rtol=1e-6)
    plain = popularity(problem, dataclasses.replace(config, popularity_half_life_days=0.0))
    np.testing.assert_allclose(plain, 0.5 * np.log([[3.0], [2.0], [1.0]]), rtol=1e-6)


def test_a_half_life_needs_times() -> None:
    config = TwoTowerConfig(batch_size=2, popularity_half_life_days=2.0)
    dataset = Dataset("untimed", INTERACTIONS, CATALOGUE, timed=False)
    with pytest.raises(UsageError, match="--popularity-half-life-days 2 needs times, which untimed has not; name"):
        prepare(dataset, config)
    with pytest.raises(UsageError, match=r"--popularity-half-life-days must be at least 0, got -1\.0"):
        TwoTowerConfig(popularity_half_life_days=-1.0)


def test_what_is_met_no_more_loses_its_number_and_what_never_was_gets_no_row(target: str, table_name: str) -> None:
    config = TwoTowerConfig(batch_size=2, popularity_weight=1.0)
    with Client(target) as client, RunTables.begin(client, table_name, None) as own:
        for items in ([5, 6, 5], [6, 6, 6]):
            interactions = met(items, [0.0, 1.0, 2.0])
            problem = problem_of(Dataset("tiny", interactions, CATALOGUE), Split(interactions, interactions), config)
            name = write_popularity(own, problem, config)
        row = client.table(name).lookup(np.array([5, 6, 7]))
    assert row.found.tolist() == [True, True, False]
    np.testing.assert_allclose(row.values[:, 0], [0.0, np.log(4.0), 0.0], rtol=1e-6)
