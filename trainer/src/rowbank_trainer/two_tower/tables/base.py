"""What a two-tower model needs of the tables that hold its rows."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.two_tower.problem import Problem


class RowTables(abc.ABC):
    """Tables of one kind, by their short names, with the Keras layers that read and train them.

    Attributes:
        layers: by table: [S] int64 -> [S, dim] float32. Each is called once in a step: of some kinds two calls would be
            two steps of the optimizer.
        table_names: where the rows live on a parameter server, by table; empty if they live in this process.
    """

    layers: dict[str, Any]
    table_names: dict[str, str]

    @abc.abstractmethod
    def optimizer(self, learning_rate: float) -> Any:
        """The Keras optimizer to compile the model with."""

    @abc.abstractmethod
    def rows(self, table: str, keys: Ids) -> npt.NDArray[np.float32]:
        """Reads rows without training or counting: [N] int64 keys, [N, dim] float32 rows; zeros where there is none."""

    @abc.abstractmethod
    def sizes(self) -> dict[str, int]:
        """Rows held, by table."""

    def reached(self, problem: Problem) -> None:  # noqa: B027 - where a row exists from its first step.
        """Nothing but what `problem` trains on was met so far: other rows that are there from the start are missing."""

    def set_learning_rate(self, rate: float) -> None:  # noqa: B027 - where the model's optimizer trains the rows.
        """Rows are trained with that rate from now on, where the server trains them."""

    def frequencies(self, table: str) -> tuple[Ids, npt.NDArray[np.uint32]]:
        """All keys and how often each was trained, [N] int64 and [N] uint32, in no order."""
        raise NotImplementedError(f"{type(self).__name__} does not count ({table})")

    @abc.abstractmethod
    def restrict(self, table: str, *, num_reserved: int, trigger: int) -> int:
        """Keeps the `num_reserved` most frequent rows if there are more than `trigger`; returns how many went."""

    def encode(self, table: str, keys: Ids) -> Ids:
        """Turns keys into what the layers take. [N] int64 in and out."""
        del table
        return keys
