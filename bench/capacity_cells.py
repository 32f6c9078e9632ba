"""What is asked of a shard's capacity, cell by cell."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypeAlias

from .candidates import PEERS

_CELLS = "CAPACITY_CELLS"
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
    names = [name for name in os.environ.get(_CELLS, "").split(",") if name]
    if unknown := set(names) - {cell.name for cell in CELLS}:
        known = ", ".join(cell.name for cell in CELLS)
        raise ValueError(f"{_CELLS}: unknown cells {', '.join(sorted(unknown))}; known: {known}")
    return [cell for cell in CELLS if not names or cell.name in names]
