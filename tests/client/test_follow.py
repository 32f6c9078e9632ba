"""Following tables: what a follower was told is what the tables hold."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tests.client.proxy import Proxy
from tests.processes import stand_still, until
from tests.redis_nodes import free_ports

from rowbank import ChangeBatch, Client, TableSpec, errors
from rowbank.optimizers import SGD

ROOT = Path(__file__).parents[2]
KEYS = np.arange(50, dtype=np.int64)


def ones(count: int) -> np.ndarray:
    return np.ones((count, 2), np.float32)


def made(client: Client, name: str, **options):
    spec = TableSpec(name, dim=2, optimizer=SGD(learning_rate=1.0), **{"durability": "journaled", **options})
    return client.create_table(spec)


class Copy:
    """What a consumer makes of batches."""

    def __init__(self) -> None:
        self.rows: dict[int, list[float]] = {}
        self.reasons: dict[int, str] = {}
        self.pictures = 0

    def take_in(self, batch: ChangeBatch) -> None:
        self.pictures += batch.restarted
        if batch.restarted or batch.dropped:
            keys = list(self.rows)
            self.rows = {key: self.rows[key] for key, mine in zip(keys, batch.covers(keys), strict=True) if not mine}
        if batch.values is not None:
            self.rows |= dict(zip(batch.keys.tolist(), batch.values.tolist(), strict=True))
        for key, reason in zip(batch.removed.tolist(), batch.reasons.tolist(), strict=True):
            self.rows.pop(key, None)
            self.reasons[key] = reason

    def follow(self, follower, until_rows, *, timeout_s: float = 60.0) -> None:
        """Takes in batches until it holds `until_rows`."""
        deadline = time.monotonic() + timeout_s
        while self.rows != until_rows or not follower.whole:
            assert time.monotonic() < deadline, f"has {self.rows}, wants {until_rows}"
            batch = follower.poll(0.1)
            if batch is not None:
                self.take_in(batch)


def stored(table) -> dict[int, list[float]]:
    return {
        key: values
        for chunk in table.export()
        for key, values in zip(chunk.keys.tolist(), chunk.values.tolist(), strict=True)
    }


def test_a_picture_comes_first_and_then_what_changes(client, table_name):
    table = made(client, table_name)
    table.push(KEYS, ones(50))
    copy = Copy()
    with client.follow(table_name) as follower:
        copy.follow(follower, {key: [-1.0, -1.0] for key in KEYS.tolist()})
        assert copy.pictures == 1
        table.push([3, 60], ones(2))
        table.remove([5])
        table.upsert([7], [[4.0, 5.0]])
        copy.follow(follower, stored(table))
        assert copy.rows[3] == [-2.0, -2.0]
        assert copy.rows[60] == [-1.0, -1.0]
        assert copy.rows[7] == [4.0, 5.0]
        assert copy.reasons == {5: "removed"}
        assert copy.pictures == 1


def test_two_shards_are_followed_as_one(two_shards, table_name):
    with Client(two_shards) as client:
        table = made(client, table_name)
        table.push(KEYS, ones(50))
        copy = Copy()
        with client.follow([table_name]) as follower:
            copy.follow(follower, stored(table))
            assert copy.pictures == 2
            table.push(KEYS[::2], ones(25))
            copy.follow(follower, stored(table))
            assert copy.pictures == 2


def test_now_tells_what_comes_after(client, table_name):
    table = made(client, table_name)
    table.push(KEYS, ones(50))
    copy = Copy()
    with client.follow(table_name, since="now") as follower:
        assert follower.whole
        table.push([1], ones(1))
        copy.follow(follower, {1: [-2.0, -2.0]})
        assert copy.pictures == 0


def test_keys_alone_have_no_values(client, table_name):
    table = made(client, table_name)
    with client.follow(table_name, since="now", detail="keys") as follower:
        table.push([4, 9], ones(2))
        table.remove([4])
        changed: set[int] = set()
        removed: set[int] = set()
        while not (changed >= {9} and removed):
            batch = follower.poll(30.0)
            assert batch is not None
            assert (batch.values, batch.positions) == (None, None)
            changed |= set(batch.keys.tolist())
            removed |= set(batch.removed.tolist())
        assert removed == {4}


def test_a_follower_goes_on_from_a_position(client, table_name):
    table = made(client, table_name)
    table.push(KEYS, ones(50))
    copy = Copy()
    with client.follow(table_name) as follower:
        copy.follow(follower, stored(table))
        position = follower.position
    table.push([2], ones(1))
    table.remove([3])
    told = Copy()
    with client.follow(table_name, since=position) as follower:
        while not (told.reasons and told.rows):
            batch = follower.poll(30.0)
            assert batch is not None
            told.take_in(batch)
    assert (told.rows, told.reasons, told.pictures) == ({2: [-2.0, -2.0]}, {3: "removed"}, 0)


def test_evictions_and_clears_are_told(client, table_name):
    table = made(client, table_name)
    table.push(KEYS, ones(50), counts=KEYS + 1)
    copy = Copy()
    with client.follow(table_name) as follower:
        copy.follow(follower, stored(table))
        table.restrict(10)
        copy.follow(follower, stored(table))
        assert sorted(copy.rows) == list(range(40, 50))
        assert set(copy.reasons.values()) == {"restrict"}
        table.clear()
        copy.follow(follower, {})
        table.push([1], ones(1))
        copy.follow(follower, {1: [-1.0, -1.0]})


def test_a_table_that_is_dropped_and_made_anew_is_told_of(client, table_name):
    table = made(client, table_name)
    table.push(KEYS, ones(50))
    with client.follow(table_name) as follower:
        copy = Copy()
        copy.follow(follower, stored(table))
        client.drop_table(table_name)
        made(client, table_name).push([8], ones(1))
        copy.follow(follower, {8: [-1.0, -1.0]})


def test_a_table_that_was_dropped_during_a_cut_is_told_of(target, table_name):
    """The other one is followed on."""
    with Proxy(target) as proxy, Client(target) as client, Client(proxy.target) as through:
        other = made(client, f"{table_name}-other")
        table = made(client, table_name)
        table.push(KEYS, ones(50))
        copy = Copy()
        with through.follow([table_name, other.name]) as follower:
            copy.follow(follower, stored(table))
            proxy.lose_requests = proxy.lose_answers = True
            client.drop_table(table_name)
            proxy.lose_requests = proxy.lose_answers = False
            proxy.cut()
            copy.follow(follower, {})
            other.push([1], ones(1))
            copy.follow(follower, {1: [-1.0, -1.0]})


def test_a_relaxed_table_is_followed(client, table_name):
    table = made(client, table_name, durability="relaxed")
    table.push(KEYS, ones(50))
    copy = Copy()
    with client.follow(table_name) as follower:
        copy.follow(follower, stored(table))
        for _ in range(20):
            table.push(KEYS, ones(50))
        copy.follow(follower, {key: [-21.0, -21.0] for key in KEYS.tolist()})


def test_a_cut_follower_goes_on_where_it_was(target, table_name):
    """Cut again and again while rows change, also in the middle of a picture."""
    with Proxy(target) as proxy, Client(target) as client, Client(proxy.target) as through:
        table = made(client, table_name)
        table.upsert(np.arange(20_000), np.zeros((20_000, 2), np.float32))
        stop = threading.Event()

        def change() -> None:
            numbers = np.random.default_rng(1)
            while not stop.is_set():
                table.push(numbers.integers(0, 20_000, 100), ones(100))
                proxy.cut()
                stop.wait(0.05)

        copy = Copy()
        with through.follow(table_name) as follower:
            changing = threading.Thread(target=change)
            changing.start()
            deadline = time.monotonic() + 3.0
            while time.monotonic() < deadline:
                batch = follower.poll(0.1)
                if batch is not None:
                    copy.take_in(batch)
            stop.set()
            changing.join()
            copy.follow(follower, stored(table))


def test_a_follower_finds_the_shard_after_a_restart(start_ps, table_name):
    server = start_ps()
    with Client(server.target, timeout_s=60.0) as client:
        table = made(client, table_name)
        table.push(KEYS, ones(50))
        copy = Copy()
        with client.follow(table_name) as follower:
            copy.follow(follower, stored(table))
            server.kill()
            start_ps("--bind", server.target)
            table.push([1, 2], ones(2))
            copy.follow(follower, stored(table))


def test_a_follower_goes_to_the_process_that_took_over(start_ps, table_name):
    """The owner stands still; another process of the shard serves, and tells what changes there."""
    first, second = (f"127.0.0.1:{port}" for port in free_ports(2))
    elder = start_ps("--bind", first)
    with Client(f"{first}|{second}", timeout_s=60.0) as client:
        table = made(client, table_name)
        table.push(KEYS, ones(50))
        copy = Copy()
        with client.follow(table_name) as follower:
            copy.follow(follower, stored(table))
            stand_still(elder.pid)
            start_ps("--bind", second)
            table.push([1, 2], ones(2))
            copy.follow(follower, stored(table))
            os.kill(elder.pid, signal.SIGCONT)
            assert elder.wait() == 1


def test_one_that_does_not_read_gets_everything_in_the_end(client, table_name):
    table = made(client, table_name)
    copy = Copy()
    with client.follow(table_name) as follower:
        for _ in range(300):
            table.push(np.arange(2000), ones(2000))
        copy.follow(follower, {key: [-300.0, -300.0] for key in range(2000)})


def test_one_that_is_cut_off_as_too_slow_gets_the_rest_all_the_same(start_ps, table_name, monkeypatch):
    """Little room here and at the shard, so that what is not read is passed by."""
    monkeypatch.setattr("rowbank.calls.following.follower._ROOM_BYTES", 1)
    server = start_ps("--follow-buffer-bytes", str(1 << 20))
    keys = np.arange(500)
    with Client(server.target) as client:
        table = client.create_table(TableSpec(table_name, dim=256, optimizer=SGD(1.0), durability="journaled"))
        copy = Copy()
        with client.follow(table_name) as follower:
            stream = follower._streams[0]
            for _ in range(200):
                table.push(keys, np.ones((500, 256), np.float32))
                if isinstance(stream.last_error, errors.FollowerTooSlow):
                    break
            table.remove(keys[10:])
            copy.follow(follower, stored(table))
            assert isinstance(stream.last_error, errors.FollowerTooSlow)


def test_a_table_that_does_not_exist_is_an_error(client):
    with pytest.raises(errors.TableNotFound):
        client.follow("no-such-table")


@pytest.mark.parametrize(
    ("options", "text"),
    [({"detail": "records"}, "detail: expected 'keys' or 'rows'"), ({"since": "later"}, "since: expected None, 'now'"),
     ({"since": 7}, "since: expected None, 'now'"), ({"since": "1;-;-"}, "a position of 1 shards, got one of 2"),
     ({"tables": [1]}, "tables: expected a table's name or a list of names, got \\[1\\]"),
     ({"tables": ""}, "tables: expected a table's name"), ({"name": 5}, "name: expected a text, got 5")],
)  # fmt: skip
def test_wrong_arguments_say_what_was_expected(client, options, text):
    with pytest.raises(errors.InvalidRequest, match=text):
        client.follow(**{"tables": "t", **options})


def test_closing_ends_a_wait_at_once(client, table_name):
    made(client, table_name)
    follower = client.follow(table_name, since="now")
    got: list[object] = []
    waiting = threading.Thread(target=lambda: got.extend([*follower, "ended"]))
    waiting.start()
    started = time.monotonic()
    follower.close()
    waiting.join()
    assert got == ["ended"]
    assert time.monotonic() - started < 5.0
    follower.close()


def test_a_closed_client_ends_its_followers(target, table_name):
    """Also those that nobody closes."""
    before = set(threading.enumerate())
    with Client(target) as client:
        made(client, table_name)
        follower = client.follow(table_name, since="now")
        threads = [one for one in set(threading.enumerate()) - before if one.name.startswith("rowbank-follow")]
        assert len(threads) == 2
    with pytest.raises(errors.ClientClosed):
        next(follower)
    until(lambda: not any(thread.is_alive() for thread in threads), what="its threads end")
    follower.close()


def test_a_closed_client_ends_followers_that_are_full(target, table_name, monkeypatch):
    """Nobody takes what they have, so their threads wait for room."""
    monkeypatch.setattr("rowbank.calls.following.follower._ROOM_BYTES", 1)
    before = set(threading.enumerate())
    with Client(target) as client:
        table = made(client, table_name)
        follower = client.follow(table_name, since="now")
        threads = [one for one in set(threading.enumerate()) - before if one.name.startswith("rowbank-follow")]
        for _ in range(3):
            table.push(KEYS, ones(50))
        until(lambda: follower._inbox._bytes[0] > 0, what="something waits")
    until(lambda: not any(thread.is_alive() for thread in threads), what="its threads end")
    with pytest.raises(errors.ClientClosed):
        list(follower)
    follower.close()


def _poll(follower, said) -> None:
    try:
        follower.poll(0.0)
    except errors.InvalidRequest as error:
        said.put(error.message)


def test_a_forked_child_does_not_read_its_parents_follower(client, table_name):
    made(client, table_name)
    context = multiprocessing.get_context("fork")
    said = context.Queue()
    with client.follow(table_name, since="now") as follower:
        child = context.Process(target=_poll, args=(follower, said))
        child.start()
        assert f"the follower belongs to process {os.getpid()}" in said.get(timeout=30)
        child.join()
        client.table(table_name).push([1], ones(1))
        batch = follower.poll(30.0)
        assert batch is not None
        assert batch.keys.tolist() == [1]


def test_the_example_keeps_a_dict_and_goes_on_where_it_was(target, client, table_name):
    table = made(client, table_name)
    table.push(KEYS, ones(50))
    command = [sys.executable, str(ROOT / "docs/examples/cache.py"), table_name]
    environment = {**os.environ, "ROWBANK_TARGETS": target}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "0 changed, 0 removed: 50 rows\n"
        table.push([100, 101], ones(2))
        assert first.stdout.readline() == "2 changed, 0 removed: 52 rows\n"
        table.remove([1])
        assert first.stdout.readline() == "0 changed, 1 removed: 51 rows\n"
        first.send_signal(signal.SIGINT)
        position = first.stdout.readline().removeprefix("stopped at ").strip()
    table.push([102], ones(1))
    with subprocess.Popen([*command, position], stdout=subprocess.PIPE, text=True, env=environment) as second:
        assert second.stdout is not None
        lines = [second.stdout.readline()]
        while not lines[-1].startswith("1 changed, 0 removed"):
            lines.append(second.stdout.readline())
        second.send_signal(signal.SIGINT)
