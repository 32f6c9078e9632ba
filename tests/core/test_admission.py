"""Admission: keys without a row share the common row until their n-th occurrence."""

from __future__ import annotations

import numpy as np
import pytest
from tests.core.support import keys_of, make_table, pull, push

from rowbank_server._core import Initializer, Optimizer

FOUND, INITIALIZED, NOT_ADMITTED = 1, 2, 3


def test_a_key_gets_its_row_at_its_nth_occurrence():
    table = make_table(dim=2, min_count=3, initializer=Initializer("constant", 10.0))
    key = keys_of(7)
    assert push(table, key, 1.0).not_admitted == 1
    assert push(table, key, 1.0).not_admitted == 1
    assert pull(table, key)[1].tolist() == [NOT_ADMITTED]
    assert table.size() == 0
    report = push(table, key, 1.0)
    assert (report.inserted, report.not_admitted) == (1, 0)
    values, status = pull(table, key)
    assert status.tolist() == [FOUND]
    np.testing.assert_array_equal(values, [[9.0, 9.0]])  # Its own initial value, moved by the one admitted gradient.
    row = table.describe(7)
    assert row is not None
    assert row.frequency == 3


def test_occurrences_within_one_push_and_counts_sum_up():
    table = make_table(dim=1, min_count=3)
    assert push(table, keys_of(1, 1, 1)).inserted == 1
    table.push(keys_of(2), np.zeros((1, 1), np.float32), np.array([5], np.uint32), step=1, now=1)
    assert table.size() == 2


def test_unadmitted_keys_read_and_train_one_common_row():
    table = make_table(
        dim=2, min_count=5, initializer=Initializer("zeros"), optimizer=Optimizer("sgd", learning_rate=1.0)
    )
    push(table, keys_of(1, 2, 2), [[1.0, 0.0], [2.0, 0.0], [4.0, -1.0]])
    values, status = pull(table, keys_of(1, 2, 99))
    assert status.tolist() == [NOT_ADMITTED] * 3
    np.testing.assert_array_equal(values, [[-7.0, 1.0]] * 3)


def test_common_row_is_one_row_to_a_stateful_optimizer():
    """The gradients of all unadmitted keys of a push are summed and applied once: accumulator 9, not 1 + 4."""
    adagrad = Optimizer("adagrad", learning_rate=1.0, initial_accumulator=0.0)
    table = make_table(dim=1, min_count=9, initializer=Initializer("zeros"), optimizer=adagrad)
    push(table, keys_of(1, 2), [[1.0], [2.0]])
    push(table, keys_of(3), 4.0)
    # -3 / sqrt(9) - 4 / sqrt(9 + 16)
    np.testing.assert_allclose(pull(table, keys_of(5))[0], [[-1.8]], rtol=1e-6)


def test_common_row_survives_a_restart():
    table = make_table(dim=3, min_count=4, optimizer=Optimizer("adam"))
    assert table.take_common_row() is None
    push(table, keys_of(1, 2), 1.0)
    packed = table.take_common_row()
    assert packed is not None
    assert table.take_common_row() is None
    table.mark_common_row_dirty()
    assert table.take_common_row() == packed
    twin = make_table(dim=3, min_count=4, optimizer=Optimizer("adam"))
    twin.load_common_row(packed)
    for step in (2, 3):
        push(table, keys_of(step), 0.5, step=step)
        push(twin, keys_of(step), 0.5, step=step)
        np.testing.assert_array_equal(pull(table, keys_of(9))[0], pull(twin, keys_of(9))[0])
    with pytest.raises(ValueError, match="damaged"):
        twin.load_common_row(packed[:-1] + b"\x7f")
    with pytest.raises(ValueError, match="expected 44 bytes, got 3"):
        twin.load_common_row(b"abc")


def test_explicit_writes_need_no_admission():
    table = make_table(dim=1, min_count=3)
    assert table.upsert(keys_of(1), np.ones((1, 1), np.float32), now=1) == 1
    assert table.accumulate(keys_of(2), np.ones((1, 1), np.float32), np.array([False]), now=1) == 1
    assert pull(table, keys_of(1, 2, 3))[1].tolist() == [FOUND, FOUND, NOT_ADMITTED]


def test_rare_keys_stay_out_and_common_keys_come_in():
    """200,000 keys seen once and 500 seen four times: all of the latter get rows, at most 0.24 % of the former do."""
    table = make_table(dim=1, min_count=2)
    rare = np.arange(200_000, dtype=np.int64)
    common = np.repeat(np.arange(10**9, 10**9 + 500, dtype=np.int64), 4)
    stream = np.random.default_rng(4).permutation(np.concatenate([rare, common]))
    for part in np.array_split(stream, 100):
        push(table, part)
    assert (pull(table, np.unique(common))[1] == FOUND).all()
    assert table.size() - 500 <= 0.0024 * len(rare)
    assert table.bytes() < 40_000_000


def test_the_sketch_forgets():
    """One occurrence per window never adds up to two."""
    table = make_table(dim=1, min_count=2, bucket_count=1, admission_window=1000)
    for visit in range(4):
        push(table, keys_of(-1))
        push(table, np.arange(visit * 5000, visit * 5000 + 5000, dtype=np.int64))
    assert pull(table, keys_of(-1))[1].tolist() == [NOT_ADMITTED]


def test_min_count_can_change():
    table = make_table(dim=1, min_count=100)
    push(table, keys_of(1))
    table.set_min_count(0)
    assert pull(table, keys_of(1))[1].tolist() == [INITIALIZED]
    assert push(table, keys_of(1)).inserted == 1
    for bad in (-1, 256):
        with pytest.raises(ValueError, match=r"min_count must be in 0\.\.255"):
            table.set_min_count(bad)
    with pytest.raises(ValueError, match="min_count"):
        make_table(min_count=300)
    with pytest.raises(ValueError, match="admission_window"):
        make_table(admission_window=0)


def test_counters():
    table = make_table(dim=1, min_count=2)
    push(table, keys_of(1, 2))
    push(table, keys_of(1, 3))
    pull(table, keys_of(1, 2, 3))
    table.set_min_count(1)
    pull(table, keys_of(5))
    table.remove(keys_of(1))
    stats = table.stats()
    assert (stats.pushed, stats.inserted, stats.not_admitted) == (4, 1, 3)
    assert (stats.pulled_found, stats.pulled_not_admitted, stats.pulled_initialized) == (1, 2, 1)
    assert (stats.removed, stats.evicted, stats.expired, stats.regretted) == (1, 0, 0, 0)
