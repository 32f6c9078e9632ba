"""The answers laid out by hand are those that protobuf reads, and their columns can be used in place."""

from __future__ import annotations

import numpy as np
import pytest

from rowbank_protos.v1 import rows_pb2
from rowbank_server.ps.services.encoding import allocate_lookup, allocate_pull


@pytest.mark.parametrize("rows", [0, 1, 15, 16, 1000, 40_000])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint16])
@pytest.mark.parametrize("name", ["u", "us", "use", "user", "ä" * 64])
def test_pull(rows, dtype, name):
    rng = np.random.default_rng(rows)
    tables = [(name, rows, 5), ("other", rows, 1), ("empty", 0, 3)]
    data, room = allocate_pull(tables, np.dtype(dtype))
    assert [array.shape for array in room] == [(rows, 5), (rows,), (rows, 1), (rows,), (0, 3), (0,)]
    for array in room:
        assert array.flags.aligned
        assert array.flags.c_contiguous
        array[...] = rng.integers(1, 100, array.shape)
    expected = [
        rows_pb2.TableRows(table=table, values=room[2 * at].tobytes(), status=room[2 * at + 1].tobytes())
        for at, (table, _, _) in enumerate(tables)
    ]
    assert rows_pb2.PullResponse.FromString(data) == rows_pb2.PullResponse(tables=expected)


def test_pull_of_nothing():
    assert allocate_pull([], np.dtype(np.float32)) == (b"", [])


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 40, 5000])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("with_metadata", [False, True])
def test_lookup(rows, dtype, with_metadata):
    data, *columns = allocate_lookup(rows, 3, np.dtype(dtype), with_metadata=with_metadata)
    assert [column is None for column in columns] == [False, False, not with_metadata, not with_metadata]
    for place, column in enumerate(columns):
        if column is not None:
            assert column.flags.aligned
            column[...] = np.arange(column.size).reshape(column.shape) + place
    expected = rows_pb2.LookupResponse(values=columns[0].tobytes(), found=columns[1].tobytes())
    if with_metadata:
        expected.frequency, expected.last_used = columns[2].tobytes(), columns[3].tobytes()
    assert rows_pb2.LookupResponse.FromString(data) == expected
