"""The slowest pulls of an idle server, and beside pushes, evictions and a snapshot that is saved."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import numpy as np

import rowbank
from rowbank import snapshots

from . import candidates
from .candidates import Candidate
from .capacity_cells import releases
from .peers.work import BATCHES, Work
from .placement import Placement, placement
from .report import Figure, Settings

_CALLS = 8  # Times those of a round of other workloads: a hundredth of them has to be some.
_WARM_CALLS = 400
_PUSH_PAUSE_S = 0.05
_EVICTING_PAUSE_S = 0.1
_EVICTING_ROWS = 100_000
_BAR = 0.5  # The slowest percent take less than twice as long as on the idle server.


class _Load:
    """A process that does one thing over and over between `begin` and `end`."""

    def __init__(self, process: multiprocessing.process.BaseProcess, pipe: Connection) -> None:
        self._process, self._pipe = process, pipe
        self.done = 0

    def begin(self) -> None:
        """Returns when the first is done, or under way if it takes seconds."""
        self._pipe.send("begin")
        self._pipe.recv()

    def end(self) -> None:
        """Returns when the last one is done."""
        self._pipe.send("end")
        self.done += self._pipe.recv()


def pull_tail(settings: Settings) -> list[Figure]:
    """p99 of one client's pulls: idle, and beside pushes, pushes that evict, and pushes with a snapshot being saved."""
    cores = placement(1)
    print(f"pull_tail: {cores}", flush=True)
    work = Work(settings.rows, settings.dim, settings.batch, settings.seed, "adagrad", ("first",), settings.keys)
    figures: list[Figure] = []
    for release, python in releases().items():
        with candidates.rowbank(release, work, cores, durability="relaxed", python=python) as candidate:
            figures += _of(candidate, settings, work, cores)
    return figures


def _of(candidate: Candidate, settings: Settings, work: Work, cores: Placement) -> list[Figure]:
    candidate.timed("pull", _WARM_CALLS, 0)
    candidate.programs[0].ask(act="flush")
    seconds: dict[str, list[float]] = {}
    calls = settings.calls_per_round * _CALLS
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        loads = {name: stack.enter_context(_load(name, candidate, work, cores, folder)) for name in _LOADS}
        beside = {"idle": [], "pushes": ["pushes"], "evictions": ["evictions"], "snapshot": ["pushes", "snapshot"]}
        for number in range(settings.rounds):
            for what, names in beside.items():
                for name in names:
                    loads[name].begin()
                seconds.setdefault(what, []).extend(candidate.timed("pull", calls, number * calls))
                for name in reversed(names):
                    loads[name].end()
                candidate.programs[0].ask(act="flush")
        done = {what: float(loads[names[-1]].done) for what, names in beside.items() if names}
    return [_figure(candidate.name, what, seconds, count) for what, count in done.items()]


def _figure(release: str, what: str, seconds: dict[str, list[float]], count: float) -> Figure:
    idle, busy = ({part: np.quantile(seconds[name], part) * 1e3 for part in (0.5, 0.99)} for name in ("idle", what))
    detail = {
        "idle_p50_ms": float(idle[0.5]), "idle_p99_ms": float(idle[0.99]),
        "p50_ms": float(busy[0.5]), "p99_ms": float(busy[0.99]), "pulls": float(len(seconds[what])),
        "beside": count,
    }  # fmt: skip
    ratio = float(idle[0.99] / busy[0.99])
    return Figure(f"pull_tail {what}", f"{release}, beside {what}", f"{release}, idle", ratio, _BAR, detail)


@contextlib.contextmanager
def _load(name: str, candidate: Candidate, work: Work, cores: Placement, folder: str) -> Iterator[_Load]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    arguments = (name, candidate.target, work, cores.clients, folder, there)
    process = context.Process(target=_serve, args=arguments, daemon=True)
    process.start()
    try:
        here.recv()
        yield _Load(process, here)
    finally:
        process.kill()
        process.join()


def _serve(name: str, target: str, work: Work, cores: tuple[int, ...], folder: str, pipe: Connection) -> None:
    os.sched_setaffinity(0, cores)
    with rowbank.Client(target, timeout_s=120) as client:
        prepare, pause_s = _LOADS[name]
        once = prepare(client, work, folder)
        pipe.send("ready")
        while True:
            pipe.recv()
            done = 0
            if name != "snapshot":
                once()
                done += 1
            pipe.send("begun")
            while not pipe.poll(pause_s):
                once()
                done += 1
            pipe.recv()
            pipe.send(done)


def _pushes(client: rowbank.Client, work: Work, folder: str) -> Callable[[], object]:
    """Of batches that no other client has."""
    table, gradients = client.table(work.tables[0]), work.gradients()
    batches = np.random.default_rng(work.seed + 1).integers(0, work.rows, (BATCHES, work.batch))
    numbers = itertools.count()
    return lambda: table.push(batches[next(numbers) % BATCHES], gradients)


def _evictions(client: rowbank.Client, work: Work, folder: str) -> Callable[[], object]:
    """New rows of a table that is full, so that each push makes as many go."""
    eviction = rowbank.Eviction("lfu", max_rows=_EVICTING_ROWS)
    spec = rowbank.TableSpec("full", dim=work.dim, optimizer=rowbank.Adagrad(0.1), eviction=eviction)
    table, gradients = client.create_table(spec), work.gradients()
    numbers = itertools.count()

    def once() -> None:
        first = next(numbers) * work.batch
        table.push(np.arange(first, first + work.batch), gradients)

    while not table.stats().evicted_rows:
        once()
    return once


def _snapshots(client: rowbank.Client, work: Work, folder: str) -> Callable[[], object]:
    numbers = itertools.count()
    return lambda: snapshots.save(client, folder, name=f"s{next(numbers)}")


_LOADS = {
    "pushes": (_pushes, _PUSH_PAUSE_S), "evictions": (_evictions, _EVICTING_PAUSE_S), "snapshot": (_snapshots, 0.0),
}  # fmt: skip
