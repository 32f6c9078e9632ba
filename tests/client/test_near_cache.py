"""Rows that a client keeps near itself: what may be used how long, own writes, room, forks and threads."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from rowbank import Adagrad, Client, TableSpec, errors
from rowbank._native import NearCache
from rowbank.calls.verbs import Push
from rowbank.optimizers import SGD, Optimizer
from rowbank.remote.clients import shared_client
from rowbank.rows import ExportChunk, Store

KEYS = np.arange(40, dtype=np.int64)
ROWS = np.arange(160, dtype=np.float32).reshape(40, 4)


@pytest.fixture
def other(target: str) -> Iterator[Client]:
    """A client that keeps nothing, to change rows behind the other's back and to see what is true."""
    with Client(target) as client:
        yield client


@pytest.fixture
def near(target: str) -> Iterator[Client]:
    """A client whose rows may be three steps old."""
    with Client(target, near_cache_bytes=1_000_000, max_staleness_steps=3) as client:
        yield client


def made(client: Client, name: str, optimizer: Optimizer | None = None, **more: Any) -> Any:
    table = client.create_table(TableSpec(name, dim=4, optimizer=optimizer or SGD(learning_rate=0.1), **more))
    table.upsert(KEYS, ROWS)
    return table


def test_a_row_is_used_for_so_many_steps_and_no_longer(near, other, table_name):
    theirs = made(other, table_name)
    table = near.table(table_name)
    assert (table.pull(KEYS) == ROWS).all()
    theirs.upsert(KEYS, ROWS + 1.0)
    for _ in range(3):
        assert (table.pull(KEYS) == ROWS).all()
    assert (table.pull(KEYS) == ROWS + 1.0).all()
    stats = near.near_cache()[table_name]
    assert (stats.hits, stats.misses, stats.rows) == (120, 80, 40)
    assert stats.ages == (0, 40, 40, 40)


def test_a_read_and_the_write_after_it_are_one_step(near, other, table_name):
    theirs = made(other, table_name)
    table = near.table(table_name)
    table.pull(KEYS)
    theirs.upsert(KEYS, ROWS + 1.0)
    table.push([1000], np.ones((1, 4), np.float32))  # The same step as the read before it.
    assert (table.pull(KEYS) == ROWS).all()
    for _ in range(2):
        table.push([1000], np.ones((1, 4), np.float32))  # The second of them is a step of its own.
    assert (table.pull(KEYS) == ROWS).all()
    assert (table.pull(KEYS) == ROWS + 1.0).all()


@pytest.mark.parametrize(("size", "steps"), [(0, 5), (1_000_000, 0)])
def test_nothing_is_kept_unless_both_are_given(target, table_name, size, steps):
    with Client(target, near_cache_bytes=size, max_staleness_steps=steps) as client:
        made(client, table_name).pull(KEYS)
        assert client.near_cache() == {}


@pytest.mark.parametrize("name", ["near_cache_bytes", "max_staleness_steps"])
def test_arguments_are_checked(target, name):
    with pytest.raises(errors.InvalidRequest, match=f"{name}: expected an integer of at least 0"):
        Client(target, **{name: -1})


def write_push(table: Any, client: Client) -> None:
    table.push(KEYS[:3], np.ones((3, 4), np.float32))


def write_import(table: Any, client: Client) -> None:
    ones = np.ones(3, np.uint32)
    table.import_rows([ExportChunk(KEYS[:3], ROWS[:3] + 5.0, ones, ones)])


