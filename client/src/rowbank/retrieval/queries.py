"""Questions: each function is a method of both clients, with these arguments, and answers as `Call` says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from rowbank._checks import at_least, number
from rowbank.errors import InvalidRequest, shown
from rowbank.retrieval import answers, decoding, methods, requests
from rowbank.retrieval.attempts import Call
from rowbank.retrieval.filters import filter_to_proto
from rowbank.retrieval.words import Boost, Diversity, FilterLike, Id, RecommendQuery
from rowbank_protos.v1 import retrieval_pb2


def recommend(
    user_id: Id | None = None,
    *,
    session: Sequence[Id] = (),
    features: Mapping[str, Any] | None = None,
    vector: Any = None,
    k: int = 10,
    filter: FilterLike | None = None,  # noqa: A002 - what callers know it as.
    exclude: Sequence[Id] = (),
    exclude_seen: bool | Sequence[str] = False,
    min_score: float | None = None,
    boosts: Sequence[Boost] = (),
    diversity: Diversity | None = None,
    offset: int = 0,
    cursor: str = "",
    explain: bool = False,
    model: str = "",
    version: str = "",
    timeout_s: float | None = None,
) -> Call[answers.Recommendations]:
    """Recommends items to a user, near a session's items, for given features or for a vector.

    Args:
        timeout_s: deadline of the call, retries included; None: the client's. `RecommendQuery` describes the others.
    Raises:
        InvalidRequest: an argument is wrong, or an id of another kind than the model's.
        NotReady, ServiceUnavailable, Overloaded, DeadlineExceeded: no answer until the deadline.
    """
    query = RecommendQuery(
        user_id=user_id,
        session=session,
        features=features,
        vector=vector,
        k=k,
        filter=filter,
        exclude=exclude,
        exclude_seen=exclude_seen,
        min_score=min_score,
        boosts=boosts,
        diversity=diversity,
        offset=offset,
        cursor=cursor,
        explain=explain,
        model=model,
        version=version,
    )
    request = requests.recommend(query)
    return Call(methods.RECOMMEND, iter([request]), _one(decoding.recommendations), timeout_s=timeout_s)


def recommend_batch(
    queries: Iterable[RecommendQuery], *, timeout_s: float | None = None
) -> Call[list[answers.Recommendations]]:
    """Answers several questions in their order, at most 256, all of one version unless traffic is split.

    Raises:
        InvalidRequest: as for `recommend`; the message says which question is wrong.
    """
    if isinstance(queries, RecommendQuery | str | Mapping) or not isinstance(queries, Iterable):
        requests.wrong("queries", "a list of rowbank.retrieval.RecommendQuery", shown(queries))
    asked = []
    for place, query in enumerate(queries):
        if not isinstance(query, RecommendQuery):
            requests.wrong(f"queries.{place}", "a rowbank.retrieval.RecommendQuery", shown(query))
        try:
            asked.append(requests.recommend(query))
        except InvalidRequest as error:
            raise InvalidRequest(f"queries.{place}: {error.message}", metadata=error.metadata) from None
    request = retrieval_pb2.RecommendBatchRequest(requests=asked)
    return Call(methods.RECOMMEND_BATCH, iter([request] if asked else []), _batches, timeout_s=timeout_s)


def similar(
    item_ids: Id | Sequence[Id],
    *,
    k: int = 10,
    filter: FilterLike | None = None,  # noqa: A002
    exclude: Sequence[Id] = (),
    min_score: float | None = None,
    boosts: Sequence[Boost] = (),
    diversity: Diversity | None = None,
    offset: int = 0,
    cursor: str = "",
    explain: bool = False,
    model: str = "",
    version: str = "",
    timeout_s: float | None = None,
) -> Call[answers.Recommendations]:
    """Items near the mean vector of one or several items, which are left out. Arguments as of `recommend`.

    Raises:
        UnknownItem: the catalogue lacks one of them.
    """
    named = [item_ids] if isinstance(item_ids, int | str | np.integer) else item_ids
    numbers, texts = requests.identities(named, "item_ids")
    excluded, excluded_texts = requests.identities(exclude, "exclude")
    request = retrieval_pb2.SimilarItemsRequest(
        item_ids=numbers,
        item_texts=texts,
        k=at_least("k", k, 1, bits=32),
        exclude=excluded,
        exclude_texts=excluded_texts,
        filter=None if filter is None else filter_to_proto(filter),
        boosts=requests.boosts(boosts),
        diversity=requests.diversity(diversity),
        offset=at_least("offset", offset, 0, bits=32),
        cursor=requests.text(cursor, "cursor"),
        min_score=requests.min_score(min_score),
        explain=bool(explain),
        model=requests.text(model, "model"),
        version=requests.text(version, "version"),
    )
    return Call(methods.SIMILAR_ITEMS, iter([request]), _one(decoding.recommendations), timeout_s=timeout_s)


def score(
    item_ids: Sequence[Id],
    user_id: Id | None = None,
    *,
    session: Sequence[Id] = (),
    features: Mapping[str, Any] | None = None,
    vector: Any = None,
    boosts: Sequence[Boost] = (),
    explain: bool = False,
    model: str = "",
    version: str = "",
    timeout_s: float | None = None,
) -> Call[answers.Scores]:
    """Ranks given items, and no others, for somebody. Arguments as of `recommend`."""
    numbers, texts = requests.identities(item_ids, "item_ids")
    requests.require_one_subject(user_id, session, vector)
    request = retrieval_pb2.ScoreRequest(
        features=requests.features(features),
        item_ids=numbers,
        item_texts=texts,
        boosts=requests.boosts(boosts),
        explain=bool(explain),
        model=requests.text(model, "model"),
        version=requests.text(version, "version"),
    )
    requests.name_subject(request, user_id, session, vector)
    return Call(methods.SCORE, iter([request]), _one(decoding.scores), timeout_s=timeout_s)


def embed(
    *,
    user_ids: Sequence[Id] = (),
    item_ids: Sequence[Id] = (),
    features: Mapping[str, Any] | None = None,
    model: str = "",
    version: str = "",
    timeout_s: float | None = None,
) -> Call[answers.Embeddings]:
    """The towers' vectors of users or of items, not of both; with `features`, of one user more, who is not stored."""
    users, user_texts = requests.identities(user_ids, "user_ids")
    items, item_texts = requests.identities(item_ids, "item_ids")
    given = requests.features(features)
    request = retrieval_pb2.EmbedRequest(
        user_ids=users,
        user_texts=user_texts,
        item_ids=items,
        item_texts=item_texts,
        features=given,
        model=requests.text(model, "model"),
        version=requests.text(version, "version"),
    )

    def decode(messages: list[Any]) -> answers.Embeddings:
        return decoding.embeddings(messages[0], with_features=bool(given))

    return Call(methods.EMBED, iter([request]), decode, timeout_s=timeout_s)


