"""Runs queries through a version before users get it: what is read, made or connected first costs them nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from rowbank.errors import RequestError
from rowbank_server.registry.model import Model
from rowbank_server.registry.towers import input_shape
from rowbank_server.retrieval.engine import Engine
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.queries import Query

_QUERIES = 64
_TOGETHER = 32
_BUDGET_S = 5.0  # A shard that does not answer must not keep a version from users, who are served all the same.


def sample_users(model: Model, count: int = _QUERIES) -> list[int]:
    """Keys of users: those of the manifest's samples, else the first of the view, else none."""
    stored = [sample.user for sample in model.manifest.samples[:count]]
    if stored or model.users is None:
        return stored
    try:
        return [int(user) for user in model.users.entities()[:count]]
    except RequestError:
        return []  # The view is not there yet, or cannot be read now; what is served will say so.


def warm_up(generation: Generation, engine: Engine) -> float:
    """Answers sample queries, in batches of all sizes up to a full one; returns how long that took, in seconds.

    Raises:
        RequestError: the version cannot answer.
    """
    started = time.monotonic()
    queries = [Query(user_id=user) for user in sample_users(generation.model)]
    size = 1
    while queries and time.monotonic() - started < _BUDGET_S:
        batch, queries = queries[:size], queries[size:]
        _answered(engine.answer(batch, time.monotonic()))
        size = min(2 * size, _TOGETHER)
    model = generation.model
    model.query.run({part.name: np.zeros(input_shape(part, 1), np.float32) for part in model.query.tower.inputs})
    if generation.indexed_count:
        vector = np.zeros((1, model.manifest.vector_dim), np.float32)
        generation.search(vector, 10, np.stack([generation.unindexed]))
    return time.monotonic() - started


def _answered(answers: Sequence[object]) -> None:
    for answer in answers:
        if isinstance(answer, RequestError):
            raise answer
