"""What the client reads and writes by hand, against protobuf's own classes."""

from __future__ import annotations

import numpy as np
import pytest

from rowbank.calls import wire
from rowbank_protos import columns
from rowbank_protos.v1 import common_pb2, rows_pb2

KEYS = np.array([1, -(2**63), 2**63 - 1], np.int64)
ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)
REQUEST_ID = common_pb2.RequestId(client_id="a", sequence=300)


def test_pull_answers_are_read_as_protobuf_reads_them():
    parts = [
        rows_pb2.TableRows(table="ü" * 200, values=ROWS.tobytes(), status=b"\1\2\3"),
        rows_pb2.TableRows(table="empty"),
    ]
    answer = wire.PullAnswer.FromString(rows_pb2.PullResponse(tables=parts).SerializeToString())
    got = [(part.table, bytes(part.values), bytes(part.status)) for part in answer.tables]
    assert got == [(part.table, part.values, part.status) for part in parts]
    assert wire.PullAnswer.FromString(b"").tables == []


def test_columns_are_views_of_the_answer():
    data = rows_pb2.LookupResponse(values=ROWS.tobytes(), found=b"\1\0\1").SerializeToString()
    answer = wire.LookupAnswer.FromString(data)
    assert answer.values.obj is data
    assert answer.values.readonly
    assert (bytes(answer.values), bytes(answer.found)) == (ROWS.tobytes(), b"\1\0\1")
    assert (bytes(answer.frequency), bytes(answer.last_used)) == (b"", b"")


def test_fields_of_a_later_version_are_skipped():
    """One of each wire type, before and after the fields that are known."""
    unknown = b"\xf8\x01\x96\x01" + b"\xf9\x01" + bytes(8) + b"\xfd\x01" + bytes(4) + b"\xfa\x01\x02xy"
    known = rows_pb2.LookupResponse(values=b"abcd", found=b"\1").SerializeToString()
    answer = wire.LookupAnswer.FromString(unknown + known + unknown)
    assert (bytes(answer.values), bytes(answer.found)) == (b"abcd", b"\1")


def test_lengths_may_be_padded():
    """A number of more bytes than it needs is legal; the server pads lengths so that rows lie aligned."""
    data = b"\x0a\x84\x80\x00abcd"
    assert rows_pb2.LookupResponse.FromString(data).values == b"abcd"
    assert bytes(wire.LookupAnswer.FromString(data).values) == b"abcd"


@pytest.mark.parametrize(
    "data", [b"\x0a", b"\x0a\x05abcd", b"\x0a\x80", b"\x0b", b"\x02\x00", b"\x09abc", b"\x08" + b"\x80" * 10 + b"\x01"]
)
def test_malformed_answers_are_refused(data):
    with pytest.raises(ValueError, match="message: "):
        wire.LookupAnswer.FromString(data)


@pytest.mark.parametrize("length", range(60))
def test_a_cut_answer_is_refused_or_read_as_protobuf_reads_it(length):
    whole = rows_pb2.PullResponse(tables=[rows_pb2.TableRows(table="t", values=bytes(40), status=b"12345")])
    data = whole.SerializeToString()[:length]
    try:
        expected = len(rows_pb2.PullResponse.FromString(data).tables)
    except Exception:
        with pytest.raises(ValueError, match="message: "):
            wire.PullAnswer.FromString(data)
    else:
        assert len(wire.PullAnswer.FromString(data).tables) == expected


@pytest.mark.parametrize("counts", [None, np.array([1, 2, 2**32 - 1], np.uint32)])
@pytest.mark.parametrize("overrides", [(None, None, None), (0.0, 0.5, 2.0)])
def test_pushes_are_written_as_protobuf_writes_them(counts, overrides):
    table = wire.TableGradients("t", KEYS, ROWS, counts, 300, *overrides)
    request = wire.PushMessage(columns.FLOAT32, [table], REQUEST_ID)
    expected = rows_pb2.PushRequest(
        tables=[
            rows_pb2.TableGradients(
                table="t",
                keys=KEYS.tobytes(),
                gradients=ROWS.tobytes(),
                counts=b"" if counts is None else counts.tobytes(),
                step=300,
                **dict(zip(("learning_rate", "clip_value", "max_norm"), overrides, strict=True)),
            )
        ],
        wire_dtype=columns.FLOAT32,
        request_id=REQUEST_ID,
    )
    assert rows_pb2.PushRequest.FromString(request.SerializeToString()) == expected


def test_pushes_of_nothing():
    table = wire.TableGradients("t", KEYS[:0], ROWS[:0], None, 0, None, None, None)
    request = wire.PushMessage(0, [table])
    assert rows_pb2.PushRequest.FromString(request.SerializeToString()) == rows_pb2.PushRequest(
        tables=[rows_pb2.TableGradients(table="t")]
    )


def test_upserts_are_written_as_protobuf_writes_them():
    request = wire.UpsertMessage("t", KEYS, ROWS, columns.FLOAT32, REQUEST_ID)
    assert rows_pb2.UpsertRequest.FromString(request.SerializeToString()) == rows_pb2.UpsertRequest(
        table="t", keys=KEYS.tobytes(), values=ROWS.tobytes(), wire_dtype=columns.FLOAT32, request_id=REQUEST_ID
    )


def test_stores_are_written_as_protobuf_writes_them():
    tables = [wire.TableStore("t", KEYS, ROWS, b"\1\0", True), wire.TableStore("u", KEYS, ROWS, None, False)]
    request = wire.StoreMessage(tables, columns.FLOAT32, REQUEST_ID)
    expected = [
        rows_pb2.TableStore(table="t", keys=KEYS.tobytes(), values=ROWS.tobytes(), exists=b"\1\0", touch=True),
        rows_pb2.TableStore(table="u", keys=KEYS.tobytes(), values=ROWS.tobytes()),
    ]
    assert rows_pb2.StoreRequest.FromString(request.SerializeToString()) == rows_pb2.StoreRequest(
        tables=expected, wire_dtype=columns.FLOAT32, request_id=REQUEST_ID
    )
