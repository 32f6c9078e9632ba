"""What rows have to be after a push, by which every candidate is held to the same work."""

from __future__ import annotations

import numpy as np
import pytest
from bench.capacity_checks import require_equal_work
from bench.peers.work import Work


class Client:
    """A table in this process, moved by hand."""

    def __init__(self, moved):
        self.rows = np.zeros((50, 4))
        self.moved = moved

    def ask(self, *, act, **_):
        return list(range(50)) if act == "batch" else self.rows.tolist()

    def push(self):
        self.rows += self.moved[:50]


class Candidate:
    def __init__(self, name, moved):
        self.name = name
        self.programs = [Client(moved)]

    def timed(self, what, count, first):
        assert (what, count, first) == ("push", 1, 0)
        self.programs[0].push()


def work(optimizer) -> Work:
    return Work(rows=1000, dim=4, batch=100, seed=7, optimizer=optimizer, tables=("a",))


def moves(optimizer, name):
    """[100, 4] by formulas written out: a rate of 0.05, sums from 0.1, Adam's 0.9 and 0.999."""
    g = work(optimizer).gradients().astype(np.float64)
    if optimizer == "adagrad":
        return -0.05 * g if name == "Paddle" else -0.05 * g / np.sqrt(0.1 + g * g)
    steps = np.ones(4)
    if name == "Paddle":
        steps[0] = 2  # The first was of zeros, on rows of one number.
    m, v = 0.1 * g / (1 - 0.9**steps), 0.001 * g * g / (1 - 0.999**steps)
    return -0.05 * m / np.sqrt(v)


@pytest.mark.parametrize("optimizer", ["adagrad", "adam"])
@pytest.mark.parametrize("name", ["Rowbank relaxed", "torch RPC", "Paddle"])
def test_rows_that_move_as_the_formula_says_are_accepted(name, optimizer):
    require_equal_work(Candidate(name, moves(optimizer, name)), work(optimizer))


@pytest.mark.parametrize("optimizer", ["adagrad", "adam"])
@pytest.mark.parametrize("name", ["Rowbank relaxed", "torch RPC", "Paddle"])
def test_rows_that_move_otherwise_or_not_at_all_are_refused(name, optimizer):
    for factor in (0.0, 0.5, -1.0):
        with pytest.raises(RuntimeError, match=f"{name}: rows move by other amounts than {optimizer} says"):
            require_equal_work(Candidate(name, factor * moves(optimizer, name)), work(optimizer))


def test_every_row_of_tensorflow_has_to_move():
    require_equal_work(Candidate("TensorFlow", np.full((100, 4), 3.0)), work("adagrad"))
    moved = np.full((100, 4), 3.0)
    moved[49, 3] = 0.0
    with pytest.raises(RuntimeError, match="TensorFlow: a push does not move all rows"):
        require_equal_work(Candidate("TensorFlow", moved), work("adagrad"))
