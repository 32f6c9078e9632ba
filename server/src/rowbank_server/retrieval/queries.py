"""Queries and answers inside the service: what HTTP and gRPC turn their messages into."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

DEFAULT_K = 10


class Source(str, enum.Enum):
    """What an answer is based on."""

    PERSONAL = "personal"  # The query tower's vector of this user.
    SESSION = "session"  # The mean vector of items: given ones, or the user's history.
    POPULAR = "popular"  # How often all users' histories name an item.


@dataclass(frozen=True, slots=True)
class Query:
    """One question. Either `user_id` or `features` or both are given, or `items`; none asks for what is popular.

    Attributes:
        items: recommend what is near these.
        features: the query tower's features by name, instead of a stored user's, defaults where one is left out; with
            `user_id`, only those that are to count before the stored ones.
        exclude: item ids that may not be in the answer.
        exclude_seen: neither may items of the user's history, or `items`. Refused with neither.
        min_score: leave out items that score less; the answer may then be shorter than k.
    """

    user_id: int | None = None
    items: tuple[int, ...] | None = None
    features: Mapping[str, Any] | None = None
    k: int = DEFAULT_K
    exclude: tuple[int, ...] = ()
    exclude_seen: bool = False
    min_score: float | None = None

    @property
    def is_for_somebody(self) -> bool:
        """Whether rows or vectors take part in the answer: it does not ask for what is popular."""
        return self.user_id is not None or self.items is not None or self.features is not None


class Found(NamedTuple):
    """One item of an answer; `score` is None where the model did not score it (it filled the answer up).

    `text` is the item's id where ids are texts, and `item_id` its key.
    """

    item_id: int
    score: float | None
    title: str
    text: str = ""


@dataclass(slots=True)
class Answer:
    """Items best first, and how they came to be.

    Attributes:
        degraded: what was not as it should be, such as "features:outside_max_age".
        defaulted: features of which the query tower got the default, or nothing, since there was no value.
        timings_ms: by stage, of the batch this query was answered in.
    """

    items: list[Found]
    source: Source
    model_version: str
    index_version: str
    degraded: list[str] = field(default_factory=list)
    defaulted: tuple[str, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)
