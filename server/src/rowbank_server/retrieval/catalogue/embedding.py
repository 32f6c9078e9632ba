"""Items through the candidate tower: what is stored of them, their vectors, and why some cannot be searched."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rowbank.text import token_key
from rowbank.text_ids import ID_TEXT
from rowbank.tower_feeding import gather, usable
from rowbank_server.features import FeatureField, FeatureRead, FeatureStatus
from rowbank_server.registry.model import TITLE, Model
from rowbank_server.retrieval.columns import Texts, made_column
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.rows import RowReader
from rowbank_server.retrieval.segments import Items, Standing, joined_items

_BATCH = 4096  # Items that go through the candidate tower at once.


def embed_items(model: Model, ids: npt.NDArray[np.int64], rows: RowReader | None) -> Items:
    """Reads items' features and rows and runs the candidate tower over them.

    Args:
        ids: [N] int64, ascending. Those that are not there any more are left out; items whose features are too old
            take part with defaults.
        rows: None: rows are not to be had, and every item stands as `ROWS_LOST`.
    """
    starts = range(0, len(ids), _BATCH) or [0]
    return joined_items([_embed_batch(model, ids[start : start + _BATCH], rows) for start in starts])


def _embed_batch(model: Model, ids: npt.NDArray[np.int64], rows: RowReader | None) -> Items:
    read = read_items(model, ids)
    count = len(read.reads)
    titles = [str(one.values.get(TITLE, "")) for one in read.reads]
    if model.item_texts:  # What has no title is called by its id.
        titles = [title or text for title, text in zip(titles, read.texts, strict=True)]
    vectors = np.zeros((count, model.manifest.vector_dim), dtype=np.float32)
    standing = np.full(count, Standing.ROWS_LOST, dtype=np.uint8)
    if rows is not None and count:
        vectors, standing = _embed(model, read.reads, rows)
    columns = {
        field.name: made_column(
            field,
            [one.values[field.name] for one in read.reads],
            np.fromiter((field.name not in one.absent for one in read.reads), np.bool_, count),
        )
        for field in read.fields
    }
    return Items(
        np.fromiter((one.entity for one in read.reads), np.int64, count),
        Texts.of(titles),
        Texts.of(read.texts) if model.item_texts else None,
        vectors,
        standing,
        columns,
    )


def _embed(
    model: Model, reads: Sequence[FeatureRead], rows: RowReader
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Vectors [B, vector_dim] and standings [B]."""
    view, entity = model.manifest.item_view, model.candidate_inputs.entity
    fed = model.candidate_inputs.feed(
        [{entity: one.entity, **{f"{view}:{name}": value for name, value in one.held.items()}} for one in reads]
    )
    inputs, known = gather(model.candidate_inputs.inputs, fed, rows.lookup, own_only=False)
    vectors = model.candidate.run(inputs)
    sound = usable(vectors)
    standing = np.full(len(reads), Standing.INDEXED, dtype=np.uint8)
    standing[~sound] = Standing.NO_VECTOR
    standing[~known] = Standing.NO_ROWS
    standing[~fed.has_any] = Standing.NO_KEYS
    standing[fed.unusable] = Standing.UNUSABLE
    return np.where((standing == Standing.INDEXED)[:, None], vectors, np.float32(0)), standing


@dataclass(frozen=True, slots=True)
class _Read:
    """Items as they are stored: the features of their view, a read for each, and the texts of their ids."""

    fields: Sequence[FeatureField]
    reads: Sequence[FeatureRead]
    texts: Sequence[str]


def read_items(model: Model, ids: npt.NDArray[np.int64]) -> _Read:
    """What is stored of items.

    Items that are not there, or of which a stored feature cannot be read, or whose ids are not of the model's kind, are
    left out: one of them must not keep the others from being served.
    """
    model.candidate_inputs.require_types(model.items)
    fields = [field for field in model.items.definition().fields if field.name != ID_TEXT]
    has_texts = model.items.has_texts
    names = [*(field.name for field in fields), *([ID_TEXT] if has_texts else [])]
    reads = [read for read in model.items.read_sound(ids.tolist(), names) if read.status is not FeatureStatus.NOT_FOUND]
    pairs = _of_the_kind(model, reads) if has_texts else [(read, "") for read in reads]
    return _Read(fields, [read for read, _ in pairs], [text for _, text in pairs])


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


def with_vectors_of(items: Items, served: Generation) -> Items:
    """`items` with the vectors and standings that they have in `served`; what is new there keeps its own."""
    positions = served.positions_or_none(items.ids)
    here = np.flatnonzero(positions >= 0)
    vectors, standing = items.vectors.copy(), items.standing.copy()
    vectors[here] = served.vectors_at(positions[here])
    standing[here] = served.standings_at(positions[here])
    return dataclasses.replace(items, vectors=vectors, standing=standing)
