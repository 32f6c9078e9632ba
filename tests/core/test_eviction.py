"""restrict against a plain model: exactly the best rows stay, and the preview says so beforehand."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest
from tests.core import twins
from tests.core.support import keys_of, make_table, push, stored_keys

from rowbank_server._core import RowTable, hash_keys


def order_of_eviction(table: RowTable, score: str) -> list[int]:
    """Keys, worst first: score, then last_used, then lot."""
    entries = []
    for bucket in range(table.bucket_count):
        rows = table.export_bucket(bucket)
        lots = twins.lots(rows.keys).tolist()
        for key, frequency, used, lot in zip(rows.keys.tolist(), rows.frequency, rows.last_used, lots, strict=True):
            points = int(frequency) if score == "frequency" else int(used)
            entries.append((points, int(used), lot, key))
    return [entry[3] for entry in sorted(entries)]


def skewed_table(seed: int) -> RowTable:
    table = make_table(dim=1)
    random = np.random.default_rng(seed)
    for now in range(1, 60):
        push(table, random.zipf(1.4, 200).astype(np.int64) % 2000 * 2**33, now=now // 7)
    return table


@pytest.mark.parametrize("score", ["frequency", "last_used"])
@pytest.mark.parametrize("kept", [0, 1, 77, 500])
def test_keeps_exactly_the_best(score, kept):
    table = skewed_table(kept)
    worst_first = order_of_eviction(table, score)
    before = len(worst_first)
    preview = table.preview_restrict(kept, kept, score=score, now=99, sample=10**6)
    assert table.size() == before
    report = table.restrict(kept, kept, score=score, now=99, sample=10**6)
    assert stored_keys(table) == sorted(worst_first[before - kept :] if kept else [])
    assert report.sample_keys.tolist() == worst_first[: before - kept]
    assert preview.sample_keys.tolist() == report.sample_keys.tolist()
    assert (report.rows_before, report.rows_after, report.evicted) == (before, kept, before - kept)
    assert table.size() == kept
    for name in ("rows_before", "rows_after", "evicted", "bytes", "score_cut"):
        assert getattr(preview, name) == getattr(report, name)


def test_acts_only_above_the_trigger():
    table = make_table(dim=1)
    push(table, np.arange(100, dtype=np.int64))
    assert table.restrict(10, 100, score="frequency", now=1).evicted == 0
    assert table.restrict(200, 50, score="frequency", now=1).evicted == 0
    report = table.restrict(10, 99, score="frequency", now=1, sample=3)
    assert report.evicted == 90
    assert len(report.sample_keys) == 3
    assert report.bytes == 90 * (32 + 26)  # 24 of metadata and key, 4 of values, rounded up to 8; 26 in the index.


def test_hot_rows_stay():
    table = make_table(dim=1)
    push(table, np.repeat(np.arange(10, dtype=np.int64), 5))
    push(table, np.arange(100, 1000, dtype=np.int64), now=50)
    assert table.restrict(10, 0, score="frequency", now=60).score_cut == 1.0
    assert stored_keys(table) == list(range(10))


def test_decayed_frequency_lets_yesterdays_favourite_go():
    table = make_table(dim=1, half_life_s=10.0)
    push(table, np.repeat(keys_of(1), 8), now=100)
    push(table, np.repeat(keys_of(2), 3), now=130)
    assert table.top(2, score="frequency", now=130)[0].tolist() == [2, 1]  # 8 halved three times is 1.
    report = table.restrict(1, 1, score="frequency", now=130)
    assert report.score_cut == 1.0
    assert stored_keys(table) == [2]


def test_equal_rows_go_evenly_from_all_buckets_and_after_their_age():
    """5000 of 20,000 equal rows: a bucket of 1250 loses 312 on average; five standard deviations are 77."""
    table = make_table(dim=1, bucket_count=16)
    push(table, np.arange(20_000, dtype=np.int64), now=10)
    push(table, np.arange(20_000, 20_100, dtype=np.int64), now=9)
    before = np.array([len(table.export_bucket(b).keys) for b in range(16)])
    report = table.restrict(15_000, 0, score="frequency", now=20, sample=100)
    lost = before - np.array([len(table.export_bucket(b).keys) for b in range(16)])
    assert sorted(report.sample_keys.tolist()) == list(range(20_000, 20_100))
    assert lost.sum() == 5100
    assert abs(lost - 318).max() < 77


def test_rows_of_frequency_zero_go_by_age_where_frequencies_decay():
    table = make_table(dim=1, half_life_s=10.0)
    for now in (100, 50, 75):
        table.upsert(keys_of(now), np.zeros((1, 1), np.float32), now=now)
    push(table, keys_of(1), now=60)
    report = table.restrict(1, 0, score="frequency", now=100, sample=3)
    assert report.sample_keys.tolist() == [50, 75, 100]
    assert (report.score_cut, stored_keys(table)) == (0.0, [1])


def test_evicted_rows_are_written_back_as_removals():
    table = make_table(dim=1, bucket_count=1)
    push(table, np.arange(20, dtype=np.int64))
    table.take_dirty(0, 100)
    report = table.restrict(5, 5, score="last_used", now=1, sample=100)
    assert sorted(table.take_dirty(0, 100).removed_keys.tolist()) == sorted(report.sample_keys.tolist())


def test_memory_returns_after_mass_eviction():
    table = make_table(dim=64)
    push(table, np.arange(50000, dtype=np.int64))
    full = table.bytes()
    table.restrict(1000, 1000, score="frequency", now=1)
    assert table.bytes() < full / 10
    assert full < 50000 * 64 * 4 * 1.35


def resident_bytes() -> int:
    """What this process has in RAM."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_the_system_gets_the_memory_back():
    """150,000 rows of 1 KiB, of which one in 150 stays: at least four fifths of what was taken go back."""
    table = make_table(dim=256)
    at_first = resident_bytes()
    push(table, np.arange(150_000, dtype=np.int64))
    full = resident_bytes()
    table.restrict(1000, 1000, score="frequency", now=1)
    left = resident_bytes()
    assert full - at_first > 150_000 * 1024
    assert full - left > 0.8 * (full - at_first)


