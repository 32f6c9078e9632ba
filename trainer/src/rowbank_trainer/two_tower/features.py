"""What towers are fed with, entity by entity: the keys and numbers of every column, from files and from interactions.

A column without a value for an entity has no keys, or NaN. What a model that serves is fed with for it is a row of
zeros, and rows that were trained are never all zeros; so in training, judging and serving alike a row of zeros is one
that is missing.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank.text import PAD_KEY as WORD_PAD_KEY
from rowbank.text import title_keys, token_key, tokens
from rowbank_trainer.data.dataset import Catalogue, Entities, Ids, Interactions, KeyLists
from rowbank_trainer.errors import TrainerError
from rowbank_trainer.schema.spec import Column, MixedDimension, Unified
from rowbank_trainer.two_tower import key_lists
from rowbank_trainer.two_tower.part_keys import Blocks, keys_of
from rowbank_trainer.two_tower.plan import ColumnPlan, ModelPlan, Part, SidePlan
from rowbank_trainer.two_tower.related import related_items

PAD_KEY = -(2**63)  # No id of an item, unlike 0: where lists are shorter, the rest of the input has no rows.
_EQUAL = 1e-6  # Numbers that differ by less, as parts of their mean, are taken for equal ones.
Numbers = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Scaling:
    """How a number goes into a tower: less the mean, by the deviation, of its logarithm if `log`.

    Attributes:
        fill: the number that stands for a missing one.
    """

    mean: float = 0.0
    deviation: float = 1.0
    log: bool = False
    fill: float = 0.0


@dataclass(frozen=True, slots=True)
class ColumnValues:
    """A column's values, of all entities of its side.

    Attributes:
        keys: of columns with rows.
        numbers: [N] float32 of others, unscaled, NaN where missing, with their scaling.
        words: the texts that keys are of, where they are of texts and the text itself is needed.
        blocks: the block of each key of a mixed-dimension table.
    """

    plan: ColumnPlan
    keys: KeyLists | None = None
    numbers: Numbers | None = None
    scaling: Scaling | None = None
    words: Mapping[int, str] | None = None
    blocks: Blocks | None = None

    def part_keys(self, part: Part, values: Ids) -> Ids:
        """The keys under which a part has rows for some of this column's keys, [N] int64 both."""
        return keys_of(part, values, self.words)

    def distinct_keys(self, part: Part, values: Ids) -> Ids:
        """As `part_keys`, each once, and without those that the part's block has not."""
        distinct = np.unique(values)
        if self.blocks is not None:
            distinct = distinct[self.blocks.of(distinct) == part.block]
        return self.part_keys(part, distinct)


@dataclass(frozen=True, slots=True)
class SideValues:
    """All columns of users, or of items; `ids` are [N] int64, ascending."""

    ids: Ids
    columns: tuple[ColumnValues, ...]

    def positions(self, ids: Ids) -> Ids:
        """Where known entities are, [M] int64."""
        return np.searchsorted(self.ids, ids).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Features:
    """Both sides."""

    user: SideValues
    item: SideValues

    @property
    def sides(self) -> dict[str, SideValues]:
        """By name."""
        return {"user": self.user, "item": self.item}

    @property
    def blocks(self) -> dict[str, Blocks]:
        """Of mixed-dimension tables, by short name."""
        columns = (*self.user.columns, *self.item.columns)
        return {one.plan.column.table: one.blocks for one in columns if one.blocks is not None}

    def arrays(self) -> list[npt.NDArray[Any]]:
        """All values, to tell two of these apart."""
        found: list[npt.NDArray[Any]] = []
        for one in (*self.user.columns, *self.item.columns):
            found += [] if one.numbers is None else [one.numbers]
            found += [] if one.keys is None else [one.keys.values, one.keys.starts]
        return found

    def keys(self, table: str, *, users: Ids | None = None, items: Ids | None = None) -> Ids:
        """Distinct keys under which a table has rows, ascending: [K] int64.

        Args:
            table: short name.
            users, items: positions of the entities that count; None: all.
        """
        found = [np.zeros(0, np.int64)]
        for side, places in ((self.user, users), (self.item, items)):
            for values in side.columns:
                parts = [part for part in values.plan.parts if part.table.name == table]
                if parts and values.keys is not None:
                    lists = values.keys if places is None else key_lists.take(values.keys, places)
                    found += [values.distinct_keys(part, lists.values) for part in parts]
        return np.unique(np.concatenate(found))


