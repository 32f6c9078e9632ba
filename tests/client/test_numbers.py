"""Every number that a call takes: what it cannot be is an error of ours that names it, before anything is sent."""

from __future__ import annotations

import numpy as np
import pytest

from rowbank import SGD, Client, ExportChunk, TableSpec
from rowbank.errors import RequestError
from rowbank.workers import WorkerGroup

WRONG = [
    2**70, -(2**70), 10**400, 10**5000, float("nan"), float("inf"), -1, np.int64(-1), "x", [1], object(),
]  # fmt: skip


@pytest.fixture(scope="module")
def table(client):
    table = client.create_table(TableSpec("numbers", dim=2, optimizer=SGD(1.0)))
    table.upsert([1], [[1.0, 1.0]])
    return table


def _chunk(frequency, last_used):
    return ExportChunk(np.array([1]), np.zeros((1, 2), np.float32), np.array([frequency]), np.array([last_used]), None)


CALLS = {
    "num_reserved": lambda table, wrong: table.preview_eviction(wrong),
    "trigger": lambda table, wrong: table.restrict(0, trigger=wrong),
    "sample": lambda table, wrong: table.preview_eviction(1, sample=wrong),
    "limit": lambda table, wrong: table.top(wrong),
    "chunk_rows": lambda table, wrong: list(table.export(chunk_rows=wrong)),
    "timeout_s": lambda table, wrong: list(table.export(timeout_s=wrong)),
    "import step": lambda table, wrong: table.import_rows([], step=wrong),
    "push step": lambda table, wrong: table.push([1], [[0.0, 0.0]], step=wrong),
    "learning_rate": lambda table, wrong: table.push([1], [[0.0, 0.0]], learning_rate=wrong),
    "clip_value": lambda table, wrong: table.push([1], [[0.0, 0.0]], clip_value=wrong),
    "max_norm": lambda table, wrong: table.push([1], [[0.0, 0.0]], max_norm=wrong),
    "push counts": lambda table, wrong: table.push([1], [[0.0, 0.0]], counts=[wrong]),
    "touch counts": lambda table, wrong: table.touch([1], counts=[wrong]),
    "import frequency": lambda table, wrong: table.import_rows([_chunk(wrong, 1)]),
    "import last_used": lambda table, wrong: table.import_rows([_chunk(1, wrong)]),
    "evictions limit": lambda table, wrong: table._client.evictions(limit=wrong),
    "hold ttl_s": lambda table, wrong: table._client.hold_tables("h", ["numbers"], ttl_s=wrong).close(),
    "max_keys_per_call": lambda table, wrong: Client("127.0.0.1:1", max_keys_per_call=wrong),
    "client timeout_s": lambda table, wrong: Client("127.0.0.1:1", timeout_s=wrong),
    "connect_timeout_s": lambda table, wrong: Client("127.0.0.1:1", connect_timeout_s=wrong),
    "max_staleness_steps": lambda table, wrong: WorkerGroup(table._client, "g", "w", max_staleness_steps=wrong),
    "size": lambda table, wrong: WorkerGroup(table._client, "g", "w", max_staleness_steps=1, size=wrong),
    "step": lambda table, wrong: WorkerGroup(table._client, "g", "w", max_staleness_steps=1, step=wrong),
    "lease_s": lambda table, wrong: WorkerGroup(table._client, "g", "w", max_staleness_steps=1, lease_s=wrong),
    "half life": lambda table, wrong: TableSpec("t", dim=2, frequency_half_life_s=wrong),
    "dim": lambda table, wrong: TableSpec("t", dim=wrong),
    "optimizer": lambda table, wrong: SGD(wrong),
}


LARGE_IS_FINE = {"half life", "optimizer", "learning_rate", "clip_value", "max_norm"}  # They are floats.


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: type(wrong).__name__)
@pytest.mark.parametrize("call", CALLS)
def test_what_a_number_cannot_be_is_refused(table, call, wrong):
    if call in LARGE_IS_FINE and wrong == 2**70:
        CALLS[call](table, wrong)
        return
    with pytest.raises(RequestError) as raised:
        CALLS[call](table, wrong)
    assert raised.value.code.name == "INVALID_ARGUMENT", raised.value
    assert len(str(raised.value)) < 300
    assert table.lookup([1]).values.tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize("call", ["limit", "chunk_rows", "sample", "size", "evictions limit"])
def test_what_travels_as_32_bits_says_so(table, call):
    with pytest.raises(RequestError, match=r"expected an integer of at most 2\*\*32 - 1.*, got 4294967296"):
        CALLS[call](table, 2**32)


def test_numbers_of_numpy_are_numbers(table):
    assert table.preview_eviction(np.int64(1), trigger=np.uint32(1), sample=np.int8(0)).evicted == 0
    assert table.top(np.int32(3)).keys.tolist() == [1]
    assert table.push([5], [[0.0, 0.0]], step=np.int64(7), learning_rate=np.float32(0.5)) == 7
    assert table.remove([5]) == 1
