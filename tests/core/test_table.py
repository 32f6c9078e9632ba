"""What the verbs do to rows, at the edges of keys, dims and types."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from tests.core import twins
from tests.core.support import keys_of, lookup, make_table, pull, push, stored_keys

from rowbank_server._core import Initializer, Optimizer, RowTable


@pytest.mark.parametrize("dim", [1, 7, 4096])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_dims_and_types(dim, dtype):
    table = make_table(dim=dim, value_dtype=dtype, optimizer=Optimizer("adam"))
    keys = keys_of(-(2**63), 2**63 - 1, 0, -1)
    values = np.random.default_rng(1).normal(size=(4, dim)).astype(np.float32)
    assert table.upsert(keys, values, now=1) == 4
    stored = {
        "float32": values,
        "float16": values.astype(np.float16).astype(np.float32),
        "bfloat16": twins.bfloat16_bits_to_float(twins.float_to_bfloat16_bits(values)),
    }[dtype]
    np.testing.assert_array_equal(pull(table, keys)[0], stored)
    np.testing.assert_array_equal(pull(table, keys, np.float16)[0], stored.astype(np.float16))
    np.testing.assert_array_equal(pull(table, keys, np.uint16)[0], twins.float_to_bfloat16_bits(stored))
    assert push(table, keys, 1.0).inserted == 0


def test_int8_rows_of_what_is_not_finite_are_nan():
    table = make_table(dim=3)
    keys = keys_of(1, 2, 3)
    values = np.array([[np.inf, 0.0, 1.0], [1.0, np.nan, 0.0], [-127.0, 2.0, 0.0]], np.float32)
    table.upsert(keys, values, now=1)
    out, status = np.empty((3, 7), np.uint8), np.empty(3, np.uint8)
    table.pull(keys, out, status, now=1)
    scales, rows = out[:, :4].copy().view(np.float32)[:, 0], out[:, 4:].view(np.int8)
    assert np.isnan(scales[:2]).all()
    assert scales[2] == 1.0
    assert rows.tolist() == [[0, 0, 0], [0, 0, 0], [-127, 2, 0]]
    with pytest.raises(ValueError, match=r"out: expected uint8 \(int8 rows\) \[3, 7\], got uint8 \[3, 6\]"):
        table.pull(keys, np.empty((3, 6), np.uint8), status, now=1)


def test_every_int64_is_a_key():
    table = make_table()
    keys = np.array([s * 2**e + d for e in range(63) for s in (-1, 1) for d in (-1, 0, 1)] + [-(2**63)], np.int64)
    distinct = len(set(keys.tolist()))
    assert push(table, keys, 1.0).distinct == distinct
    assert table.size() == distinct
    assert stored_keys(table) == sorted(set(keys.tolist()))
    assert table.remove(keys) == distinct


def test_empty_batches_are_fine():
    table = make_table()
    nothing = np.empty(0, np.int64)
    rows = np.empty((0, 4), np.float32)
    assert push(table, nothing).distinct == 0
    assert pull(table, nothing)[0].shape == (0, 4)
    assert table.upsert(nothing, rows, now=1) == 0
    assert table.accumulate(nothing, rows, np.empty(0, np.bool_), now=1) == 0
    assert table.touch(nothing, None, now=1) == table.remove(nothing) == table.clear() == table.size() == 0
    assert table.export_bucket(0, with_slots=True).values.shape == (0, 4)
    assert table.restrict(0, 0, score="frequency", now=1).evicted == 0
    assert table.describe(1) is None


def test_pull_has_no_side_effects_and_repeats_are_answered_alike():
    table = make_table()
    push(table, keys_of(5), 1.0, now=10)
    values, status = pull(table, keys_of(5, 6, 5), now=99)
    assert status.tolist() == [1, 2, 1]
    np.testing.assert_array_equal(values[0], values[2])
    row = table.describe(5)
    assert row is not None
    assert (row.frequency, row.last_used, table.size()) == (1, 10, 1)


def test_track_reads_renews_last_used_but_not_frequency():
    table = make_table(track_reads=True, half_life_s=10.0)
    push(table, np.repeat(keys_of(5), 8), now=100)
    pull(table, keys_of(5), now=110)
    pull(table, keys_of(5), now=90)
    row = table.describe(5)
    assert row is not None
    assert (row.frequency, row.last_used) == (4, 110)  # Aged to the time of the read: 8 halves to 4.


def test_lookup_reads_zeros_where_absent_and_metadata_where_present():
    table = make_table()
    push(table, keys_of(1, 1, 2), now=9)
    out = np.full((3, 4), 7.0, np.float32)
    found, frequency, last_used = np.empty(3, np.uint8), np.empty(3, np.uint32), np.empty(3, np.uint32)
    table.lookup(keys_of(1, 3, 2), out, found, frequency=frequency, last_used=last_used)
    assert found.tolist() == [1, 0, 1]
    assert frequency.tolist() == [2, 0, 1]
    assert last_used.tolist() == [9, 0, 9]
    assert not out[1].any()


def test_upsert_sets_values_and_keeps_state_and_frequency():
    table = make_table(dim=2, optimizer=Optimizer("adagrad", initial_accumulator=0.0))
    push(table, keys_of(1), 3.0)
    values = np.array([[1, 1], [2, 2], [3, 3]], np.float32)
    assert table.upsert(keys_of(1, 9, 9), values, now=50) == 1
    np.testing.assert_array_equal(lookup(table, keys_of(1, 9))[0], [[1, 1], [3, 3]])
    old, new = table.describe(1), table.describe(9)
    assert old is not None
    assert new is not None
    assert (old.frequency, old.slots.tolist(), old.last_used) == (1, [9.0, 9.0], 50)
    assert (new.frequency, new.slots.tolist(), new.last_used) == (0, [0.0, 0.0], 50)


def test_counts_stand_for_occurrences_and_saturate():
    table = make_table(dim=1)
    most = 2**32 - 1
    counts = np.array([3, 4, most], np.uint32)
    table.push(keys_of(1, 1, 2), np.zeros((3, 1), np.float32), counts, step=1, now=1)
    table.touch(keys_of(1, 2), np.array([10, 10], np.uint32), now=2)
    assert table.top(2, score="frequency", now=2)[1].tolist() == [most, 17]


def test_positions_only_move_forward():
    table = make_table()
    for position in (5, 9, 7):
        push(table, keys_of(1), position=position)
    row = table.describe(1)
    assert row is not None
    assert row.position == 9


def test_import_then_export_is_the_same():
    adagrad = Optimizer("adagrad")
    table = make_table(dim=2, optimizer=adagrad, bucket_count=1)
    keys = keys_of(3, -4, 5)
    values, slots = np.arange(6, dtype=np.float32).reshape(3, 2), np.arange(6, 12, dtype=np.float32).reshape(3, 2)
    frequency, last_used = np.array([1, 2, 3], np.uint32), np.array([10, 20, 30], np.uint32)
    assert table.import_rows(keys, values, frequency, last_used, slots, now=99) == 3
    rows = table.export_bucket(0, with_slots=True)
    order = np.argsort(rows.keys)
    expected = np.argsort(keys)
    assert rows.slots is not None
    np.testing.assert_array_equal(rows.keys[order], keys[expected])
    np.testing.assert_array_equal(rows.values[order], values[expected])
    np.testing.assert_array_equal(rows.slots[order], slots[expected])
    np.testing.assert_array_equal(rows.frequency[order], frequency[expected])
    np.testing.assert_array_equal(rows.last_used[order], last_used[expected])
    assert table.import_rows(keys_of(3), np.zeros((1, 2), np.float32), now=99) == 0
    row = table.describe(3)
    assert row is not None
    assert (row.frequency, row.last_used, row.slots.tolist()) == (1, 99, [6.0, 7.0])
    assert table.export_bucket(0).slots is None


def test_memory_per_row():
    """Payload is values and state: 512 bytes here; and a small table is small."""
    table = make_table(dim=64, optimizer=Optimizer("adagrad"))
    assert table.bytes() < 100_000
    push(table, np.arange(200_000, dtype=np.int64))
    assert table.bytes() / 200_000 < 1.35 * 512


def test_results_own_their_memory():
    table = make_table(dim=2)
    push(table, np.arange(1000, dtype=np.int64), 1.0)
    rows = [table.export_bucket(b) for b in range(256)]
    copies = [r.values.copy() for r in rows]
    table.clear()
    push(table, np.arange(5000, 9000, dtype=np.int64), 2.0)
    for kept, copy in zip(rows, copies, strict=True):
        np.testing.assert_array_equal(kept.values, copy)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda t: t.pull(keys_of(1).astype(np.int32), f32(1), u8(1), now=1),
            r"keys: expected int64 \[N\], got int32 \[1\]",
        ),
        (
            lambda t: t.pull(keys_of(1, 2)[None], f32(2), u8(2), now=1),
            r"keys: expected int64 \[N\], got int64 \[1, 2\]",
        ),
        (lambda t: t.pull(np.arange(4)[::2], f32(2), u8(2), now=1), r"keys: .* not C-contiguous"),
        (lambda t: t.pull(keys_of(1), f32(2), u8(1), now=1), r"out: expected .* \[1, 4\], got float32 \[2, 4\]"),
        (
            lambda t: t.pull(keys_of(1), f32(1).astype(np.float64), u8(1), now=1),
            r"out: expected float32, float16 or uint16",
        ),
        (lambda t: t.pull(keys_of(1), f32(1), u8(2), now=1), r"status: expected uint8 or bool \[1\], got uint8 \[2\]"),
        (lambda t: t.pull(keys_of(1), f32(1), u8(1), now=-1), r"now: expected unix seconds"),
        (lambda t: t.push(keys_of(1), f32(1)[:, :3], None, step=1, now=1), r"gradients: expected .* \[1, 4\]"),
        (lambda t: t.push(keys_of(1), f32(1), u8(1), step=1, now=1), r"counts: expected uint32 \[1\], got uint8 \[1\]"),
        (lambda t: t.push(keys_of(1), f32(1), None, step=0, now=1), r"step must be at least 1"),
        (lambda t: t.push(keys_of(1), f32(1), None, step=1, now=2**32), r"now: expected unix seconds"),
        (
            lambda t: t.push(keys_of(1), f32(1), None, step=1, now=1, position=2**63),
            r"position: expected a number below",
        ),
        (lambda t: t.push(keys_of(1), f32(1), None, step=1, now=1, max_norm=-1.0), r"max_norm must be"),
        (
            lambda t: t.push(keys_of(1), f32(1), None, step=1, now=1, learning_rate=float("nan")),
            r"learning_rate must be",
        ),
        (lambda t: t.accumulate(keys_of(1), f32(1), f32(1)[0], now=1), r"exists: expected uint8 or bool \[1\]"),
        (lambda t: t.import_rows(keys_of(1), f32(1), slots=f32(1), now=1), r"slots: expected float32 \[1, 0\]"),
        (lambda t: t.export_bucket(256), r"bucket must be below 256, got 256"),
        (lambda t: t.take_dirty(999, 1), r"bucket must be below 256"),
        (lambda t: t.restrict(1, 1, score="luck", now=1), r"score must be 'frequency' or 'last_used', got 'luck'"),
    ],
)
def test_bad_arguments_are_refused_and_change_nothing(call, message):
    table = make_table()
    with pytest.raises(ValueError, match=message):
        call(table)
    assert table.size() == 0


def f32(rows: int) -> np.ndarray:
    return np.zeros((rows, 4), np.float32)


def u8(rows: int) -> np.ndarray:
    return np.zeros(rows, np.uint8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 0}, r"dim must be in 1..4096, got 0"),
        ({"dim": -1}, r"dim must be in 1..4096, got -1"),
        ({"dim": 4097}, r"dim must be in 1..4096, got 4097"),
        ({"value_dtype": "int8"}, r"value_dtype must be float32, float16 or bfloat16, got 'int8'"),
        ({"bucket_count": 0}, r"bucket_count must be in 1..65536, got 0"),
        ({"bucket_count": 65537}, r"bucket_count must be in 1..65536"),
        ({"half_life_s": -1.0}, r"half_life_s must be a finite number"),
        ({"half_life_s": float("inf")}, r"half_life_s must be a finite number"),
    ],
)
def test_bad_tables_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_table(**options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Optimizer("adamax"), r"must be one of sgd, .*got 'adamax'"),
        (lambda: Optimizer("sgd", momentum=0.9), r"optimizer sgd has no number 'momentum'; it takes"),
        (lambda: Optimizer("adam", beta_2=1.0), r"adam: beta_2 must be in \[0, 1\), got 1"),
        (lambda: Optimizer("adam", epsilon=0.0), r"epsilon must be above 0"),
        (lambda: Optimizer("sgd", learning_rate=float("inf")), r"learning_rate must be a finite float32"),
        (lambda: Optimizer("ftrl", learning_rate_power=0.5), r"learning_rate_power must be at most 0"),
        (lambda: Initializer("uniform", 1.0, 0.0), r"low must not be above high"),
        (lambda: Initializer("normal", 0.0, -1.0), r"standard deviation must be at least 0"),
        (lambda: Initializer("constant", float("nan")), r"must be finite"),
        (lambda: Initializer("xavier"), r"got 'xavier'"),
    ],
)
def test_bad_specs_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_threads_push_at_once_and_nothing_is_lost():
    """SGD(1.0), initial zeros and gradients of -1: a row counts the pushes it received."""
    table: RowTable = make_table(dim=16, initializer=Initializer("zeros"))
    keys = np.arange(2000, dtype=np.int64)
    gradients = np.full((2000, 16), -1.0, np.float32)

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        for step in range(1, 26):
            table.push(random.permutation(keys), gradients, None, step=step, now=step)
            pull(table, keys)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    values, status = pull(table, keys)
    assert (status == 1).all()
    assert (values == 100.0).all()
