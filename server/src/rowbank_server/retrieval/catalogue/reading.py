"""What is stored of many items, in columns: layer over layer, with what is made of other features."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank.catalogue import REMOVED
from rowbank.hashing import hash_keys
from rowbank.text import token_key
from rowbank.text_ids import ID_TEXT
from rowbank_server._core import distinct_texts
from rowbank_server.features import FeatureField, FeatureRead, FeatureStatus, FeatureType, LayeredView
from rowbank_server.features.column_reader import StoredColumn, decoded_column
from rowbank_server.features.redis_errors import translated
from rowbank_server.features.values import encode
from rowbank_server.registry.model import TITLE, Model
from rowbank_server.retrieval.columns import LISTS, TEXTS, Column, Texts, joined_ends, spread

BATCH = 16_384  # Items that are read at once.

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """Items that are there, in the order in which they were asked for.

    Attributes:
        fields: the view's.
        places: [N] int64: which of those that were asked for.
        columns: every feature of the view, but for the id's text.
        digests: by feature, [N] uint64 of its stored bytes; 0 where there is no value.
        texts: N texts of ids; none where the view has no place for them.
        are_old: [N] bool: they were written too long ago, and have defaults alone.
    """

    fields: Sequence[FeatureField]
    places: I64
    columns: Mapping[str, Column]
    digests: Mapping[str, U64]
    texts: Texts | None
    are_old: npt.NDArray[np.bool_]

    def content(self, names: Sequence[str] | None = None) -> U64:
        """[N] uint64: a number for what each item has of some features, or of all; the texts of ids left out."""
        total = np.zeros(len(self.places), np.uint64)
        for name in sorted(self.digests if names is None else names):
            known = np.uint64(token_key(name))
            total += hash_keys((self.digests[name] ^ known).view(np.int64))
        return total


def read_layers(view: LayeredView, items: I64) -> Read:
    """Items as `LayeredView.read_sound` reads them: the same values, of the same items.

    Raises:
        ViewNotFound, InvalidFeature, RedisUnavailable.
    """
    fields = list(view.definition().fields)
    plans = view.plans()
    with translated(f"read of view {view.base!r}"):
        layers, one_by_one = view.store.columns.read(plans, items)
    if view.store.reads_other_keys(plans[0].view.entity):
        one_by_one[:] = True
    now = time.time()
    is_sound = [
        layer.any & ((plan.view.max_age_s == 0) | (now - layer.times_s <= plan.view.max_age_s))
        for layer, plan in zip(layers, plans, strict=True)
    ]
    one_by_one |= ~np.logical_or.reduce(is_sound)
    is_sound = [sound & ~one_by_one for sound in is_sound]
    order = _newest_first([layer.times_s for layer in layers], is_sound)
    is_removed = _removed([layer.columns.get(REMOVED) for layer in layers], order)
    view.note_sound(items[~one_by_one])
    slow = _slowly(view, items, one_by_one, fields)
    is_there = ~one_by_one & ~is_removed
    is_there[slow.places] = True
    places = np.flatnonzero(is_there)
    columns, digests, texts = {}, {}, None
    made = {derived.output: derived for derived in view.derived}
    for field in fields:
        pieces = [layer.columns.get(field.name) for layer in layers]
        picked, sources = _picked(pieces, order)
        if field.name in made:
            inputs = [layer.columns.get(made[field.name].input) for layer in layers]
            sources.append(_derive(made[field.name].make, field, pieces, inputs, order, picked, _size(sources)))
        start = _size(sources)
        sources.append(slow.columns[field.name])
        picked[slow.places] = np.where(sources[-1].there, start + np.arange(len(slow.places)), -1)
        column, digests[field.name] = _assembled(field, sources, picked[places])
        if field.name == ID_TEXT:
            digests.pop(ID_TEXT)
            assert column.words is not None
            texts = column.words.take(column.values.astype(np.int64))
        else:
            columns[field.name] = column
    are_old = np.zeros(len(items), np.bool_)
    are_old[slow.places] = slow.are_old
    return Read(tuple(fields), places, columns, digests, texts, are_old[places])


def _newest_first(times_s: Sequence[npt.NDArray[np.float64]], is_sound: Sequence[npt.NDArray[np.bool_]]) -> I64:
    """[layers, N]: the layers by which each item's features count, -1 for those that do not; of equally old ones the
    base first."""
    if len(times_s) == 1:
        only: I64 = np.where(is_sound[0], np.int64(0), np.int64(-1))[None, :]
        return only
    base, overlay = is_sound
    overlay_first = overlay & ((times_s[1] > times_s[0]) | ~base)
    first = np.where(overlay_first, 1, np.where(base, 0, -1))
    second = np.where(base & overlay, 1 - first, -1)
    both: I64 = np.stack([first, second]).astype(np.int64)
    return both


def _removed(marks: Sequence[StoredColumn | None], order: I64) -> npt.NDArray[np.bool_]:
    removed = np.zeros(order.shape[1], np.bool_)
    for layer, mark in enumerate(marks):
        if mark is not None:
            removed |= (order[0] == layer) & mark.there & mark.numbers.astype(np.bool_)
    return removed


def _picked(pieces: Sequence[StoredColumn | None], order: I64) -> tuple[I64, list[StoredColumn]]:
    """For each item, which value counts, of those of all pieces one after the other; -1: none. And the pieces."""
    count = order.shape[1]
    picked = np.full(count, -1, np.int64)
    starts, sources, start = [], [], 0
    for piece in pieces:
        starts.append(start)
        if piece is not None:
            sources.append(piece)
            start += count
    for by_age in order:
        for layer, piece in enumerate(pieces):
            if piece is not None:
                here = np.flatnonzero((picked < 0) & (by_age == layer) & piece.there)
                picked[here] = starts[layer] + here
    return picked, sources


def _derive(
    make: Any,
    field: FeatureField,
    outputs: Sequence[StoredColumn | None],
    inputs: Sequence[StoredColumn | None],
    order: I64,
    picked: I64,
    start: int,
) -> StoredColumn:
    """Values that are made of an input that is newer than them, or where there is none; `picked` is changed to them."""
    undecided = np.ones(len(picked), np.bool_)
    found: dict[int, bytes] = {}
    for by_age in order:
        for layer, (output, given) in enumerate(zip(outputs, inputs, strict=True)):
            here = undecided & (by_age == layer)
            if output is not None:
                undecided &= ~(here & output.there)
                here &= undecided
            if given is not None:
                texts = Texts(given.text, given.text_ends)
                for place in np.flatnonzero(here & given.there).tolist():
                    found[place] = encode(make(texts[place]), field.type)
                    undecided[place] = False
    for number, place in enumerate(found):
        picked[place] = start + number
    return decoded_column(field.type, list(found.values()))


@dataclass(frozen=True, slots=True, eq=False)
class _Slow:
    """Items that were read one by one."""

    places: I64
    columns: Mapping[str, StoredColumn]
    are_old: npt.NDArray[np.bool_]


def _slowly(view: LayeredView, items: I64, wanted: npt.NDArray[np.bool_], fields: Sequence[FeatureField]) -> _Slow:
    """Reads items one by one, and makes columns of what is there."""
    reads: list[FeatureRead] = []
    places = np.flatnonzero(wanted)
    if len(places):
        names = [field.name for field in fields]
        found = view.read_sound(items[places].tolist(), names)
        reads = [read for read in found if read.status is not FeatureStatus.NOT_FOUND]
    at = dict(zip(items[places].tolist(), places.tolist(), strict=True))
    columns = {
        field.name: decoded_column(
            field.type,
            [None if field.name in read.absent else encode(read.values[field.name], field.type) for read in reads],
        )
        for field in fields
    }
    are_old = np.fromiter((read.status is FeatureStatus.OUTSIDE_MAX_AGE for read in reads), np.bool_, len(reads))
    return _Slow(np.fromiter((at[read.entity] for read in reads), np.int64, len(reads)), columns, are_old)


def _size(pieces: Sequence[StoredColumn]) -> int:
    return sum(len(piece.there) for piece in pieces)


def _assembled(field: FeatureField, pieces: Sequence[StoredColumn], picked: I64) -> tuple[Column, U64]:
    """A column of the values that were picked, and their digests."""
    stored = picked >= 0
    present = stored if field.default is None else np.ones(len(picked), np.bool_)
    whole = [*pieces, decoded_column(field.type, [encode(field.absent, field.type)])]
    picked = np.where(stored, picked, _size(whole) - 1)
    digests = np.where(stored, np.concatenate([piece.digests for piece in whole])[picked], np.uint64(0))
    ends = None
    elements = picked
    if field.type in LISTS:
        elements, ends = spread(joined_ends([piece.ends for piece in whole]), picked)
    if field.type in TEXTS:
        texts = Texts.joined([Texts(piece.text, piece.text_ends) for piece in whole]).take(elements)
        codes, firsts = distinct_texts(texts.data, texts.ends)
        return Column(field.type, present, stored, codes, ends, texts.take(firsts)), digests
    values = np.concatenate([piece.numbers for piece in whole])[elements]
    return Column(field.type, present, stored, values, ends), digests


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """Items as they are stored, before they have vectors; N of them, ascending.

    Attributes:
        ids, titles, texts, columns: as of `Items`.
        content: [N] uint64: a number for all that is stored of each; another one after almost every change.
        inputs: [N] uint64: the same for what the candidate tower takes.
        fields: the view's.
    """

    ids: I64
    titles: Texts
    texts: Texts | None
    columns: Mapping[str, Column]
    content: U64
    inputs: U64
    fields: Sequence[FeatureField]


def read_items(model: Model, items: I64) -> Stored:
    """What is stored of items.

    Items that are not there, or of which a stored feature cannot be read, or whose ids are not of the model's kind, are
    left out: one of them must not keep the others from being served.

    Args:
        items: ascending.
    """
    model.candidate_inputs.require_types(model.items)
    read = read_layers(model.items, items)
    ids, texts = items[read.places], read.texts
    keep = np.arange(len(ids))
    if texts is not None:
        texts, keep = _of_the_kind(model, ids, read)
    title = read.columns.get(TITLE)
    titles = Texts.of([""] * len(ids))
    if title is not None and title.type is FeatureType.STRING and title.words is not None:
        titles = title.words.take(title.values.astype(np.int64))
    inputs = read.content([name for name in model.candidate_inputs.names if name in read.digests])
    columns, content = read.columns, read.content()
    if len(keep) < len(ids):
        ids, titles, content, inputs = ids[keep], titles.take(keep), content[keep], inputs[keep]
        texts = None if texts is None else texts.take(keep)
        columns = {name: column.take(keep) for name, column in columns.items()}
    if not model.item_texts:
        return Stored(ids, titles, None, columns, content, inputs, read.fields)
    assert texts is not None
    return Stored(ids, _called(titles, texts), texts, columns, content, inputs, read.fields)


def _called(titles: Texts, texts: Texts) -> Texts:
    """Titles; what has none is called by its id."""
    lengths = np.diff(titles.ends, prepend=0)
    count = len(titles)
    return Texts.joined([titles, texts]).take(np.where(lengths > 0, np.arange(count), count + np.arange(count)))


def _of_the_kind(model: Model, ids: I64, read: Read) -> tuple[Texts, I64]:
    """Texts of ids, and places of those whose ids are texts, or integers, as the model has them; others are noted as
    unreadable.

    Others come about where versions of a model have ids of different kinds over what callers wrote, and where a program
    of its own wrote an item without its text.
    """
    assert read.texts is not None
    texts = read.texts
    old = np.flatnonzero(read.are_old)  # Ids do not age.
    if len(old):
        found = model.items.texts(ids[old].tolist())
        order = np.arange(len(ids))
        order[old] = len(ids) + np.arange(len(old))
        texts = Texts.joined([texts, Texts.of([text for text, _ in found])]).take(order)
    has_text = np.diff(texts.ends, prepend=0) > 0
    is_sound = has_text == model.item_texts
    for place in np.flatnonzero(has_text & is_sound).tolist():
        is_sound[place] = token_key(texts[place]) == ids[place]
    bad: dict[int, str] = {}
    for place in np.flatnonzero(~is_sound).tolist():
        got = f"the text {texts[place]!r}" if has_text[place] else "none"
        wanted = "the text that it is the key of" if model.item_texts else "none, as ids are integers"
        what = f"{model.items.written} of {model.candidate_inputs.entity} {ids[place]}"
        bad[int(ids[place])] = f"{what}: {ID_TEXT}: expected {wanted}, got {got}"
    keep = np.flatnonzero(is_sound)
    if bad or model.items.has_unreadable:
        model.items.note_unreadable(bad, ids[keep].tolist())
    return texts, keep
