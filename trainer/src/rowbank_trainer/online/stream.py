"""One model that is trained period by period, and what each period brought."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank_trainer.data import Dataset, Split
from rowbank_trainer.data.dataset import KeyLists
from rowbank_trainer.errors import UsageError
from rowbank_trainer.evaluation import Accuracy, Evaluator, popularity_scorer
from rowbank_trainer.online.config import OnlineConfig
from rowbank_trainer.online.met import MetBefore
from rowbank_trainer.online.periods import Timeline
from rowbank_trainer.progress import Progress
from rowbank_trainer.schema.spec import Schema
from rowbank_trainer.two_tower.batches import BatchSource, epoch_order
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.history import EpochReading
from rowbank_trainer.two_tower.logq import initial_log_q
from rowbank_trainer.two_tower.problem import Problem, problem_of
from rowbank_trainer.two_tower.training import TrainingRun

_REPLAY = 1  # Tells the draws of replayed interactions from the others of an epoch.


@dataclass(frozen=True, slots=True)
class Judged:
    """Accuracy on the interactions of the next period.

    Attributes:
        everybody: all of its users.
        known: those who were met before; None if there are none.
        new: those who were not; None if there are none.
        known_share: their share of the interactions.
    """

    everybody: Accuracy
    known: Accuracy | None
    new: Accuracy | None
    known_share: float

    def as_json(self) -> dict[str, Any]:
        return {
            "everybody": self.everybody.as_json(),
            "known": None if self.known is None else self.known.as_json(),
            "new": None if self.new is None else self.new.as_json(),
            "known_share": self.known_share,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Judged:
        known, new = (None if data[name] is None else Accuracy.from_json(data[name]) for name in ("known", "new"))
        return cls(Accuracy.from_json(data["everybody"]), known, new, data["known_share"])


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


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass over a period trains on.

    Attributes:
        problem: the interactions.
        histories: keys for each of them, by user column: what its user had met before it.
    """

    problem: Problem
    histories: Mapping[str, KeyLists]


class Stream:
    """The periods of a dataset as problems, and judges of the models trained on them.

    Attributes:
        whole: all of the interactions, for the vocabulary alone: what a model learns and is judged by must not know it.
    """

    def __init__(
        self,
        dataset: Dataset,
        line: Timeline,
        model: TwoTowerConfig,
        online: OnlineConfig,
        schema: Schema | None = None,
    ) -> None:
        self.line, self.model_config, self.online_config = line, model, online
        parts = Split(train=line.interactions, held_out=line.period(len(line) - 1))
        self.whole = problem_of(dataset, parts, model, schema)
        self._met_before = MetBefore(line.interactions)
        _refuse_mixed(self.whole)

    def __len__(self) -> int:
        return len(self.line)

    def known_after(self, period: int) -> Problem:
        """The problem of learning from all periods up to and with `period` (from 0); nothing else is known then."""
        part = self.line.until(period)
        return dataclasses.replace(self.whole.learning_from(part), known=part)

    def replayed(self, period: int) -> int:
        """Earlier interactions that a pass over a period trains on again."""
        first = self.line.first(period)
        return min(first, round(self.online_config.replay * (int(self.line.ends[period]) - first)))

    def pass_over(self, period: int, epoch: int, known: Problem) -> Pass:
        """One pass over a period: its interactions, and earlier ones drawn by seed and epoch.

        Args:
            known: what `known_after` says.
        """
        first = self.line.first(period)
        draw = np.random.default_rng((self.model_config.seed, epoch, _REPLAY))
        earlier = np.sort(draw.choice(first, self.replayed(period), replace=False)) if first else np.zeros(0, np.int64)
        rows = np.concatenate([earlier, np.arange(first, self.line.ends[period])]).astype(np.int64)
        part = self.line.interactions.take(rows)
        positions = known.catalogue.positions(part.item_ids)
        counts = np.bincount(positions, minlength=len(known.catalogue))
        columns = [column for column in known.schema.user.columns if column.type == "history"]
        return Pass(
            dataclasses.replace(known, train=part, train_positions=positions, item_counts=counts),
            {column.name: self._met_before.take(rows, column.length) for column in columns},
        )

    def steps(self) -> int:
        """Optimizer steps over all periods."""
        sizes = np.diff(np.r_[0, self.line.ends]) + [self.replayed(period) for period in range(len(self))]
        return int((-(-sizes // self.model_config.batch_size)).sum()) * self.online_config.passes

    def judge_run(self, run: TrainingRun, period: int, known: Problem) -> Judged:
        """A model's figures on the period after `period` (from 0), of which nothing is known but who is judged.

        Args:
            known: what `known_after` says.
        """
        users = np.unique(self.line.period(period + 1).user_ids)
        judged = dataclasses.replace(known, user_keys=users)
        return self._judge(period, lambda judge: run.judge(judged, judge))

    def judge_popularity(self, period: int, *, half_life_days: float = 0.0) -> Judged:
        """What recommending the most popular items of all periods so far reaches; see `popularity_scorer`."""
        scorer = popularity_scorer(self.whole.catalogue, self.line.until(period), half_life_days=half_life_days)
        return self._judge(period, lambda judge: judge.evaluate(scorer))

    def _judge(self, period: int, figures: Callable[[Evaluator], Accuracy]) -> Judged:
        before, after = self.line.until(period), self.line.period(period + 1)
        met = np.isin(after.user_ids, before.user_ids)
        catalogue = self.whole.catalogue

        def of(part: npt.NDArray[np.bool_]) -> Accuracy | None:
            rows = np.flatnonzero(part).astype(np.int64)
            return figures(Evaluator(catalogue, before, after.take(rows))) if len(rows) else None

        return Judged(figures(Evaluator(catalogue, before, after)), of(met), of(~met), float(met.mean()))


def train_periods(
    run: TrainingRun,
    stream: Stream,
    done: int,
    progress: Progress,
    publish: Callable[[TrainingRun, int, Problem], str],
) -> Iterator[PeriodReading]:
    """Trains on the periods after the first `done`, from the state each before left, and says what each brought.

    Args:
        publish: puts the model where it is served and returns its version; called after each period with what is known.
    """
    config = stream.model_config
    for period in range(done, len(stream)):
        part, known, loss = stream.line.period(period), stream.known_after(period), 0.0
        for _ in range(stream.online_config.passes):
            epoch = run.epochs_done + 1
            taken = stream.pass_over(period, epoch, known)
            if config.logq == "counts":
                run.model.log_q.assign(initial_log_q(taken.problem, config))
            source = BatchSource(taken.problem, run.tables, config, taken.histories)
            order = epoch_order(len(taken.problem.train), seed=config.seed, epoch=epoch)
            loss = run.fit(source.batches(order, drop_remainder=False), progress)
        run.tables.reached(known)
        judged = stream.judge_run(run, period, known) if period + 1 < len(stream) else None
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
            version=publish(run, period, known),
        )


def _refuse_mixed(whole: Problem) -> None:
    mixed = [one.column.table for side in whole.plan.sides for one in side.columns if one.mixed]
    if mixed:
        raise UsageError(
            f"schema: table {mixed[0]!r} is mixed_dimension, whose widths go by how frequent values are in all of the "
            "data, which online training does not know beforehand; give the table another embedding"
        )


def settings_json(model: TwoTowerConfig, online: OnlineConfig) -> dict[str, Any]:
    """Both parts of the settings for reports."""
    return {"model": asdict(model), "online": asdict(online)}
