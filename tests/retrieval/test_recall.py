"""The recall of a generation: all its parts, what is not indexed left out, and now and then by itself."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from rowbank_protos.v1 import models_pb2
from rowbank_server.registry.model import Model
from rowbank_server.retrieval.catalogue.growth import Stock
from rowbank_server.retrieval.columns import Texts
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.index import BuildOptions, ExactIndex, InvertedIndex
from rowbank_server.retrieval.index.probe import Probe
from rowbank_server.retrieval.index.tuning import Tuning
from rowbank_server.retrieval.metrics import Metrics
from rowbank_server.retrieval.parts import Counts
from rowbank_server.retrieval.recall import RecallWatch, probe_generation
from rowbank_server.retrieval.segments import Items, Segment, Standing

DIM = 8


def items(ids: Any, seed: int) -> Items:
    """Items with random vectors; every tenth is not indexed."""
    vectors = np.random.default_rng(seed).standard_normal((len(ids), DIM)).astype(np.float32)
    standing = np.where(np.arange(len(ids)) % 10 == 0, Standing.NO_ROWS, Standing.INDEXED).astype(np.uint8)
    vectors[standing != Standing.INDEXED] = 0
    digests = np.arange(len(ids), dtype=np.uint64)
    return Items(np.asarray(ids, np.int64), Texts.of([""] * len(ids)), None, vectors, standing, {}, digests, digests)


@pytest.fixture
def generation() -> Generation:
    """2000 items in lists of which too few are read, and 100 of them changed since."""
    base = items(range(2000), 1)
    lists = InvertedIndex.build(base.vectors, BuildOptions(lists=100))
    poor = InvertedIndex(lists.vectors, lists.arrays, Tuning(8, 1.0, 0.99))
    stock = Stock.of(Segment.of(base, poor), Counts.of({}))
    stock = stock.take_in(np.arange(100, 200), items(range(100, 200), 2), ExactIndex)
    model = object.__new__(Model)
    object.__setattr__(model, "manifest", models_pb2.ModelManifest(version="v1", vector_dim=DIM))
    return Generation(model, "v1.1", stock.parts, {})


def test_all_parts_are_probed(generation: Generation) -> None:
    told = probe_generation(generation, queries=30, k=50)
    assert told.index == "inverted, 8 of 100 lists, exact"
    assert (told.queries, told.k, told.items, told.eligible) == (30, 50, 2000, 1800)
    assert told.wanted == 1500
    assert 0.3 < told.worst_recall <= told.recall < 0.99


def test_a_filter_that_leaves_few_is_exact(generation: Generation) -> None:
    """Where few are eligible all of them are scored."""
    keep = np.zeros(generation.span, np.bool_)
    keep[np.arange(1, 1000, 100)] = True
    told = probe_generation(generation, queries=12, exclude=np.packbits(~keep, bitorder="little"))
    live = keep & ~np.unpackbits(generation.unindexed, bitorder="little").astype(np.bool_)
    assert told.eligible == live.sum()
    assert (told.recall, told.wanted) == (1.0, 12 * live.sum())


def test_given_queries_are_asked(generation: Generation) -> None:
    given = np.ones((4, DIM), np.float32)
    told = probe_generation(generation, queries=100, given=given)
    assert told.queries == 4
    assert told.recall == told.worst_recall


def test_a_watch_probes_until_it_is_stopped(generation: Generation) -> None:
    told: list[Probe] = []
    enough = threading.Event()

    def report(one: Probe) -> None:
        told.append(one)
        if len(told) == 3:
            enough.set()

    watch = RecallWatch(lambda: generation, report, 0.01)
    watch.start()
    assert enough.wait(60)
    watch.stop()
    assert len({one.found for one in told[:3]}) > 1  # Other queries each time.


def test_a_watch_outlives_a_failure_and_a_moment_without_a_generation(generation: Generation) -> None:
    reported = threading.Event()
    calls: list[int] = []

    def current() -> Any:
        calls.append(1)
        return None if len(calls) == 1 else generation

    def report(one: Probe) -> None:
        if len(calls) < 4:
            raise RuntimeError("not yet")
        reported.set()

    watch = RecallWatch(current, report, 0.01)
    watch.start()
    assert reported.wait(60)
    watch.stop()


def test_an_interval_of_zero_means_never(generation: Generation) -> None:
    watch = RecallWatch(lambda: generation, lambda one: pytest.fail("it probed"), 0)
    watch.start()
    watch.stop()


def test_probes_are_shown_until_their_version_goes(generation: Generation) -> None:
    metrics = Metrics()
    told = probe_generation(generation, queries=10, k=20)
    metrics.versions.probed("shop", "v1", told)
    metrics.versions.probed("shop", "v1", told)
    value = metrics.registry.get_sample_value
    labels = {"model": "shop", "version": "v1"}
    assert value("rowbank_index_recall", labels) == told.recall
    assert value("rowbank_index_probe_items_total", {**labels, "result": "found"}) == 2 * told.found
    assert value("rowbank_index_probe_items_total", {**labels, "result": "missed"}) == 2 * (200 - told.found)
    metrics.versions.version_gone("shop", "v1")
    metrics.versions.version_gone("shop", "v0")
    assert value("rowbank_index_recall", labels) is None
