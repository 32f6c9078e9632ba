"""One model that is trained period by period, and what each period brought."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rowbank_trainer.data import Dataset, Interactions, Split
from rowbank_trainer.evaluation import Accuracy, Evaluator, popularity_scorer
from rowbank_trainer.online.config import OnlineConfig
from rowbank_trainer.online.periods import Timeline
from rowbank_trainer.progress import Progress
from rowbank_trainer.two_tower.batches import BatchSource, epoch_order
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.history import EpochReading
from rowbank_trainer.two_tower.logq import initial_log_q
from rowbank_trainer.two_tower.problem import Problem, problem_of
from rowbank_trainer.two_tower.training import TrainingRun


@dataclass(frozen=True, slots=True)
class Judged:
    """Accuracy on the interactions of the next period.

    Attributes:
        everybody: all of its users.
        known: those who were met before; None if there are none.
        known_share: their share of the interactions.
    """

    everybody: Accuracy
    known: Accuracy | None
    known_share: float

    def as_json(self) -> dict[str, Any]:
        return {
            "everybody": self.everybody.as_json(),
            "known": None if self.known is None else self.known.as_json(),
            "known_share": self.known_share,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Judged:
        known = None if data["known"] is None else Accuracy.from_json(data["known"])
        return cls(Accuracy.from_json(data["everybody"]), known, data["known_share"])


@dataclass(frozen=True, slots=True)
class PeriodReading:
    """What training on one period brought.

    Attributes:
        period: counted from 1.
        interactions: trained on.
        step: optimizer steps so far.
        rows: in each table after it.
        judged: on the next period; None after the last one.
        version: that was published; empty if none was.
    """

    period: int
    interactions: int
    begins_s: int
    step: int
    loss: float
    rows: dict[str, int]
    judged: Judged | None
    version: str

    def as_json(self) -> dict[str, Any]:
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "judged"}
        return {**plain, "judged": None if self.judged is None else self.judged.as_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> PeriodReading:
        judged = None if data["judged"] is None else Judged.from_json(data["judged"])
        return cls(**{**data, "judged": judged})


class Stream:
    """The periods of a dataset as problems, and judges of the models trained on them."""

    def __init__(self, dataset: Dataset, line: Timeline, model: TwoTowerConfig, online: OnlineConfig) -> None:
        self.line, self.model_config, self.online_config = line, model, online
        self.whole = problem_of(dataset, Split(train=line.interactions, held_out=line.period(len(line) - 1)), model)

    def __len__(self) -> int:
        return len(self.line)

    def problem(self, part: Interactions) -> Problem:
        """The problem of learning from `part`."""
        return self.whole.learning_from(part)

    def known_after(self, period: int) -> Problem:
        """The problem of learning from all periods up to and with `period` (from 0); nothing else is known then."""
        part = self.line.until(period)
        return dataclasses.replace(self.problem(part), known=part)

    def steps(self) -> int:
        """Optimizer steps over all periods."""
        sizes = np.diff(np.r_[0, self.line.ends])
        return int((-(-sizes // self.model_config.batch_size)).sum()) * self.online_config.passes

    def judge_run(self, run: TrainingRun, period: int) -> Judged:
        """A model's figures on the period after `period` (from 0)."""
        users = np.unique(self.line.period(period + 1).user_ids)
        return self._judge(period, lambda judge: run.judge(dataclasses.replace(self.whole, user_keys=users), judge))

    def judge_popularity(self, period: int) -> Judged:
        """What recommending the most popular items of all periods so far reaches."""
        scorer = popularity_scorer(self.whole.catalogue, self.line.until(period))
        return self._judge(period, lambda judge: judge.evaluate(scorer))

    def _judge(self, period: int, figures: Callable[[Evaluator], Accuracy]) -> Judged:
        before, after = self.line.until(period), self.line.period(period + 1)
        known = np.flatnonzero(np.isin(after.user_ids, before.user_ids)).astype(np.int64)
        catalogue = self.whole.catalogue
        return Judged(
            everybody=figures(Evaluator(catalogue, before, after)),
            known=figures(Evaluator(catalogue, before, after.take(known))) if len(known) else None,
            known_share=len(known) / len(after),
        )


def train_periods(
    run: TrainingRun, stream: Stream, done: int, progress: Progress, publish: Callable[[TrainingRun, int], str]
) -> Iterator[PeriodReading]:
    """Trains on the periods after the first `done`, from the state each before left, and says what each brought.

    Args:
        publish: puts the model where it is served and returns its version; called after each period.
    """
    config = stream.model_config
    for period in range(done, len(stream)):
        part = stream.line.period(period)
        problem = stream.problem(part)
        if config.logq == "counts":
            run.model.log_q.assign(initial_log_q(problem, config))
        source = BatchSource(problem, run.tables, config)
        loss = 0.0
        for _ in range(stream.online_config.passes):
            order = epoch_order(len(part), seed=config.seed, epoch=run.epochs_done + 1)
            loss = run.fit(source.batches(order, drop_remainder=False), progress)
        judged = stream.judge_run(run, period) if period + 1 < len(stream) else None
        if judged is not None:
            run.history.epochs.append(EpochReading(period + 1, loss, judged.everybody))
            progress.epoch(period + 1, loss, judged.everybody.unseen)
        yield PeriodReading(
            period=period + 1,
            interactions=len(part),
            begins_s=int(part.times[0]) // part.ticks_per_s,
            step=run.steps,
            loss=loss,
            rows=run.tables.sizes(),
            judged=judged,
            version=publish(run, period),
        )


def settings_json(model: TwoTowerConfig, online: OnlineConfig) -> dict[str, Any]:
    """Both parts of the settings for reports."""
    return {"model": asdict(model), "online": asdict(online)}
