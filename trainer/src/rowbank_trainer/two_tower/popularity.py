"""Popularity as one more number of each vector, so that a dot product adds it to the similarity.

A model whose loss is corrected for popularity answers who likes what, all items being equally well known. They are not:
of what somebody meets next, more is popular than that. A weight times the logarithm of one more than how often an item
was met, or how often lately, gives it back. The number is a row of a table of its own, which an item tower takes as it
takes its row; a user's is 1.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rowbank import TableSpec, Zeros
from rowbank_trainer.recency import decayed_counts
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.problem import Problem
from rowbank_trainer.two_tower.runs import RunTables

POPULARITY_INPUT = "popularity"


def popularity(problem: Problem, config: TwoTowerConfig) -> npt.NDArray[np.float32]:
    """[M, 1] float32: the weight times the logarithm of 1 + each item's training interactions, decayed as configured.

    It is 0 for what was never met.
    """
    counts = decayed_counts(
        problem.train_positions, problem.train, catalogue=len(problem.catalogue),
        half_life_days=config.popularity_half_life_days,
    )  # fmt: skip
    return (config.popularity_weight * np.log1p(counts)).astype(np.float32)[:, None]


def write_popularity(own: RunTables, problem: Problem, config: TwoTowerConfig) -> str:
    """Writes the numbers of items met in training to the run's table of them, and returns its name.

    Items that an earlier training of the run met, and this one did not, have 0.
    """
    name = f"{own.run.prefix}.{POPULARITY_INPUT}"
    table = own.client.create_table(TableSpec(name, dim=1, initializer=Zeros()), exist_ok=True)
    own.hold([name])
    ids = problem.catalogue.item_ids
    written = (problem.item_counts > 0) | table.lookup(ids).found
    table.upsert(ids[written], popularity(problem, config)[written])
    return name
