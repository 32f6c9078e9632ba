"""What a trained model answers to some of its users, for the manifest: an activation compares what would be served."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from rowbank.models import SampleQuery
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.features import features_with_users
from rowbank_trainer.two_tower.problem import Problem
from rowbank_trainer.two_tower.training import TrainingRun

USERS = 64
ITEMS = 20
_BLOCK = 65_536  # Items that are scored at once: 16 MiB of scores for all users.
_SCORED = np.float32(-5e5)  # No item that has a row scores less; those without one are pushed far below.

F32 = npt.NDArray[np.float32]


def sample_queries(trained: TrainingRun, problem: Problem, config: TwoTowerConfig) -> tuple[SampleQuery, ...]:
    """Users of the training, evenly over their ids, and the items of the whole catalogue that the model scores highest.

    Their histories are those that are published with the version: all that they are known to have met.
    """
    learned = np.unique(problem.train.user_ids)
    users = learned[np.unique(np.linspace(0, len(learned) - 1, min(USERS, len(learned))).astype(np.int64))]
    asked = dataclasses.replace(problem, user_keys=users)
    served = dataclasses.replace(asked, train=problem.known).sources
    known = dataclasses.replace(asked, features=features_with_users(problem.plan, served, problem.features))
    user_vectors, item_vectors = trained.vectors(known)
    positions, scores = best(user_vectors, item_vectors, ITEMS)
    scale = np.float32(1.0 / config.temperature)
    items = problem.catalogue.item_ids
    found = []
    for user, places, own in zip(users.tolist(), positions, scores, strict=True):
        there = own > _SCORED
        if there.any() and own[there].any():  # A user without a row scores nothing.
            found.append(SampleQuery(user, tuple(items[places[there]].tolist()), tuple((own[there] * scale).tolist())))
    return tuple(found)


def best(users: F32, items: F32, count: int) -> tuple[npt.NDArray[np.int64], F32]:
    """The `count` items with the highest dot product of each user, best first: positions and products, both
    [U, min(count, M)].

    Args:
        users: [U, D]; items: [M, D].
    """
    positions = np.empty((len(users), 0), np.int64)
    scores = np.empty((len(users), 0), np.float32)
    for start in range(0, len(items), _BLOCK):
        block = users @ items[start : start + _BLOCK].T
        here = np.broadcast_to(np.arange(start, start + block.shape[1]), block.shape)
        positions, scores = np.hstack([positions, here]), np.hstack([scores, block])
        if scores.shape[1] > count:
            kept = np.sort(np.argpartition(-scores, count - 1, axis=1)[:, :count], axis=1)
            positions, scores = np.take_along_axis(positions, kept, axis=1), np.take_along_axis(scores, kept, axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(positions, order, axis=1), np.take_along_axis(scores, order, axis=1)
