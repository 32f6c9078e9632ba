"""What a subscription holds, and what a moved key concerns: bounded, and nothing dropped unsaid."""

from __future__ import annotations

import numpy as np
import pytest

from rowbank.manifests import TowerInput
from rowbank_server.registry.inputs import TowerInputs
from rowbank_server.retrieval.catalogue import moves, rows_feed
from rowbank_server.retrieval.catalogue.concerns import Concerns
from rowbank_server.retrieval.catalogue.growth import Stock
from rowbank_server.retrieval.catalogue.moves import Moves
from rowbank_server.retrieval.catalogue.rows_feed import Subscription
from rowbank_server.retrieval.columns import Texts
from rowbank_server.retrieval.index import ExactIndex
from rowbank_server.retrieval.parts import Counts
from rowbank_server.retrieval.segments import Items, Segment, Standing

INPUTS = TowerInputs(
    (TowerInput("own", "own", "item_id", 4), TowerInput("genre", "genre", "items:genre", 4)), "item_id", "items", {}
)


def subscription(*tables: str) -> Subscription:
    return Subscription(tables, lambda: None, lambda one: None)


def keys(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def stock(*ids: int) -> Stock:
    count = len(ids)
    vectors = np.zeros((count, 4), np.float32)
    numbers = np.zeros(count, np.uint64)
    standing = np.full(count, Standing.INDEXED, np.uint8)
    items = Items(keys(*ids), Texts.of([""] * count), None, vectors, standing, {}, numbers, numbers)
    return Stock.of(Segment.of(items, ExactIndex(vectors)), Counts.of({}))


def test_keys_are_taken_once_and_since_the_first_of_them_moved():
    one = subscription("a", "b")
    one.moved("a", keys(3, 1), 10.0)
    one.moved("b", keys(7), 9.0)
    one.moved("a", keys(3, 2), 11.0)
    moved = one.take()
    assert {table: found.tolist() for table, found in moved.keys.items()} == {"a": [1, 2, 3], "b": [7]}
    assert (moved.since_s, moved.missed) == ({"a": 10.0, "b": 9.0}, frozenset())
    assert one.take() == rows_feed.Moved()


def test_a_flood_keeps_the_newest_keys_and_says_that_some_were_dropped(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rows_feed, "_MOST_KEYS", 8)
    one = subscription("a")
    for at in range(0, 40, 4):
        one.moved("a", keys(*range(at, at + 4)), float(at))
    moved = one.take()
    assert moved.missed == {"a"}
    assert len(moved.keys["a"]) <= 8
    assert set(range(36, 40)) <= set(moved.keys["a"].tolist())
    for _ in range(10):  # The same few keys again and again are no flood.
        one.moved("a", keys(1, 2, 3), 1.0)
    assert one.take().missed == frozenset()


def test_who_waits_in_vain_for_the_follow_has_missed_everything_when_it_comes():
    early, late = subscription("a"), subscription("a", "b")
    early.in_force()
    assert early.wait_in_force(0.0)
    assert not late.wait_in_force(0.0)
    late.in_force()
    assert not early.take().missed
    assert late.take().missed == {"a", "b"}


def test_moved_keys_concern_the_items_that_there_are():
    concerns = Concerns(INPUTS)
    assert concerns.tables == {"own", "genre"}
    found = concerns.find("own", keys(2, 5, 9), stock(1, 2, 3, 9))
    assert (found.items.tolist(), found.shared.tolist()) == ([2, 9], [])
    found = concerns.find("genre", keys(2, 5), stock(1, 2))
    assert (found.items.tolist(), found.shared.tolist()) == ([], [2, 5])


def test_items_that_moved_last_come_first_and_too_many_make_all_be_gone_through(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(moves, "_MOST_ITEMS", 4)
    one = subscription("own", "genre")
    noted = Moves(Concerns(INPUTS), one)
    there = stock(*range(10))
    for item in (1, 2, 3, 1):
        one.moved("own", keys(item), 5.0)
        noted.note(there)
    assert noted.newest(2).tolist() == [1, 3]
    assert (noted.waiting, noted.is_flooded, noted.begin_sweep()) == (3, False, None)
    one.moved("own", keys(4, 5, 6), 6.0)
    noted.note(there)
    assert (noted.waiting, noted.is_flooded) == (4, True)
    sweep = noted.begin_sweep()
    assert sweep is not None
    assert sweep.moved == {"own": None, "genre": None}
    assert noted.begin_sweep() is None
    noted.sweep_failed(sweep)
    again = noted.begin_sweep()
    assert again is not None
    assert (again.moved, again.since_s) == (sweep.moved, sweep.since_s)
    one.moved("own", keys(5, 8), 7.0)
    noted.note(there)
    noted.swept(again)  # The others were gone through, too, and did not move since.
    assert noted.newest(4).tolist() == [5, 8]
    assert not noted.is_flooded
    noted.taken_in(noted.newest(4))
    assert noted.waiting == 0


def test_a_row_that_moves_while_its_item_is_being_read_for_the_first_time_is_not_missed():
    one = subscription("own", "genre")
    noted = Moves(Concerns(INPUTS), one)
    one.moved("own", keys(1, 7), 5.0)
    noted.note(stock(1, 2), is_looking=True)
    assert noted.newest(9).tolist() == [1]
    noted.taken_in(keys(1))
    noted.note(stock(1, 2), is_looking=True)
    assert noted.waiting == 0
    noted.note(stock(1, 2, 7))
    assert noted.newest(9).tolist() == [1, 7]


def test_shared_keys_are_held_until_they_are_too_many(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(moves, "_MOST_SHARED", 3)
    one = subscription("own", "genre")
    noted = Moves(Concerns(INPUTS), one)
    one.moved("genre", keys(7, 8), 5.0)
    noted.note(stock(1))
    assert noted.shared_age_s > 0.0
    one.moved("genre", keys(8, 9), 5.0)
    noted.note(stock(1))
    sweep = noted.begin_sweep()
    assert sweep is not None
    held = sweep.moved["genre"]
    assert held is not None
    assert held.tolist() == [7, 8, 9]
    noted.sweep_failed(sweep)
    one.moved("genre", keys(10), 5.0)
    noted.note(stock(1))
    sweep = noted.begin_sweep()
    assert sweep is not None
    assert sweep.moved == {"genre": None}
