"""A picture of a table at one moment, while it goes on changing."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from rowbank_server import _core

BUCKETS = 16
DIM = 3


def make(**options):
    return _core.RowTable(
        name="frozen",
        dim=DIM,
        value_dtype="float32",
        initializer=_core.Initializer("zeros"),
        optimizer=_core.Optimizer("adam", learning_rate=0.1),
        bucket_count=BUCKETS,
        **options,
    )


def filled(rows=300):
    table = make()
    keys = np.arange(rows) - rows // 2
    values = np.repeat(keys, DIM).reshape(-1, DIM).astype(np.float32)
    table.import_rows(
        keys,
        values,
        np.arange(rows, dtype=np.uint32),
        np.arange(rows, dtype=np.uint32) + 100,
        np.random.default_rng(1).random((rows, table.slot_width), np.float32),
        now=1,
    )
    return table, keys


def content(export):
    rows = {}
    for bucket in range(BUCKETS):
        part = export(bucket, with_slots=True)
        columns = zip(part.keys, part.values, part.frequency, part.last_used, part.slots, strict=True)
        for key, values, frequency, last_used, slots in columns:
            assert int(key) not in rows
            rows[int(key)] = (values.tobytes(), int(frequency), int(last_used), slots.tobytes())
    return rows


def every_change(table, keys):
    """Everything that changes, adds or removes rows; each on keys of its own, and all again on some."""
    for part in (keys, keys[:10]):
        own = [np.ascontiguousarray(part[start::7]) for start in range(6)]
        ones = np.ones((len(part), DIM), np.float32)
        table.push(own[0], ones[: len(own[0])], None, step=1, now=9000)
        table.upsert(own[1], ones[: len(own[1])], now=9000)
        table.accumulate(own[2], ones[: len(own[2])], np.ones(len(own[2]), np.uint8), now=9000)
        table.touch(own[3], None, now=9000)
        table.remove(own[4])
        table.import_rows(own[5], ones[: len(own[5])], now=9000)
    table.restrict(100, 100, score="last_used", now=9000)
    table.expire(ttl_s=10.0, now=9500, budget_ms=1000.0)
    new = np.arange(10_000, 10_500)
    table.upsert(new, np.zeros((len(new), DIM), np.float32), now=9600)
    table.evict_cycle(max_rows=100, policy="lru", now=9700, budget_ms=1000.0)


def test_picture_is_the_table_at_freeze_whatever_happens_after():
    table, keys = filled()
    before = content(table.export_bucket)
    table.freeze()
    every_change(table, keys)
    assert content(table.export_bucket) != before
    assert content(table.export_frozen) == before


def test_picture_survives_clear():
    table, keys = filled()
    before = content(table.export_bucket)
    table.freeze()
    table.upsert(keys[:9], np.zeros((9, DIM), np.float32), now=5)
    table.clear()
    table.upsert(keys[5:20], np.zeros((15, DIM), np.float32), now=5)
    assert content(table.export_frozen) == before
    assert table.size() == 15


def test_a_bucket_is_exported_once_and_not_after_thaw():
    table, _ = filled()
    with pytest.raises(RuntimeError, match="in no picture"):
        table.export_frozen(0)
    table.freeze()
    assert table.export_frozen(0).slots is None
    with pytest.raises(RuntimeError, match="bucket 0 is in no picture"):
        table.export_frozen(0)
    table.thaw()
    with pytest.raises(RuntimeError):
        table.export_frozen(1)
    with pytest.raises(ValueError):
        table.export_frozen(BUCKETS)


def test_second_freeze_takes_a_new_picture():
    table, keys = filled()
    table.freeze()
    table.upsert(keys, np.ones((len(keys), DIM), np.float32), now=2)
    table.freeze()
    after = content(table.export_bucket)
    table.clear()
    assert content(table.export_frozen) == after


def test_threads_that_write_meanwhile_do_not_show():
    table, _ = filled(5000)
    before = content(table.export_bucket)
    table.freeze()
    stop = threading.Event()

    def write(seed):
        random = np.random.default_rng(seed)
        while not stop.is_set():
            chosen = random.integers(-4000, 4000, 200)
            table.push(chosen, np.ones((200, DIM), np.float32), None, step=1, now=9000)
            table.remove(random.integers(-4000, 4000, 50))

    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(3)]
    for writer in writers:
        writer.start()
    try:
        assert content(table.export_frozen) == before
    finally:
        stop.set()
        for writer in writers:
            writer.join()
