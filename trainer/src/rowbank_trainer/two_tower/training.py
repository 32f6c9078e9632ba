"""Trains one model on one kind of table, watching the tables as it goes."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import tensorflow as tf
import tf_keras

from rowbank_trainer.errors import TrainerError
from rowbank_trainer.evaluation import Accuracy, Evaluator, vector_scorer
from rowbank_trainer.progress import Progress
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.model import TwoTower, training_batches
from rowbank_trainer.two_tower.problem import Problem
from rowbank_trainer.two_tower.tables.base import TABLE_KINDS, RowTables


@dataclass(frozen=True, slots=True)
class SizeReading:
    """Rows in each table after a step, steps counted from 1 over all epochs."""

    step: int
    user: int
    title: int


@dataclass(frozen=True, slots=True)
class Restriction:
    """One table that shrank."""

    step: int
    table: str
    rows_before: int
    rows_after: int


@dataclass(frozen=True, slots=True)
class EpochReading:
    """How far a model was after an epoch, counted from 1."""

    epoch: int
    loss: float
    accuracy: Accuracy


@dataclass(slots=True)
class History:
    """What was seen while one model trained."""

    sizes: list[SizeReading] = field(default_factory=list)
    restrictions: list[Restriction] = field(default_factory=list)
    epochs: list[EpochReading] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model and how it came about.

    Attributes:
        label: tells it apart in reports.
        restricted: whether its tables were restricted while it trained.
        train_s: seconds of training, evaluation left out.
        steps: optimizer steps taken.
    """

    label: str
    restricted: bool
    model: TwoTower
    tables: RowTables
    history: History
    train_s: float
    steps: int

    @property
    def accuracy(self) -> Accuracy:
        """As measured after the last epoch."""
        return self.history.epochs[-1].accuracy

    @property
    def evictions(self) -> int:
        """Rows that restrictions took, over both tables."""
        return sum(event.rows_before - event.rows_after for event in self.history.restrictions)

    def as_json(self) -> dict[str, Any]:
        """Everything measured, ready for `json.dump`."""
        return {
            "label": self.label,
            "restricted": self.restricted,
            "accuracy": self.accuracy.as_json(),
            "train_seconds": self.train_s,
            "steps": self.steps,
            "tables": dict(self.tables.table_names),
            "rows": self.tables.sizes(),
            "evictions": self.evictions,
            "sizes": [asdict(reading) for reading in self.history.sizes],
            "restrictions": [asdict(event) for event in self.history.restrictions],
            "epochs": [
                {"epoch": reading.epoch, "loss": reading.loss, "accuracy": reading.accuracy.as_json()}
                for reading in self.history.epochs
            ],
        }


class TableWatch(tf_keras.callbacks.Callback):
    """Logs the tables' sizes every so many steps and, if asked to, restricts them."""

    def __init__(self, tables: RowTables, problem: Problem, config: TwoTowerConfig, *, restrict: bool) -> None:
        super().__init__()
        self._tables, self._vocabulary, self._config, self._restrict = tables, problem.vocabulary, config, restrict
        self._step = 0
        self.history = History()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Counts the step; reads and restricts when it is time."""
        del batch, logs
        self._step += 1
        due = self._restrict and self._step % self._config.restrict_every == 0
        if due or self._step == 1 or self._step % self._config.log_every == 0:
            self._log()
        if due:
            self._restrict_tables()

    def _log(self) -> dict[str, int]:
        sizes = self._tables.sizes()
        self.history.sizes.append(SizeReading(self._step, sizes["user"], sizes["title"]))
        return sizes

    def _restrict_tables(self) -> None:
        before = self.history.sizes[-1]
        shrank = False
        for kind in TABLE_KINDS:
            vocabulary = self._vocabulary[kind]
            evicted = self._tables.restrict(
                kind,
                num_reserved=int(self._config.restrict_keep * vocabulary),
                trigger=int(self._config.restrict_trigger * vocabulary),
            )
            if evicted:
                rows = getattr(before, kind)
                self.history.restrictions.append(Restriction(self._step, kind, rows, rows - evicted))
                shrank = True
        if shrank:
            self._log()


class EpochWatch(tf_keras.callbacks.Callback):
    """Evaluates after every epoch and keeps the progress display going. Its own time is told apart from training's."""

    def __init__(
        self, problem: Problem, evaluator: Evaluator, tables: RowTables, history: History, progress: Progress
    ) -> None:
        super().__init__()
        self._problem, self._evaluator, self._tables = problem, evaluator, tables
        self._history, self._progress = history, progress
        self.evaluation_s = 0.0

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Moves the display one step on."""
        del batch, logs
        self._progress.advance()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Measures the accuracy on the held-out part."""
        started = time.perf_counter()
        users = self._model_vectors()
        accuracy = self._evaluator.evaluate(vector_scorer(self._problem.user_keys, *users))
        loss = float((logs or {}).get("loss", float("nan")))
        self._history.epochs.append(EpochReading(epoch + 1, loss, accuracy))
        self._progress.epoch(epoch + 1, loss, accuracy.unseen)
        self.evaluation_s += time.perf_counter() - started

    def _model_vectors(self) -> tuple[Any, Any]:
        model: TwoTower = self.model
        return (
            model.user_vectors(self._tables, self._problem.user_keys),
            model.title_vectors(self._tables, self._problem.title_keys),
        )


def train(
    label: str,
    problem: Problem,
    evaluator: Evaluator,
    tables: RowTables,
    config: TwoTowerConfig,
    progress: Progress,
    *,
    restrict: bool,
) -> Trained:
    """Fits a new model on `tables` for all of the config's epochs.

    Raises:
        TrainerError: the parameter server refused a step, or is gone.
    """
    model = TwoTower(tables, config)
    model.compile(optimizer=tables.optimizer(config.learning_rate))
    batches = training_batches(problem, tables, config)
    steps = len(problem.train) // config.batch_size
    watch = TableWatch(tables, problem, config, restrict=restrict)
    with progress.run(label, epochs=config.epochs, steps=steps):
        epochs = EpochWatch(problem, evaluator, tables, watch.history, progress)
        started = time.perf_counter()
        with _server_errors():
            model.fit(batches, epochs=config.epochs, callbacks=[watch, epochs], verbose=0)
        train_s = time.perf_counter() - started - epochs.evaluation_s
    return Trained(label, restrict, model, tables, watch.history, train_s, steps * config.epochs)


@contextlib.contextmanager
def _server_errors() -> Iterator[None]:
    """TensorFlow hides what the client raised in the text of its own error, below stack traces; this digs it out."""
    try:
        yield
    except tf.errors.OpError as error:
        found = re.findall(r"rowbank\.errors\.\w+: (.+)", error.message)
        if not found:
            raise
        raise TrainerError(f"training stopped: {found[-1].strip()}") from None
