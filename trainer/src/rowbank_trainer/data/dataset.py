"""The shape every source of interactions is brought into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
TICKS_PER_S = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


@dataclass(frozen=True, slots=True)
class Interactions:
    """Who met what, when: parallel columns of one length.

    Attributes:
        user_ids: [N] int64.
        item_ids: [N] int64.
        ratings: [N] float32, one to five stars.
        times: [N] int64 ticks since 1970, as exact as they were given; only their order matters to most.
        weights: [N] float32 of at least 0: how much each counts in training; None: all alike.
        time_unit: of a tick: "s", "ms", "us" or "ns".
    """

    user_ids: Ids
    item_ids: Ids
    ratings: npt.NDArray[np.float32]
    times: Ids
    weights: npt.NDArray[np.float32] | None = None
    time_unit: str = "s"

    def __len__(self) -> int:
        return len(self.user_ids)

    @property
    def ticks_per_s(self) -> int:
        """How many ticks of `times` make a second."""
        return TICKS_PER_S[self.time_unit]

    def take(self, rows: Ids) -> Interactions:
        """The interactions at `rows` ([M] int64 positions), in that order."""
        weights = None if self.weights is None else self.weights[rows]
        return Interactions(
            self.user_ids[rows], self.item_ids[rows], self.ratings[rows], self.times[rows], weights, self.time_unit
        )


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every item that can be recommended, whether or not anybody met it.

    Attributes:
        item_ids: [M] int64, ascending and distinct.
        titles: M titles.
        genres: M tuples of genre names.
        years: M years of release; 0 where unknown.
        titled: whether titles say something; if not they are the ids, and models go by id.
    """

    item_ids: Ids
    titles: tuple[str, ...]
    genres: tuple[tuple[str, ...], ...]
    years: tuple[int, ...]
    titled: bool = True

    def __len__(self) -> int:
        return len(self.titles)

    def positions(self, item_ids: Ids) -> Ids:
        """Positions of known `item_ids` ([N] int64) in the catalogue: [N] int64."""
        return np.searchsorted(self.item_ids, item_ids).astype(np.int64)


@dataclass(frozen=True, slots=True)
class KeyLists:
    """Keys of each entity, one entity's after the other's.

    Attributes:
        values: [S] int64.
        starts: [N + 1] int64: entity n's are `values[starts[n] : starts[n + 1]]`; none where its value is missing.
    """

    values: Ids
    starts: Ids


@dataclass(frozen=True, slots=True)
class Entities:
    """All users, or all items, that files say something of, by column name.

    Attributes:
        ids: [N] int64, ascending.
        keys: of "categorical" and "text" columns. Integers are their own keys, texts have `rowbank.text.token_key`;
            missing values have the column's default, or none.
        numbers: of "numeric" columns, [N] float32, unscaled; NaN where a value is missing and there is no default.
        stored: values as a feature store takes them, N each; None where a value is missing.
        types: of the feature that keeps a column, as `rowbank.features.FeatureField` names them: a categorical column
            is "int64" or "string", or a list of one of them; a numeric one "double" or "float_list"; text "string".
    """

    ids: Ids
    keys: Mapping[str, KeyLists] = field(default_factory=dict)
    numbers: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    stored: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A catalogue and the interactions with it.

    Attributes:
        name: tells people where they come from.
        held_out: interactions to be judged on, where the data came split; None: to be split.
        timed: whether times are known.
        user_names, item_names: id -> the string it was made of, where ids were strings.
        users, items: the values of a schema's columns; None: there is no schema.
    """

    name: str
    interactions: Interactions
    catalogue: Catalogue
    held_out: Interactions | None = None
    timed: bool = True
    user_names: Mapping[int, str] | None = None
    item_names: Mapping[int, str] | None = None
    users: Entities | None = None
    items: Entities | None = None
