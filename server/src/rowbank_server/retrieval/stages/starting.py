"""Queries checked against the model that answers them, and their filters made ready."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rowbank.errors import InvalidRequest, RequestError
from rowbank.tower_feeding import usable
from rowbank.tower_keys import HISTORY
from rowbank_server.registry.model import Model
from rowbank_server.retrieval.filters.evaluate import at_time
from rowbank_server.retrieval.filters.words import Boost, Filter
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.given import given_features
from rowbank_server.retrieval.queries import Explanation, Query, Source
from rowbank_server.retrieval.stages.work import Work

Resolve = Callable[[Filter], Filter]


def start(generation: Generation, query: Query, resolve: Resolve, now_s: float) -> Work | RequestError:
    """What can only be checked against the model; a query that fails is answered with the error.

    Args:
        resolve: puts in what the names of stored filters stand for.
        now_s: Unix time.
    """
    try:
        given = {} if query.features is None else given_features(generation.model.query_inputs, query)
        if query.exclude_seen:
            _check_seen(generation.model, query)
        work = Work(query, given, features=given if query.features is not None else None)
        if query.filter is not None:
            work.filter = at_time(resolve(query.filter), now_s)
        if query.boosts:
            work.boosts = tuple(
                Boost(at_time(resolve(boost.filter), now_s), boost.add, boost.name) for boost in query.boosts
            )
        if query.vector is not None:
            _take_vector(generation.model, work)
    except RequestError as error:
        return error
    work.explanation = Explanation() if query.explain else None
    return work


def _check_seen(model: Model, query: Query) -> None:
    """Refuses `exclude_seen` where nothing says what was seen; it is never just left undone."""
    if query.items is not None:
        return
    if query.user_id is None:
        raise InvalidRequest(
            "exclude_seen: nobody's history is known without a user_id; give user_id as well, or name the items in "
            "exclude"
        )
    if not model.has_history:
        raise InvalidRequest(
            f"exclude_seen: model {model.manifest.name!r} {model.version} keeps no histories (its users have no "
            f"feature {HISTORY!r}); name the items in exclude"
        )


def _take_vector(model: Model, work: Work) -> None:
    given = work.query.vector or ()
    dim = model.manifest.vector_dim
    if len(given) != dim:
        raise InvalidRequest(
            f"vector: expected {dim} numbers, which the vectors of model {model.manifest.name!r} {model.version} have, "
            f"got {len(given)}",
            metadata={"field": "vector"},
        )
    with np.errstate(over="ignore"):
        vector = np.asarray(given, np.float64).astype(np.float32)
    if not usable(vector[None])[0]:
        raise InvalidRequest("vector: expected finite numbers, none beyond 1e15", metadata={"field": "vector"})
    work.vector, work.source = vector, Source.VECTOR
