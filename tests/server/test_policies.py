"""Admission and eviction: what the server does on its own because a spec says so."""

from __future__ import annotations

import numpy as np
import pytest
from tests.processes import until
from tests.server.support import constant, i64

from rowbank.hashing import shard_of
from rowbank_protos.v1 import admin_pb2, common_pb2, rows_pb2, tables_pb2

FOUND, NOT_ADMITTED = common_pb2.ROW_STATUS_FOUND, common_pb2.ROW_STATUS_NOT_ADMITTED
Eviction = tables_pb2.Eviction
LFU, LRU = Eviction.POLICY_LFU, Eviction.POLICY_LRU


@pytest.fixture
def server(start_ps):
    return start_ps("--eviction-interval-s", "0.05")


@pytest.fixture
def wire(server, connect):
    return connect(server.target)


def events(wire, table):
    return list(wire.admin.ListEvictions(admin_pb2.ListEvictionsRequest(table=table)).events)


def stats(wire, table):
    (answer,) = wire.admin.GetStats(admin_pb2.GetStatsRequest(table=table)).tables
    return answer


def stored(wire, table, keys):
    found = wire.rows.Lookup(rows_pb2.LookupRequest(table=table, keys=i64(*keys))).found
    return [key for key, there in zip(keys, found, strict=True) if there]


def test_a_table_over_its_cap_loses_its_least_frequent_rows(wire):
    """Rows 0..29 were pushed twice, 30..99 once; of 100 rows the cap of 50 keeps 25: half of the cap."""
    wire.create("t", eviction=Eviction(policy=LFU, max_rows=50, low_watermark=0.5))
    often, once = list(range(30)), list(range(30, 100))
    for keys in (often, often + once):
        wire.push("t", keys, np.ones((len(keys), 2)))
    until(lambda: wire.size("t") <= 50, what="eviction")
    until(lambda: events(wire, "t"), what="event")
    left = stored(wire, "t", range(100))
    assert len(left) == 25
    assert set(left) <= set(often)
    history = events(wire, "t")
    assert sum(event.rows for event in history) == 75
    assert history[0].reason == admin_pb2.EVICTION_REASON_CAPACITY
    assert (history[0].rows_left, history[0].outcome) == (25, "below_watermark")
    gone = sorted(set(range(100)) - set(left))
    wire.push("t", gone[:10], np.ones((10, 2)))
    answer = stats(wire, "t")
    assert (answer.evicted_rows, answer.regretted_rows, answer.rows) == (75, 10, 35)


def test_a_cap_in_bytes(wire):
    wire.create("t", dim=64, eviction=Eviction(policy=LRU, max_bytes=100 * 300))
    wire.push("t", list(range(1000)), np.ones((1000, 64)))
    until(lambda: events(wire, "t"), what="eviction")
    (event,) = events(wire, "t")
    assert event.reason == admin_pb2.EVICTION_REASON_BYTES
    assert 0 < event.rows_left < 110
    assert event.bytes >= event.rows * 64 * 4


def test_a_table_under_its_cap_keeps_everything(wire, server):
    wire.create("t", eviction=Eviction(policy=LFU, max_rows=100))
    wire.push("t", list(range(100)), np.ones((100, 2)))
    wire.create("over", eviction=Eviction(policy=LFU, max_rows=10))
    wire.push("over", list(range(100)), np.ones((100, 2)))
    until(lambda: wire.size("over") == 9, what="eviction of the other table")
    assert wire.size("t") == 100


def test_rows_expire(wire):
    wire.create("t", eviction=Eviction(ttl_s=1))
    wire.push("t", list(range(10)), np.ones((10, 2)))
    until(lambda: wire.size("t") == 0, what="expiry")
    until(lambda: events(wire, "t"), what="event")
    history = events(wire, "t")
    assert {event.reason for event in history} == {admin_pb2.EVICTION_REASON_TTL}
    assert sum(event.rows for event in history) == 10
    assert stats(wire, "t").evicted_rows == 10


