"""The native replay of the access sample against the same policy in plain Python, and against the table itself."""

from __future__ import annotations

import numpy as np
import pytest
from tests.insight.replay import Policy, lots_of, zipf_trace

from rowbank_server import _core

BYTES = 24 << 17
POLICIES = [
    {"policy": "lfu", "cap_rows": 150},
    {"policy": "lfu", "cap_rows": 600, "low_watermark": 0.5},
    {"policy": "lru", "cap_rows": 150},
    {"policy": "lru", "cap_rows": 40, "low_watermark": 1.0},
    {"policy": "lfu", "cap_rows": 150, "half_life_s": 7.5},
    {"policy": "none", "ttl_s": 5},
    {"policy": "lru", "cap_rows": 300, "ttl_s": 12},
    {"policy": "lfu", "cap_rows": 100, "min_count": 3},
    {"policy": "none"},
]


def new_table(**options):
    table = _core.RowTable(
        name="t",
        dim=1,
        value_dtype="float32",
        initializer=_core.Initializer("zeros"),
        optimizer=_core.Optimizer("sgd", learning_rate=0.1),
        **options,
    )
    table.set_sample_bytes(BYTES)
    return table


def push(table, keys, now, counts=None):
    table.push(keys, np.ones((len(keys), 1), np.float32), counts, step=1, now=now)


def pull(table, keys, now):
    status = np.zeros(len(keys), np.uint8)
    table.pull(keys, np.empty((len(keys), 1), np.float32), status, now=now)
    return int((status == 1).sum())


def run(table, trace, policy=None, pulls=True):
    """Pull hits of each second."""
    hits = []
    for now, keys in trace:
        hits.append(pull(table, keys, now) if pulls else 0)
        push(table, keys, now)
        if policy:
            table.evict_cycle(max_rows=policy["cap_rows"], policy=policy["policy"], now=now, budget_ms=1e4)
    return hits


