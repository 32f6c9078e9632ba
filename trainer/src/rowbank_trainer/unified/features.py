"""Which categorical features a rating has, as text: those of MovieLens's users, or a schema's columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rowbank_trainer.data.dataset import Dataset, Entities, Ids, Interactions
from rowbank_trainer.errors import UsageError
from rowbank_trainer.schema import Column, Schema
from rowbank_trainer.schema.spec import SIDES
from rowbank_trainer.unified.config import FEATURES
from rowbank_trainer.unified.users import User

Values = npt.NDArray[np.str_]
_GROUPS = 7  # Of numbers, as many as MovieLens has of ages.
_HASHED = 0.4  # Buckets for each distinct value, as for MovieLens's users and movies; at least so many:
_FEWEST_BUCKETS = 20


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature: of "user" or "item", with [N] texts in the order of the ids; None: the id itself."""

    name: str
    side: str
    values: Values | None = None


@dataclass(frozen=True, slots=True)
class Features:
    """The features of ratings, and the users ([N] int64, ascending) and items that have them."""

    user_ids: Ids
    item_ids: Ids
    features: tuple[Feature, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of all features, in order."""
        return tuple(feature.name for feature in self.features)

    def columns(self, interactions: Interactions) -> dict[str, Values]:
        """[N] text of each interaction, by feature."""
        ids = {"user": interactions.user_ids, "item": interactions.item_ids}
        places = {
            "user": np.searchsorted(self.user_ids, interactions.user_ids),
            "item": np.searchsorted(self.item_ids, interactions.item_ids),
        }
        return {
            one.name: ids[one.side].astype(np.str_) if one.values is None else one.values[places[one.side]]
            for one in self.features
        }

    def hash_buckets(self) -> tuple[tuple[str, int], ...]:
        """How many buckets each feature has in the hash model, by its distinct values."""
        counts = {"user": len(self.user_ids), "item": len(self.item_ids)}
        distinct = [counts[one.side] if one.values is None else len(np.unique(one.values)) for one in self.features]
        sizes = [max(_FEWEST_BUCKETS, round(count * _HASHED)) for count in distinct]
        return tuple(zip(self.names, sizes, strict=True))


def movielens_features(users: Mapping[int, User], dataset: Dataset) -> Features:
    """The ids of movies and users, and what is known of the users."""
    ids = sorted(users)
    known = [users[user] for user in ids]
    texts: dict[str, Callable[[User], str]] = {
        "user_gender": lambda user: user.gender,
        "user_zip_code": lambda user: user.zip_code,
        "user_occupation_text": lambda user: user.occupation,
        "bucketized_user_age": lambda user: user.age,
    }
    values = {name: np.array([text(user) for user in known], np.str_) for name, text in texts.items()}
    made = tuple(Feature(name, "item" if name == "movie_id" else "user", values.get(name)) for name in FEATURES)
    return Features(np.array(ids, np.int64), dataset.catalogue.item_ids, made)


def schema_features(dataset: Dataset, schema: Schema) -> tuple[Features, list[str]]:
    """The features that a schema's columns are, and in words the columns that none can be made of.

    Ids and single categories are as they are; numbers are in groups of about as many users, or items, each.

    Raises:
        UsageError: none can be made of any column.
    """
    made: list[Feature] = []
    unused: list[str] = []
    for side in SIDES:
        entities = dataset.users if side == "user" else dataset.items
        assert entities is not None
        for column in schema.side(side).columns:
            name = re.sub(r"[^A-Za-z0-9_]", "_", column.name)
            if any(name == other.name for other in made):
                name = f"{side}_{name}"
            if column.type == "id":
                made.append(Feature(name, side))
            elif column.type == "numeric":
                made.append(Feature(name, side, _groups(entities.numbers[column.name])))
            elif column.type == "categorical" and not column.many:
                made.append(Feature(name, side, _categories(column, entities)))
            else:
                unused.append(f"{column.name} of {side}s ({'lists' if column.many else column.type})")
    if not made:
        raise UsageError(
            f"--schema: this job takes ids, numbers and single categories, and the schema has {', '.join(unused)}"
        )
    user_ids = dataset.interactions.user_ids if dataset.users is None else dataset.users.ids
    return Features(user_ids, dataset.catalogue.item_ids, tuple(made)), unused


def _categories(column: Column, entities: Entities) -> Values:
    missing = "" if column.default is None else str(column.default)
    return np.array([missing if value is None else str(value) for value in entities.stored[column.name]], np.str_)


def _groups(numbers: npt.NDArray[np.float32]) -> Values:
    """The number of the quantile that each number is in; nothing where it is missing."""
    known = ~np.isnan(numbers)
    edges = np.unique(np.quantile(numbers[known], np.arange(1, _GROUPS) / _GROUPS)) if known.any() else np.zeros(0)
    places = np.searchsorted(edges, numbers, side="right").astype(np.str_)
    return np.where(known, places, "")
