"""Budgets of tables, and what a shard refuses before its memory runs out."""

from __future__ import annotations

import resource
import time

import numpy as np
import pytest
from tests.server.test_metrics import scraped

import rowbank
from rowbank import Client, Eviction, TableSpec
from rowbank.errors import InvalidSpec, MemoryLimit
from rowbank_protos.v1 import admin_pb2, tables_pb2

WIDE = 1024  # 4 KiB a row.
BATCH = 4000  # 16 MB.


def fill(table, first: int, *, batches: int = 200) -> tuple[int, MemoryLimit]:
    """Upserts batches of new keys from `first` until one is refused; the first key that has no row, and why."""
    values = np.ones((BATCH, WIDE), np.float32)
    for start in range(first, first + batches * BATCH, BATCH):
        try:
            table.upsert(np.arange(start, start + BATCH), values)
        except MemoryLimit as error:
            return start, error
    raise AssertionError("nothing was refused")


def until(condition, *, within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "this did not come about"
        time.sleep(0.05)


def test_a_budget_keeps_new_rows_out_and_nothing_else(start_ps):
    ps = start_ps("--http-bind", "127.0.0.1:0")
    with Client(ps.target) as client:
        budget = 100_000
        spec = TableSpec("t", dim=8, optimizer=rowbank.SGD(1.0), eviction=Eviction(max_bytes=budget))
        table = client.create_table(spec)
        key, error = 0, None
        while error is None:
            try:
                table.push([key], np.ones((1, 8), np.float32))
                key += 1
            except MemoryLimit as refusal:
                error = refusal
            assert key * 32 <= budget  # A row has 32 bytes of values alone.
        assert key * 100 >= budget  # And costs less than 100.
        assert error.metadata["table"] == "t"
        assert error.metadata["limit_bytes"] == str(budget)
        assert "eviction.max_bytes" in error.message
        table.push([0], np.ones((1, 8), np.float32))
        with pytest.raises(MemoryLimit):
            table.push([0, key], np.ones((2, 8), np.float32))
        with pytest.raises(MemoryLimit):
            table.upsert([key], np.ones((1, 8), np.float32))
        np.testing.assert_array_equal(table.pull([0, key])[:, 0], [-2, 0])  # The mixed batch did nothing.
        assert table.remove([1]) == 1
        table.push([key, key, key], np.ones((3, 8), np.float32))  # One row, however often it is named.
        assert table.size() == key
        assert scraped(ps)[("rowbank_growth_refused_total", "t")] == 3
        ps.kill()
    again = start_ps()
    with Client(again.target) as client:  # What was taken in is there again, whatever the budget.
        assert client.table("t").size() == key


def test_a_budget_is_raised_while_the_table_lives(start_ps):
    with Client(start_ps().target) as client:
        table = client.create_table(TableSpec("t", dim=8, eviction=Eviction(max_bytes=1000)))
        with pytest.raises(MemoryLimit):
            table.upsert(np.arange(100), np.ones((100, 8), np.float32))
        client.update_table(TableSpec("t", dim=8, eviction=Eviction(max_bytes=1_000_000)))
        table.upsert(np.arange(100), np.ones((100, 8), np.float32))
        assert table.size() == 100


def test_a_cap_of_rows_still_needs_a_policy():
    with pytest.raises(InvalidSpec):
        Eviction(max_rows=5)


def taken_in(table) -> bool:
    try:
        table.upsert(np.arange(BATCH), np.ones((BATCH, WIDE), np.float32))
    except MemoryLimit:
        return False
    return True


def grown_to_the_limit(ps, connect, client) -> None:
    """Fills a table until it is refused, and looks at what goes on and what does not."""
    wire = connect(ps.target)
    small = client.create_table(TableSpec("small", dim=2, optimizer=rowbank.SGD(1.0)))
    small.push([1], np.ones((1, 2), np.float32))
    wide = client.create_table(TableSpec("wide", dim=WIDE, durability="relaxed"))
    first, error = fill(wide, 0)
    assert first > 0
    assert "memory_limit_bytes" in error.message
    until(lambda: wire.admin.GetServerInfo(admin_pb2.GetServerInfoRequest()).fastest_growing_table == "wide")
    info = wire.admin.GetServerInfo(admin_pb2.GetServerInfoRequest())
    assert info.memory_used_bytes > first * WIDE * 4
    assert info.memory_limit_bytes > info.memory_used_bytes * 0.7
    assert wide.size() == first
    small.push([1], np.ones((1, 2), np.float32))
    np.testing.assert_array_equal(small.pull([1]), [[-2, -2]])
    wide.upsert(np.arange(10), np.zeros((10, WIDE), np.float32))  # Rows that exist.
    assert wide.pull(np.arange(first))[-1, 0] == 1
    client.drop_table("wide")
    until(lambda: not wire.admin.GetServerInfo(admin_pb2.GetServerInfoRequest()).growth_refused)
    again = client.create_table(TableSpec("again", dim=WIDE, durability="relaxed"))
    until(lambda: taken_in(again))
    assert again.size() == BATCH
    assert "Traceback" not in ps.log


def test_a_shard_at_its_limit_of_memory_refuses_growth_until_there_is_room_again(start_ps, connect):
    ps = start_ps("--http-bind", "127.0.0.1:0", "--memory-limit-bytes", str(400 << 20))
    with Client(ps.target, timeout_s=60) as client:
        grown_to_the_limit(ps, connect, client)
    assert scraped(ps)[("rowbank_growth_refused_total", "wide")] >= 1
    assert scraped(ps)[("rowbank_memory_limit_bytes",)] == 400 << 20


def test_a_limit_of_address_space_is_seen_before_it_kills(start_ps, connect):
    ps = start_ps()
    with Client(ps.target, timeout_s=60) as client:
        client.create_table(TableSpec("warm", dim=2)).upsert([1], np.ones((1, 2), np.float32))
        with open(f"/proc/{ps.pid}/statm") as pages:
            taken = int(pages.read().split()[0]) * resource.getpagesize()
        limit = taken + (600 << 20)
        resource.prlimit(ps.pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        grown_to_the_limit(ps, connect, client)


def test_no_table_is_made_where_there_is_no_room_at_all(start_ps, connect):
    ps = start_ps("--memory-limit-bytes", "1048576")
    with Client(ps.target, timeout_s=5) as client:
        with pytest.raises(MemoryLimit) as caught:
            client.create_table(TableSpec("t", dim=2))
        assert "'t'" in caught.value.message
        assert not connect(ps.target).tables.ListTables(tables_pb2.ListTablesRequest()).tables
