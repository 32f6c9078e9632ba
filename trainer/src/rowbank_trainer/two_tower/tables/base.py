"""What a two-tower model needs of the tables that hold its rows."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.two_tower.problem import Problem


class RowTables(abc.ABC):
    """Tables of one kind, by their short names, with the Keras layers that read and train them.

    Attributes:
        layers: by table: [S] int64 -> what `distinct_rows` makes of it.
        table_names: where the rows live on a parameter server, by table; empty if they live in this process.
    """

    layers: dict[str, Any]
    table_names: dict[str, str]

    def distinct_rows(self, table: str, keys: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The rows of a table that a step trains, each once, and which of them is each key's.

        To be called once per table in a step: of some kinds two calls would be two steps of the optimizer.

        Args:
            keys: [S] int64, as the layers take them.
        Returns:
            [U, dim] float32 and [S] int32.
        """
        distinct, places = tf.unique(keys)
        return self.layers[table](distinct), places

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
