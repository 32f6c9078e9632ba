"""Restrictions over several shards keep the best rows of the whole table, as NumPy chooses them from its metadata."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from tests.processes import PsProcess

from rowbank import Client, ExportChunk, TableSpec, errors, hashing
from rowbank.calls import restricting

_HALF_LIFE_S = 50.0


@pytest.fixture(scope="module", params=[2, 3], ids=["two shards", "three shards"])
def client(request, redis_url, tmp_path_factory):
    logs, count = tmp_path_factory.mktemp("shards"), request.param
    with contextlib.ExitStack() as stack:
        shards = [
            PsProcess("--namespace", f"restrict{count}", "--shard", f"{shard}/{count}", redis_url=redis_url,
                      log=logs / f"{shard}.log")
            for shard in range(count)
        ]  # fmt: skip
        for shard in shards:
            stack.callback(shard.close)
        yield stack.enter_context(Client([shard.wait_ready().target for shard in shards], timeout_s=60.0))


def _filled(client, name, rows, *, decays=False, seed=1, ties=40):
    """A table of random keys whose frequencies, and last uses, are of few kinds."""
    rng = np.random.default_rng(seed)
    half_life_s = _HALF_LIFE_S if decays else 0.0
    table = client.create_table(TableSpec(name, dim=1, frequency_half_life_s=half_life_s, durability="relaxed"))
    keys = rng.choice(2**62, rows, replace=False) - 2**61
    # With a half-life, twice the count one half-life earlier is as good: ties that no two columns show.
    kind = rng.integers(0, ties, rows)
    frequency = (2 ** rng.integers(0, 4, rows)).astype(np.uint32) if decays else (1 + kind // 5).astype(np.uint32)
    last_used = (int(time.time()) - 200 + (50 * (kind % 4) if decays else kind % 3)).astype(np.uint32)
    zeros = np.zeros((rows, 1), np.float32)
    table.import_rows([ExportChunk(keys=keys, values=zeros, frequency=frequency, last_used=last_used, slots=None)])
    return table, keys, frequency, last_used


def _lots(keys):
    """What equal rows draw: the hash of the key times the golden ratio's odd number, modulo 2**64."""
    return hashing.hash_keys(keys) * np.uint64(0x9E3779B97F4A7C15)


def _kept(keys, frequency, last_used, count, by, *, decays, now):
    score = last_used.astype(np.float64)
    if by == "frequency":
        idle = np.maximum(0, now - last_used.astype(np.int64))
        score = frequency.astype(np.float64)
        score = (score * np.exp2(-idle / _HALF_LIFE_S)).astype(np.float32) if decays else score
    order = np.lexsort((_lots(keys), last_used, score))
    return set(keys[order[len(keys) - count :]].tolist())


def _stored(table):
    return {key for chunk in table.export() for key in chunk.keys.tolist()}


@pytest.mark.parametrize("decays", [False, True], ids=["counts", "half-life"])
@pytest.mark.parametrize("by", ["frequency", "last_used"])
@pytest.mark.parametrize("rows", [500, 120_000])
def test_the_best_rows_of_all_shards_stay(client, table_name, rows, by, decays):
    """120,000 rows are sampled, and 500 are listed whole, so that the cut comes by both ways."""
    table, keys, frequency, last_used = _filled(client, table_name, rows, decays=decays)
    count = rows // 3
    began = int(time.time())
    preview = table.preview_eviction(count, by=by, sample=rows)
    report = table.restrict(count, by=by, sample=5)
    possible = [
        _kept(keys, frequency, last_used, count, by, decays=decays, now=now)
        for now in range(began, int(time.time()) + 1)
    ]
    stored = _stored(table)
    assert stored in possible
    assert (report.rows_before, report.rows_after, report.evicted) == (rows, count, rows - count)
    assert (preview.rows_after, preview.evicted) == (count, rows - count)
    assert set(keys.tolist()) - set(preview.sample_keys.tolist()) in possible
    assert table.restrict(count, by=by).evicted == 0


@pytest.mark.parametrize("count", [0, 1, 299, 300, 301, 599, 600, 10**18])
def test_equal_rows_are_cut_by_their_keys_hash(client, table_name, count):
    table, keys, frequency, _ = _filled(client, table_name, 600, ties=1)
    last_used = np.full(600, 1_700_000_000, np.uint32)
    table.import_rows([ExportChunk(keys, np.zeros((600, 1), np.float32), frequency, last_used, None)])
    report = table.restrict(count)
    left = min(count, 600)
    assert (report.rows_after, report.evicted) == (left, 600 - left)
    assert _stored(table) == _kept(keys, frequency, last_used, left, "frequency", decays=False, now=0)