def test_a_cap_can_be_set_later_and_is_kept(wire, server, start_ps, connect):
    info = wire.create("t")
    wire.push("t", list(range(100)), np.ones((100, 2)))
    info.spec.eviction.CopyFrom(Eviction(policy=LFU, max_rows=20, low_watermark=1.0))
    wire.tables.UpdateTable(tables_pb2.UpdateTableRequest(spec=info.spec))
    until(lambda: wire.size("t") == 20, what="eviction")
    left = stored(wire, "t", range(100))
    assert server.terminate() == 0
    again = connect(start_ps("--eviction-interval-s", "0.05").target)
    assert stored(again, "t", range(100)) == left
    again.push("t", list(range(100)), np.ones((100, 2)))
    until(lambda: again.size("t") == 20, what="eviction")


def test_shards_share_a_cap(start_ps, connect):
    started = [start_ps("--shard", f"{shard}/2", "--eviction-interval-s", "0.05", wait=False) for shard in range(2)]
    wires = [connect(server.wait_ready().target) for server in started]
    wires[0].create("t", eviction=Eviction(policy=LFU, max_rows=41, low_watermark=1.0))
    keys = np.arange(1000)
    for shard, wire in enumerate(wires):
        mine = keys[shard_of(keys, shard_count=2) == shard].tolist()
        wire.push("t", mine, np.ones((len(mine), 2)))
    for wire in wires:
        until(lambda wire=wire: wire.size("t") == 21, what="eviction")  # Half of 41, rounded up.


def test_a_key_gets_its_row_at_its_nth_occurrence(wire, server, start_ps, connect):
    """Until then it reads, and trains, the row that all such keys share."""
    wire.create("t", initializer=constant(0.0), admission=tables_pb2.Admission(min_count=3))
    wire.push("t", [1], [[1, 1]])
    wire.push("t", [2], [[1, 3]])
    values, status = wire.pull("t", [1, 2, 99])
    assert status == [NOT_ADMITTED] * 3
    assert values.tolist() == [[-2, -4]] * 3
    assert wire.size("t") == 0
    wire.push("t", [1, 1], [[1, 1], [1, 1]])
    values, status = wire.pull("t", [1, 2])
    assert status == [FOUND, NOT_ADMITTED]
    assert values[1].tolist() == [-2, -4]
    assert wire.size("t") == 1
    assert stats(wire, "t").pulled_not_admitted == 4
    before = values.tobytes()
    assert server.terminate() == 0
    again = connect(start_ps().target)
    values, status = again.pull("t", [1, 2])
    assert status == [FOUND, NOT_ADMITTED]
    assert values.tobytes() == before


def test_a_clear_forgets_the_shared_row_too(wire, server, start_ps, connect):
    wire.create("t", initializer=constant(0.5), admission=tables_pb2.Admission(min_count=3))
    wire.push("t", [1], [[1, 1]])
    wire.admin.Flush(admin_pb2.FlushRequest())
    assert wire.pull("t", [1])[0].tolist() == [[-0.5, -0.5]]
    wire.rows.Clear(rows_pb2.ClearRequest(table="t"))
    fresh = wire.pull("t", [1])[0].tolist()
    assert fresh != [[-0.5, -0.5]]
    assert server.terminate() == 0
    assert connect(start_ps().target).pull("t", [1])[0].tolist() == fresh


def test_admission_can_be_switched_on_later(wire):
    info = wire.create("t")
    wire.push("t", [1], [[1, 1]])
    info.spec.admission.min_count = 2
    wire.tables.UpdateTable(tables_pb2.UpdateTableRequest(spec=info.spec))
    wire.push("t", [1, 2], [[1, 1], [1, 1]])
    assert wire.pull("t", [1, 2])[1] == [FOUND, NOT_ADMITTED]
    wire.push("t", [2], [[1, 1]])
    assert wire.pull("t", [2])[1] == [FOUND]
