"""Pushes read without copies are what protobuf reads, and a client's gradients are used where they lie."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf.message import DecodeError

from rowbank.calls import wire
from rowbank.errors import InvalidRequest, RequestTooLarge
from rowbank_protos.fields import varint
from rowbank_protos.v1 import common_pb2, rows_pb2
from rowbank_server.journal.records import Kind
from rowbank_server.ps.decoding import decode
from rowbank_server.ps.decoding.push_request import PushRequest

FULL = rows_pb2.PushRequest(
    tables=[
        rows_pb2.TableGradients(
            table="ü", keys=b"12345678", gradients=b"abcd", counts=b"wxyz", step=2**64 - 1, learning_rate=0.5
        ),
        rows_pb2.TableGradients(table="b", clip_value=0.0, max_norm=2.0),
        rows_pb2.TableGradients(),
    ],
    wire_dtype=common_pb2.DATA_TYPE_FLOAT16,
    request_id=common_pb2.RequestId(client_id="me", sequence=300),
)


def optional(part, name):
    return getattr(part, name) if part.HasField(name) else None


def as_protobuf_reads(request):
    overrides = ("learning_rate", "clip_value", "max_norm")
    tables = [
        (part.table, part.keys, part.gradients, part.counts, part.step, *(optional(part, name) for name in overrides))
        for part in request.tables
    ]
    return tables, request.wire_dtype, request.request_id


def as_we_read(request):
    tables = []
    for part in request.tables:
        columns = bytes(part.keys), bytes(part.gradients), bytes(part.counts)
        tables.append((part.table, *columns, part.step, part.learning_rate, part.clip_value, part.max_norm))
    return tables, request.wire_dtype, request.request_id


@pytest.mark.parametrize("request_", [FULL, rows_pb2.PushRequest(), rows_pb2.PushRequest(wire_dtype=7)])
def test_requests_are_read_as_protobuf_reads_them(request_):
    data = request_.SerializeToString()
    # Twice the same message is one message of which the last fields count.
    for sent in (data, data + data, b"\xf8\x01\x96\x01" + data + b"\xfa\x01\x02xy"):
        assert as_we_read(PushRequest.FromString(sent)) == as_protobuf_reads(rows_pb2.PushRequest.FromString(sent))


def test_a_cut_request_is_refused_or_read_as_protobuf_reads_it():
    whole = FULL.SerializeToString()
    for length in range(len(whole)):
        data = whole[:length]
        try:
            expected = as_protobuf_reads(rows_pb2.PushRequest.FromString(data))
        except DecodeError:
            with pytest.raises(InvalidRequest, match=r"rowbank\.v1\.PushRequest"):
                decode.parse(Kind.PUSH, data)
        else:
            assert as_we_read(decode.parse(Kind.PUSH, data)) == expected


@pytest.mark.parametrize("data", [b"\x0a\x03\x0a\x01\xff", b"\x0a\x02\x0a", b"\x1a\x01\x0a", b"no message"])
def test_what_is_no_request_is_refused(data):
    with pytest.raises(DecodeError):
        rows_pb2.PushRequest.FromString(data)
    with pytest.raises(InvalidRequest, match=r"rowbank\.v1\.PushRequest"):
        decode.parse(Kind.PUSH, data)


@pytest.mark.parametrize("field", [b"\x78\x00", b"\x0a\x00"], ids=["unknown", "table"])
def test_megabytes_of_empty_fields_are_refused_before_they_are_read(field):
    most = 1 << 17
    decode.parse(Kind.PUSH, field * most)
    for data in (field * (most + 1), b"\x0a" + varint(2 * most) + field * most):
        with pytest.raises(RequestTooLarge, match=f"at most {most} fields"):
            decode.parse(Kind.PUSH, data)


@pytest.mark.parametrize("rows", [0, 1, 31, 3000])
@pytest.mark.parametrize("name", ["u", "us", "use", "user"])
def test_gradients_of_a_client_are_aligned_views(name, rows):
    keys, counts = np.arange(rows), np.ones(rows, np.uint32)
    gradients = np.full((rows, 3), 0.5, np.float32)
    tables = [
        wire.TableGradients(name, keys, gradients, counts, 7, 0.5, None, None),
        wire.TableGradients("other", keys, gradients, None, 0, None, None, None),
    ]
    data = wire.PushMessage(1, tables).SerializeToString()
    read = PushRequest.FromString(data)
    assert as_we_read(read) == as_protobuf_reads(rows_pb2.PushRequest.FromString(data))
    for part in read.tables:
        assert bytes(part.gradients) == gradients.tobytes()
        if rows:
            assert part.gradients.obj is data
            assert np.frombuffer(part.gradients, "<f4").flags.aligned
