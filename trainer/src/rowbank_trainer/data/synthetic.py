"""A made-up data set with what matters here: tastes that can be learned, and a long tail of popularity."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow

from rowbank_trainer.data.dataset import Catalogue, Dataset, Ids, Interactions
from rowbank_trainer.data.entities import MemorySource
from rowbank_trainer.data.offered import Notify, catalogue_source, offer, silent
from rowbank_trainer.schema import Schema

_SYLLABLES = ("ba", "cor", "del", "fen", "gar", "hul", "jin", "kel", "lor", "mun", "nar", "pol", "quin", "ras", "sol",
              "tur", "vel", "wyn", "xan", "zor")  # fmt: skip
_GENRES = (
    "Adventure",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Mystery",
    "Romance",
    "Thriller",
    "Western",
)
_OCCUPATIONS = ("artist", "doctor", "educator", "engineer", "lawyer", "librarian", "other", "student", "writer")
_FIRST_TIME_S = 1_577_836_800  # 2020-01-01


@dataclass(frozen=True, slots=True)
class SyntheticShape:
    """Size and character of a synthetic set.

    Attributes:
        users, items: how many of each.
        mean_interactions: per user, at least a third of it.
        groups: tastes; each item belongs to one, each user likes a few.
        taste: how strongly users keep to their tastes; 0 leaves popularity only.
        zipf: exponent of the popularity of items.
    """

    users: int = 800
    items: int = 1200
    mean_interactions: int = 50
    groups: int = 10
    taste: float = 10.0
    zipf: float = 0.8


def synthetic_dataset(
    shape: SyntheticShape | None = None, *, seed: int = 7, schema: Schema | None = None, notify: Notify = silent
) -> Dataset:
    """Makes a data set; equal arguments give equal data.

    A user meets items without repeats, drawn in proportion to popularity times exp(taste x affinity). A title holds
    words of the item's group and one of its own, so that titles carry the tastes.

    Args:
        schema: of which the columns are made, too: gender, age, occupation and zip_code of users, of which age and
            occupation go with the taste; title, genres and year of items.
        notify: told, in sentences, which have values.
    Raises:
        DataError: there is no column of the schema.
    """
    shape = shape or SyntheticShape()
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, shape.groups, shape.items)
    affinity = rng.dirichlet(np.full(shape.groups, 0.3), shape.users)
    popularity = np.arange(1, shape.items + 1, dtype=np.float64) ** -shape.zipf
    log_weights = np.log(rng.permutation(popularity))[None, :] + shape.taste * affinity[:, groups]
    interactions = _draw(rng, shape, log_weights, affinity[:, groups])
    dataset = Dataset("synthetic", interactions, _catalogue(rng, shape, groups))
    if schema is None:
        return dataset
    items = catalogue_source(Path("synthetic items"), dataset.catalogue)
    return offer(dataset, _users(np.random.default_rng(seed + 1), affinity), items, schema, notify)


def _users(rng: np.random.Generator, affinity: npt.NDArray[np.float64]) -> tuple[MemorySource, Ids]:
    """A table of users; one in twenty hides the age."""
    taste = affinity.argmax(axis=1)
    ages = np.clip(np.rint(18 + 5 * taste + rng.normal(0.0, 4.0, len(taste))), 10, 80).astype(np.int64)
    table = {
        "gender": ["FM"[draw] for draw in rng.integers(0, 2, len(taste))],
        "age": pyarrow.array(ages, mask=rng.random(len(taste)) < 0.05),
        "occupation": [_OCCUPATIONS[group % len(_OCCUPATIONS)] for group in taste],
        "zip_code": [f"{draw:05d}" for draw in rng.integers(0, len(taste), len(taste))],
    }
    return MemorySource(Path("synthetic users"), pyarrow.table(table)), np.arange(1, len(taste) + 1, dtype=np.int64)


def _draw(
    rng: np.random.Generator,
    shape: SyntheticShape,
    log_weights: npt.NDArray[np.float64],
    affinity: npt.NDArray[np.float64],
) -> Interactions:
    # The largest entries of log-weights plus Gumbel noise are a weighted draw without repeats.
    noisy = log_weights + rng.gumbel(size=log_weights.shape)
    least = max(1, shape.mean_interactions // 3)
    lengths = np.minimum(least + rng.poisson(shape.mean_interactions - least, shape.users), shape.items)
    order = np.argsort(-noisy, axis=1, kind="stable")
    items = np.concatenate([order[user, :length] for user, length in enumerate(lengths)])
    users = np.repeat(np.arange(shape.users), lengths)
    ratings = np.clip(np.rint(3.0 + 2.0 * affinity[users, items] + rng.normal(0.0, 0.7, len(users))), 1, 5)
    return Interactions(
        user_ids=(users + 1).astype(np.int64),
        item_ids=(items + 1).astype(np.int64),
        ratings=ratings.astype(np.float32),
        times=(_FIRST_TIME_S + np.sort(rng.integers(0, 365 * 86_400, len(users)))[rng.permutation(len(users))]).astype(
            np.int64
        ),
    )


def _catalogue(rng: np.random.Generator, shape: SyntheticShape, groups: npt.NDArray[np.int64]) -> Catalogue:
    words = [[_word(rng, 2) for _ in range(25)] for _ in range(shape.groups)]
    years = rng.integers(1950, 2024, shape.items)
    titles = []
    for item, group in enumerate(groups):
        shared = " ".join(words[group][word] for word in rng.integers(0, 25, 2))
        titles.append(f"{shared} {_word(rng, 3)} ({years[item]})".capitalize())
    return Catalogue(
        item_ids=np.arange(1, shape.items + 1, dtype=np.int64),
        titles=tuple(titles),
        genres=tuple((_GENRES[group % len(_GENRES)],) for group in groups),
        years=tuple(int(year) for year in years),
    )


def _word(rng: np.random.Generator, syllables: int) -> str:
    return "".join(_SYLLABLES[index] for index in rng.integers(0, len(_SYLLABLES), syllables))
