"""AdminService: what operators see and do."""

from __future__ import annotations

import numpy as np
import pytest
from tests.server.support import adam, constant, i64, refused, uniform

from rowbank.errors import InvalidRequest, TableNotFound
from rowbank_protos.v1 import admin_pb2, rows_pb2

FREQUENCY, LAST_USED = admin_pb2.SCORE_FREQUENCY, admin_pb2.SCORE_LAST_USED
RESTRICT, MANUAL = admin_pb2.EVICTION_REASON_RESTRICT, admin_pb2.EVICTION_REASON_MANUAL


@pytest.fixture
def table(wire, table_name):
    """Key k of 1..10 was pushed k times."""
    wire.create(table_name, initializer=constant(0.5))
    for least in range(1, 11):
        keys = list(range(least, 11))
        wire.push(table_name, keys, np.ones((len(keys), 2)))
    return table_name


def keys_of(column: bytes) -> list[int]:
    return np.frombuffer(column, "<i8").tolist()


def events(wire, table, limit=0):
    return wire.admin.ListEvictions(admin_pb2.ListEvictionsRequest(table=table, limit=limit)).events


def test_restrict_keeps_exactly_the_most_frequent(wire, table):
    request = admin_pb2.RestrictRequest(table=table, num_reserved=6, sample_keys=3)
    preview = wire.admin.PreviewEviction(request)
    assert wire.size(table) == 10
    assert not events(wire, table)
    report = wire.admin.Restrict(request)
    assert (report.rows_before, report.rows_after, report.evicted, report.score_cut) == (10, 6, 4, 4.0)
    assert keys_of(report.sample) == [1, 2, 3]
    for one in (preview, report):
        one.duration_ms = 0
    assert preview == report
    answer = wire.rows.Lookup(rows_pb2.LookupRequest(table=table, keys=i64(*range(1, 11))))
    assert list(answer.found) == [0] * 4 + [1] * 6


def test_restrict_waits_for_its_trigger(wire, table):
    for trigger in (10, 11):
        answer = wire.admin.Restrict(admin_pb2.RestrictRequest(table=table, num_reserved=2, trigger=trigger))
        assert (answer.evicted, answer.rows_after) == (0, 10)
    assert wire.admin.Restrict(admin_pb2.RestrictRequest(table=table, num_reserved=2, trigger=9)).rows_after == 2
    with refused(InvalidRequest, "trigger", "num_reserved = 5"):
        wire.admin.Restrict(admin_pb2.RestrictRequest(table=table, num_reserved=5, trigger=4))


def test_evictions_are_listed_newest_first(wire, table):
    wire.admin.Restrict(admin_pb2.RestrictRequest(table=table, num_reserved=8))
    wire.admin.Restrict(admin_pb2.RestrictRequest(table=table, num_reserved=0, reason=MANUAL, score=LAST_USED))
    newest, oldest = events(wire, table)
    assert (newest.reason, newest.rows, newest.rows_left) == (MANUAL, 8, 0)
    assert (oldest.reason, oldest.rows, oldest.rows_left, oldest.score_cut) == (RESTRICT, 2, 8, 2.0)
    assert (oldest.table, oldest.shard) == (table, 0)
    assert newest.at_ms >= oldest.at_ms > 1_700_000_000_000
    assert list(events(wire, table, limit=1)) == [newest]
    assert newest in events(wire, "")
    with refused(InvalidRequest, "reason"):
        wire.admin.Restrict(admin_pb2.RestrictRequest(table=table, reason=admin_pb2.EVICTION_REASON_TTL))


def test_stats_count_rows(wire, table):
    wire.pull(table, [1, 2, 99])
    wire.rows.Remove(rows_pb2.RemoveRequest(table=table, keys=i64(1)))
    wire.admin.Restrict(admin_pb2.RestrictRequest(table=table, num_reserved=7))
    answer = wire.admin.GetStats(admin_pb2.GetStatsRequest(table=table))
    (stats,) = answer.tables
    assert (stats.rows, stats.dim, stats.step) == (7, 2, 10)
    assert (stats.pulled_rows, stats.pulled_found, stats.pulled_initialized) == (3, 2, 1)
    assert (stats.pushed_rows, stats.inserted_rows, stats.removed_rows, stats.evicted_rows) == (55, 10, 1, 2)
    assert stats.payload_bytes == 7 * 2 * 4
    assert stats.bytes > 0
    assert (answer.shard, answer.shard_count, answer.redis_connected) == (0, 1, True)
    assert table in [one.table for one in wire.admin.GetStats(admin_pb2.GetStatsRequest()).tables]
    with refused(TableNotFound, "no-such"):
        wire.admin.GetStats(admin_pb2.GetStatsRequest(table="no-such"))


def test_flush_leaves_nothing_dirty(wire, table):
    wire.admin.Flush(admin_pb2.FlushRequest())
    (stats,) = wire.admin.GetStats(admin_pb2.GetStatsRequest(table=table)).tables
    assert stats.dirty_rows == 0
    assert stats.last_write_back_s > 1_700_000_000


def test_row_is_described_with_its_optimizer_state(wire, table_name):
    wire.create(table_name, dim=3, optimizer=adam(), initializer=uniform())
    unseen = wire.admin.DescribeRow(admin_pb2.DescribeRowRequest(table=table_name, key=5))
    assert not unseen.found
    assert unseen.values == wire.pull(table_name, [5], dim=3)[0].tobytes()
    wire.push(table_name, [5], [[1, 2, 3]])
    row = wire.admin.DescribeRow(admin_pb2.DescribeRowRequest(table=table_name, key=5))
    assert row.found
    assert row.values == wire.pull(table_name, [5], dim=3)[0].tobytes()
    assert (row.frequency, row.score, row.shard, row.bucket) == (1, 1.0, 0, unseen.bucket)
    moments = {name: np.frombuffer(slot, "<f4") for name, slot in row.slots.items()}
    assert set(moments) == {"m", "v"}
    np.testing.assert_allclose(moments["m"], [0.1, 0.2, 0.3], rtol=1e-6)
    np.testing.assert_allclose(moments["v"], [0.001, 0.004, 0.009], rtol=1e-4)


def test_top_rows_come_best_first(wire, table):
    answer = wire.admin.TopRows(admin_pb2.TopRowsRequest(table=table, limit=3))
    assert keys_of(answer.keys) == [10, 9, 8]
    assert np.frombuffer(answer.frequency, "<u4").tolist() == [10, 9, 8]
    assert len(np.frombuffer(answer.last_used, "<u4")) == 3
    assert len(keys_of(wire.admin.TopRows(admin_pb2.TopRowsRequest(table=table)).keys)) == 10
    with refused(InvalidRequest, "score"):
        wire.admin.TopRows(admin_pb2.TopRowsRequest(table=table, score=9))


def test_server_says_who_it_is(wire):
    info = wire.admin.GetServerInfo(admin_pb2.GetServerInfoRequest())
    assert (info.namespace, info.shard, info.shard_count, info.bucket_count) == ("shared", 0, 1, 256)
    assert (info.max_keys_per_request, info.max_message_bytes) == (1_000_000, 64 << 20)
    assert len(info.server_id) == 32
    assert info.version


def test_health_and_reflection(wire):
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    assert wire.serving()
    assert wire.serving("rowbank.v1.RowService")
    stub = reflection_pb2_grpc.ServerReflectionStub(wire.channel)
    (answer,) = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="*")]))
    names = {service.name for service in answer.list_services_response.service}
    assert {"rowbank.v1.RowService", "rowbank.v1.TableService", "grpc.health.v1.Health"} <= names
