"""Trains one model on one kind of table, epoch by epoch."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from rowbank_trainer.errors import TrainerError
from rowbank_trainer.evaluation import Accuracy, Evaluator, vector_scorer
from rowbank_trainer.progress import Progress
from rowbank_trainer.two_tower.batches import BatchSource, epoch_order
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.history import EpochReading, History
from rowbank_trainer.two_tower.logq import TableFrequencies, initial_log_q
from rowbank_trainer.two_tower.model import TwoTower
from rowbank_trainer.two_tower.popularity import popularity
from rowbank_trainer.two_tower.problem import Problem
from rowbank_trainer.two_tower.shared_dense import SharedDense
from rowbank_trainer.two_tower.stopping import CUTOFF
from rowbank_trainer.two_tower.tables.base import RowTables
from rowbank_trainer.two_tower.watches import Limits, ProgressWatch, TableWatch

_NEVER = np.float32(-1e6)  # Far below every similarity.


class TrainingRun:
    """A model and its tables while they train, and what was seen meanwhile.

    Attributes:
        callbacks: called after every step; further ones may be added.
        stopping_recalls: recall after each epoch on the part that says when to stop; empty if there is none.
    Args:
        label: tells it apart in reports.
        limits: when its tables are restricted; None: never.
        resumable: whether its checkpoints can be gone on from.
        shared: dense weights that other workers train too.
    """

    def __init__(
        self,
        label: str,
        problem: Problem,
        tables: RowTables,
        config: TwoTowerConfig,
        *,
        limits: Limits | None,
        resumable: bool = False,
        shared: SharedDense | None = None,
    ) -> None:
        self.label, self.tables, self.restricted, self.resumable = label, tables, limits is not None, resumable
        self.model = TwoTower(problem, tables, config, initial_log_q(problem, config), shared)
        self.model.compile(optimizer=tables.optimizer(config.learning_rate))
        self.history = History()
        self.epochs_done = 0
        self.train_s = 0.0
        self.stopping_recalls: list[float] = []
        self._config = config
        self._watch = TableWatch(
            tables, self.history, log_every=config.log_every, every=config.restrict_every, limits=limits
        )
        self.callbacks: list[Any] = [self._watch]
        if config.logq == "table":
            self.callbacks.append(TableFrequencies(tables, problem, config))

    @property
    def steps(self) -> int:
        """Optimizer steps taken."""
        return self._watch.step

    def fit(self, batches: tf.data.Dataset, progress: Progress) -> float:
        """One pass over `batches`; the loss of the last one.

        Raises:
            TrainerError: the parameter server refused a step, or is gone.
        """
        started = time.perf_counter()
        with _server_errors():
            fitted = self.model.fit(
                batches,
                initial_epoch=self.epochs_done,
                epochs=self.epochs_done + 1,
                callbacks=[*self.callbacks, ProgressWatch(progress)],
                verbose=0,
            )
        self.train_s += time.perf_counter() - started
        self.epochs_done += 1
        return float(fitted.history["loss"][-1])

    def set_learning_rate(self, rate: float) -> None:
        """Goes on with that rate, for rows and towers."""
        optimizer = self.model.optimizer
        if isinstance(optimizer, tf_keras.optimizers.legacy.Optimizer):
            # It makes its variable of the rate in its first step, and what was read of a checkpoint is put there then:
            # made now, it takes that now, and this rate after it.
            optimizer._create_hypers()
        optimizer.learning_rate = rate
        self.tables.set_learning_rate(rate)

    def judge(self, problem: Problem, evaluator: Evaluator) -> Accuracy:
        """The model's figures as it is now."""
        users, items = self.vectors(problem)
        return evaluator.evaluate(vector_scorer(problem.user_keys, users, items))

    def vectors(self, problem: Problem) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Of all users and items, as the model is now: [U, D] and [M, D] float32, whose dot products order items as
        service does. An item of which nothing has a row scores below all others."""
        users = self.model.user_vectors(self.tables, problem.features, problem.user_keys)
        items = self.model.item_vectors(self.tables, problem.features)
        unknown = self.model.unknown_items(self.tables, problem.features)
        if unknown.any():  # One more number of each vector keeps them out of every answer, as they are in service.
            users = np.concatenate([users, np.ones((len(users), 1), np.float32)], axis=1)
            items = np.concatenate([items, np.where(unknown, _NEVER, np.float32(0.0))[:, None]], axis=1)
        if self._config.popularity_weight:
            users = np.concatenate([users, np.ones((len(users), 1), np.float32)], axis=1)
            items = np.concatenate([items, popularity(problem, self._config)], axis=1)
        return users, items

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps beside weights and rows, ready for `json.dump`."""
        return {
            "epochs_done": self.epochs_done,
            "steps": self.steps,
            "train_seconds": self.train_s,
            "stopping_recalls": self.stopping_recalls,
            "history": self.history.as_json(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from what `state` gave."""
        self.epochs_done, self.train_s = state["epochs_done"], state["train_seconds"]
        self._watch.step = state["steps"]
        self.stopping_recalls = list(state["stopping_recalls"])
        earlier = History.from_json(state["history"])
        for name in ("sizes", "restrictions", "epochs"):
            getattr(self.history, name)[:] = getattr(earlier, name)

    def go_on_after(self, epochs: int, steps: int) -> None:
        """Counts on from an earlier training, whose history is not this run's."""
        self.epochs_done, self._watch.step = epochs, steps

    @property
    def accuracy(self) -> Accuracy:
        """As measured after the last epoch."""
        return self.history.epochs[-1].accuracy

    @property
    def evictions(self) -> int:
        """Rows that restrictions took, over all tables."""
        return sum(event.rows_before - event.rows_after for event in self.history.restrictions)

    def as_json(self) -> dict[str, Any]:
        """Everything measured, ready for `json.dump`."""
        return {
            "label": self.label,
            "restricted": self.restricted,
            "accuracy": self.accuracy.as_json(),
            "train_seconds": self.train_s,
            "stopping_recalls": self.stopping_recalls,
            "steps": self.steps,
            "tables": dict(self.tables.table_names),
            "rows": self.tables.sizes(),
            "evictions": self.evictions,
            **self.history.as_json(),
        }


def train_epoch(
    run: TrainingRun,
    source: BatchSource,
    problem: Problem,
    evaluator: Evaluator,
    config: TwoTowerConfig,
    progress: Progress,
    stopping: Evaluator | None = None,
) -> None:
    """The next epoch of a run, in an order of its own, and the figures after it.

    Args:
        stopping: judges on the part that says when to stop, if that is not the one that figures are reported of.
    """
    epoch = run.epochs_done + 1
    order = epoch_order(len(problem.train), seed=config.seed, epoch=epoch)
    loss = run.fit(source.batches(order, drop_remainder=True), progress)
    accuracy = run.judge(problem, evaluator)
    run.history.epochs.append(EpochReading(epoch, loss, accuracy))
    if config.early_stopping:
        judged = accuracy if stopping is None else run.judge(problem, stopping)
        run.stopping_recalls.append(judged.recall[CUTOFF])
    progress.epoch(epoch, loss, accuracy.unseen)


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
