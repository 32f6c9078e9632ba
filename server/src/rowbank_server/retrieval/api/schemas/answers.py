"""Answers of calls."""

from __future__ import annotations

from typing import Any

import msgspec


class ScoreParts(msgspec.Struct, frozen=True):
    """score = logit_scale x dot + the sum of the boosts; `interactions` is what popularity counts."""

    dot: float
    logit_scale: float
    boosts: dict[str, float]
    interactions: int


class Item(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One item of an answer. `score` is null where the model did not score it: it filled the answer up to k."""

    id: int | str
    score: float | None
    rank: int
    title: str
    parts: ScoreParts | None = None


class FeatureUse(msgspec.Struct, frozen=True):
    """Where the query tower had a feature from: given, stored, default, stale, missing or unusable, and its age."""

    name: str
    status: str
    age_s: float


class CandidateCount(msgspec.Struct, frozen=True):
    """How many items were left before and after a step."""

    step: str
    before: int
    after: int


class TableUse(msgspec.Struct, frozen=True):
    """What was read of a table; `step` and `age_s` are of frozen rows."""

    table: str
    keys: int
    found: int
    mode: str
    step: int
    age_s: float


class Explanation(msgspec.Struct, frozen=True):
    """How an answer came to be. `index`: how it was searched; `split`: why this version answered."""

    features: list[FeatureUse]
    candidates: list[CandidateCount]
    rows: list[TableUse]
    index: str
    split: str


class Recommendations(msgspec.Struct, frozen=True, kw_only=True):
    """Items best first.

    `source`: personal (the query tower), session (near items), vector (a given one) or popular. `degraded`: what was
    not as it should be. `next_cursor`: for the next page; empty if there is nothing more. With `explain`: `defaulted`,
    the features of which the query tower got the default, or nothing, `timings_ms` and `explanation`.
    """

    items: list[Item]
    model: str
    model_version: str
    index_version: str
    source: str
    degraded: list[str]
    next_cursor: str = ""
    timings_ms: dict[str, float] | None = None
    defaulted: list[str] | None = None
    explanation: Explanation | None = None


class RecommendationsBatch(msgspec.Struct, frozen=True):
    """One answer per request, in their order."""

    answers: list[Recommendations]


class Unscored(msgspec.Struct, frozen=True):
    """An item that could not be scored, and why."""

    id: int | str
    reason: str


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """The given items, best first, repeated ones once; `unscored`: those that the model could not score."""

    items: list[Item]
    unscored: list[Unscored]
    model: str
    model_version: str
    index_version: str
    source: str
    degraded: list[str]
    timings_ms: dict[str, float] | None = None
    explanation: Explanation | None = None


class Embedding(msgspec.Struct, frozen=True):
    """A vector; null where there is none, with the reason. `id` is null for given features."""

    id: int | str | None
    vector: list[float] | None
    reason: str


class Embeddings(msgspec.Struct, frozen=True, kw_only=True):
    """In the order of the request, given features last."""

    embeddings: list[Embedding]
    model: str
    model_version: str
    index_version: str
    dim: int


class Entity(msgspec.Struct, frozen=True):
    """Stored features of an item or a user, defaults filled in. `event_time_s`: Unix seconds of the last write."""

    id: int | str
    features: dict[str, Any]
    status: str
    event_time_s: float


class CatalogueItem(msgspec.Struct, frozen=True, kw_only=True):
    """An item's features and whether a search can find it; `not_indexed` says why not, `vector` if it was asked for."""

    id: int | str
    features: dict[str, Any]
    status: str
    event_time_s: float
    indexed: bool
    interactions: int
    not_indexed: str = ""
    vector: list[float] | None = None


class Written(msgspec.Struct, frozen=True):
    """How many entities were written; 0 where a later event had been written before."""

    written: int


class LineError(msgspec.Struct, frozen=True):
    """What is wrong with a line of an import, counted from 1; `reason` is as of the errors of calls."""

    line: int
    reason: str
    message: str


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the lines of an import. `outdated`: a later event had written the entity. `failed`: lines that are
    wrong; `errors` has the first of them."""

    lines: int
    written: int
    outdated: int
    failed: int
    errors: list[LineError]


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """Events that were recorded, and of how many users; `repeats` had been recorded before.

    `written` is the number of users, too, as before the others came.
    """

    written: int
    users: int
    events: int
    repeats: int


class Removed(msgspec.Struct, frozen=True):
    """The item that was removed."""

    id: int | str


class StoredFilter(msgspec.Struct, frozen=True):
    """A filter that is stored with a model."""

    name: str
    filter: dict[str, Any]


class StoredFilters(msgspec.Struct, frozen=True):
    """The filters of a model, by name."""

    filters: list[StoredFilter]


class FilterName(msgspec.Struct, frozen=True):
    """The filter that was taken away."""

    name: str


class ModelVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A published version. `serving`: this process has it loaded; what follows is of such versions."""

    name: str
    version: str
    active: bool
    previous: bool
    serving: bool
    created_at_s: float
    vector_dim: int
    metrics: dict[str, float]
    share: float = 0.0
    shadow: bool = False
    index_version: str = ""
    items: int = 0
    index: str = ""
    memory_bytes: int = 0
    load_s: float = 0.0
    warm_up_s: float = 0.0
    problem: str = ""


class ModelVersions(msgspec.Struct, frozen=True):
    """Versions of the named model, or of all, newest first; `previous` is the one to roll back to, empty if there is
    none; `default_model` is asked where a request names none."""

    models: list[ModelVersion]
    previous: str
    default_model: str


class TrafficSplit(msgspec.Struct, frozen=True):
    """Users' shares of a model's versions, by hash; `active` has the rest. `shadow` is asked the same, unseen."""

    model: str
    shares: dict[str, float]
    shadow: str
    active: str


class ProbeReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the index found beside an exact search. `recall`: of the exact answers' items, over all queries;
    `worst_recall`: of one query. Times are medians of one search. `eligible`: items that the filter lets through."""

    model_version: str
    index_version: str
    index: str
    queries: int
    k: int
    recall: float
    worst_recall: float
    served_p50_ms: float
    exact_p50_ms: float
    items: int
    eligible: int


class Activated(msgspec.Struct, frozen=True):
    """What is active now, and what was."""

    version: str
    previous_version: str


class WorkerHealth(msgspec.Struct, frozen=True):
    """One of several workers. `status`: ready, not-ready (takes no connections yet) or silent (does not answer)."""

    worker: int
    status: str
    model_version: str


class ModelHealth(msgspec.Struct, frozen=True):
    """One model as it is served. `model_version` is empty, and `items` 0, while nothing of it is. `problem`: what keeps
    it, or a newer version of it, from being served.
    """

    name: str
    model_version: str
    index_version: str
    items: int
    problem: str


class Health(msgspec.Struct, frozen=True):
    """Whether the process lives and, for /readyz, serves. `problem`: what keeps a newer version from being served.
    The version is that of the default model, and empty where there is none; `models`: all of them.
    `workers`: all of them, where there are several; the rest is of the one that answers.
    """

    status: str
    model_version: str = ""
    index_version: str = ""
    items: int = 0
    problem: str = ""
    models: list[ModelHealth] | None = None
    workers: list[WorkerHealth] | None = None


class DemoFeature(msgspec.Struct, frozen=True):
    """A feature of items; `values`: texts that items have of it, if they are few."""

    name: str
    type: str
    values: list[str]


class DemoData(msgspec.Struct, frozen=True):
    """What the page at /demo offers: the served `models`, ids of some stored `users` of one as strings, whether its
    users have `histories`, and features to filter by."""

    model: str
    models: list[str]
    users: list[str]
    item_features: list[DemoFeature]
    histories: bool


class DemoTitles(msgspec.Struct, frozen=True):
    """Titles by items' ids; those that the catalogue has not are left out."""

    titles: dict[str, str]
