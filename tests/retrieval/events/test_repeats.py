"""Ids of events that were recorded."""

from __future__ import annotations

import redis

from rowbank_server.retrieval.events.repeats import REMEMBERED_S, Repeats


def test_ids_are_remembered_for_a_day_within_their_scope(connection: redis.Redis, namespace: str) -> None:
    repeats = Repeats(connection, namespace)
    assert repeats.known("items", []) == set()
    assert repeats.known("items", ["a", "b"]) == set()
    repeats.remember("items", ["a", "c"])
    repeats.remember("items", [])
    assert repeats.known("items", ["a", "b", "c"]) == {"a", "c"}
    assert repeats.known("others", ["a"]) == set()
    for key in connection.scan_iter(f"{namespace}:events:items:id:*"):
        assert 0 < connection.ttl(key) <= REMEMBERED_S
