"""The questions over the wire, to one shard and to two, against what was done to the tables."""

from __future__ import annotations

import time

import numpy as np
import pytest
from tests.insight.replay import Policy, lots_of, zipf_trace
from tests.processes import PsProcess, until

import rowbank
from rowbank import Admission, Client, Eviction, TableSpec, WhatIf
from rowbank.errors import InvalidRequest, TableNotFound

SGD = rowbank.SGD(1.0)


@pytest.fixture
def client(target):
    with Client(target) as client:
        yield client


def push(table, keys, counts=None):
    keys = np.asarray(keys, np.int64)
    table.push(keys, np.ones((len(keys), table.dim), np.float32), counts=counts)


def test_histogram_of_frequencies_and_ages(client, table_name):
    table = client.create_table(TableSpec(table_name, dim=2, optimizer=SGD))
    assert table.frequency_histogram().rows == 0
    assert table.frequency_histogram().frequencies == ()
    push(table, range(10), counts=np.array([1, 1, 1, 2, 3, 4, 7, 8, 100, 1000]))
    told = table.frequency_histogram()
    assert told.rows == 10
    assert told.frequencies == (0, 3, 2, 2, 1, 0, 0, 1, 0, 0, 1)
    assert sum(told.ages) == 10
    assert len(told.ages) <= 4


def test_an_explained_row_says_where_it_stands_and_who_pushed_it(client, table_name, target):
    table = client.create_table(TableSpec(table_name, dim=2, optimizer=SGD, eviction=Eviction("lfu", max_rows=100)))
    push(table, range(10), counts=np.arange(1, 11))
    told = table.explain_row(3)
    assert (told.row.found, told.rows, told.rows_before, told.score) == (True, 10, 3, 4.0)
    assert told.share_before == 0.3
    assert "first 40 %" in told.verdict
    assert told.client_id == client.calls.transport.client_id
    assert told.ranked_by == "frequency"
    assert told.policy == "lfu"
    with Client(target) as other:
        push(other.table(table_name), [3])
        assert table.explain_row(3).client_id == other.calls.transport.client_id
    assert table.explain_row(4).client_id == client.calls.transport.client_id
    assert table.explain_row(77).verdict.startswith("it has no row, and none that left is known")


def test_why_a_row_is_gone(client, table_name):
    table = client.create_table(TableSpec(table_name, dim=2, optimizer=SGD))
    push(table, range(10), counts=np.arange(1, 11))
    table.restrict(7)
    (departure,) = table.explain_row(0).departures
    assert (departure.reason, departure.frequency, departure.came_back) == ("restrict", 1, False)
    assert departure.score_cut == 3.0
    assert abs(departure.at_s - time.time()) < 60
    assert "a program restricted the table" in table.explain_row(0).verdict
    push(table, [0])
    assert table.explain_row(0).departures[0].came_back
    assert "it has a row" in table.explain_row(0).verdict
    table.restrict(6, reason="manual")
    assert [one.reason for one in table.explain_row(0).departures] == ["manual", "restrict"]
    assert [one.came_back for one in table.explain_row(0).departures] == [False, True]
    table.remove([9, 12345])
    assert "a caller removed it" in table.explain_row(9).verdict
    assert table.explain_row(12345).departures == ()
    table.clear()
    told = table.explain_row(8)
    assert "the table was cleared" in told.verdict
    assert [(one.what, one.rows) for one in told.emptyings] == [("cleared", 5)]
    assert told.known_since_s > 0


def test_a_table_that_was_dropped_and_made_again_says_so(client, table_name):
    spec = TableSpec(table_name, dim=2, optimizer=SGD)
    push(client.create_table(spec), [1])
    client.drop_table(table_name)
    told = client.create_table(spec).explain_row(1)
    assert "the table was dropped" in told.verdict


def test_a_key_that_waits_for_its_row(client, table_name):
    table = client.create_table(TableSpec(table_name, dim=2, optimizer=SGD, admission=Admission(min_count=5)))
    push(table, [1])
    push(table, [1, 1])
    assert table.explain_row(1).verdict == "it has no row yet: seen about 3 times of 5 that it needs"
    push(table, [1, 1])
    assert table.explain_row(1).row.found


