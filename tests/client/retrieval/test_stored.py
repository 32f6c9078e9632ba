"""Items, users and events by the client, against a real service."""

from __future__ import annotations

import numpy as np
import pytest
from tests.retrieval.support import until

from rowbank.errors import InvalidFeature, InvalidRequest, UnknownItem, UnknownUser
from rowbank.retrieval import Event


def test_items_are_written_read_found_and_removed(served, retrieval):
    features = {"title": "A lamp", "title_tokens": [7, 8], "genres": ["War"], "year": 2001, "in_stock": True}
    report = retrieval.put_items({9001: features, 9002: {"year": "late"}, 9003: {**features, "titel": "x"}})
    assert (report.written, report.outdated) == (1, 0)
    assert [(fault.id, fault.reason) for fault in report.faults] == [
        (9002, "INVALID_FEATURE"),
        (9003, "INVALID_FEATURE"),
    ]
    item = until(lambda: (found := retrieval.get_item(9001, vector=True)).indexed and found)
    assert item.id == 9001
    assert item.features == {**features, "title_tokens": (7, 8), "genres": ("War",)}
    rows = np.zeros((4, 8), np.float32)
    rows[:2] = served.world.token_rows[[7, 8]]
    assert np.allclose(item.vector, rows.mean(axis=0) @ served.world.item_weights, atol=1e-5)
    retrieval.delete_item(9001)
    with pytest.raises(UnknownItem):
        retrieval.get_item(9001)
    with pytest.raises(UnknownItem):
        retrieval.delete_item(9001)


def test_users_are_written_and_read(retrieval):
    assert retrieval.put_users({77: {"motto": "new", "history": [100]}}).written == 1
    user = retrieval.get_user(77)
    assert (user.id, user.status) == (77, "present")
    assert user.features == {"motto": "new", "history": (100,)}
    with pytest.raises(UnknownUser):
        retrieval.get_user(424242)


def test_events_go_to_histories_once(retrieval):
    events = [Event(78, 101, id="a1"), Event(78, 102, id="a2"), Event(79, 103, id="a3")]
    report = retrieval.record_events(events)
    assert (report.users, report.events, report.repeats) == (2, 3, 0)
    assert retrieval.record_events(events[:2]).repeats == 2
    assert retrieval.get_user(78).features["history"] == (101, 102)
    assert retrieval.record_events([]).events == 0
    assert 101 not in retrieval.recommend(78, k=39, exclude_seen=True).ids


@pytest.mark.parametrize(
    ("call", "arguments", "said"),
    [
        ("put_items", ([1],), "items: expected features by id"),
        ("put_items", ({1: {}},), "items.1: expected at least one feature"),
        ("put_items", ({None: {"title": "x"}},), "items: expected an integer of 64 bits or a text, got None"),
        ("put_users", ({1: "x"},), "users.1: expected features by name"),
        ("record_events", ([(1, 2)],), r"events.0: expected a rowbank.retrieval.Event, got \(1, 2\)"),
        ("record_events", (Event(1, 2),), "events: expected a list of"),
        ("record_events", ([Event(1, 2, weight=float("inf"))],), "events.0.weight: expected a finite number"),
        ("record_events", ([Event(1, 2, time_s=-1)],), "events.0.time_s: expected Unix seconds"),
        ("record_events", ([Event(1, None)],), "events.0.item_id: expected"),
        ("get_item", (None,), "item_id: expected"),
        ("delete_item", ("",), "item_id: expected"),
        ("get_user", (1.0,), "user_id: expected"),
    ],
)
def test_wrong_arguments_are_refused_in_words(retrieval, call, arguments, said):
    with pytest.raises((InvalidRequest, InvalidFeature), match=said):
        getattr(retrieval, call)(*arguments)
