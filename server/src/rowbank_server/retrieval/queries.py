"""Queries and answers inside the service: what HTTP and gRPC turn their messages into."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from rowbank_server.retrieval.filters.words import Boost, Diversity, Filter

DEFAULT_K = 10


class Source(str, enum.Enum):
    """What an answer is based on."""

    PERSONAL = "personal"  # The query tower's vector of this user.
    SESSION = "session"  # The mean vector of items: given ones, or the user's history.
    VECTOR = "vector"  # A vector that came with the query.
    POPULAR = "popular"  # How often all users' histories name an item.


@dataclass(frozen=True, slots=True)
class Popularity:
    """What counts as popular: events of the last `window_s` seconds, of some kinds; none: of all kinds."""

    window_s: float
    kinds: tuple[str, ...] = ()


class Query(msgspec.Struct, frozen=True):
    """One question. Either `user_id` or `features` or both are given, or `items`, or `vector`; none asks for what is
    popular.

    Attributes:
        items: recommend what is near these.
        features: the query tower's features by name, instead of a stored user's, defaults where one is left out; with
            `user_id`, only those that are to count before the stored ones.
        exclude: item ids that may not be in the answer.
        exclude_seen: neither may items of the user's history, or `items`. Refused with neither.
        seen_kinds: with `exclude_seen`, kinds of events that count as seen besides what the model was trained on; None:
            all of the history.
        min_score: leave out items that score less; the answer may then be shorter than k.
        vector: [vector_dim] numbers in the query tower's space.
        filter: the items that may be in the answer, whatever it is based on.
        boosts: added to scores, and to the order.
        offset: leaves out so many of the best.
        shown: items of the pages before, which are not answered again, and count for `diversity`.
        candidates: rank these items and no others; the answer is never filled up.
        popularity: of what is popular, what counts; None: how often histories name an item.
        explain: say how the answer came to be.
        deadline_s: by `time.monotonic`: until when somebody waits for the answer.
    """

    user_id: int | None = None
    items: tuple[int, ...] | None = None
    features: Mapping[str, Any] | None = None
    k: int = DEFAULT_K
    exclude: tuple[int, ...] = ()
    exclude_seen: bool = False
    min_score: float | None = None
    seen_kinds: tuple[str, ...] | None = None
    vector: tuple[float, ...] | None = None
    filter: Filter | None = None
    boosts: tuple[Boost, ...] = ()
    diversity: Diversity | None = None
    offset: int = 0
    shown: tuple[int, ...] = ()
    candidates: tuple[int, ...] | None = None
    popularity: Popularity | None = None
    explain: bool = False
    deadline_s: float | None = None

    @property
    def is_for_somebody(self) -> bool:
        """Whether rows or vectors take part in the answer: it does not ask for what is popular."""
        given = (self.user_id, self.items, self.features, self.vector)
        return any(part is not None for part in given)


# Of users or items: [vector_dim] float32 each, or why there is none.
Vectors: TypeAlias = "list[npt.NDArray[np.float32] | str]"


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors in the order of the request: users, the one of `features`, items."""

    vectors: Vectors
    model_version: str
    index_version: str


class Found(msgspec.Struct, frozen=True, gc=False):
    """One item of an answer; `score` is None where the model did not score it (it filled the answer up).

    `text` is the item's id where ids are texts, and `item_id` its key.
    """

    item_id: int
    score: float | None
    title: str
    text: str = ""
    parts: ScoreParts | None = None


class ScoreParts(NamedTuple):
    """score = logit_scale x dot + the sum of the boosts, by their names.

    Of an item that no vector scored, dot and logit_scale are 0, and `interactions` says how popular it is.
    """

    dot: float
    logit_scale: float
    boosts: Mapping[str, float]
    interactions: int


class FeatureUse(NamedTuple):
    """Where the query tower had a feature from: given, stored, default, stale, missing or unusable."""

    name: str
    status: str
    age_s: float


class CandidateCount(NamedTuple):
    """How many items were left before and after a step: catalogue, indexed, filter, exclude, seen, shown; of items that
    the caller names, candidates."""

    step: str
    before: int
    after: int


class TableUse(NamedTuple):
    """What a query read of a table; `mode` is frozen or live, `step` the table's when the version was published,
    `age_s` how long that is ago, 0 of live rows."""

    table: str
    keys: int
    found: int
    mode: str
    step: int
    age_s: float


@dataclass(slots=True)
class Explanation:
    """How an answer came to be; `index` says how it was searched."""

    features: list[FeatureUse] = field(default_factory=list)
    candidates: list[CandidateCount] = field(default_factory=list)
    rows: list[TableUse] = field(default_factory=list)
    index: str = ""


@dataclass(slots=True)
class Answer:
    """Items best first, and how they came to be.

    Attributes:
        degraded: what was not as it should be, such as "features:outside_max_age".
        defaulted: features of which the query tower got the default, or nothing, since there was no value.
        timings_ms: by stage, of the batch this query was answered in.
        unscored: of `candidates`, those that could not be scored, with the reason.
        more: whether there are more items than these.
        explanation: if it was asked for.
    """

    items: list[Found]
    source: Source
    model_version: str
    index_version: str
    degraded: list[str] = field(default_factory=list)
    defaulted: tuple[str, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    unscored: list[tuple[int, str]] = field(default_factory=list)
    more: bool = False
    explanation: Explanation | None = None