def test_one_shard_may_hold_all_that_stays(client, table_name):
    """What a share in proportion to the shards' sizes would get wrong most."""
    table, keys, _, last_used = _filled(client, table_name, 3000)
    owner = hashing.shard_of(keys, shard_count=client.calls.layout.shard_count)
    frequency = np.where(owner == 1, 9, 1).astype(np.uint32)
    table.import_rows([ExportChunk(keys, np.zeros((3000, 1), np.float32), frequency, last_used, None)])
    table.restrict(int((owner == 1).sum()))
    assert _stored(table) == set(keys[owner == 1].tolist())


def test_a_restriction_asks_each_shard_twice_or_thrice(client, table_name, monkeypatch):
    asked = []
    run = client.calls.transport.run

    def noted(method, *args, **options):
        asked.append(method.name)
        return run(method, *args, **options)

    monkeypatch.setattr(client.calls.transport, "run", noted)
    small, *_ = _filled(client, f"{table_name}-s", 3000)
    large, *_ = _filled(client, f"{table_name}-l", 120_000)
    asked.clear()
    small.restrict(1000)
    assert asked in (["RankRows", "Restrict"], ["RankRows", "RankRows", "Restrict"])  # Clocks may turn in between.
    asked.clear()
    large.restrict(1000)
    assert asked.count("RankRows") <= 3
    assert asked[-1] == "Restrict"


def test_a_bracket_that_misses_the_cut_is_widened(client, table_name, monkeypatch):
    """A sample that misleads costs a round, not a row."""
    table, keys, frequency, last_used = _filled(client, table_name, 120_000)
    honest, lies = restricting._Standing.narrowed, [3.0, 0.2]

    def narrowed(self, bracket, going):
        return honest(self, bracket, int(going * lies.pop()) if lies else going)

    monkeypatch.setattr(restricting._Standing, "narrowed", narrowed)
    table.restrict(50_000)
    assert not lies
    assert _stored(table) == _kept(keys, frequency, last_used, 50_000, "frequency", decays=False, now=0)


def test_writes_meanwhile_never_cost_a_row_that_ranks_high(client, table_name):
    """Rows that are pushed all the while: exactly the number asked stays, and of those the most frequent."""
    table, keys, _, last_used = _filled(client, table_name, 30_000)
    frequency = np.where(np.arange(30_000) < 5_000, 1_000_000, 1).astype(np.uint32)
    table.import_rows([ExportChunk(keys, np.zeros((30_000, 1), np.float32), frequency, last_used, None)])
    stop = threading.Event()

    def push():
        rng = np.random.default_rng(2)
        while not stop.is_set():
            table.push(rng.choice(keys[5_000:], 100), np.zeros((100, 1), np.float32))

    writer = threading.Thread(target=push)
    writer.start()
    try:
        for count in (20_000, 15_000, 10_000):
            report = table.restrict(count)
            assert report.rows_after >= count
            assert table.lookup(keys[:5_000]).found.all()
    finally:
        stop.set()
        writer.join()
    table.restrict(10_000)
    assert table.size() == 10_000


def test_a_row_pushed_while_nothing_is_to_go_stays(client, table_name):
    """Below its trigger a restriction tells no shard to keep just what it has."""
    table, *_ = _filled(client, table_name, 60)
    stop = threading.Event()

    def restrict():
        while not stop.is_set():
            table.restrict(10_000)

    worker = threading.Thread(target=restrict)
    worker.start()
    try:
        for key in range(300):
            table.push([key], [[0.0]])
    finally:
        stop.set()
        worker.join()
    assert table.size() == 360


def test_the_command_line_cuts_all_shards_as_one(client, table_name):
    table, keys, frequency, last_used = _filled(client, table_name, 600)
    targets = ",".join(server.target for server in client.server_info())
    command = [sys.executable, "-m", "rowbank.cli", "evict", table_name, "--keep", "250", "-o", "json"]
    done = subprocess.run([*command, "--target", targets], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["evicted"] == 350
    assert _stored(table) == _kept(keys, frequency, last_used, 250, "frequency", decays=False, now=0)


def test_limits_of_a_restriction(client, table_name):
    table, *_ = _filled(client, table_name, 60)
    with pytest.raises(errors.InvalidRequest, match="trigger: expected at least num_reserved = 10, or None, got 5"):
        table.restrict(10, trigger=5)
    with pytest.raises(errors.InvalidRequest, match=r"num_reserved: expected an integer of at most 2\*\*63 - 1"):
        table.preview_eviction(2**70)
