"""That every candidate does the same work: rows move as the optimizer says, and rows and gradients cross the wire."""

from __future__ import annotations

import numpy as np

from . import sockets
from .arrays import Array
from .candidates import Candidate
from .capacity_cells import Turn
from .peers.work import ACCUMULATOR, BATCHES, RATE, Work
from .report import notice

_KEYS = 50
_CALLS = 20
_CALLS_OF_A_CONNECTION = 400
_WARM_S = 1.0


def require_equal_work(candidate: Candidate, work: Work) -> None:
    """Pushes once and compares rows before and after with the optimizer's formula.

    Raises:
        RuntimeError: the rows did not move as they should have.
    """
    program = candidate.programs[0]
    keys = program.ask(act="batch", number=0)[:_KEYS]
    before = np.array(program.ask(act="read", keys=keys))
    candidate.timed("push", 1, 0)
    moved = np.array(program.ask(act="read", keys=keys)) - before
    if candidate.name == "TensorFlow":
        return _require_moved(candidate, moved)  # A loop of steps, over several batches.
    wanted = (_first_step_of_paddle if candidate.name == "Paddle" else _first_step)(work)[:_KEYS]
    if moved.shape != wanted.shape or not np.allclose(moved, wanted, rtol=1e-2, atol=1e-4):
        worst = float(np.abs(moved - wanted).max()) if moved.shape == wanted.shape else moved.shape
        raise RuntimeError(f"{candidate.name}: rows move by other amounts than {work.optimizer} says; worst: {worst}")
    return None


def _require_moved(candidate: Candidate, moved: Array) -> None:
    if not np.all(np.abs(moved) > 0):
        raise RuntimeError(f"{candidate.name}: a push does not move all rows")


def _first_step(work: Work) -> Array:
    """[batch, dim]: by how much the first push moves the rows."""
    gradients: Array = work.gradients().astype(np.float64)
    scale: Array = np.abs(gradients)  # Of equal gradients Adam's moments cancel out.
    if work.optimizer == "adagrad":
        scale = np.sqrt(ACCUMULATOR + gradients**2) + 1e-7
    return np.divide(-RATE * gradients, scale)


def _first_step_of_paddle(work: Work) -> Array:
    """The same by its formulas: Adagrad's sum is that before the push, relative to where it began; and the push of
    zeros, by which the rows were made, was Adam's first step for the one number that a row had until then."""
    gradients: Array = work.gradients().astype(np.float64)
    if work.optimizer == "adagrad":
        return -RATE * gradients
    moved: Array = -RATE * np.sign(gradients)
    moved[:, 0] *= np.sqrt(1 - 0.999**2) / (1 - 0.9**2) * 0.1 / np.sqrt(0.001)
    return moved


def warm(candidate: Candidate, turns: list[Turn]) -> None:
    """Does all that is measured later once, untimed, on every batch, after some hundred steps over new connections."""
    candidate.timed("step", _CALLS_OF_A_CONNECTION, 0)
    for turn in turns:
        touch(candidate, turn)
    if candidate.writes_back:
        candidate.programs[0].ask(act="flush")


def touch(candidate: Candidate, turn: Turn) -> None:
    """Does what a turn does, untimed, on every batch of one client or for a second by all.

    Before each turn, too: while the others have theirs, the host of a virtual machine may take memory that nobody
    touches, and a candidate whose rows it brings back one by one is not measured by its own speed.
    """
    if turn.clients > 1:
        candidate.run(turn.what, _WARM_S)
    else:
        candidate.timed(turn.what, BATCHES if not turn.what.startswith("scheduled") else _CALLS, 0)


def wire_bytes(candidate: Candidate, turn: Turn, work: Work) -> float:
    """Bytes between the server and its clients that a call takes, in both directions; NaN if the kernel does not tell.

    Raises:
        RuntimeError: fewer than rows or gradients have: they did not cross the wire.
    """
    try:
        start = sockets.carried([candidate.server])  # Redis is not asked over TCP.
        candidate.timed(turn.what, _CALLS, 0)
        carried = (sockets.carried([candidate.server]) - start) / _CALLS
    except OSError as error:
        notice(f"bytes on the wire are not counted: {error}")
        return float("nan")
    whole = 2 if turn.what.endswith("step") else 1
    payload = whole * work.dim * 4 * work.batch * len(work.tables)
    if carried < payload:
        raise RuntimeError(f"{turn.candidate}: a {turn.what} carries {carried:.0f} bytes, its rows have {payload}")
    return carried
