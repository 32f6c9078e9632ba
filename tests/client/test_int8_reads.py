"""Rows that travel as int8 with a scale per row: how far off they are, at both endpoints, and what is refused."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
from tests.server.support import i64

from rowbank import Client, TableSpec, errors
from rowbank._without_native import widen_int8
from rowbank_protos import columns
from rowbank_protos.v1 import rows_pb2, rows_pb2_grpc, tables_pb2, tables_pb2_grpc

KEYS = np.arange(200, dtype=np.int64)


def rows_of(seed: int, dim: int) -> np.ndarray:
    """Rows of very different sizes, one of zeros, one next to nothing, one whose largest is negative."""
    print(f"seed {seed}")
    random = np.random.default_rng(seed)
    rows = (random.standard_normal((200, dim)) * 10.0 ** random.uniform(-6, 6, (200, 1))).astype(np.float32)
    rows[0] = 0.0
    rows[1] = 1e-35
    rows[2] = -np.abs(rows[2])
    return rows


def packed(rows: np.ndarray) -> np.ndarray:
    """What the documentation says, in float64: [N, 4 + dim] bytes."""
    largest = np.abs(rows).max(axis=1, keepdims=True)
    inverse = np.where(largest < 1e-30, np.float32(0.0), np.float32(127.0) / np.maximum(largest, np.float32(1e-30)))
    values = np.rint(rows * inverse).astype(np.int8)
    scales = np.where(largest < 1e-30, np.float32(0.0), largest / np.float32(127.0)).astype("<f4")
    return np.concatenate([scales.view(np.uint8).reshape(-1, 4), values.view(np.uint8)], axis=1)


@pytest.mark.parametrize("dim", [1, 7, 64])
@pytest.mark.parametrize("stored", ["float32", "float16", "bfloat16"])
def test_values_are_off_by_a_254th_of_their_rows_largest_at_most(client, table_name, dim, stored):
    rows = rows_of(3, dim) if stored != "float16" else np.clip(rows_of(3, dim), -6e4, 6e4)
    table = client.create_table(TableSpec(table_name, dim=dim, value_dtype=stored))
    table.upsert(KEYS, rows)
    exact = table.lookup(KEYS).values
    keys = np.concatenate([KEYS[::-1], KEYS[:5]])
    for read in (
        table.pull(keys, dtype="int8"),
        table.lookup(keys, dtype="int8").values,
        table.lookup(keys, dtype="int8", with_metadata=True).values,
        client.pull({table_name: keys}, dtype="int8")[table_name],
        client.lookup({table_name: keys}, dtype="int8")[table_name].values,
    ):
        assert read.dtype == np.float32
        largest = np.abs(exact[keys]).max(axis=1, keepdims=True)
        assert (np.abs(read - exact[keys]) <= np.maximum(largest / 253.9, 1e-30)).all()
        assert read.tobytes() == columns.int8_to_float32(packed(exact[keys])).tobytes()


def test_absent_keys_read_as_ever(client, table_name):
    table = client.create_table(TableSpec(table_name, dim=5))
    table.upsert([1], np.ones((1, 5), np.float32))
    read = table.lookup([1, 2], dtype="int8")
    assert read.found.tolist() == [True, False]
    np.testing.assert_allclose(read.values, [[1.0] * 5, [0.0] * 5], rtol=1e-6)
    initial = table.pull([2])
    np.testing.assert_allclose(table.pull([2], dtype="int8"), initial, atol=float(np.abs(initial).max()) / 253.9)
    assert table.pull(np.empty((0, 3), np.int64), dtype="int8").shape == (0, 3, 5)


def test_other_types_of_one_read(client, table_name):
    table = client.create_table(TableSpec(table_name, dim=3))
    rows = np.array([[0.1, 1.0003, -7.77]], np.float32)
    table.upsert([1], rows)
    assert table.pull([1], dtype="float32").tobytes() == rows.tobytes()
    assert table.lookup([1], dtype="float16").values.tobytes() == rows.astype(np.float16).astype(np.float32).tobytes()
    wanted = "dtype: data type: expected one of float32, float16, bfloat16, int8, got 'int4'"
    for read in (table.pull, table.lookup):
        with pytest.raises(errors.InvalidRequest, match=wanted):
            read([1], dtype="int4")


def test_a_near_cache_keeps_none_of_them(target, table_name):
    with Client(target, near_cache_bytes=1_000_000, max_staleness_steps=3) as client:
        table = client.create_table(TableSpec(table_name, dim=3))
        rows = np.array([[0.1, 1.0003, -7.77]], np.float32)
        table.upsert([1], rows)
        table.pull([1], dtype="int8")
        assert table.pull([1]).tobytes() == rows.tobytes()
        assert client.near_cache()[table_name].hits == 0


def test_two_shards_and_splits(two_shards, table_name):
    with Client(two_shards) as client:
        table = client.create_table(TableSpec(table_name, dim=4))
        rows = rows_of(5, 4)
        table.upsert(KEYS, rows)
        assert table.pull(KEYS, dtype="int8").tobytes() == columns.int8_to_float32(packed(rows)).tobytes()


def test_both_ways_to_widen_are_the_same():
    rows = packed(rows_of(9, 13))
    out = np.empty((200, 13), np.float32)
    widen_int8(rows, out)
    assert out.tobytes() == columns.int8_to_float32(rows).tobytes()


def test_nobody_writes_or_stores_int8(target, client, table_name):
    client.create_table(TableSpec(table_name, dim=2))
    with grpc.insecure_channel(target) as channel:
        rows, tables = rows_pb2_grpc.RowServiceStub(channel), tables_pb2_grpc.TableServiceStub(channel)
        part = rows_pb2.TableGradients(table=table_name, keys=i64(1), gradients=b"\0" * 6)
        spec = tables_pb2.TableSpec(name=table_name + "-8", dim=2, value_dtype=columns.INT8)
        for call in (
            lambda: rows.Push(rows_pb2.PushRequest(tables=[part], wire_dtype=columns.INT8)),
            lambda: rows.Upsert(
                rows_pb2.UpsertRequest(table=table_name, keys=i64(1), values=b"\0" * 6, wire_dtype=columns.INT8)
            ),
            lambda: tables.CreateTable(tables_pb2.CreateTableRequest(spec=spec)),
        ):
            with pytest.raises(grpc.RpcError) as raised:
                call()
            assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert client.table(table_name).size() == 0
