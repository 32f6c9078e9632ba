"""Segments: items with their vectors and features, which are never changed. A generation is made of several."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank_server.features import FeatureField
from rowbank_server.retrieval.columns import Column, Texts, absent_column, joined_column
from rowbank_server.retrieval.index import Index


class Standing(enum.IntEnum):
    """Whether a search can find an item, and if not, why."""

    INDEXED = 0
    NO_KEYS = 1
    NO_ROWS = 2
    NO_VECTOR = 3
    ROWS_LOST = 4
    UNUSABLE = 5

    @property
    def text(self) -> str:
        """For callers; empty for an item that a search can find."""
        return _TEXTS[self]


_TEXTS: Mapping[Standing, str] = {
    Standing.INDEXED: "",
    Standing.NO_KEYS: (
        "its features give the candidate tower nothing, as a title without a word does; write a title with words"
    ),
    Standing.NO_ROWS: "none of its keys has a row: the model has learnt nothing of what it is made of",
    Standing.NO_VECTOR: "the candidate tower's vector for it is not finite",
    Standing.ROWS_LOST: "the rows of its keys are not those that the version was published with; /readyz says more",
    Standing.UNUSABLE: (
        "a stored number of it cannot be used: it is not finite, or a list has another length than the candidate tower "
        "takes; write the feature anew"
    ),
}


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """Items that were read and embedded, in ascending order of their ids.

    Attributes:
        ids: [N] int64.
        titles: N strings, empty where an item has none.
        texts: N ids as callers know them, where those are texts; otherwise None.
        vectors: [N, vector_dim] float32; zero where not indexed.
        standing: [N] uint8: `Standing` of each.
        columns: every feature of the item view by its name, as items show it.
        content, inputs: [N] uint64: numbers for all that is stored of each, and for what the candidate tower takes;
            others after almost every change.
        fields: the view's, with which they were read.
    """

    ids: npt.NDArray[np.int64]
    titles: Texts
    texts: Texts | None
    vectors: npt.NDArray[np.float32]
    standing: npt.NDArray[np.uint8]
    columns: Mapping[str, Column]
    content: npt.NDArray[np.uint64]
    inputs: npt.NDArray[np.uint64]
    fields: Sequence[FeatureField] = ()

    def take(self, places: npt.NDArray[np.int64]) -> Items:
        """Those at [M] ascending places."""
        return Items(
            self.ids[places],
            self.titles.take(places),
            None if self.texts is None else self.texts.take(places),
            self.vectors[places],
            self.standing[places],
            {name: column.take(places) for name, column in self.columns.items()},
            self.content[places],
            self.inputs[places],
            self.fields,
        )


def joined_items(parts: Sequence[Items]) -> Items:
    """Items of several parts; no id may be in two of them.

    The fields are those of the first part, as a base has them. A feature that a part lacks, or has under another type
    than the last part, is absent there.
    """
    if len(parts) == 1:
        return parts[0]
    ids = np.concatenate([part.ids for part in parts])
    order = np.argsort(ids, kind="stable")
    texts = [Texts.of([""] * len(part.ids)) if part.texts is None else part.texts for part in parts]
    columns: dict[str, Column] = {}
    for name in dict.fromkeys(name for part in reversed(parts) for name in part.columns):
        kind = next(part.columns[name].type for part in reversed(parts) if name in part.columns)
        pieces = [_column(part, name, kind) for part in parts]
        columns[name] = joined_column(pieces).take(order)
    return Items(
        ids[order],
        Texts.joined([part.titles for part in parts]).take(order),
        None if all(part.texts is None for part in parts) else Texts.joined(texts).take(order),
        np.concatenate([part.vectors for part in parts])[order],
        np.concatenate([part.standing for part in parts])[order],
        columns,
        np.concatenate([part.content for part in parts])[order],
        np.concatenate([part.inputs for part in parts])[order],
        parts[0].fields,
    )


def with_items(items: Items, others: Items) -> Items:
    """`items` with what `others`, which are some of them, are instead."""
    if len(others.ids) == len(items.ids):
        return others
    kept = items.take(np.flatnonzero(~np.isin(items.ids, others.ids)))
    return joined_items([kept, others])


def _column(part: Items, name: str, kind: Any) -> Column:
    column = part.columns.get(name)
    return column if column is not None and column.type is kind else absent_column(kind, len(part.ids))


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Items that can be searched, in ascending order of their ids; its arrays may lie in a file.

    Attributes:
        ids: [n] int64.
        titles: n strings, empty where an item has none.
        texts: n ids as callers know them, where those are texts; otherwise None.
        standing: [n] uint8: `Standing` of each.
        columns: every feature of the item view by its name, as items show it. One that came to the view later is not
            there yet, and so absent for every item.
        content, inputs, fields: as of `Items`.
        index: over all n vectors, those that must not be found among them.
        masks: what was made of the columns and is kept with them, for those who make it.
    """

    ids: npt.NDArray[np.int64]
    titles: Texts
    texts: Texts | None
    standing: npt.NDArray[np.uint8]
    columns: Mapping[str, Column]
    content: npt.NDArray[np.uint64]
    inputs: npt.NDArray[np.uint64]
    fields: Sequence[FeatureField]
    index: Index
    masks: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, items: Items, index: Index) -> Segment:
        """Items with the index over their vectors."""
        return cls(
            items.ids,
            items.titles,
            items.texts,
            items.standing,
            items.columns,
            items.content,
            items.inputs,
            items.fields,
            index,
        )

    def __len__(self) -> int:
        return len(self.ids)

    def items(self) -> Items:
        """What it holds."""
        return Items(
            self.ids,
            self.titles,
            self.texts,
            self.index.vectors,
            self.standing,
            self.columns,
            self.content,
            self.inputs,
            self.fields,
        )

    def places(self, keys: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Where [M] ids are, -1 where they are not here."""
        if not len(self.ids):
            return np.full(len(keys), -1, np.int64)
        at = np.searchsorted(self.ids, keys)
        at[at == len(self.ids)] = 0
        return np.where(self.ids[at] == keys, at, -1)