def counted(trace, per_key=2):
    """Seconds wholly in the second half of the accesses; the one in which it begins is the caller's to look at."""
    sizes = np.cumsum([0, *[len(keys) * per_key for _, keys in trace]])
    return int(np.searchsorted(sizes, sizes[-1] // 2, side="right")) - 1, int(sizes[-1] // 2)


@pytest.mark.parametrize("options", POLICIES, ids=str)
def test_a_whole_sample_is_replayed_as_by_the_book(options):
    trace = zipf_trace()
    half_life = options.get("half_life_s", 0.0)
    table = new_table(half_life_s=half_life)
    run(table, trace)
    (got,) = table.simulate([_core.WhatIf(**options)], now=trace[-1][0]).policies
    reference, lots = Policy(**options), lots_of(sorted({int(key) for _, keys in trace for key in keys}))
    asked = [(now, int(key), kind) for now, keys in trace for kind in ("pull", "push") for key in keys]
    sample = table.access_sample()  # The keys of a batch come in the order of their buckets.
    columns = zip(sample["at"].tolist(), sample["keys"].tolist(), sample["push"].tolist(), strict=True)
    accesses = [(now, key, "push" if pushed else "pull") for now, key, pushed in columns]
    assert sorted(accesses) == sorted(asked)
    half = len(accesses) // 2
    pulls = pull_hits = pushes = push_hits = 0
    regretted_before = 0
    last = accesses[0][0]
    for place, (now, key, kind) in enumerate(accesses):
        if now > last:
            reference.cycle(last, lots)
            last = now
        if place == half:
            regretted_before = reference.regretted
        found = key in reference.rows
        if kind == "push":
            reference.push(key, now)
        if place >= half:
            pulls, pull_hits = pulls + (kind == "pull"), pull_hits + (found and kind == "pull")
            pushes, push_hits = pushes + (kind == "push"), push_hits + (found and kind == "push")
    reference.cycle(last, lots)
    assert (got.pulls, got.pull_hits, got.pushes, got.push_hits) == (pulls, pull_hits, pushes, push_hits)
    assert got.regretted == reference.regretted - regretted_before
    assert got.rows_at_end == len(reference.rows)
    assert (got.rate, got.all_pulls, got.all_pushes) == (1.0, pulls, pushes)


@pytest.mark.parametrize("policy", ["lfu", "lru"])
def test_the_policy_that_was_at_work_is_found_to_do_what_it_did(policy):
    trace = zipf_trace(seed=5)
    table = new_table()
    run(table, trace, {"policy": policy, "cap_rows": 200})
    now = trace[-1][0]
    (got,) = table.simulate([_core.WhatIf(policy=policy, cap_rows=200)], now=now).policies
    assert got.pull_hits == got.live_pull_hits
    assert got.push_hits == got.live_push_hits
    assert got.rows_at_end == table.size() == got.rows_kept_now


def test_a_sample_that_begins_late_starts_from_the_rows_there_were():
    trace = zipf_trace(seed=6, steps=80)
    table = new_table()
    table.set_sample_bytes(0)
    policy = {"policy": "lfu", "cap_rows": 200}
    run(table, trace[:40], policy)
    table.set_sample_bytes(BYTES)
    run(table, trace[40:], policy)
    (got,) = table.simulate([_core.WhatIf(**policy)], now=trace[-1][0]).policies
    assert got.live_pull_hits > 0
    # Rows that were there, and went without being asked for again, are not known.
    assert got.pull_hits == pytest.approx(got.live_pull_hits, abs=0.01 * got.pulls)


def test_the_sample_says_what_was_asked_for():
    table = new_table()
    push(table, np.array([5, 6, 5], np.int64), 100, np.array([2, 1, 3], np.uint32))
    pull(table, np.array([6, 7, 6], np.int64), 101)
    sample = table.access_sample()
    assert sample["rate"] == 1.0
    columns = ("keys", "at", "frequency", "last_used", "occurrences", "push", "found")
    rows = sorted(zip(*(sample[name].tolist() for name in columns), strict=True))
    assert rows == [
        (5, 100, 0, 0, 5, 1, 0),
        (6, 100, 0, 0, 1, 1, 0),
        (6, 101, 1, 100, 0, 0, 1),
        (6, 101, 1, 100, 0, 0, 1),
        (7, 101, 0, 0, 0, 0, 0),
    ]


def test_replayed_and_off_means_that_nothing_is_sampled():
    table = new_table()
    keys = np.arange(10, dtype=np.int64)
    table.push(keys, np.ones((10, 1), np.float32), None, step=1, now=1, admission="own")
    assert len(table.access_sample()["keys"]) == 0
    push(table, keys, 2)
    table.set_sample_bytes(24 * 4)
    assert len(table.access_sample()["keys"]) == 4
    table.set_sample_bytes(0)
    push(table, keys, 3)
    assert table.access_sample()["rate"] == 0.0
    assert len(table.access_sample()["keys"]) == 0
    told = table.simulate([_core.WhatIf(policy="lfu", cap_rows=5)], now=4)
    assert told.accesses == 0
    assert told.policies[0].pulls == 0
    assert told.policies[0].rows_kept_now == 4


def test_a_full_sample_takes_fewer_keys_and_all_accesses_of_those():
    table = new_table()
    table.set_sample_bytes(24 * 20_000)
    random = np.random.default_rng(2)
    batches = [np.unique(random.integers(0, 40_000, 5000)) for _ in range(40)]
    for second, keys in enumerate(batches):
        push(table, keys, 1000 + second)
    sample = table.access_sample()
    assert sample["rate"] in (1 / 8, 1 / 4)  # 40,000 rows: 5,000 in an eighth, and a sixteenth would be too few.
    assert 8_000 < len(sample["keys"]) <= 20_000
    kept = set(sample["keys"].tolist())
    assert len(kept) == pytest.approx(40_000 * sample["rate"], rel=0.05)
    oldest = int(sample["at"][0])
    for second, keys in enumerate(batches):
        if 1000 + second > oldest:
            expected = sorted(kept & set(keys.tolist()))
            assert sorted(sample["keys"][sample["at"] == 1000 + second].tolist()) == expected


@pytest.mark.parametrize(("seconds_apart", "rate"), [(1, 0.5), (3600, 1.0)])
def test_a_sample_that_would_be_full_within_the_hour_takes_fewer_keys_from_its_eighth_on(seconds_apart, rate):
    table = new_table()
    table.set_sample_bytes(24 * 160_000)
    keys = np.arange(11_000, dtype=np.int64)
    for number in range(2):  # 22,000 accesses of the 20,000 that are an eighth.
        push(table, keys, 1000 + seconds_apart * number)
    assert table.access_sample()["rate"] == rate


def test_what_a_thin_sample_says_is_near_what_a_whole_one_says():
    rates: dict[str, list[float]] = {}
    for bytes_, name in ((24 << 24, "whole"), (24 * 100_000, "thin")):
        table = new_table()
        table.set_sample_bytes(bytes_)
        random = np.random.default_rng(4)
        for second in range(100):
            keys = np.unique((random.zipf(1.1, 4000) % 60_000) * 31)
            pull(table, keys, 1000 + second)
            push(table, keys, 1000 + second)
        what_ifs = [
            _core.WhatIf(policy=policy, cap_rows=cap) for policy in ("lfu", "lru") for cap in (2000, 8000, 20_000)
        ]
        told = table.simulate(what_ifs, now=1100)
        rates[name] = []
        for one in told.policies:
            expected = one.all_pulls * one.rate
            rates[name].append((one.pull_hits + expected - one.pulls) / expected)
        assert (told.rate == 1.0) == (name == "whole")
    assert rates["thin"] == pytest.approx(rates["whole"], abs=0.03), rates


def test_what_would_stay_of_the_rows_there_are():
    table = new_table()
    for now in (10, 20, 30):
        push(table, np.arange(100 * now, 100 * now + 50, dtype=np.int64), now)
    told = table.simulate(
        [
            _core.WhatIf(policy="lfu", cap_rows=100),
            _core.WhatIf(policy="lru", cap_rows=150),
            _core.WhatIf(policy="none", ttl_s=10),
            _core.WhatIf(policy="lfu", cap_rows=90, ttl_s=10),
        ],
        now=30,
    )
    assert told.rows == 150
    assert [one.rows_kept_now for one in told.policies] == [90, 150, 100, 81]


def test_histogram_standing_and_seen_against_numpy():
    table = new_table(min_count=4)
    random = np.random.default_rng(9)
    keys = np.arange(5000, dtype=np.int64)
    counts = random.integers(4, 3000, 5000).astype(np.uint32)
    last = random.integers(100, 5000, 5000)
    for now in np.unique(last):
        push(table, keys[last == now], int(now), counts[last == now])
    rows, frequencies, ages = table.histogram(now=5000)
    level = lambda numbers: np.bincount(np.frexp(numbers.astype(float))[1], minlength=33)  # noqa: E731
    assert rows == 5000
    assert frequencies.tolist() == level(counts).tolist()
    assert ages.tolist() == level(5000 - last).tolist()
    lots = lots_of(keys.tolist())
    order = sorted(keys.tolist(), key=lambda key: (counts[key], last[key], lots[key]))
    for place in (0, 1, 2500, 4999):
        assert table.standing(order[place], score="frequency", now=5000) == (5000, place, counts[order[place]])
    assert table.standing(-1, score="frequency", now=5000) is None
    push(table, np.array([-1], np.int64), 5000)
    push(table, np.array([-1], np.int64), 5000)
    assert table.seen(-1) == 2
    assert table.seen(-2) == 0


def test_numbers_that_make_no_sense_are_refused():
    for wrong in (
        {"policy": "lfu", "low_watermark": 0.0},
        {"policy": "lfu", "half_life_s": float("nan")},
        {"policy": "x"},
    ):
        with pytest.raises(ValueError, match=r"must be"):
            _core.WhatIf(**wrong)
