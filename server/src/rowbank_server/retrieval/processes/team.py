"""A worker's place among the others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rowbank_server.retrieval.processes.board import Board
from rowbank_server.retrieval.processes.plan import BOARD, Plan
from rowbank_server.retrieval.processes.siblings import Siblings


@dataclass(frozen=True, slots=True)
class Team:
    """What one of several workers knows of them.

    Attributes:
        siblings: asks the others, and answers them.
        board: who takes connections, and how many each of them has.
        starts: how often this worker was started, this time included.
        wait_s: the longest that it waits for a model before it takes connections; 0 while nobody has one.
    """

    siblings: Siblings
    board: Board
    starts: int
    wait_s: float

    @property
    def worker(self) -> int:
        """Which worker this is, from 0."""
        return self.siblings.worker

    @classmethod
    def of(cls, plan: Plan) -> Team:
        """As the parent planned it."""
        folder = Path(plan.folder)
        siblings = Siblings(folder, plan.worker, plan.workers)
        return cls(siblings, Board(folder / BOARD), plan.starts, plan.wait_s)
