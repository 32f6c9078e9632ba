"""Parts, growth and merges against plain dictionaries: whatever was changed, a generation is what is there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rowbank_protos.v1 import models_pb2
from rowbank_server.features import FeatureField, FeatureType
from rowbank_server.registry.model import Model
from rowbank_server.retrieval.catalogue.growth import FRESH_LIMIT, MergePolicy, Stock
from rowbank_server.retrieval.columns import Texts, made_column
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.index import ExactIndex
from rowbank_server.retrieval.index.bitmaps import with_bits
from rowbank_server.retrieval.parts import Counts
from rowbank_server.retrieval.segments import Items, Segment, Standing

DIM = 4
FIELDS = (
    FeatureField(name="year", type=FeatureType.INT64, default=1999),
    FeatureField(name="genres", type=FeatureType.STRING_LIST),
    FeatureField(name="brand", type=FeatureType.STRING),
)
Known = dict[int, dict[str, Any]]


def made(known: Known) -> Items:
    """Items of what is known of each."""
    ids = sorted(known)
    columns = {}
    for field in FIELDS:
        values = [known[i].get(field.name, field.absent) for i in ids]
        columns[field.name] = made_column(field, values, np.array([field.name in known[i] for i in ids], np.bool_))
    vectors = np.array([known[i]["vector"] for i in ids], np.float32).reshape(-1, DIM)
    standing = np.array([Standing.NO_ROWS if known[i].get("lost") else Standing.INDEXED for i in ids], np.uint8)
    titles = Texts.of([f"Title {i} {known[i].get('brand', '')}" for i in ids])
    digests = np.array(ids, np.uint64)
    return Items(np.array(ids, np.int64), titles, None, vectors, standing, columns, digests * 3, digests * 7)


def one(rng: np.random.Generator) -> dict[str, Any]:
    item: dict[str, Any] = {"vector": rng.integers(-2, 3, DIM).astype(np.float32)}  # Many scores are equal.
    if rng.random() < 0.5:
        item["year"] = int(rng.integers(1950, 2020))
    if rng.random() < 0.7:
        item["genres"] = [str(g) for g in rng.choice(["Drama", "Ähm", "War", ""], rng.integers(0, 3))]
    if rng.random() < 0.5:
        item["brand"] = str(rng.choice(["a", "bb", "ccc"]))
    if rng.random() < 0.1:
        item["lost"] = True
    return item


def generation(stock: Stock) -> Generation:
    model = object.__new__(Model)
    object.__setattr__(model, "manifest", models_pb2.ModelManifest(version="v1", vector_dim=DIM))
    return Generation(model, "v1.1", stock.parts, {})


def column_value(generation: Generation, position: int, name: str) -> tuple[bool, bool, Any]:
    part, place = generation.part_at(position)
    column = part.segment.columns[name]
    if column.ends is None:
        value: Any = column.values[place]
        value = column.words[int(value)] if column.words is not None else value
    else:
        start = int(column.ends[place - 1]) if place else 0
        value = column.values[start : int(column.ends[place])].tolist()
        value = [column.words[code] for code in value] if column.words is not None else value
    return bool(column.present[place]), bool(column.stored[place]), value


def check(stock: Stock, known: Known, counts: dict[int, int]) -> None:
    """Everything that a generation says, against `known`."""
    shown = generation(stock)
    ids = np.array(sorted(known), np.int64)
    assert shown.item_count == len(known)
    assert shown.indexed_count == sum(not item.get("lost") for item in known.values())
    everything = np.arange(-3, int(ids.max(initial=0)) + 3)
    positions = shown.positions(everything)
    assert shown.ids_at(positions).tolist() == ids.tolist()
    live = np.unpackbits(~shown.gone, bitorder="little")
    assert sorted(np.flatnonzero(live)) == sorted(positions.tolist())
    assert shown.interactions_at(positions).tolist() == [counts.get(int(i), 0) for i in ids]
    assert shown.interactions[positions].tolist() == [counts.get(int(i), 0) for i in ids]
    for item, position in zip(ids.tolist(), positions.tolist(), strict=True):
        assert shown.title_at(position) == f"Title {item} {known[item].get('brand', '')}"
        for field in FIELDS:
            stored = field.name in known[item]
            present, is_stored, value = column_value(shown, position, field.name)
            assert (present, is_stored) == (stored or field.default is not None, stored)
            if present:
                assert value == known[item].get(field.name, field.default)
    assert np.array_equal(
        shown.vectors_at(positions), np.array([known[int(i)]["vector"] for i in ids], np.float32).reshape(-1, DIM)
    )
    assert shown.content_at(positions).tolist() == (3 * ids).tolist()
    assert shown.inputs_at(positions).tolist() == (7 * ids).tolist()
    by_popularity = sorted(known, key=lambda item: (-counts.get(item, 0), item))
    assert shown.ids_at(shown.most_popular(~shown.gone, 7)).tolist() == by_popularity[:7]
    check_search(shown, known)


def check_search(shown: Generation, known: Known) -> None:
    """The best of all, and of those with a year of their own, equal scores by id."""
    queries = np.array([[1, 2, 0, 0], [0, -1, 1, 1]], np.float32)
    with_year = [item for item in known if "year" in known[item]]
    without = np.setdiff1d(np.array(list(known), np.int64), np.array(with_year, np.int64))
    for wanted, bits in (
        (list(known), shown.unindexed),
        (with_year, with_bits(shown.unindexed, shown.positions(without))),
    ):
        positions, scores = shown.search(queries, 9, np.stack([bits, bits]))
        for row, query in enumerate(queries):
            best = sorted(
                (-float(known[item]["vector"] @ query), item) for item in wanted if not known[item].get("lost")
            )[:9]
            found = positions[row][positions[row] >= 0]
            assert shown.ids_at(found).tolist() == [item for _, item in best]
            assert np.allclose(scores[row, : len(best)], [-score for score, _ in best])
            assert (positions[row, len(best) :] == -1).all()


@pytest.mark.parametrize("seed", range(4))
def test_what_is_changed_shows_and_what_was_there_before_stays_as_it_was(seed: int) -> None:
    rng = np.random.default_rng(seed)
    known: Known = {int(i): one(rng) for i in rng.choice(300, 120, replace=False)}
    counts = {int(i): int(rng.integers(1, 5)) for i in rng.choice(300, 80, replace=False)}
    stock = Stock.of(Segment.of(made(known), ExactIndex(made(known).vectors)), Counts.of(counts))
    before, merging, first = dict(known), None, stock
    since: list[int] = []
    sealed = 0
    for step in range(40):
        touched = rng.choice(300, int(rng.integers(1, 12)), replace=False)
        since += touched.tolist()
        changed = {int(i): one(rng) for i in touched if rng.random() < 0.7}
        known = {item: value for item, value in known.items() if item not in touched} | changed
        stock = stock.take_in(np.unique(touched), made(changed), ExactIndex, fresh_limit=30)
        if step == 20:
            merging, since = stock, []
        if step == 30 and merging is not None:
            items = merging.merged_items()
            stock = stock.with_merged(Segment.of(items, ExactIndex(items.vectors)), merging, np.unique(since))
        if step == 34:  # Nothing happens meanwhile.
            items = stock.merged_items()
            stock = stock.with_merged(Segment.of(items, ExactIndex(items.vectors)), stock, np.empty(0, np.int64))
        if step == 35:
            counts = {int(i): int(rng.integers(1, 9)) for i in rng.choice(300, 80, replace=False)}
            stock = stock.recount(Counts.of(counts))
        check(stock, known, counts)
        sealed = max(sealed, len(stock.sealed))
    assert sealed
    first_counts = {int(i): int(n) for i, n in zip(first.counts.items, first.counts.times, strict=True)}
    check(first, before, first_counts)


def test_an_empty_catalogue_grows_and_becomes_empty() -> None:
    rng = np.random.default_rng(1)
    stock = Stock.of(Segment.of(made({}), ExactIndex(made({}).vectors)), Counts.of({}))
    check(stock, {}, {})
    known = {7: one(rng), 3: one(rng)}
    check(grown := stock.take_in(np.array([3, 7]), made(known), ExactIndex), known, {})
    check(grown.take_in(np.array([3, 7]), made({}), ExactIndex), {}, {})


def test_a_merge_is_due_by_what_lies_outside_the_base_or_is_gone_from_it() -> None:
    rng = np.random.default_rng(2)
    known = {item: one(rng) for item in range(100)}
    stock = Stock.of(Segment.of(made(known), ExactIndex(made(known).vectors)), Counts.of({}))
    policy = MergePolicy(part=0.1, least=5, sealed=2)
    assert not policy.is_due(stock)
    assert not policy.is_due(stock.take_in(np.arange(10), made({}), ExactIndex))
    assert policy.is_due(stock.take_in(np.arange(11), made({}), ExactIndex))
    for item in range(3):
        assert not policy.is_due(stock)
        stock = stock.take_in(np.array([item]), made({item: one(rng)}), ExactIndex, fresh_limit=1)
    assert policy.is_due(stock)
    assert FRESH_LIMIT > 1
