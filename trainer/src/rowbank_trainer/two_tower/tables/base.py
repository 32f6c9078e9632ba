"""What a two-tower model needs of the tables that hold its rows."""

from __future__ import annotations

import abc
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rowbank_trainer.data.dataset import Ids

TableKind = Literal["user", "item"]
TABLE_KINDS: tuple[TableKind, ...] = ("user", "item")


class RowTables(abc.ABC):
    """A user table and an item table of one kind, with the Keras layers that read and train them.

    Attributes:
        user_layer: [batch] int64 -> [batch, dim] float32.
        item_layer: [batch, length] int64 -> [batch, dim] float32, the mean over length, padding included.
        table_names: where the rows live on a parameter server, by kind; empty if they live in this process.
    """

    user_layer: Any
    item_layer: Any
    table_names: dict[TableKind, str]

    @abc.abstractmethod
    def optimizer(self, learning_rate: float) -> Any:
        """The Keras optimizer to compile the model with."""

    @abc.abstractmethod
    def rows(self, kind: TableKind, keys: Ids) -> npt.NDArray[np.float32]:
        """Reads rows without training or counting: [N] int64 keys, [N, dim] float32 rows."""

    @abc.abstractmethod
    def sizes(self) -> dict[str, int]:
        """Rows held, by kind."""

    def set_learning_rate(self, rate: float) -> None:  # noqa: B027 - where the model's optimizer trains the rows.
        """Rows are trained with that rate from now on, where the server trains them."""

    def frequencies(self, kind: TableKind) -> tuple[Ids, npt.NDArray[np.uint32]]:
        """All keys and how often each was trained, [N] int64 and [N] uint32, in no order."""
        raise NotImplementedError(f"{type(self).__name__} does not count ({kind})")

    @abc.abstractmethod
    def restrict(self, kind: TableKind, *, num_reserved: int, trigger: int) -> int:
        """Keeps the `num_reserved` most frequent rows if there are more than `trigger`; returns how many went."""

    def encode(self, kind: TableKind, keys: Ids) -> Ids:
        """Turns keys into what the layers take. [N] int64 in and out."""
        del kind
        return keys
