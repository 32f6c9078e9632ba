"""What a follower knows of what Redis lacks."""

from __future__ import annotations

import numpy as np
import pytest
from tests.following.support import Author
from tests.following.test_applier import follow, take


@pytest.fixture
def author():
    author = Author()
    author.create("t")
    author.push("t", list(range(10)))
    return author


def dirty(follower):
    """Keys that would be written or deleted; takes their marks."""
    rows = follower.shard.get("t").rows
    keys = [rows.take_dirty_keys(bucket) for bucket in rows.dirty_buckets()]
    return sorted(np.concatenate([np.empty(0, np.int64), *keys]).tolist())


def settled(follower):
    return follower.applier.copies.settled(1)


def test_a_table_is_settled_by_a_write_back_that_began_when_it_was_whole(follower, author):
    follower.applier.begin(author.hello())
    take(follower, author.listed(), author.mark("BEGUN", 1), *author.picture("t"), author.mark("ENDED", 1, flush=7))
    assert not settled(follower)
    take(follower, author.records(author.push("t", [1, 11]), author.remove("t", [2])), author.mark("BEGUN", 2))
    take(follower, author.records(author.push("t", [3])))
    assert not settled(follower)
    take(follower, author.mark("ENDED", 2, flush=8))
    assert settled(follower)
    assert follower.applier.write_backs.last_flush == 8
    assert dirty(follower) == [3]


def test_what_a_failed_write_back_had_taken_is_marked_again(follower, author):
    follow(follower, author, "t")
    take(follower, author.records(author.push("t", [1]), author.remove("t", [2])), author.mark("BEGUN", 1))
    take(follower, author.records(author.push("t", [3])), author.mark("FAILED", 1))
    assert not settled(follower)
    assert dirty(follower) == [1, 2, 3]


def test_so_is_that_of_one_that_nobody_ended(follower, author):
    follow(follower, author, "t")
    take(follower, author.records(author.push("t", [1])), author.mark("BEGUN", 1))
    take(follower, author.records(author.push("t", [3])), author.mark("BEGUN", 2), author.mark("ENDED", 1))
    follower.applier.stop()
    assert dirty(follower) == [1, 3]


def test_a_cleared_table_is_deleted_in_redis_until_a_write_back_has_done_so(follower, author):
    follow(follower, author, "t")
    table = follower.shard.get("t")
    take(follower, author.records(author.clear("t"), author.push("t", [1])))
    assert table.mirror_stale
    take(follower, author.mark("BEGUN", 1))
    assert not table.mirror_stale
    take(follower, author.mark("FAILED", 1))
    assert table.mirror_stale
    take(follower, author.mark("BEGUN", 2), author.mark("ENDED", 2))
    assert not table.mirror_stale
    assert dirty(follower) == []


def test_a_table_that_was_made_meanwhile_is_settled_at_once(follower, author):
    follow(follower, author, "t")
    author.create("new")
    take(follower, author.listed(), author.records(author.push("new", [1])))
    assert follower.applier.copies.settled(2)
    assert follower.shard.get("new").rows.dirty_rows() == 1
