"""Bad requests get a clear error and change nothing at all."""

from __future__ import annotations

import numpy as np
import pytest
from tests.server.support import f32, i64, refused

from rowbank.errors import (
    DimMismatch,
    InvalidRequest,
    NonFiniteGradient,
    RequestTooLarge,
    TableNotFound,
)
from rowbank_protos.columns import bfloat16_bits
from rowbank_protos.v1 import common_pb2, rows_pb2

FLOAT16, BFLOAT16 = common_pb2.DATA_TYPE_FLOAT16, common_pb2.DATA_TYPE_BFLOAT16
ONE_ROW = f32([[1, 1]])


@pytest.fixture
def wire(either_wire):
    """Both endpoints answer alike."""
    return either_wire


@pytest.fixture
def table(wire, table_name):
    """A table of dim 2 with one row; it must be the same after every refusal."""
    wire.create(table_name)
    wire.push(table_name, [1], [[1, 1]])
    yield table_name
    values, status = wire.pull(table_name, [1])
    assert values.tolist() == [[-1, -1]]
    assert status == [common_pb2.ROW_STATUS_FOUND]
    assert wire.size(table_name) == 1


def push(wire, table, wire_dtype=0, **fields):
    part = rows_pb2.TableGradients(**{"table": table, "keys": i64(1), "gradients": ONE_ROW, **fields})
    return wire.rows.Push(rows_pb2.PushRequest(tables=[part], wire_dtype=wire_dtype))


def test_unknown_table(wire):
    keys = rows_pb2.TableKeys(table="no-such", keys=i64(1))
    with refused(TableNotFound, "'no-such'"):
        wire.rows.Pull(rows_pb2.PullRequest(tables=[keys]))
    with refused(TableNotFound, "'no-such'"):
        push(wire, "no-such")
    for verb, request in (
        (wire.rows.Lookup, rows_pb2.LookupRequest(table="no-such")),
        (wire.rows.Upsert, rows_pb2.UpsertRequest(table="no-such")),
        (wire.rows.Accumulate, rows_pb2.AccumulateRequest(table="no-such")),
        (wire.rows.Remove, rows_pb2.RemoveRequest(table="no-such")),
        (wire.rows.Clear, rows_pb2.ClearRequest(table="no-such")),
        (wire.rows.Size, rows_pb2.SizeRequest(table="no-such")),
        (wire.rows.Touch, rows_pb2.TouchRequest(table="no-such")),
    ):
        with refused(TableNotFound, "'no-such'"):
            verb(request)
    with refused(TableNotFound, "'no-such'"):
        list(wire.rows.Export(rows_pb2.ExportRequest(table="no-such")))
    with refused(TableNotFound, "'no-such'"):
        wire.rows.Import(iter([rows_pb2.ImportRequest(table="no-such")]))


def test_a_push_names_each_table_once(wire, table):
    part = rows_pb2.TableGradients(table=table, keys=i64(1), gradients=ONE_ROW)
    with refused(InvalidRequest, repr(table), "twice"):
        wire.rows.Push(rows_pb2.PushRequest(tables=[part, part]))


def test_catalog_counters_are_no_tables(wire):
    with refused(TableNotFound, "#generation"):
        wire.size("#generation")


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"keys": b"\0" * 9}, InvalidRequest, ("keys", "multiple of 8", "got 9")),
        ({"gradients": f32([1, 2, 3])}, DimMismatch, ("expected 1 rows of dim 2", "got dim 3")),
        ({"gradients": b""}, DimMismatch, ("dim 2", "got dim 0")),
        ({"gradients": b"\0" * 7}, InvalidRequest, ("gradients", "1 x 2 float32 = 8 bytes", "got 7")),
        ({"wire_dtype": FLOAT16}, DimMismatch, ("got dim 4",)),
        ({"wire_dtype": 9}, InvalidRequest, ("data type", "got 9")),
        ({"keys": b""}, InvalidRequest, ("0 x 2 float32 = 0 bytes", "got 8")),
        ({"counts": b"\0" * 8}, InvalidRequest, ("counts", "1 x uint32 = 4 bytes", "got 8")),
        ({"gradients": f32([[1, np.nan]])}, NonFiniteGradient, ("row 0 (key 1)", "nothing was applied")),
        ({"gradients": f32([[-np.inf, 1]])}, NonFiniteGradient, ("1 of 1 rows",)),
        ({"learning_rate": -1.0}, InvalidRequest, ("learning_rate", "at least 0", "got -1")),
        ({"learning_rate": float("nan")}, InvalidRequest, ("learning_rate", "finite")),
        ({"clip_value": -1.0}, InvalidRequest, ("clip_value",)),
        ({"max_norm": float("inf")}, InvalidRequest, ("max_norm",)),
    ],
)
def test_push(wire, table, fields, error, words):
    with refused(error, repr(table), *words):
        push(wire, table, **fields)


@pytest.mark.parametrize("wire_dtype", [FLOAT16, BFLOAT16])
def test_narrow_gradients_that_are_not_finite(wire, table, wire_dtype):
    gradients = np.array([[1, 1], [1, np.inf]], np.float32)
    narrow = gradients.astype("<f2") if wire_dtype == FLOAT16 else bfloat16_bits(gradients)
    with refused(NonFiniteGradient, "row 1 (key 2)"):
        push(wire, table, wire_dtype, keys=i64(1, 2), gradients=narrow.tobytes())


