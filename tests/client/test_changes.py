"""Positions of followers as texts, and which rows a batch of changes covers."""

from __future__ import annotations

import numpy as np
import pytest

from rowbank.calls.following.inbox import Inbox, News
from rowbank.changes import ChangeBatch, position_text, read_position
from rowbank.errors import InvalidRequest
from rowbank_protos.v1 import deltas_pb2


def test_a_position_is_read_as_it_was_written():
    places = [deltas_pb2.StreamPosition(server_id="a1", number=(3 << 40) | 7), None]
    assert position_text(places) == "1;3298534883335@a1;-"
    assert read_position(position_text(places), 2) == places


@pytest.mark.parametrize("text", ["", "later", "1", "1;", "1;x@a", "2;5@a", "5@a"])
def test_what_is_no_position_says_what_was_expected(text):
    with pytest.raises(InvalidRequest, match="since: expected None, 'now' or the position of a batch"):
        read_position(text, 1)


def test_a_position_of_other_shards_is_refused():
    with pytest.raises(InvalidRequest, match="a position of 2 shards, got one of 1"):
        read_position("1;5@a", 2)


def test_a_batch_covers_the_rows_of_its_shard():
    """Of 256 buckets, key 0 is in bucket 226 (docs/protocol.md), so on shard 1 of 2."""
    none = np.empty(0, np.int64)
    batch = ChangeBatch(
        "t", 1, none, None, None, none, np.empty(0, str), "", 0.0, 0.0, False, True, False, False, shard_count=2,
        bucket_count=256,
    )  # fmt: skip
    assert batch.covers([0]).tolist() == [True]
    assert batch.covers(np.arange(1000)).mean() == pytest.approx(0.5, abs=0.1)


def test_a_failure_comes_after_what_waits_and_before_anything_newer():
    """However busy the other shards are."""
    inbox = Inbox(2, room_bytes=1 << 20)
    assert inbox.put(News(0, table="a"))
    inbox.fail(InvalidRequest("shard 1 refuses"))
    assert inbox.over
    assert not inbox.put(News(0, table="b"))
    assert not inbox.put(News(1, deltas_pb2.StreamPosition(number=1)))
    first = inbox.take(0.0)
    assert first is not None
    assert first.table == "a"
    with pytest.raises(InvalidRequest, match="shard 1 refuses"):
        inbox.take(0.0)


def test_news_of_all_shards_come_in_turn_and_signs_of_how_far_it_is_are_one():
    inbox = Inbox(2, room_bytes=1 << 20)
    for number in (1, 2):
        inbox.put(News(0, table=f"a{number}"))
        inbox.put(News(1, table=f"b{number}"))
    for number in (3, 4):
        inbox.put(News(0, deltas_pb2.StreamPosition(number=number)))
    taken = [inbox.take(0.0) for _ in range(6)]
    assert [news.table for news in taken if news is not None] == ["a1", "b1", "a2", "b2", ""]
    assert [news.place.number for news in taken if news is not None and news.place is not None] == [4]
