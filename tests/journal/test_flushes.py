"""Write-backs that somebody asks for, or that a stop asks for, where they take longer than there is time."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest
import redis
from tests.journal.support import flush, streams
from tests.processes import stand_still
from tests.server.support import f32, i64

import rowbank
from rowbank.errors import RedisUnavailable
from rowbank_protos.v1 import admin_pb2, common_pb2, rows_pb2
from rowbank_server.ps.durability.flushes import Flushes

LARGE = 100_000  # Rows of 64 numbers: some hundred transactions.
NEVER = ("--flush-interval-s", "3600", "--journaled-flush-interval-s", "3600")


class Gate:
    """A write-back that takes until it is let go."""

    def __init__(self):
        self.begun, self.go, self.calls = threading.Semaphore(0), threading.Semaphore(0), 0

    def __call__(self):
        self.calls += 1
        self.begun.release()
        self.go.acquire()
        return self.calls


def test_who_asks_before_it_begins_shares_it_and_who_asks_later_gets_the_next():
    gate = Gate()
    flushes = Flushes(gate)
    first = flushes.ask()
    gate.begun.acquire()
    second = flushes.ask()  # What changed since the first began may not be in it.
    assert second is not first
    assert flushes.ask() is second
    assert flushes.ask(first.number) is first
    assert flushes.ask(12345) is second  # Nobody knows that one.
    gate.go.release(2)
    assert second.ended.wait(30)
    assert (first.rows, second.rows, gate.calls) == (1, 2, 2)
    assert flushes.ask(first.number) is first
    third = flushes.ask()
    gate.go.release()
    assert third.ended.wait(30)
    assert third.rows == 3


def test_a_failed_one_says_why_and_the_next_is_tried():
    answers = iter([RedisUnavailable("away"), 7])

    def write():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    flushes = Flushes(write)
    failed = flushes.ask()
    assert failed.ended.wait(30)
    assert isinstance(failed.error, RedisUnavailable)
    good = flushes.ask()
    assert good.ended.wait(30)
    assert (good.rows, good.error) == (7, None)


def test_numbers_of_another_process_are_none_of_this_one():
    one, other = Flushes(lambda: 1), Flushes(lambda: 2)
    asked = one.ask()
    assert asked.ended.wait(30)
    assert other.ask(asked.number).number != asked.number


@pytest.fixture
def loaded(start_ps):
    """A shard of which nothing is written by itself, with a journaled table of LARGE rows."""

    def start(*options):
        server = start_ps(*NEVER, *options)
        with rowbank.Client(server.target) as client:
            table = client.create_table(rowbank.TableSpec("t", dim=64, optimizer=rowbank.SGD(1.0)))
            for _ in range(3):
                client.flush()  # A table is trusted to be in the journal after some cycles.
            keys = np.arange(LARGE, dtype=np.int64)
            table.upsert(keys, np.broadcast_to(keys[:, None].astype(np.float32), (LARGE, 64)))
        return server

    return start


def test_a_client_waits_longer_than_its_deadline_as_long_as_rows_are_written(loaded):
    server = loaded()
    with rowbank.Client(server.target, timeout_s=2.0) as client:
        assert client.flush() == LARGE
        assert client.flush() == 0


def test_an_answer_before_the_end_has_the_number_to_ask_for(loaded, connect):
    wire = connect(loaded().target)
    answer = wire.admin.Flush(admin_pb2.FlushRequest(wait_ms=1))
    assert answer.number
    assert not answer.rows
    ended = wire.admin.Flush(admin_pb2.FlushRequest(wait_ms=250_000, number=answer.number))
    assert (ended.rows, ended.number) == (LARGE, 0)
    assert flush(wire) == 0


def test_a_client_is_told_when_nothing_is_written_any_more(start_ps, own_redis):
    server = start_ps(*NEVER, redis=own_redis.url)
    with rowbank.Client(server.target, timeout_s=1.0) as client:
        table = client.create_table(rowbank.TableSpec("t", dim=2, durability="relaxed"))
        table.upsert([1, 2, 3], np.ones((3, 2), np.float32))
        stand_still(own_redis.pid)
        try:
            with pytest.raises(rowbank.errors.DeadlineExceeded, match=r"nothing for 1 s, 3 rows wait"):
                client.flush()
        finally:
            os.kill(own_redis.pid, signal.SIGCONT)
        client.flush()
        assert client.table("t").stats().dirty_rows == 0


def test_a_stop_without_time_leaves_the_rest_to_the_journal_and_writes_what_is_not_there(
    loaded, start_ps, connect, redis_url, namespace
):
    server = loaded("--drain-timeout-s", "0.001")
    wire = connect(server.target)
    wire.create("relaxed", 1, durability=common_pb2.DURABILITY_RELAXED)
    wire.push("relaxed", [5], [[-1]])
    assert server.terminate() == 0
    assert "changed rows are in the journal, for the next start" in server.log
    with redis.Redis.from_url(redis_url) as client:
        assert client.xlen(streams(client, namespace)["1"]) > 1
    with rowbank.Client(start_ps(*NEVER).target) as client:
        keys = np.arange(LARGE, dtype=np.int64)
        rows = client.table("t").lookup(keys)
        assert rows.found.all()
        np.testing.assert_array_equal(rows.values[:, 63], keys.astype(np.float32))
        np.testing.assert_array_equal(client.table("relaxed").lookup([5]).values, [[1.0]])


def test_a_stop_takes_its_time_where_a_replay_would_take_relaxed_rows_away(
    loaded, start_ps, connect, redis_url, namespace
):
    server = loaded("--drain-timeout-s", "0.001")
    wire = connect(server.target)
    wire.create("relaxed", 1, durability=common_pb2.DURABILITY_RELAXED)
    parts = [
        rows_pb2.TableGradients(table="t", keys=i64(5), gradients=f32([[0] * 64])),
        rows_pb2.TableGradients(table="relaxed", keys=i64(5), gradients=f32([[-1]])),
    ]
    wire.rows.Push(rows_pb2.PushRequest(tables=parts))  # So the journal has it, of the relaxed table too.
    wire.rows.Remove(rows_pb2.RemoveRequest(table="relaxed", keys=i64(5)))
    wire.push("relaxed", [5], [[-7]])
    assert server.terminate() == 0
    with redis.Redis.from_url(redis_url) as client:
        assert not streams(client, namespace)
    with rowbank.Client(start_ps(*NEVER).target) as client:
        np.testing.assert_array_equal(client.table("relaxed").lookup([5]).values, [[7.0]])
        assert client.table("t").size() == LARGE


def test_a_stop_with_time_leaves_no_journal(loaded, redis_url, namespace):
    assert loaded().terminate() == 0
    with redis.Redis.from_url(redis_url) as client:
        assert not streams(client, namespace)