def test_one_bad_table_of_a_fused_push_stops_all(wire, table, table_name):
    good = table_name + "-good"
    wire.create(good)
    parts = [
        rows_pb2.TableGradients(table=good, keys=i64(1), gradients=ONE_ROW),
        rows_pb2.TableGradients(table=table, keys=i64(1, 2), gradients=f32([[1, 1], [1, np.nan]])),
    ]
    with refused(NonFiniteGradient, repr(table), "row 1 (key 2)"):
        wire.rows.Push(rows_pb2.PushRequest(tables=parts))
    parts[1].table = "no-such"
    with refused(TableNotFound):
        wire.rows.Push(rows_pb2.PushRequest(tables=parts))
    assert wire.size(good) == 0
    assert list(push(wire, good).steps) == [1]


def test_other_verbs(wire, table):
    two = i64(1, 2)
    with refused(DimMismatch, "values", "got dim 1"):
        wire.rows.Upsert(rows_pb2.UpsertRequest(table=table, keys=two, values=ONE_ROW))
    with refused(NonFiniteGradient, "values", "row 0"):
        wire.rows.Upsert(rows_pb2.UpsertRequest(table=table, keys=i64(1), values=f32([[np.nan, 1]])))
    with refused(InvalidRequest, "exists", "2 x uint8"):
        wire.rows.Accumulate(rows_pb2.AccumulateRequest(table=table, keys=two, deltas=f32([[1, 1]] * 2), exists=b"\1"))
    with refused(InvalidRequest, "exists", "0 or 1", "got 7"):
        request = rows_pb2.AccumulateRequest(table=table, keys=two, deltas=f32([[1, 1]] * 2), exists=b"\1\7")
        wire.rows.Accumulate(request)
    with refused(InvalidRequest, "keys", "got 3"):
        wire.rows.Remove(rows_pb2.RemoveRequest(table=table, keys=b"abc"))
    with refused(InvalidRequest, "counts"):
        wire.rows.Touch(rows_pb2.TouchRequest(table=table, keys=two, counts=b"\1\0\0\0"))
    with refused(InvalidRequest, "wire_dtype", "got 7"):
        wire.rows.Lookup(rows_pb2.LookupRequest(table=table, keys=two, wire_dtype=7))


def test_import(wire, table, table_name):
    def refuse(error, *words, **fields):
        with refused(error, *words):
            request = rows_pb2.ImportRequest(**{"table": table, "keys": i64(1), "values": ONE_ROW, **fields})
            wire.rows.Import(iter([request]))

    refuse(DimMismatch, "got dim 1", values=f32([1]))
    refuse(DimMismatch, "slot_width", "expected 0, got 4", slots=f32([1] * 4), slot_width=4)
    refuse(InvalidRequest, "frequency", frequency=b"\1")
    refuse(NonFiniteGradient, "values", values=f32([[np.inf, 0]]))
    other = table_name + "-other"
    wire.create(other)
    with refused(InvalidRequest, "one stream is for one table"):
        empty = [rows_pb2.ImportRequest(table=name) for name in (table, other)]
        wire.rows.Import(iter(empty))


@pytest.mark.parametrize("native", [False, True])
def test_too_many_keys(connect, start_ps, native):
    """The limit counts all tables of a request, and the message says which setting it is."""
    wire = connect(start_ps("--max-keys-per-request", "4").target, native=native)
    wire.create("t")
    wire.push("t", [1, 2, 3, 4], np.ones((4, 2)))
    keys = [rows_pb2.TableKeys(table="t", keys=i64(1, 2, 3))] * 2
    with refused(RequestTooLarge, "at most 4", "max_keys_per_request", "got 6"):
        wire.rows.Pull(rows_pb2.PullRequest(tables=keys))
    with refused(RequestTooLarge, "got 5"):
        wire.push("t", [1, 2, 3, 4, 5], np.ones((5, 2)))
    with refused(RequestTooLarge, "got 5"):
        wire.rows.Import(iter([rows_pb2.ImportRequest(table="t", keys=i64(*range(5)), values=f32([[1, 1]] * 5))]))
    for verb, request in ((wire.rows.Lookup, rows_pb2.LookupRequest), (wire.rows.Remove, rows_pb2.RemoveRequest)):
        with refused(RequestTooLarge, "got 5"):
            verb(request(table="t", keys=i64(*range(5))))
    assert wire.size("t") == 4


@pytest.mark.parametrize("native", [False, True])
def test_a_message_beyond_the_limit_is_refused_by_the_transport(connect, start_ps, native):
    wire = connect(start_ps("--max-message-bytes", "65536").target, native=native)
    wire.create("t")
    with refused(RequestTooLarge, "65536", "max_message_bytes"):  # The request, then the answer.
        wire.pull("t", list(range(9000)))
    with refused(RequestTooLarge, "69632", "max_message_bytes"):  # A sixteenth more, for a record beside its request.
        wire.pull("t", list(range(8100)))


@pytest.mark.parametrize("native", [False, True])
def test_messages_that_are_none_use_up_nothing(connect, start_ps, native):
    """More of them than a connection may have streams, and then a good one."""
    wire = connect(start_ps("--max-streams-per-connection", "8").target, native=native)
    wire.create("t")
    channel = wire.native_channel if native else wire.channel
    for name in ("Pull", "Lookup", "Size", "Push") * 5:
        with refused(InvalidRequest):
            channel.unary_unary(f"/rowbank.v1.RowService/{name}")(b"\xff\xff\xff", timeout=30)
    assert wire.size("t") == 0
