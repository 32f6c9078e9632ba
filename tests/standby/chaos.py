"""An owner and its standby under load, what befalls the owner, and for how long pushes are not answered then.

The arithmetic is that of `tests.journal.chaos`. Here callers have ten seconds for a push, and none may see an error.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tests.journal.chaos import TABLES, Worker, assert_counts
from tests.journal.support import CuttingProxy
from tests.processes import PsProcess, until
from tests.standby.support import caught_up, go_on, owner_of, stop, takes_over

from rowbank import SGD, Client, TableSpec
from rowbank_server.redis_supervisor import EmbeddedRedis

TIMEOUT_S = 10.0
PROBE_S = 0.01
_BALLAST = "ballast"
_BALLAST_DIM = 16
_BALLAST_BATCH = 50_000
_LONGEST_LOAD_S = 900.0


class Prober(Worker):
    """A worker that rests between its pushes, and notes when each was acknowledged."""

    def __init__(self, target: str, seed: int, stop: threading.Event, *, timeout_s: float) -> None:
        super().__init__(target, seed, stop, timeout_s=timeout_s)
        self.answered: list[float] = []

    def _push(self, client: Client) -> None:
        pushes = self.pushes
        super()._push(client)
        if self.pushes > pushes:
            self.answered.append(time.monotonic())
        self._stop_event.wait(PROBE_S)

    def longest_gap_s(self, since: float, until: float) -> float:
        """The longest time between two answers that overlaps with the time from `since` to `until`."""
        times = [*self.answered]
        gaps = (late - early for early, late in itertools.pairwise(times) if late > since and early < until)
        return max(gaps, default=until - since)


class StandbyChaos:
    """Two processes of one shard, each behind a proxy, or one alone, and workers.

    Half of the native endpoints are behind proxies, too; to the others clients connect directly.

    Args:
        rows: of a table that nobody pushes to, so that processes have something to load.
        cold: one process without a standby: it is killed and started again.
    """

    def __init__(self, folder: Path, *, seed: int, workers: int, rows: int = 0, cold: bool = False) -> None:
        self._random = random.Random(seed)
        self._folder = folder
        self._cold = cold
        self._logs = 0
        self.redis = EmbeddedRedis(folder / "redis")
        self.redis.start()
        self.servers: list[PsProcess] = []
        self.proxies: list[CuttingProxy] = []
        self._sockets = Path(tempfile.mkdtemp(prefix="rowbank-"))  # Their paths have to be short.
        self._native_proxies: list[CuttingProxy] = []
        for _ in range(1 if cold else 2):
            self.proxies.append(CuttingProxy("127.0.0.1:1"))
            self.servers.append(self._start(len(self.servers)))
        self.target = "|".join(proxy.target for proxy in self.proxies)
        self._create(rows)
        self._stop = threading.Event()
        self.prober = self._worker(Prober)
        self.workers = [self.prober, *(self._worker(Worker) for _ in range(workers))]
        self.gaps: dict[str, list[float]] = {}
        self._faults: dict[str, Callable[[PsProcess], None]] = (
            {"kill -9, cold restart": self._kill_cold}
            if cold
            else {
                "kill -9": self._kill,
                "SIGSTOP": self._stand_still,
                "connections cut": self._cut,
                "SIGTERM": self._hand_over,
            }
        )

    def run(self, faults: int) -> None:
        """Runs workers and so many faults, in turns, then lets everything settle."""
        for worker in self.workers:
            worker.start()
        self._push_on()
        names = list(self._faults)
        for number in range(faults):
            name = names[number % len(names)]
            owner = self._whole()
            began = time.monotonic()
            self._faults[name](owner)
            self._push_on()
            self._whole()
            self.gaps.setdefault(name, []).append(self.prober.longest_gap_s(began, time.monotonic()))
            self._nobody_failed()
        self._stop.set()
        for worker in self.workers:
            worker.join(60)
            assert not worker.is_alive(), self.log
        self._nobody_failed()

    def check(self) -> None:
        """Every row equals its acknowledged pushes, also after all processes were killed; no caller saw an error."""
        if not self._cold:  # Loading may take longer than callers wait.
            assert not self.errors, self.log
        for last in (False, True):
            with Client(self.target, connect_timeout_s=60.0) as client:
                assert_counts(client, self.workers)
            if not last:
                for server in self.servers:
                    server.kill()
                self.servers = [self._start(place) for place in range(len(self.servers))]

    @property
    def errors(self) -> int:
        """How many pushes were answered with an error after ten seconds."""
        return sum(worker.unknown_pushes for worker in self.workers)

    @property
    def pushes(self) -> int:
        """How many were acknowledged."""
        return sum(worker.pushes for worker in self.workers)

    @property
    def native_pushes(self) -> int:
        """How many of those went over native endpoints."""
        return sum(worker.native_pushes for worker in self.workers)

    @property
    def log(self) -> str:
        """The end of what the processes wrote."""
        return "\n".join(
            f"== {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self._folder.glob("ps*.log"))[-3:]
        )

    def close(self) -> None:
        """Ends everything."""
        self._stop.set()
        for proxy in (*self.proxies, *self._native_proxies):
            proxy.close()
        for server in self.servers:
            with contextlib.suppress(ProcessLookupError):
                go_on(server)
            server.kill()
            server.close()
        self.redis.stop()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def _worker(self, kind: type[Any]) -> Any:
        return kind(self.target, self._random.randrange(1 << 30), self._stop, timeout_s=TIMEOUT_S)

    def _start(self, place: int) -> PsProcess:
        """Starts the process at `place`, at the address that it had there."""
        arguments = ["--flush-interval-s", self._random.choice(["0.1", "0.5", "3600"])]
        arguments += ["--journaled-flush-interval-s", self._random.choice(["0", "3600"])]
        if not self._cold:
            arguments += ["--standby", "--advertise", self.proxies[place].target]
        if place < len(self.servers):
            self.servers[place].close()
            arguments += ["--bind", self.servers[place].target]
        self._logs += 1
        rows = self._sockets / f"{self._logs}.sock"
        if self._random.random() < 0.5:
            arguments += ["--native-bind", f"unix:{rows}"]
        log = self._folder / f"ps{self._logs:03}.log"
        server = PsProcess(*arguments, redis_url=self.redis.url, log=log).wait_ready()
        host, port = server.target.rsplit(":", 1)
        self.proxies[place].backend = (host, int(port))
        if rows.is_socket():
            self._native_proxies.append(CuttingProxy.in_place_of(rows))
        return server

    def _create(self, rows: int) -> None:
        with Client(self.target, timeout_s=60.0, connect_timeout_s=60.0) as client:
            for name in TABLES:
                client.create_table(TableSpec(name, dim=1, optimizer=SGD(1.0)))
            if not rows:
                return
            table = client.create_table(TableSpec(_BALLAST, dim=_BALLAST_DIM, optimizer=SGD(1.0)))
            values = np.ones((_BALLAST_BATCH, _BALLAST_DIM), np.float32)
            for first in range(0, rows, _BALLAST_BATCH):
                keys = np.arange(first, min(rows, first + _BALLAST_BATCH))
                table.upsert(keys, values[: len(keys)])

    def _whole(self) -> PsProcess:
        """Waits until the standby has everything, so that one fault comes after the other; the owner."""
        owner = owner_of(*self.servers)
        for server in self.servers:
            if server is not owner:
                caught_up(server, owner, timeout_s=_LONGEST_LOAD_S)
        return owner

    def _push_on(self) -> None:
        """Waits for a few more answers."""
        pushes = self.prober.pushes
        until(
            lambda: self.prober.pushes > pushes + 20 or not self.prober.is_alive(),
            what="pushes",
            timeout_s=_LONGEST_LOAD_S,
        )

    def _nobody_failed(self) -> None:
        failures = [worker.failure for worker in self.workers if worker.failure]
        assert not failures, (failures, self.log)

    def _kill(self, owner: PsProcess) -> None:
        place = self.servers.index(owner)
        owner.kill()
        takes_over(self.servers[1 - place])
        self.servers[place] = self._start(place)

    def _kill_cold(self, owner: PsProcess) -> None:
        owner.kill()
        self.servers[0] = self._start(0)

    def _stand_still(self, owner: PsProcess) -> None:
        stop(owner)
        try:
            takes_over(self.servers[1 - self.servers.index(owner)])
        finally:
            go_on(owner)

    def _cut(self, owner: PsProcess) -> None:
        for proxy in (*self.proxies, *self._native_proxies):
            proxy.cut()

    def _hand_over(self, owner: PsProcess) -> None:
        place = self.servers.index(owner)
        owner.process.send_signal(signal.SIGTERM)
        assert owner.wait() == 0, owner.log
        self.servers[place] = self._start(place)


@contextlib.contextmanager
def standby_chaos(
    folder: Path, *, seed: int, workers: int, rows: int = 0, cold: bool = False
) -> Iterator[StandbyChaos]:
    """Ends everything whatever happens, and keeps the folder if it was bad."""
    folder.mkdir(parents=True, exist_ok=True)
    run = StandbyChaos(folder, seed=seed, workers=workers, rows=rows, cold=cold)
    try:
        yield run
    finally:
        run.close()
    shutil.rmtree(folder, ignore_errors=True)