NO_FEATURES = Features(SideValues(np.zeros(0, np.int64), ()), SideValues(np.zeros(0, np.int64), ()))


@dataclass(frozen=True, slots=True)
class Sources:
    """Where values come from.

    Attributes:
        user_keys: [U] int64, ascending: all users.
        catalogue: all items.
        train: of histories, related items and scalings.
        users, items: what files say of them, which may be nothing.
    """

    user_keys: Ids
    catalogue: Catalogue
    train: Interactions
    users: Entities | None
    items: Entities | None


def features_of(plan: ModelPlan, sources: Sources, blocks: Mapping[str, Blocks] | None = None) -> Features:
    """The values of all columns.

    Args:
        blocks: of mixed-dimension tables, by short name, as rows are there already; None: as training meets values.
    Raises:
        TrainerError: there are no values of a column.
    """
    everybody, catalogue, train = sources.user_keys, sources.catalogue, sources.train
    found = Features(
        _side(plan.user, everybody, sources, sources.users, np.isin(everybody, train.user_ids)),
        _side(plan.item, catalogue.item_ids, sources, sources.items, np.isin(catalogue.item_ids, train.item_ids)),
    )
    return _with_blocks(found, _counted_blocks(found, train) if blocks is None else blocks)


def features_with_users(plan: ModelPlan, sources: Sources, known: Features) -> Features:
    """The values of all columns, those of users anew: of the users and the interactions of `sources`."""
    everybody = sources.user_keys
    user = _side(plan.user, everybody, sources, sources.users, np.isin(everybody, sources.train.user_ids))
    return _with_blocks(Features(user, known.item), known.blocks)


def _side(plan: SidePlan, ids: Ids, sources: Sources, given: Entities | None, trained: Mask) -> SideValues:
    return SideValues(ids, tuple(_values(one, ids, sources, given, trained) for one in plan.columns))


def _values(plan: ColumnPlan, ids: Ids, sources: Sources, given: Entities | None, trained: Mask) -> ColumnValues:
    column = plan.column
    if column.type == "numeric":
        numbers = _numbers(column, ids, given)
        return ColumnValues(plan, numbers=numbers, scaling=scaling_of(column, numbers[trained]))
    keys = _keys(column, ids, sources, given)
    keys = key_lists.cut(keys, column.length, newest=column.type == "history")
    return ColumnValues(plan, keys, words=_words(column, given) if isinstance(plan.embedding, Unified) else None)


def _keys(column: Column, ids: Ids, sources: Sources, given: Entities | None) -> KeyLists:
    if column.type == "id":
        return key_lists.single(ids)
    if column.type == "history":
        return histories(sources.train, ids, column.length)
    if column.type == "related":
        return _related(column, sources)
    if given is not None and column.name in given.keys:
        return key_lists.aligned(given.keys[column.name], given.ids, ids, default_keys(column))
    if column.type == "text" and column.name == "title" and sources.catalogue.titled:
        words = title_keys(sources.catalogue.titles, column.length)
        return key_lists.from_rows(words, words != WORD_PAD_KEY)
    raise TrainerError(f"schema: no file has values of column {column.name!r}; leave it out, or give a file with it")


def _numbers(column: Column, ids: Ids, given: Entities | None) -> Numbers:
    if given is None or column.name not in given.numbers:
        raise TrainerError(
            f"schema: no file has values of column {column.name!r}; leave it out, or give a file with it"
        )
    default = np.float32(np.nan if column.default is None else column.default)
    places = np.searchsorted(given.ids, ids)
    known = places < len(given.ids)
    known[known] = given.ids[places[known]] == ids[known]
    numbers = np.full(len(ids), default, np.float32)
    numbers[known] = given.numbers[column.name][places[known]]
    return numbers


