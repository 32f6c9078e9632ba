"""The history of single keys against what was noted, kept in dictionaries beside it."""

from __future__ import annotations

import time

import numpy as np
import pytest

from rowbank.errors import RedisUnavailable
from rowbank_protos.v1.deltas_pb2 import REMOVAL_REASON_CAPACITY, REMOVAL_REASON_TTL
from rowbank_server.storage.connection import connect
from rowbank_server.storage.departed_chunk import Departed, Departure, pack
from rowbank_server.storage.departures import DepartureHistory
from rowbank_server.storage.layout import Layout

WEEK_S = 604_800
NOW = int(time.time())


def departed(keys, *, at_s=NOW, reason=REMOVAL_REASON_CAPACITY, cut=3.0, table_id=1):
    keys = np.asarray(keys, np.int64)
    numbers = np.arange(len(keys), dtype=np.uint32)
    return Departed(table_id, at_s, reason, cut, keys, numbers % 7, numbers + 1000)


@pytest.fixture
def database(redis_url):
    return connect(redis_url, timeout_s=5.0)


@pytest.fixture
def history(database, namespace):
    def new(max_bytes=1 << 24):
        return DepartureHistory(database, Layout(namespace), shard=0, max_bytes=max_bytes, retention_s=WEEK_S)

    return new


def test_a_key_is_found_in_ram_in_redis_and_by_the_next_process(history):
    keys = np.random.default_rng(1).integers(-(2**63), 2**63 - 1, 100_000)
    first = history()
    first.note(departed(keys[:70_000]))
    first.note(departed(keys[69_990:], at_s=NOW + 5, reason=REMOVAL_REASON_TTL, cut=0.5))
    expected = Departure(NOW, REMOVAL_REASON_CAPACITY, 3.0, 69_995 % 7, 70_995)
    again = Departure(NOW + 5, REMOVAL_REASON_TTL, 0.5, 5, 1005)
    assert first.find(1, int(keys[69_995])) == [again, expected]
    first.write([1], all_now=True)
    assert first.find(1, int(keys[69_995])) == [again, expected]
    second = history()
    for place in (0, 1, 12_345, 32_767, 32_768, 69_989):
        assert second.find(1, int(keys[place])) == [
            Departure(NOW, REMOVAL_REASON_CAPACITY, 3.0, place % 7, place + 1000)
        ], place
    assert second.find(1, int(keys[69_995])) == [again, expected]
    assert second.find(1, int(keys[99_999]))[0].last_used == 1000 + 30_009
    assert second.find(1, 12345) == []
    assert second.find(2, int(keys[0])) == []
    assert NOW - 5 <= second.reaches_back_to(1) <= time.time() + 5


def test_a_look_up_reads_kilobytes_of_a_chunk(database, history):
    noted = history()
    noted.note(departed(np.arange(32_768)))
    noted.write([1], all_now=True)
    before = database.info("stats")["total_net_output_bytes"]
    assert len(history().find(1, 20_000)) == 1
    assert database.info("stats")["total_net_output_bytes"] - before < 40_000  # INFO itself is some of it.
    assert pack([departed(np.arange(32_768))])[0].bytes == 32_768 * 18 + 16


def test_a_chunk_grows_until_it_is_full(database, history, namespace):
    noted = history()
    for number in range(5):
        noted.note(departed(np.arange(1000) + 1000 * number))
        noted.write([1], all_now=True)
    assert len(database.keys(f"{namespace}:*departed:*")) == 1
    assert len(noted.find(1, 4999)) == 1
    noted.note(departed(np.arange(40_000) + 10_000))
    noted.write([1], all_now=True)
    assert 2 <= len(database.keys(f"{namespace}:*departed:*")) <= 3
    for key in (0, 4999, 10_000, 49_999):
        assert len(history().find(1, key)) == 1, key


def test_nothing_is_written_sooner_than_it_is_due(database, history, namespace):
    noted = history()
    noted.note(departed([1, 2, 3]))
    noted.write([1])
    noted.note(departed([4]))
    noted.write([1])
    assert [len(history().find(1, key)) for key in (1, 4)] == [1, 0]
    noted.write([1], all_now=True)
    assert [len(history().find(1, key)) for key in (1, 4)] == [1, 1]


def test_the_oldest_go_when_there_are_too_many_bytes(database, history, namespace):
    noted = history(max_bytes=2 * 32_768 * 18 + 1000)
    for number in range(4):
        noted.note(departed(np.arange(32_768) + 32_768 * number, at_s=NOW + number))
        noted.write([1, 2], all_now=True)
    assert len(database.keys(f"{namespace}:*departed:*")) == 2
    assert noted.stored_bytes <= 2 * 32_768 * 18 + 1000
    assert [len(noted.find(1, 32_768 * number)) for number in range(4)] == [0, 0, 1, 1]


def test_what_is_too_old_goes_and_so_do_dropped_tables(database, history, namespace):
    noted = history()
    noted.note(departed([1], at_s=NOW - WEEK_S - 10))
    noted.note(departed([2], table_id=2))
    noted.write([1, 2], all_now=True)
    assert len(history().find(2, 2)) == 1
    next_process = history()
    next_process.write([1, 2])
    assert next_process.find(1, 1) == []
    next_process.write([1])
    assert next_process.find(2, 2) == []
    assert not database.keys(f"{namespace}:*s0}}:depart*")


def test_every_key_expires(database, history, namespace):
    noted = history()
    noted.note(departed([1]))
    noted.write([1], all_now=True)
    keys = database.keys(f"{namespace}:*")
    assert len(keys) == 2
    assert all(WEEK_S - 60 <= database.ttl(key) <= WEEK_S for key in keys)


def test_while_redis_is_away_a_bounded_number_waits(own_redis, namespace):
    database = connect(own_redis.url, timeout_s=5.0)
    noted = DepartureHistory(database, Layout(namespace), shard=0, max_bytes=1 << 30, retention_s=WEEK_S)
    own_redis.stop()
    for number in range(5):
        noted.note(departed(np.arange(300_000) + 300_000 * number))
        with pytest.raises(RedisUnavailable):
            noted.write([1], all_now=True)
    assert 400_000 < noted.given_up_rows < 600_000
    own_redis.start()
    noted.write([1], all_now=True)
    assert len(noted.find(1, 1_499_999)) == 1
    assert noted.find(1, 5) == []


def test_off_means_that_nothing_is_kept(database, history, namespace):
    noted = history(max_bytes=0)
    noted.note(departed([1]))
    noted.write([1], all_now=True)
    assert not database.keys(f"{namespace}:*")
