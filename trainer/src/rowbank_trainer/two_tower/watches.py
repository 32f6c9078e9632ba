"""Callbacks that watch the tables while a model trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import tf_keras

from rowbank_trainer.progress import Progress
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.history import History, Restriction, SizeReading
from rowbank_trainer.two_tower.tables.base import RowTables


@dataclass(frozen=True, slots=True)
class Limit:
    """A table with more than `trigger` rows is cut to the `num_reserved` most frequent."""

    num_reserved: int
    trigger: int


Limits = Mapping[str, Limit]


def limits_of(vocabulary: Mapping[str, int], config: TwoTowerConfig) -> Limits:
    """Limits as parts of the keys in training."""
    return {
        table: Limit(int(config.restrict_keep * keys), int(config.restrict_trigger * keys))
        for table, keys in vocabulary.items()
    }


class TableWatch(tf_keras.callbacks.Callback):
    """Counts steps, logs the tables' sizes every so many of them and, if there are limits, restricts the tables."""

    def __init__(
        self, tables: RowTables, history: History, *, log_every: int, every: int, limits: Limits | None
    ) -> None:
        super().__init__()
        self._tables, self._history, self._limits = tables, history, limits
        self._log_every, self._every = log_every, every
        self.step = 0

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Counts the step; reads and restricts when it is time."""
        self.step += 1
        due = self._limits is not None and self.step % self._every == 0
        if due or self.step == 1 or self.step % self._log_every == 0:
            self.log()
        if due:
            self._restrict_tables()

    def log(self) -> None:
        """Reads the tables' sizes."""
        self._history.sizes.append(SizeReading(self.step, self._tables.sizes()))

    def _restrict_tables(self) -> None:
        before = self._history.sizes[-1]
        shrank = False
        for table, limit in (self._limits or {}).items():
            evicted = self._tables.restrict(table, num_reserved=limit.num_reserved, trigger=limit.trigger)
            if evicted:
                rows = before.rows[table]
                self._history.restrictions.append(Restriction(self.step, table, rows, rows - evicted))
                shrank = True
        if shrank:
            self.log()


class ProgressWatch(tf_keras.callbacks.Callback):
    """Keeps the progress display going."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Moves the display one step on."""
        self._progress.advance()