def test_a_cold_row_says_so(client, table_name):
    eviction = Eviction("lfu", max_rows=100, second_chance_bytes=1 << 20)
    table = client.create_table(TableSpec(table_name, dim=2, optimizer=SGD, eviction=eviction))
    push(table, range(10), counts=np.arange(1, 11))
    table.restrict(7)
    assert [table.explain_row(key).cold for key in (0, 5, 77)] == [True, False, False]


def test_a_row_that_will_expire(client, table_name):
    table = client.create_table(TableSpec(table_name, dim=2, optimizer=SGD, eviction=Eviction("none", ttl_s=3600)))
    push(table, [1])
    assert 3500 < table.explain_row(1).expires_in_s <= 3600


def test_simulation_over_the_wire_against_the_book(start_ps, table_name):
    """On a server of its own: tables share the room for samples, and this one's must all fit."""
    with Client(start_ps().target) as client:
        _compare_with_the_book(client, table_name)


def _compare_with_the_book(client, table_name):
    table = client.create_table(TableSpec(table_name, dim=2, optimizer=SGD, eviction=Eviction("lfu", max_rows=10_000)))
    trace = zipf_trace(steps=10)
    for _, keys in trace:
        table.pull(keys)
        push(table, keys)
    told = table.simulate_eviction(["max_rows=100", "policy=lru,max_rows=100", WhatIf(max_rows=0, ttl_s=3600)])
    assert told.rows == table.size()
    assert told.bytes > told.rows * 8
    assert told.accesses == 2 * sum(len(keys) for _, keys in trace)
    assert told.rate == 1.0
    assert str(told.present.policy) == "policy=lfu,max_rows=10000"
    assert told.present.hit_rate == told.measured_hit_rate
    assert [str(one.policy) for one in told.policies] == [
        "policy=lfu,max_rows=100",
        "policy=lru,max_rows=100",
        "policy=lfu,ttl_s=3600",
    ]
    small, _, uncapped = told.policies
    assert small.rows_kept_now == 90
    assert 90 <= small.rows_later <= 100
    assert small.bytes_later == small.rows_later * (told.bytes // told.rows)
    assert small.more_bytes == small.bytes_later - told.bytes
    assert uncapped.rows_kept_now == told.rows == uncapped.rows_later
    assert small.hit_rate <= told.present.hit_rate


@pytest.mark.parametrize(
    "text", ["rows=3", "max_rows", "max_rows=-1", "max_rows=nan", "ttl_s=-2", "policy=mru", "low_watermark=0",
             "max_rows=1,max_rows=2", "", "half_life_s=1e300", "min_count=300", "max_rows=1.5", "low_watermark=2"]
)  # fmt: skip
def test_a_what_if_that_makes_no_sense_is_refused(client, table_name, text):
    table = client.create_table(TableSpec(table_name, dim=2, optimizer=SGD, eviction=Eviction("lfu", max_rows=10)))
    with pytest.raises(InvalidRequest):
        table.simulate_eviction([text])


def test_a_cap_without_a_policy_and_too_many_policies_are_refused(client, table_name):
    table = client.create_table(TableSpec(table_name, dim=2, optimizer=SGD))
    with pytest.raises(InvalidRequest, match="lfu or lru"):
        table.simulate_eviction(["max_rows=5"])
    with pytest.raises(InvalidRequest, match="at most 32"):
        table.simulate_eviction(["policy=lru,max_rows=5"] * 33)
    with pytest.raises(InvalidRequest, match="no cap"):
        table.advise_eviction()
    told = table.simulate_eviction(["policy=lru,max_rows=5"])
    assert told.present.hit_rate is None
    assert told.policies[0].regret_share is None
    assert "no accesses" in told.approximations[0]
    with pytest.raises(TableNotFound):
        rowbank.Table(client, TableSpec("nowhere", dim=2)).simulate_eviction()


def test_parsed_amounts():
    assert WhatIf.parse("max_rows=2.5M, max_bytes=512MiB") == WhatIf(max_rows=2_500_000, max_bytes=512 << 20)
    assert WhatIf.parse("max_rows=1_000,half_life_s=0.5") == WhatIf(max_rows=1000, half_life_s=0.5)
    assert WhatIf.parse("max_rows=1e6") == WhatIf(max_rows=1_000_000)


def test_evictions_are_listed_by_time_and_reason_with_what_went(client, table_name):
    table = client.create_table(TableSpec(table_name, dim=2, optimizer=SGD))
    push(table, range(10), counts=np.array([1, 1, 2, 3, 4, 5, 6, 7, 8, 9]))
    before = time.time()
    table.restrict(6)
    table.restrict(5, reason="manual")
    push(table, [0, 1])
    table.restrict(4)
    last, manual, first = client.evictions(table_name)
    assert first.frequencies == (0, 2, 2)
    assert sum(first.ages) == 4
    assert (first.regretted, manual.regretted, last.regretted) == (0, 0, 2)
    assert [event.reason for event in client.evictions(table_name, reasons=["manual"])] == ["manual"]
    assert client.evictions(table_name, since_s=before - 1) == [last, manual, first]
    assert client.evictions(table_name, until_s=before - 1) == []
    with pytest.raises(InvalidRequest, match="capacity"):
        client.evictions(table_name, reasons=["why"])


@pytest.fixture
def shards(redis_url, namespace, tmp_path):
    started = [
        PsProcess("--shard", f"{shard}/2", "--namespace", namespace, "--eviction-interval-s", "0.05",
                  "--advice-interval-s", "1", redis_url=redis_url, log=tmp_path / f"log{shard}")
        for shard in range(2)
    ]  # fmt: skip
    try:
        yield [server.wait_ready() for server in started]
    finally:
        for server in started:
            server.close()


def test_two_shards_answer_as_one_and_advise(shards):
    with Client([server.target for server in shards]) as client:
        table = client.create_table(TableSpec("t", dim=2, optimizer=SGD, eviction=Eviction("lru", max_rows=400)))
        random = np.random.default_rng(8)

        def train():
            keys = np.unique(random.integers(0, 1500, 150))
            table.pull(keys)
            push(table, keys)
            return bool(client.eviction_advice("t"))

        until(train, what="advice", timeout_s=60)
        (advice,) = client.eviction_advice()
        assert advice.table == "t"
        assert advice.regret_share > 0.01
        assert advice.max_rows_now == 400
        until(lambda: table.size() <= 400, what="the last eviction")
        told = table.simulate_eviction(["max_rows=4000"])
        assert told.rows == table.size() == sum(table.frequency_histogram().frequencies)
        assert told.present.rows_kept_now <= 400
        assert told.policies[0].rows_kept_now == told.rows
        mine = table.advise_eviction()
        assert mine.max_rows_now == 400
        assert 400 < mine.max_rows <= 1600
        assert mine.regret_then <= 0.01
        assert mine.more_bytes > 0
        assert "instead of 400" in mine.text
        gone = next(
            key for key in range(1500) if not table.lookup([key]).found[0] and table.explain_row(key).departures
        )
        departure = table.explain_row(gone).departures[0]
        assert departure.reason == "capacity"
        assert departure.frequency >= 1


def test_the_history_of_keys_outlives_the_process(redis_url, namespace, tmp_path):
    options = ("--namespace", namespace)
    server = PsProcess(*options, redis_url=redis_url, log=tmp_path / "log").wait_ready()
    with Client(server.target) as client:
        table = client.create_table(TableSpec("t", dim=2, optimizer=SGD))
        push(table, range(5))
        table.restrict(3)
        gone = [key for key in range(5) if not table.lookup([key]).found[0]]
    assert server.terminate() == 0
    again = PsProcess(*options, redis_url=redis_url, log=tmp_path / "log2").wait_ready()
    try:
        with Client(again.target) as client:
            assert [client.table("t").explain_row(key).departures[0].reason for key in gone] == ["restrict"] * 2
            there = next(key for key in range(5) if key not in gone)
            assert client.table("t").explain_row(there).client_id == ""
    finally:
        again.close()


def test_the_book_agrees_with_itself():
    """A key at the cap's edge, by hand: three keys of frequency 2, 1, 1 and a cap of two with a low watermark of 1."""
    policy = Policy("lfu", 2, low_watermark=1.0)
    lots = lots_of([1, 2, 3])
    for key in (1, 1, 2, 3):
        policy.push(key, 10)
    policy.cycle(10, lots)
    assert sorted(policy.rows) == sorted([1, max((2, 3), key=lots.__getitem__)])