def default_keys(column: Column) -> list[int]:
    """The keys of an entity that has no value: those of the column's default."""
    default: Any = column.default
    if default is None:
        return []
    if column.type == "text":
        return [int(key) for key in title_keys([default], column.length)[0] if key != WORD_PAD_KEY]
    values = default if isinstance(default, (list, tuple)) else [default]
    return [token_key(value) if isinstance(value, str) else int(value) for value in values if value != ""]


def scaling_of(column: Column, numbers: Numbers) -> Scaling:
    """The scaling that makes of the numbers ([N] float32, NaN where missing) ones of mean 0 and deviation 1."""
    known = numbers[~np.isnan(numbers)].astype(np.float64)
    log = column.scale == "log"
    if log:
        known = np.log1p(np.maximum(known, 0.0))
    mean = float(known.mean()) if len(known) else 0.0
    deviation = float(known.std()) if len(known) else 1.0
    fill = float(np.expm1(mean)) if log else mean
    if column.scale == "none":
        return Scaling(fill=fill)
    varies = deviation > _EQUAL * max(1.0, abs(mean))
    return Scaling(mean, deviation if varies else 1.0, log, fill)


def histories(train: Interactions, users: Ids, length: int) -> KeyLists:
    """The last `length` items of each of `users` ([U] int64, ascending), by time and then by their order."""
    order = np.lexsort((train.times, train.user_ids))
    known = np.isin(train.user_ids[order], users)
    order = order[known]
    owners = np.searchsorted(users, train.user_ids[order])
    counts = np.bincount(owners, minlength=len(users))
    kept = np.arange(len(order)) >= np.cumsum(counts)[owners] - length
    return key_lists.from_counts(train.item_ids[order][kept], np.minimum(counts, length))


def _related(column: Column, sources: Sources) -> KeyLists:
    catalogue, train = sources.catalogue, sources.train
    positions = catalogue.positions(train.item_ids)
    found = related_items(train.user_ids, positions, train.times, catalogue=len(catalogue), length=column.length)
    return key_lists.from_rows(catalogue.item_ids[found], found >= 0)


def _words(column: Column, given: Entities | None) -> dict[int, str] | None:
    """The texts of a column's keys; None: they are integers."""
    kind = "" if given is None else given.types.get(column.name, "")
    if given is None or not kind.startswith("string"):
        return None
    texts: set[str] = set()
    for value in (column.default, *given.stored[column.name]):
        listed = [] if value is None else [value] if isinstance(value, str) else list(value)
        texts.update(*map(tokens, listed)) if column.type == "text" else texts.update(listed)
    return {token_key(text): text for text in texts}


def _counted_blocks(features: Features, train: Interactions) -> dict[str, Blocks]:
    """The blocks of mixed-dimension tables, by how often training meets each value."""
    counts: dict[str, Counter[int]] = {}
    embeddings: dict[str, MixedDimension] = {}
    for side, met in ((features.user, train.user_ids), (features.item, train.item_ids)):
        often = np.bincount(side.positions(met), minlength=len(side.ids))
        for one in side.columns:
            if isinstance(one.plan.embedding, MixedDimension) and one.keys is not None:
                table = one.plan.column.table
                embeddings[table] = one.plan.embedding
                weights = np.repeat(often, key_lists.counts_of(one.keys))
                distinct, places = np.unique(one.keys.values[weights > 0], return_inverse=True)
                total = np.bincount(places, weights[weights > 0], len(distinct)).astype(np.int64)
                counts.setdefault(table, Counter()).update(dict(zip(distinct.tolist(), total.tolist(), strict=True)))
    return {table: Blocks.by_frequency(embeddings[table], found) for table, found in counts.items()}


def _with_blocks(features: Features, blocks: Mapping[str, Blocks]) -> Features:
    if not blocks:
        return features
    sides = [
        SideValues(
            side.ids,
            tuple(
                dataclasses.replace(one, blocks=blocks[one.plan.column.table]) if one.plan.mixed else one
                for one in side.columns
            ),
        )
        for side in (features.user, features.item)
    ]
    return Features(*sides)


def pad_key(plan: ColumnPlan, kind: str) -> int:
    """The key that stands for no key in a column's input, for each kind of input.

    Keys of texts are never 0; an id or a category that is an integer may be.
    """
    if plan.column.type in ("id", "text") or kind != "keys":
        return WORD_PAD_KEY
    return PAD_KEY
