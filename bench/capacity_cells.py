"""What is asked of a shard's capacity, cell by cell, and how much of that the environment asks for."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from .candidates import PEERS

_CELLS = "CAPACITY_CELLS"
_PEERS = "CAPACITY_PEERS"
_BEFORE = "CAPACITY_BEFORE"
SUBJECTS = ("Rowbank", "before")


@dataclass(frozen=True, slots=True)
class Turn:
    """One candidate doing one thing."""

    candidate: str
    what: str
    clients: int


Measured: TypeAlias = dict[Turn, list[list[float]]]  # Of each round: seconds of its calls, or the calls a second.


@dataclass(frozen=True, slots=True)
class Cell:
    """One line of the table: a kind of call, by one client or more, on tables of one kind."""

    name: str
    label: str
    what: str
    clients: int
    optimizer: str
    variant: str

    def subject(self, release: str) -> Turn:
        """What Rowbank does for this cell."""
        return Turn(f"{release} {self.variant}", self.what, self.clients)

    def reference(self, peer: str) -> Turn:
        """What a peer does, which knows no durability."""
        return Turn(peer, self.what, self.clients)

    def turns(self) -> list[Turn]:
        """All that have to be measured for this cell."""
        found = [*map(self.subject, SUBJECTS), *map(self.reference, PEERS)]
        if self.clients == 1 and self.variant == "relaxed":
            found.append(self.scheduled())
        return found

    def scheduled(self) -> Turn:
        """TensorFlow's, with each step scheduled by the coordinator."""
        return Turn("TensorFlow", f"scheduled {self.what}", self.clients)


CELLS = [
    Cell("pull", "pull", "pull", 1, "adagrad", "relaxed"),
    Cell("push", "push", "push", 1, "adagrad", "relaxed"),
    Cell("step", "pull + push (Adagrad)", "step", 1, "adagrad", "relaxed"),
    Cell("step_journaled", "the same, journaled", "step", 1, "adagrad", "journaled"),
    Cell("adam", "two tables, Adam", "step", 1, "adam", "relaxed"),
    Cell("adam_journaled", "two tables, Adam, journaled", "step", 1, "adam", "journaled"),
    Cell("pull_4", "4 clients: pull", "pull", 4, "adagrad", "relaxed"),
    Cell("step_4", "4 clients: pull + push", "step", 4, "adagrad", "relaxed"),
    Cell("step_4_write_back", "4 clients: the same beside write-back", "step", 4, "adagrad", "write-back"),
    Cell("step_4_journaled", "4 clients: the same, journaled", "step", 4, "adagrad", "journaled"),
    Cell("adam_4", "4 clients: two tables, Adam", "step", 4, "adam", "relaxed"),
]


def chosen() -> list[Cell]:
    """The cells that the environment names, or all.

    Raises:
        ValueError: it names one that is not there.
    """
    names = _named(_CELLS, "cells", [cell.name for cell in CELLS])
    return [cell for cell in CELLS if cell.name in names]


def peers() -> list[str]:
    """The peers that the environment names, or all.

    Raises:
        ValueError: it names one that is not there.
    """
    names = _named(_PEERS, "peers", PEERS)
    return [name for name in PEERS if name in names]


def releases() -> dict[str, str]:
    """Rowbank, and the older installation that CAPACITY_BEFORE names, each with its Python.

    Raises:
        ValueError: that is no program.
    """
    before = os.environ.get(_BEFORE, "")
    if before and shutil.which(before) is None:
        raise ValueError(f"{_BEFORE}: expected the Python of an older installation that can be run, got {before!r}")
    return {"Rowbank": sys.executable, **({"before": before} if before else {})}


def _named(variable: str, what: str, known: Iterable[str]) -> set[str]:
    """What the variable names, separated by commas; all if it names nothing."""
    names = {name.strip() for name in os.environ.get(variable, "").split(",")} - {""}
    if unknown := names - set(known):
        raise ValueError(f"{variable}: unknown {what} {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    return names or set(known)
