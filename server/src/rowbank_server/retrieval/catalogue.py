"""The items of a generation: which there are, their titles and vectors, and why some cannot be found by a search."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank.text import token_key
from rowbank.text_ids import ID_TEXT
from rowbank.tower_feeding import gather, usable
from rowbank_server.features import FeatureRead, FeatureStatus
from rowbank_server.retrieval.model import TITLE, Model
from rowbank_server.retrieval.rows import RowReader

_BATCH = 4096  # Items that go through the candidate tower at once.


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


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Items by position, in ascending order of their ids.

    Attributes:
        ids: [N] int64.
        titles: N strings, empty where an item has none.
        texts: N ids as callers know them, where those are texts; otherwise none.
        vectors: [N, vector_dim] float32; zero where not indexed.
        standing: [N] uint8: `Standing` of each.
    """

    ids: npt.NDArray[np.int64]
    titles: tuple[str, ...]
    texts: tuple[str, ...]
    vectors: npt.NDArray[np.float32]
    standing: npt.NDArray[np.uint8]


def embed_items(model: Model, ids: npt.NDArray[np.int64], rows: RowReader | None) -> Catalogue:
    """Reads items' features and rows and runs the candidate tower over them.

    Args:
        ids: [N] int64, ascending. Those that are not there any more are left out; items whose features are too old
            take part with defaults.
        rows: None: rows are not to be had, and every item stands as `ROWS_LOST`.
    """
    found: list[int] = []
    titles: list[str] = []
    texts: list[str] = []
    vectors = np.zeros((len(ids), model.manifest.vector_dim), dtype=np.float32)
    standing = np.full(len(ids), Standing.ROWS_LOST, dtype=np.uint8)
    for start in range(0, len(ids), _BATCH):
        features = item_features(model, ids[start : start + _BATCH])
        if not features:
            continue
        at = slice(len(found), len(found) + len(features))
        found.extend(values[model.candidate_inputs.entity] for values in features)
        titles.extend(str(values.get(TITLE, "")) for values in features)
        if model.item_texts:
            texts.extend(values[ID_TEXT] for values in features)
        if rows is not None:
            vectors[at], standing[at] = _embed(model, features, rows)
    count = len(found)
    if texts:  # What has no title is called by its id.
        titles = [title or text for title, text in zip(titles, texts, strict=True)]
    return Catalogue(np.asarray(found, dtype=np.int64), tuple(titles), tuple(texts), vectors[:count], standing[:count])


def _embed(
    model: Model, features: Sequence[Mapping[str, Any]], rows: RowReader
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Vectors [B, vector_dim] and standings [B]."""
    fed = model.candidate_inputs.feed(features)
    inputs, known = gather(model.candidate_inputs.inputs, fed, rows.lookup, own_only=False)
    vectors = model.candidate.run(inputs)
    sound = usable(vectors)
    standing = np.full(len(features), Standing.INDEXED, dtype=np.uint8)
    standing[~sound] = Standing.NO_VECTOR
    standing[~known] = Standing.NO_ROWS
    standing[~fed.has_any] = Standing.NO_KEYS
    standing[fed.unusable] = Standing.UNUSABLE
    return np.where((standing == Standing.INDEXED)[:, None], vectors, np.float32(0)), standing


def item_features(model: Model, ids: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    """What there is of what the candidate tower needs of each item, by "<view>:<feature>" and join key, and its title.

    Items that are not there, or of which a stored feature cannot be read, or whose ids are not of the model's kind, are
    left out: one of them must not keep the others from being served.
    """
    view, entity = model.manifest.item_view, model.candidate_inputs.entity
    shown = [*([TITLE] if model.has_title else []), *([ID_TEXT] if model.items.has_texts else [])]
    names = list(dict.fromkeys([*model.candidate_inputs.names, *shown]))
    if not names and not model.items.overlay:
        return [{entity: int(item)} for item in ids]
    model.candidate_inputs.require_types(model.items)
    reads = [read for read in model.items.read_sound(ids.tolist(), names) if read.status is not FeatureStatus.NOT_FOUND]
    return [
        {
            entity: read.entity,
            TITLE: read.values.get(TITLE, ""),
            ID_TEXT: text,
            **{f"{view}:{name}": value for name, value in read.held.items()},
        }
        for read, text in (_of_the_kind(model, reads) if ID_TEXT in names else ((read, "") for read in reads))
    ]


def _of_the_kind(model: Model, reads: Sequence[FeatureRead]) -> list[tuple[FeatureRead, str]]:
    """Those whose ids are texts, or integers, as the model has them, with the texts; others are noted as unreadable.

    Others come about where versions of a model have ids of different kinds over what callers wrote, and where a program
    of its own wrote an item without its text.
    """
    texts = {read.entity: str(read.values[ID_TEXT]) for read in reads}
    old = [read.entity for read in reads if read.status is FeatureStatus.OUTSIDE_MAX_AGE]  # Ids do not age.
    texts |= {entity: text for entity, (text, _) in zip(old, model.items.texts(old) if old else [], strict=True)}
    bad: dict[int, str] = {}
    for entity, text in texts.items():
        if model.item_texts != bool(text) or (text and token_key(text) != entity):
            got = f"the text {text!r}" if text else "none"
            wanted = "the text that it is the key of" if model.item_texts else "none, as ids are integers"
            what = f"{model.items.written} of {model.candidate_inputs.entity} {entity}"
            bad[entity] = f"{what}: {ID_TEXT}: expected {wanted}, got {got}"
    sound = [(read, texts[read.entity]) for read in reads if read.entity not in bad]
    model.items.note_unreadable(bad, [read.entity for read, _ in sound])
    return sound


def with_vectors_of(fresh: Catalogue, served: Catalogue) -> Catalogue:
    """`fresh` with the vectors and standings that its items have in `served`; what is new there keeps its own."""
    vectors, standing = fresh.vectors.copy(), fresh.standing.copy()
    _, here, there = np.intersect1d(fresh.ids, served.ids, assume_unique=True, return_indices=True)
    vectors[here], standing[here] = served.vectors[there], served.standing[there]
    return Catalogue(fresh.ids, fresh.titles, fresh.texts, vectors, standing)


def replace_items(catalogue: Catalogue, changed: Catalogue, removed: Sequence[int]) -> Catalogue:
    """The catalogue with some items added or changed and some removed; a removed one may not be among the changed."""
    gone = np.union1d(changed.ids, np.asarray(removed, dtype=np.int64))
    keep = ~np.isin(catalogue.ids, gone)
    ids = np.concatenate([catalogue.ids[keep], changed.ids])
    order = np.argsort(ids, kind="stable")

    def merged(before: tuple[str, ...], new: tuple[str, ...]) -> tuple[str, ...]:
        joined = [*itertools.compress(before, keep.tolist()), *new]
        return tuple(joined[i] for i in order) if joined else ()

    return Catalogue(
        ids=ids[order],
        titles=merged(catalogue.titles, changed.titles),
        texts=merged(catalogue.texts, changed.texts),
        vectors=np.concatenate([catalogue.vectors[keep], changed.vectors])[order],
        standing=np.concatenate([catalogue.standing[keep], changed.standing])[order],
    )


def sorted_ids(items: Sequence[int]) -> npt.NDArray[np.int64]:
    """Distinct item ids, ascending: [N] int64."""
    return np.unique(np.asarray(items, dtype=np.int64))
