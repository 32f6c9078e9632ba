"""What callers say: who is asked for, what lifts a score, what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from rowbank.retrieval.filters import Filter

Id: TypeAlias = "int | str"
FilterLike: TypeAlias = "Filter | Mapping[str, Any]"


@dataclass(frozen=True, slots=True)
class Boost:
    """Adds `add` (-1000 to 1000) to the score of the items that a filter lets through.

    Attributes:
        name: what explanations call it; empty: "boost 0", "boost 1", ...
    """

    filter: FilterLike
    add: float
    name: str = ""


@dataclass(frozen=True, slots=True)
class Diversity:
    """At most `max_per_value` items of an answer have the same value of a feature; of a list each element counts."""

    feature: str
    max_per_value: int


@dataclass(frozen=True, slots=True)
class Event:
    """A user met an item.

    Attributes:
        kind: "view", "click", "purchase", or what the service's setting has; empty: the first of them.
        weight: for what is popular; None: 1.
        time_s: Unix seconds; 0: now.
        id: of this event, such as `uuid.uuid4().hex`: one that was recorded within the last day is not recorded again,
            so that a call in which all have one can be repeated.
    """

    user_id: Id
    item_id: Id
    kind: str = ""
    weight: float | None = None
    time_s: float = 0.0
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendQuery:
    """One question of `recommend_batch`, and what `recommend` takes.

    Attributes:
        user_id: a stored user.
        session: items to be near to, instead of a user.
        features: the query tower's, by name; with a `user_id` they count before the stored ones.
        vector: [vector_dim] numbers in the query tower's space, instead of a user.
        k: how many items, 1 to 1000.
        filter: which items may be in the answer: what `rowbank.retrieval.filters` makes, or the same in JSON's form.
        exclude: items that may not be in the answer.
        exclude_seen: leave out items of the user's history, or of the session; a sequence: those that events of these
            kinds name.
        min_score: leave out items that score less; the answer may then be shorter than k.
        boosts: added to scores, and to the order.
        offset: leaves out so many of the best; not with a cursor.
        cursor: `next_cursor` of the answer before, to the same question.
        explain: say how the answer came to be.
        model: empty: the service's default one.
        version: one that is loaded; empty: the active one, or what the split of traffic says.
    """

    user_id: Id | None = None
    session: Sequence[Id] = ()
    features: Mapping[str, Any] | None = None
    vector: Any = None
    k: int = 10
    filter: FilterLike | None = None
    exclude: Sequence[Id] = ()
    exclude_seen: bool | Sequence[str] = False
    min_score: float | None = None
    boosts: Sequence[Boost] = ()
    diversity: Diversity | None = None
    offset: int = 0
    cursor: str = ""
    explain: bool = False
    model: str = ""
    version: str = ""
