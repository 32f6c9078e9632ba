"""What one shard can do beside every networked parameter server: TensorFlow's, Paddle's, torch RPC, and a bare echo."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from . import candidates, capacity_report
from .candidates import Candidate
from .capacity_cells import CELLS, Cell, Measured, Turn, chosen, peers, releases
from .capacity_checks import require_equal_work, touch, warm, wire_bytes
from .peers.work import Work
from .placement import Placement, placement
from .report import Figure, Settings, notice

CLIENTS = 4
_RUN_S = 1.0
# Without write-back a relaxed table's rows stay in memory for as long as a measurement takes.
_VARIANTS = {
    "relaxed": ("relaxed", {"ROWBANK_PS_FLUSH_INTERVAL_S": "3600"}),
    "write-back": ("relaxed", {}),
    "journaled": ("journaled", {}),
}


def capacity(settings: Settings) -> list[Figure]:
    """Pull, push, step, two Adam tables; 1 and 4 clients; the server on one core; beside four peers."""
    return _capacity(settings, 1)


def capacity_two_cores(settings: Settings) -> list[Figure]:
    """The same with the server on two cores, shared with the clients where there are no others."""
    return _capacity(settings, 2)


def _capacity(settings: Settings, server_cores: int) -> list[Figure]:
    """CAPACITY_CELLS and CAPACITY_PEERS name some of the cells and peers, separated by commas; CAPACITY_BEFORE=the
    Python of an older installation, which is then measured in the same turns."""
    cores = placement(server_cores)
    cells = chosen()
    print(f"capacity: {cores}", flush=True)
    figures: list[Figure] = []
    for optimizer in dict.fromkeys(cell.optimizer for cell in cells):
        figures += _family(settings, cores, [cell for cell in cells if cell.optimizer == optimizer])
    return figures


def _family(settings: Settings, cores: Placement, cells: list[Cell]) -> list[Figure]:
    """The cells of one optimizer, for which all servers are up at once and have turns of about a second each."""
    tables = ("first",) if cells[0].optimizer == "adagrad" else ("first", "second")
    work = Work(
        settings.rows, settings.dim, settings.batch, settings.seed, cells[0].optimizer, tables, settings.keys,
        clients=max(cell.clients for cell in cells), cores=len(cores.server),
    )  # fmt: skip
    measured: Measured = {}
    with contextlib.ExitStack() as stack:
        began = time.monotonic()
        opened: dict[str, Candidate] = {}
        for name, candidate in _opened(stack, work, cores, cells):
            opened[name] = candidate
            _progress(began, f"{name} is up")
        turns = [turn for turn in dict.fromkeys(t for cell in cells for t in cell.turns()) if turn.candidate in opened]
        for name, candidate in opened.items():
            if name != "gRPC echo":
                require_equal_work(candidate, work)
            warm(candidate, [turn for turn in turns if turn.candidate == name])
            _progress(began, f"{name} is warm")
        for number in range(settings.rounds):
            for turn in turns:
                measured.setdefault(turn, []).append(_take(settings, opened[turn.candidate], turn, number))
            _progress(began, f"round {number + 1} of {settings.rounds} is done")
        wire = {turn: wire_bytes(opened[turn.candidate], turn, work) for turn in turns if turn.clients == 1}
    rows = settings.batch * len(tables)
    print(capacity_report.as_grid(cells, measured, rows), flush=True)
    return capacity_report.figures(cells, measured, wire, rows)


def _progress(began: float, text: str) -> None:
    print(f"capacity: {time.monotonic() - began:4.0f} s, {text}", file=sys.stderr, flush=True)


def _opened(
    stack: contextlib.ExitStack, work: Work, cores: Placement, cells: list[Cell]
) -> Iterator[tuple[str, Candidate]]:
    """Every candidate that these cells need and that can be had here, by its name."""
    for variant in dict.fromkeys(cell.variant for cell in cells):
        durability, environment = _VARIANTS[variant]
        for release, python in releases().items():
            name = f"{release} {variant}"
            started = candidates.rowbank(
                name, work, cores, durability=durability, environment=environment, python=python
            )
            yield name, stack.enter_context(started)
    for name in peers():
        start = candidates.PEERS[name]
        if name == "gRPC echo" and work.optimizer == "adam":
            continue
        if name in candidates.PYTHONS and not candidates.PYTHONS[name].exists():
            notice(f"capacity: {name} is left out: no {candidates.PYTHONS[name]}; `make bench` tries to set it up")
            continue
        if (candidate := _started(stack, name, lambda start=start: start(work, cores))) is not None:  # type: ignore[misc]
            yield name, candidate


def _started(
    stack: contextlib.ExitStack, name: str, start: Callable[[], contextlib.AbstractContextManager[Candidate]]
) -> Candidate | None:
    try:
        return stack.enter_context(start())
    except RuntimeError as error:
        notice(f"capacity: {name} is left out: {error}")
        return None


def _take(settings: Settings, candidate: Candidate, turn: Turn, number: int) -> list[float]:
    """Seconds of each call of one client; or the calls a second of all clients."""
    touch(candidate, turn)
    if turn.clients == 1:
        taken = candidate.timed(turn.what, settings.calls_per_round, number * settings.calls_per_round)
    else:
        taken = [candidate.run(turn.what, _RUN_S)]
    if candidate.writes_back:
        candidate.programs[0].ask(act="flush")  # What is left to write is not to be others' burden.
    return taken


__all__ = ["CELLS", "CLIENTS", "capacity", "capacity_two_cores"]