def popular(
    *,
    k: int = 10,
    filter: FilterLike | None = None,  # noqa: A002
    window_s: float = 0.0,
    kinds: Sequence[str] = (),
    exclude: Sequence[Id] = (),
    diversity: Diversity | None = None,
    offset: int = 0,
    cursor: str = "",
    explain: bool = False,
    model: str = "",
    version: str = "",
    timeout_s: float | None = None,
) -> Call[answers.Recommendations]:
    """The most popular items; the score counts interactions. Arguments as of `recommend`, and:

    Args:
        window_s: events of so many seconds back count; 0: what histories say, of all times.
        kinds: of events, with a window; empty: all.
    """
    excluded, excluded_texts = requests.identities(exclude, "exclude")
    request = retrieval_pb2.PopularRequest(
        k=at_least("k", k, 1, bits=32),
        filter=None if filter is None else filter_to_proto(filter),
        window_s=number("window_s", window_s, "seconds from 0", low=0.0, error=InvalidRequest),
        kinds=requests.kinds(kinds, "kinds"),
        exclude=excluded,
        exclude_texts=excluded_texts,
        diversity=requests.diversity(diversity),
        offset=at_least("offset", offset, 0, bits=32),
        cursor=requests.text(cursor, "cursor"),
        explain=bool(explain),
        model=requests.text(model, "model"),
        version=requests.text(version, "version"),
    )
    return Call(methods.POPULAR, iter([request]), _one(decoding.recommendations), timeout_s=timeout_s)


def _one(decode: Any) -> Any:
    """Of calls with one answer."""
    return lambda messages: decode(messages[0])


def _batches(messages: list[Any]) -> list[answers.Recommendations]:
    return [answer for message in messages for answer in decoding.batch(message)]