def test_top_is_the_reverse_order():
    table = skewed_table(3)
    for score in ("frequency", "last_used"):
        keys, frequency, last_used = table.top(25, score=score, now=99)
        assert keys.tolist() == order_of_eviction(table, score)[::-1][:25]
        points = frequency if score == "frequency" else last_used
        assert (np.diff(points.astype(np.int64)) <= 0).all()
    assert len(table.top(10**6, score="frequency", now=1)[0]) == table.size()


@pytest.mark.parametrize("score", ["frequency", "last_used"])
def test_keeps_exactly_the_best_of_a_large_table(score):
    """So many rows that the cut is sought by a sample and the passes are spread over threads."""
    table = make_table(dim=1)
    random = np.random.default_rng(11)
    keys = random.permutation(160_000).astype(np.int64) * 2**20
    frequency = random.zipf(1.3, len(keys)).clip(max=1000).astype(np.uint32)
    last_used = random.integers(1, 50, len(keys)).astype(np.uint32)
    table.import_rows(keys, np.zeros((len(keys), 1), np.float32), frequency, last_used, now=1)
    points = frequency if score == "frequency" else last_used
    worst_first = keys[np.lexsort((twins.lots(keys), last_used, points))]
    preview = table.preview_restrict(90_001, 0, score=score, now=99, sample=50)
    report = table.restrict(90_001, 0, score=score, now=99, sample=50)
    assert (preview.evicted, preview.score_cut) == (report.evicted, report.score_cut)
    assert preview.sample_keys.tolist() == report.sample_keys.tolist() == worst_first[:50].tolist()
    assert sorted(report.evicted_keys.tolist()) == sorted(worst_first[: len(keys) - 90_001].tolist())
    assert table.size() == 90_001 == len(stored_keys(table))


def test_a_misleading_sample_does_not_spoil_the_cut():
    """The sample comes from the front of each bucket's index, where here only the most frequent rows are."""
    table = make_table(dim=1)
    keys = np.arange(40_000, dtype=np.int64)
    place_in_index = (hash_keys(keys) >> np.uint64(8)) & np.uint64(0xFFFFFF)
    frequency = (np.uint64(2**24) - place_in_index).astype(np.uint32)
    table.import_rows(keys, np.zeros((len(keys), 1), np.float32), frequency, None, now=1)
    report = table.restrict(30_000, 0, score="frequency", now=1)
    kept = keys[np.lexsort((twins.lots(keys), frequency))][10_000:]
    assert report.evicted == 10_000
    assert stored_keys(table) == sorted(kept.tolist())