WRITES = {
    "push": write_push,
    "upsert": lambda table, client: table.upsert(KEYS[:3], ROWS[:3] + 1.0),
    "accumulate": lambda table, client: table.accumulate(KEYS[:3], ROWS[:3] + 1.0, True),
    "store": lambda table, client: client.store([Store(table.name, KEYS[:3], ROWS[:3] + 1.0)]),
    "remove": lambda table, client: table.remove(KEYS[:3]),
    "clear": lambda table, client: table.clear(),
    "restrict": lambda table, client: table.restrict(5),
    "import": write_import,
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("optimizer", [SGD(learning_rate=0.1), Adagrad()], ids=["sgd", "adagrad"])
def test_a_client_reads_its_own_writes(near, other, table_name, write, optimizer):
    table = made(near, table_name, optimizer)
    before = table.pull(KEYS)
    WRITES[write](table, near)
    after = table.pull(KEYS)
    assert (after != before).any()
    assert after.tobytes() == other.table(table_name).pull(KEYS).tobytes()


def test_sgd_moves_the_rows_that_are_kept(near, other, table_name):
    seed = 7
    print(f"seed {seed}")
    random = np.random.default_rng(seed)
    table = made(near, table_name)
    table.pull(KEYS)
    repeated = np.concatenate([KEYS, KEYS[:7]])
    gradients = random.normal(size=(47, 4)).astype(np.float32)
    table.push(repeated, gradients)
    table.push(KEYS, gradients[:40], learning_rate=0.3)
    misses = near.near_cache()[table_name].misses
    assert table.pull(KEYS).tobytes() == other.table(table_name).pull(KEYS).tobytes()
    assert near.near_cache()[table_name].misses == misses
    assert near.near_cache()[table_name].applied == 80


@pytest.mark.parametrize("overrides", [{"clip_value": 0.1}, {"max_norm": 0.1}])
def test_what_more_than_sgd_moves_is_asked_for_again(near, other, table_name, overrides):
    table = made(near, table_name)
    table.pull(KEYS)
    table.push(KEYS, np.ones((40, 4), np.float32), **overrides)
    assert table.pull(KEYS).tobytes() == other.table(table_name).pull(KEYS).tobytes()
    assert near.near_cache()[table_name].applied == 0


def test_unseen_keys_are_kept_until_they_are_pushed(near, other, table_name):
    table = made(near, table_name)
    for _ in range(2):
        assert (table.pull([777]) == 0.0).all()
        assert not near.lookup({table_name: [777]})[table_name].found.any()
    assert near.near_cache()[table_name].hits == 3
    table.push([777], np.ones((1, 4), np.float32))
    assert table.pull([777]).tobytes() == other.table(table_name).pull([777]).tobytes()
    assert near.lookup({table_name: [777]})[table_name].found.all()


def test_a_table_that_is_made_anew_has_none_of_the_old_rows(near, table_name):
    made(near, table_name).pull(KEYS)
    near.drop_table(table_name)
    table = near.create_table(TableSpec(table_name, dim=4))
    assert (table.pull(KEYS) == 0.0).all()
    near.drop_table(table_name)
    assert near.create_table(TableSpec(table_name, dim=2)).pull(KEYS).shape == (40, 2)


def test_a_table_that_another_client_dropped_is_empty_once_made_anew(near, other, table_name):
    made(near, table_name).pull(KEYS)
    other.drop_table(table_name)
    assert (near.create_table(TableSpec(table_name, dim=4)).pull(KEYS) == 0.0).all()


def test_a_table_twice_in_one_push(near, other, table_name):
    table = made(near, table_name)
    table.pull(KEYS)
    gradients = np.random.default_rng(5).normal(size=(2, 40, 4)).astype(np.float32)
    with contextlib.suppress(errors.RowbankError):
        near.push_all([Push(table_name, KEYS, part) for part in gradients])
    assert table.pull(KEYS).tobytes() == other.table(table_name).pull(KEYS).tobytes()


def test_table_lookup_and_bounded_reads_pass_it_by(target, other, table_name):
    theirs = made(other, table_name)
    with Client(target, near_cache_bytes=1_000_000, max_staleness_steps=3, max_staleness_s=1.0) as client:
        table = client.table(table_name)
        table.pull(KEYS)
        theirs.upsert(KEYS, ROWS + 1.0)
        assert (table.lookup(KEYS).values == ROWS + 1.0).all()
        assert (table.pull(KEYS, max_staleness_s=0.0) == ROWS + 1.0).all()
        assert (table.pull(KEYS) == ROWS).all()


def test_rounded_rows_are_not_what_a_lookup_answers(target, table_name):
    with Client(target, near_cache_bytes=1_000_000, max_staleness_steps=3, wire_dtype="bfloat16") as client:
        table = made(client, table_name)
        table.upsert(KEYS, ROWS + 0.001)
        table.pull(KEYS)
        assert (client.lookup({table_name: KEYS})[table_name].values == ROWS + np.float32(0.001)).all()


def test_two_shards(two_shards, table_name):
    with Client(two_shards, near_cache_bytes=1_000_000, max_staleness_steps=3) as client:
        table = made(client, table_name)
        table.pull(KEYS[:10])
        assert (table.pull(KEYS) == ROWS).all()
        assert client.near_cache()[table_name].hits == 10
        shuffled = np.random.default_rng(3).permutation(np.concatenate([KEYS, KEYS]))
        assert (table.pull(shuffled) == ROWS[shuffled]).all()
        table.push(KEYS, np.ones((40, 4), np.float32))
        assert np.array_equal(table.pull(KEYS), ROWS + np.float32(-0.1))


def test_a_forked_child_starts_empty(near, table_name):
    table = made(near, table_name)
    table.pull(KEYS)
    child = os.fork()
    if child == 0:
        os._exit(0 if near.near_cache() == {} else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert near.near_cache()[table_name].rows == 40


def read(cache: NearCache, keys: np.ndarray, dim: int = 2) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    rows, status = np.zeros((len(keys), dim), np.float32), np.zeros(len(keys), np.uint8)
    places = np.empty(len(keys), np.int64)
    token, misses = cache.read(keys, rows, status, places)
    return token, rows, status, places[:misses]


def put(cache: NearCache, keys: np.ndarray, value: float) -> None:
    token, rows, status, places = read(cache, keys)
    rows[places], status[places] = value, 1
    cache.fill(token, keys, rows, status, places)


def test_rows_of_a_read_that_a_write_overlapped_are_not_kept():
    keys = np.arange(4, dtype=np.int64)
    for begins_first in ("read", "write"):
        cache = NearCache(2, 10_000, 9)
        write = cache.begin_write(keys[:2], False, False) if begins_first == "write" else 0
        token, rows, status, places = read(cache, keys)
        write = write or cache.begin_write(keys[:2], False, False)
        cache.end_write(write, None, 0.0)
        status[:] = 1
        cache.fill(token, keys, rows, status, places)
        assert read(cache, keys)[3].tolist() == [0, 1]


def test_rows_that_are_not_ones_own_are_not_kept():
    cache = NearCache(2, 10_000, 9)
    keys = np.arange(3, dtype=np.int64)
    token, rows, _, places = read(cache, keys)
    cache.fill(token, keys, rows, np.array([1, 2, 3], np.uint8), places)
    assert read(cache, keys)[3].tolist() == [2]


def test_it_keeps_within_its_bytes_and_what_is_used_again():
    cache = NearCache(2, 6_000, 1000)
    counts = cache.counts()
    assert counts["bytes"] <= 6_000
    assert counts["capacity"] > 60
    hot = np.arange(10, dtype=np.int64)
    put(cache, hot, 1.0)
    for start in range(100, 5_000, 20):
        assert len(read(cache, hot)[3]) == 0
        put(cache, np.arange(start, start + 20, dtype=np.int64), 2.0)
    assert cache.counts()["rows"] == counts["capacity"]
    assert cache.counts()["evicted"] > 4_000


def test_it_is_a_dictionary_under_random_reads_and_writes():
    seed = 11
    print(f"seed {seed}")
    random = np.random.default_rng(seed)
    cache, truth = NearCache(2, 60 * 64, 3), np.zeros(300, np.float32)
    for step in range(2_000):
        keys = random.choice(300, size=random.integers(1, 40), replace=False).astype(np.int64)
        if random.random() < 0.3:
            write = cache.begin_write(keys, False, False)
            truth[keys] = step
            cache.end_write(write, None, 0.0)
            continue
        token, rows, status, places = read(cache, keys)
        rows[places], status[places] = truth[keys[places], None], 1
        assert (rows == truth[keys, None]).all()
        cache.fill(token, keys, rows, status, places)
    assert cache.counts()["hits"] > 100


def test_threads_read_their_own_writes(near, other, table_name):
    table = made(near, table_name)
    wrong: list[int] = []

    def work(first: int) -> None:
        keys, gradients = KEYS[first : first + 10], np.ones((10, 4), np.float32)
        rows = ROWS[first : first + 10].copy()
        for _ in range(30):
            table.pull(KEYS)
            table.push(keys, gradients)
            rows += -gradients * np.float32(0.1)
            if not np.array_equal(table.pull(keys), rows):
                wrong.append(first)

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 10, 20, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert table.pull(KEYS).tobytes() == other.table(table_name).pull(KEYS).tobytes()


def test_a_write_that_fails_leaves_nothing_behind(near, table_name):
    table = made(near, table_name)
    table.pull(KEYS)
    near.calls.transport.close()
    with contextlib.suppress(Exception):
        table.push(KEYS, np.ones((40, 4), np.float32))
    assert near.near_cache()[table_name].rows == 0


def test_the_native_part_checks_shapes():
    cache = NearCache(2, 10_000, 9)
    keys = np.arange(3, dtype=np.int64)
    with pytest.raises(ValueError, match="shapes do not belong together"):
        read(cache, keys, dim=3)
    with pytest.raises(ValueError, match="beyond the keys"):
        cache.fill(1, keys, np.zeros((3, 2), np.float32), np.zeros(3, np.uint8), np.array([3]))
    write = cache.begin_write(keys, False, True)
    with pytest.raises(ValueError, match="a row per key"):
        cache.end_write(write, np.zeros((2, 2), np.float32), 0.1)


def test_the_shared_client_of_a_target_takes_its_options(target, table_name):
    options = {"near_cache_bytes": 1_000_000, "max_staleness_steps": 2}
    client = shared_client(target, client_options=options)
    assert client is shared_client(target, client_options=dict(reversed(options.items())))
    assert client is not shared_client(target)
    table = made(client, table_name)
    for _ in range(2):
        table.pull(KEYS)
    assert client.near_cache()[table_name].hits == 40
    with pytest.raises(errors.InvalidRequest, match=r"client_options: expected some of near_cache_bytes.*, got bytes"):
        shared_client(target, client_options={"bytes": 1})
    with pytest.raises(errors.InvalidRequest, match="to be set on the open client; got both"):
        shared_client(client, client_options=options)
