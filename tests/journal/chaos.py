"""Workers that push while servers are killed, and the arithmetic that tells whether anything was lost or doubled.

With SGD(1.0) and gradients of -1 a row's value is the number of its pushes. Every worker counts what was acknowledged;
a push whose fate the client reports as unknown may be there or not. Where there is a relaxed table, too, it is pushed
together with a journaled one, and so has the same promise; it is written back beside a write-back of the others.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tests.journal.support import CuttingProxy
from tests.processes import PsProcess, stand_still, until

from rowbank import SGD, Client, TableSpec
from rowbank.errors import RowbankError
from rowbank_server.redis_supervisor import EmbeddedRedis

KEYS = 400
TABLES = ("a", "b")
BESIDE = "c"  # The relaxed one.


class Worker(threading.Thread):
    """Pushes to random keys of one or both tables, and to the one `beside`, until told to stop."""

    def __init__(
        self, target: str, seed: int, stop: threading.Event, *, timeout_s: float, beside: tuple[str, ...] = ()
    ) -> None:
        super().__init__(daemon=True)
        self._target = target
        self._random = np.random.default_rng(seed)
        self._stop_event = stop
        self._timeout_s = timeout_s
        self._beside = beside
        self.tables = (*TABLES, *beside)
        self.acknowledged = {table: np.zeros(KEYS, np.int64) for table in self.tables}
        self.unknown = {table: np.zeros(KEYS, np.int64) for table in self.tables}
        self.pushes = 0
        self.unknown_pushes = 0
        self.native_pushes = 0  # Of those that were acknowledged.
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            with Client(self._target, timeout_s=self._timeout_s, connect_timeout_s=self._timeout_s) as client:
                while not self._stop_event.is_set():
                    self._push(client)
        except BaseException as error:  # Handed to the test.
            self.failure = error

    def _push(self, client: Client) -> None:
        names: tuple[str, ...] = TABLES if self._random.random() < 0.5 else (TABLES[int(self._random.integers(2))],)
        names += self._beside if self._random.random() < 0.5 else ()
        keys = {name: np.unique(self._random.integers(0, KEYS, int(self._random.integers(1, 40)))) for name in names}
        batch = {name: (part, np.full((len(part), 1), -1, np.float32)) for name, part in keys.items()}
        try:
            client.push(batch)
        except RowbankError as error:
            if not getattr(error, "retryable", False):
                raise
            self.unknown_pushes += 1
            for name, part in keys.items():
                self.unknown[name][part] += 1
        else:
            self.pushes += 1
            self.native_pushes += natively(client)
            for name, part in keys.items():
                self.acknowledged[name][part] += 1


def assert_counts(client: Client, workers: Sequence[Worker]) -> None:
    """Every row equals its acknowledged pushes, save those of unknown fate."""
    for table in workers[0].tables:
        values = client.table(table).lookup(np.arange(KEYS)).values[:, 0].astype(np.int64)
        least = sum(worker.acknowledged[table] for worker in workers)
        most = least + sum(worker.unknown[table] for worker in workers)
        lost, doubled = np.flatnonzero(values < least), np.flatnonzero(values > most)
        assert not len(lost), f"table {table}: lost pushes of keys {lost[:10]}: {values[lost][:10]}"
        assert not len(doubled), f"table {table}: doubled pushes of {doubled[:10]}: {values[doubled][:10]}"


def natively(client: Client) -> bool:
    """Whether the client has a connection to the native endpoint of the process that its calls go to."""
    return bool(client._transport.shards[0].active.lines._all)


@contextlib.contextmanager
def pushing(target: str, *, count: int, seed: int):
    """Workers push until the block ends; each may have to wait a minute for one push."""
    stop = threading.Event()
    workers = [Worker(target, seed + number, stop, timeout_s=60.0) for number in range(count)]
    for worker in workers:
        worker.start()
    try:
        yield workers
    finally:
        stop.set()
        for worker in workers:
            worker.join(120)
    assert not any(worker.is_alive() for worker in workers)
    assert [worker.failure for worker in workers] == [None] * count


class Chaos:
    """A Redis, a shard behind a proxy, workers, and what befalls them, all chosen by `seed`.

    Some processes of the shard say that they are reached at the proxy, so that rows go over their native endpoints:
    through another proxy, or directly. Of the others clients know the main address alone.
    """

    def __init__(self, folder: Path, *, seed: int, workers: int, timeout_s: float = 60.0) -> None:
        self._random = random.Random(seed)
        self._folder = folder
        self.redis = EmbeddedRedis(folder / "redis")
        self.redis.start()
        self._servers: list[PsProcess] = []
        self._sockets = Path(tempfile.mkdtemp(prefix="rowbank-"))  # Their paths have to be short.
        self._native_proxies: list[CuttingProxy] = []
        self.proxy = CuttingProxy("127.0.0.1:1")
        self._next_server()
        with Client(self.proxy.target) as client:
            for name in (*TABLES, BESIDE):
                durability = "relaxed" if name == BESIDE else "journaled"
                client.create_table(TableSpec(name, dim=1, optimizer=SGD(1.0), durability=durability))
        self._stop = threading.Event()
        self.workers = [
            Worker(
                self.proxy.target, self._random.randrange(1 << 30), self._stop, timeout_s=timeout_s, beside=(BESIDE,)
            )
            for _ in range(workers)
        ]
        self.events: Counter[str] = Counter()
        self._kinds: dict[str, tuple[int, Callable[[], None]]] = {
            "kill -9 of the shard": (4, self._kill_server),
            "kill -9 of Redis": (2, self._kill_redis),
            "kill -9 of both": (1, self._kill_both),
            "SIGTERM of the shard": (1, self.terminate_server),
            "a second shard takes over": (2, self._take_over),
            "the shard stands still": (2, self._pause_server),
            "Redis stands still": (2, self._pause_redis),
            "connections cut": (6, self._cut),
        }

    def run(self, seconds: float) -> None:
        """Runs workers and faults for that long, then lets everything settle."""
        self.start()
        deadline = time.monotonic() + seconds
        names = list(self._kinds)
        weights = [weight for weight, _ in self._kinds.values()]
        while (left_s := deadline - time.monotonic()) > 0:
            self._stop.wait(min(left_s, self._random.uniform(0.1, 1.5)))
            (name,) = self._random.choices(names, weights)
            self._kinds[name][1]()
            self.events[name] += 1
            failed = [worker.failure for worker in self.workers if worker.failure]
            assert not failed, failed
        self.settle()

    def start(self) -> None:
        """Starts the workers."""
        for worker in self.workers:
            worker.start()

    def settle(self) -> None:
        """Ends the workers after the push that each has under way."""
        self._stop.set()
        for worker in self.workers:
            worker.join(120)
            assert not worker.is_alive(), self.log
            assert worker.failure is None, (worker.failure, self.log)

    def check(self) -> None:
        """Every row equals its acknowledged pushes, save those of unknown fate; so it does after one more kill -9."""
        for _ in range(2):
            with Client(self.proxy.target, connect_timeout_s=60.0) as client:
                assert_counts(client, self.workers)
            self._kill_server()

    @property
    def report(self) -> str:
        pushes = sum(worker.pushes for worker in self.workers)
        unknown = sum(worker.unknown_pushes for worker in self.workers)
        native = sum(worker.native_pushes for worker in self.workers)
        keys = sum(int(worker.acknowledged[table].sum()) for worker in self.workers for table in worker.tables)
        kills = ", ".join(f"{count} x {name}" for name, count in sorted(self.events.items()))
        sent = f"{pushes} pushes acknowledged ({native} over the native endpoint)"
        return f"{sent}, {keys} keys in them, {unknown} of unknown fate; {kills}"

    @property
    def log(self) -> str:
        return "\n".join(server.log for server in self._servers[-2:])

    def close(self) -> None:
        self._stop.set()
        for proxy in (self.proxy, *self._native_proxies):
            proxy.close()
        for server in self._servers:
            server.kill()
            server.close()
        self.redis.stop()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def _start_server(self) -> None:
        choice = self._random.choice
        # With the shortest each transaction of the journaled tables is followed by a cycle of the relaxed one.
        arguments = ["--flush-interval-s", choice(["0.001", "0.05", "0.5", "3600"]), "--journal-wait-s", "1"]
        # Journaled rows are written with the others, or wait for the journal to be long enough, or for ever.
        arguments += ["--journaled-flush-interval-s", choice(["0", "1", "300"])]
        arguments += ["--recovery-target-s", choice(["0.02", "3600"]), "--drain-timeout-s", choice(["0.05", "20"])]
        way = self._random.choice(["direct", "cut", "cut", "none"])
        rows = self._sockets / f"{len(self._servers)}.sock"
        if way != "none":
            arguments += ["--advertise", self.proxy.target]
        if way == "cut":
            arguments += ["--native-bind", f"unix:{rows}"]
        for server in self._servers[:-1]:  # The last is the one that a take-over replaces.
            server.close()
        log = self._folder / f"ps{len(self._servers)}.log"
        self._servers.append(PsProcess(*arguments, redis_url=self.redis.url, log=log))
        self._servers[-1].wait_ready()
        if rows.is_socket():
            self._native_proxies.append(CuttingProxy.in_place_of(rows))

    def _next_server(self) -> None:
        self._start_server()
        self.proxy.backend = address_of(self._servers[-1].target)

    def _kill_server(self) -> None:
        self._servers[-1].kill()
        self._next_server()

    def terminate_server(self) -> None:
        self._servers[-1].process.send_signal(signal.SIGTERM)
        assert self._servers[-1].wait() == 0, self.log
        self._next_server()

    def _take_over(self) -> None:
        """The first lives on; its clients keep their connections until it ends by itself."""
        old = self._servers[-1]
        self._next_server()
        assert old.wait(timeout_s=60) == 1, old.log

    def _kill_redis(self) -> None:
        self._end_redis()
        self._stop.wait(self._random.uniform(0, 0.5))
        self.redis.restart()

    def _kill_both(self) -> None:
        self._end_redis()
        self._servers[-1].kill()
        self.redis.restart()
        self._next_server()

    def _end_redis(self) -> None:
        assert self.redis.pid is not None
        os.kill(self.redis.pid, signal.SIGKILL)
        until(lambda: self.redis.exit_status() is not None, what="end of Redis")

    def _pause_redis(self) -> None:
        assert self.redis.pid is not None
        stand_still(self.redis.pid)
        self._stop.wait(self._random.uniform(0.1, 1.5))
        os.kill(self.redis.pid, signal.SIGCONT)

    def _pause_server(self) -> None:
        os.kill(self._servers[-1].pid, signal.SIGSTOP)
        self._stop.wait(self._random.uniform(0.1, 1.5))
        os.kill(self._servers[-1].pid, signal.SIGCONT)

    def _cut(self) -> None:
        for proxy in (self.proxy, *self._native_proxies):
            proxy.cut()


def address_of(target: str) -> tuple[str, int]:
    host, port = target.rsplit(":", 1)
    return host, int(port)


@contextlib.contextmanager
def chaos(folder: Path, *, seed: int, workers: int):
    """Ends everything whatever happens, and keeps the folder if it was bad."""
    run = Chaos(folder, seed=seed, workers=workers)
    try:
        yield run
    finally:
        run.close()
    shutil.rmtree(folder, ignore_errors=True)
