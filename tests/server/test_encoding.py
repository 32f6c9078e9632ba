"""The answers written by hand are what protobuf would have written."""

from __future__ import annotations

import numpy as np
import pytest

from rowbank_protos.v1 import rows_pb2
from rowbank_server.ps.encoding import encode_lookup, encode_pull


@pytest.mark.parametrize("rows", [0, 1, 15, 16, 1000, 40_000])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint16])
def test_pull(rows, dtype):
    rng = np.random.default_rng(rows)
    tables = [
        (name, rng.integers(0, 100, (rows, dim)).astype(dtype), rng.integers(1, 4, rows).astype(np.uint8))
        for name, dim in (("user", 5), ("ä" * 64, 1))
    ]
    message = rows_pb2.PullResponse(
        tables=[
            rows_pb2.TableRows(table=name, values=values.tobytes(), status=status.tobytes())
            for name, values, status in tables
        ]
    )
    assert encode_pull(tables) == message.SerializeToString()


def test_pull_of_nothing():
    assert encode_pull([]) == b""


@pytest.mark.parametrize("rows", [0, 3, 5000])
@pytest.mark.parametrize("with_metadata", [False, True])
def test_lookup(rows, with_metadata):
    values = np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)
    found = np.ones(rows, np.uint8)
    frequency, last_used = np.arange(rows, dtype=np.uint32), np.full(rows, 7, np.uint32)
    message = rows_pb2.LookupResponse(values=values.tobytes(), found=found.tobytes())
    if with_metadata:
        message.frequency, message.last_used = frequency.tobytes(), last_used.tobytes()
    metadata = (frequency, last_used) if with_metadata else (None, None)
    assert encode_lookup(values, found, *metadata) == message.SerializeToString()
