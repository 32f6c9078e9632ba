"""What the retrieval service answers, as frozen values. Ids are integers or texts, as the model has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank.retrieval.filters import Filter
from rowbank.retrieval.words import Id


@dataclass(frozen=True, slots=True)
class ScoreParts:
    """score = logit_scale x dot + the sum of the boosts, by their names; `interactions` is what popularity counts."""

    dot: float
    logit_scale: float
    boosts: Mapping[str, float]
    interactions: int


@dataclass(frozen=True, slots=True)
class RankedItem:
    """One item of an answer.

    Attributes:
        score: None: the model did not score it, it filled the answer up to k.
        rank: from 1.
        parts: of the score, if an explanation was asked for.
    """

    id: Id
    score: float | None
    rank: int
    title: str
    parts: ScoreParts | None = None


@dataclass(frozen=True, slots=True)
class FeatureUse:
    """Where the query tower had a feature from: given, stored, default, stale, missing or unusable, and its age."""

    name: str
    status: str
    age_s: float


@dataclass(frozen=True, slots=True)
class CandidateCount:
    """How many items were left before and after a step: catalogue, indexed, filter, exclude, seen."""

    step: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class TableUse:
    """What a query read of a table: keys asked for and found, whether rows are "frozen" or "live", the table's step
    when the version was published, and how long that is ago (0 of live rows)."""

    table: str
    keys: int
    found: int
    mode: str
    step: int
    age_s: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """How an answer came to be.

    Attributes:
        candidates: in the order in which items were taken out.
        index: how it was searched: "exact", "inverted, 32 of 1024 lists".
        split: why this version answered: "active", "split", "asked for".
    """

    features: tuple[FeatureUse, ...]
    candidates: tuple[CandidateCount, ...]
    rows: tuple[TableUse, ...]
    index: str
    split: str


@dataclass(frozen=True, slots=True)
class Recommendations:
    """Items best first.

    Attributes:
        source: what the answer is based on: "personal", "session", "vector" or "popular".
        degraded: what was not as it should be, such as "features:outside_max_age"; docs/retrieval.md lists them.
        next_cursor: for the next page; empty: there is nothing more.
        timings_ms: by stage, if an explanation was asked for.
        defaulted: features of which the query tower got the default, likewise.
    """

    items: tuple[RankedItem, ...]
    model: str
    model_version: str
    index_version: str
    source: str
    degraded: tuple[str, ...]
    next_cursor: str
    timings_ms: Mapping[str, float]
    defaulted: tuple[str, ...]
    explanation: Explanation | None

    @property
    def ids(self) -> list[Id]:
        """The items' ids, best first."""
        return [item.id for item in self.items]


@dataclass(frozen=True, slots=True)
class Unscored:
    """An item that could not be scored, and why."""

    id: Id
    reason: str


@dataclass(frozen=True, slots=True)
class Scores:
    """Given items, best first; repeated ids once. The rest is as in `Recommendations`."""

    items: tuple[RankedItem, ...]
    unscored: tuple[Unscored, ...]
    model: str
    model_version: str
    index_version: str
    source: str
    degraded: tuple[str, ...]
    timings_ms: Mapping[str, float]
    explanation: Explanation | None


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """Vectors of users or items, in the order asked.

    Attributes:
        ids: None for the given `features`, which are the last.
        vectors: [N, dim] float32; NaN where there is none.
        found: [N] bool.
        reasons: why there is none; empty where there is one.
    """

    ids: tuple[Id | None, ...]
    vectors: npt.NDArray[np.float32]
    found: npt.NDArray[np.bool_]
    reasons: tuple[str, ...]
    model: str
    model_version: str
    index_version: str


@dataclass(frozen=True, slots=True, eq=False)
class StoredItem:
    """An item's features, and whether a search can find it.

    Attributes:
        status: "present", or "outside_max_age": these are defaults.
        event_time_s: Unix seconds of the last write.
        not_indexed: why a search does not find it; empty where it does.
        interactions: how often histories name it.
        vector: [vector_dim] float32, if it was asked for and there is one.
    """

    id: Id
    features: Mapping[str, Any]
    status: str
    event_time_s: float
    indexed: bool
    not_indexed: str
    interactions: int
    vector: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class StoredUser:
    """A user's features; see `StoredItem`."""

    id: Id
    features: Mapping[str, Any]
    status: str
    event_time_s: float


@dataclass(frozen=True, slots=True)
class EntityFault:
    """An item or user that was not written, and why; `reason` is that of the error class."""

    id: Id
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class WriteReport:
    """How many items or users were written; how many a later event had written before; what was wrong with others."""

    written: int
    outdated: int
    faults: tuple[EntityFault, ...]


@dataclass(frozen=True, slots=True)
class EventsReport:
    """How many events were recorded, and in the histories of how many users, each counted once a request.

    Attributes:
        repeats: events that had been recorded before, by their ids.
    """

    users: int
    events: int
    repeats: int


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A version of a model.

    Attributes:
        active: what users get unless traffic is split.
        serving: the service that answered has it loaded; what follows `shadow` is of such versions.
        share: of the users that get it.
        previous: the one to roll back to.
        shadow: it is asked the same, and its answers are only compared.
        index: "exact", "inverted" or "faiss".
        problem: what keeps it from being loaded.
    """

    name: str
    version: str
    active: bool
    serving: bool
    created_at_s: float
    vector_dim: int
    metrics: Mapping[str, float]
    share: float
    previous: bool
    shadow: bool
    index_version: str
    items: int
    index: str
    memory_bytes: int
    load_s: float
    warm_up_s: float
    problem: str


@dataclass(frozen=True, slots=True)
class ServedModels:
    """Versions newest first, and the model that is asked where a request names none."""

    models: tuple[ServedModel, ...]
    default_model: str


@dataclass(frozen=True, slots=True)
class Activated:
    """What is active now, and what was."""

    version: str
    previous_version: str


@dataclass(frozen=True, slots=True)
class NamedFilter:
    """A filter that is stored with a model."""

    name: str
    filter: Filter


@dataclass(frozen=True, slots=True)
class IndexProbe:
    """What the index found beside an exact search.

    Attributes:
        recall: share of the exact answers' items that were found, over all queries.
        worst_recall: of one query.
        served_p50_ms, exact_p50_ms: medians of one search each.
        items, eligible: in the index, and of these those that the filter lets through.
    """

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
