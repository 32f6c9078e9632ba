"""The whole online job: every variant goes through the periods, with and without restriction, and is reported."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras
from rich.console import Console
from rich.table import Table

from rowbank import Client
from rowbank_trainer.data import Dataset
from rowbank_trainer.errors import TrainerError, UsageError
from rowbank_trainer.online.config import OnlineConfig
from rowbank_trainer.online.periods import timeline
from rowbank_trainer.online.plots import plot_accuracy, plot_sizes
from rowbank_trainer.online.stream import Judged, PeriodReading, Stream, settings_json, train_periods
from rowbank_trainer.progress import Progress
from rowbank_trainer.schema import Schema
from rowbank_trainer.two_tower.checkpoint import (
    Checkpoints,
    Remembered,
    fingerprint,
    remember_run,
    remembered_run,
)
from rowbank_trainer.two_tower.config import TwoTowerConfig, Variant
from rowbank_trainer.two_tower.job import client_for, make_folder
from rowbank_trainer.two_tower.plan import ModelPlan
from rowbank_trainer.two_tower.problem import Problem
from rowbank_trainer.two_tower.publication import Publication
from rowbank_trainer.two_tower.publish import Published, Publisher, require_served, say_wordless, tower_files
from rowbank_trainer.two_tower.report import versions, write_ids
from rowbank_trainer.two_tower.run_log import RunLog
from rowbank_trainer.two_tower.run_log import begin as begin_log
from rowbank_trainer.two_tower.runs import Run, RunTables
from rowbank_trainer.two_tower.schema_file import as_json
from rowbank_trainer.two_tower.served_columns import check_served
from rowbank_trainer.two_tower.tables.opening import open_tables
from rowbank_trainer.two_tower.training import TrainingRun
from rowbank_trainer.two_tower.watches import Limit, Limits

_SHOWN = 100


@dataclass(frozen=True, slots=True)
class OnlineJob:
    """What to do; see `Job` of the two-tower job.

    Attributes:
        restrict: train each variant whose tables can shrink once more, with tables cut at the trigger.
        schema: the columns of users and items; None: users by id, items by the words of their titles or by id.
        log_dir: folder for a line and events per period; None: none are written.
        publication: what becomes, after each period, of the model of the first variant on Rowbank, restricted if
            that is asked for.
    """

    model: TwoTowerConfig
    online: OnlineConfig
    variants: tuple[Variant, ...]
    restrict: bool
    targets: str | None
    publication: Publication
    out: Path
    model_name: str
    arguments: Mapping[str, Any]
    read_at_s: float = field(default_factory=time.time)
    resume: bool = False
    run: str | None = None
    schema: Schema | None = None
    log_dir: Path | None = None

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.out / "checkpoint"


Finished = tuple[TrainingRun, list[PeriodReading]]
Baselines = dict[str, list[Judged]]


def run(job: OnlineJob, dataset: Dataset, console: Console) -> None:
    """Does the job.

    Raises:
        TrainerError, RowbankError: what went wrong; what was published before stays.
    """
    if job.model.logq == "table" and set(job.variants) != {Variant.ROWBANK}:
        raise UsageError("--logq table: only the tables of kind rowbank count what is trained; use --tables rowbank")
    make_folder(job.out)
    begin_log(job.log_dir, resume=job.resume)
    stream = Stream(dataset, timeline(dataset, job.online), job.model, job.online, job.schema)
    if job.publication.wanted:
        check_served(stream.whole)
    limits = _limits(stream.whole, job.online) if job.restrict else None
    console.print(
        f"{dataset.name}: {len(stream.whole.user_keys)} users, {len(stream.whole.catalogue)} items, "
        f"{len(stream.line.interactions)} interactions in {len(stream)} periods",
        highlight=False,
    )
    baselines = _baselines(stream, job.model.popularity_half_life_days)
    say_wordless(console, stream.whole)
    with client_for(job.targets, any(variant.remote for variant in job.variants)) as client, _own(job, client) as own:
        finished: list[Finished] = []
        refused: list[Published] = []
        for variant, restrict in _plan(job):
            tf_keras.backend.clear_session()
            tf_keras.utils.set_random_seed(job.model.seed)
            finished.append(_train(job, variant, limits if restrict else None, stream, own, console, refused))
        _write(job, dataset, stream, limits, baselines, finished, None if own is None else own.run.name)
        _summarise(console, stream, baselines, finished)
    console.print(f"Report: {job.out}/metrics.json, accuracy.png, sizes.png", highlight=False)
    if refused:
        require_served(refused[-1])


def _baselines(stream: Stream, half_life_days: float) -> Baselines:
    """Popularity by all interactions so far and, if some count less than others, by those that count now."""
    half_lives = {"popularity": 0.0}
    if half_life_days:
        half_lives["recent popularity"] = half_life_days
    return {
        label: [stream.judge_popularity(period, half_life_days=half_life) for period in range(len(stream) - 1)]
        for label, half_life in half_lives.items()
    }


@contextlib.contextmanager
def _own(job: OnlineJob, client: Client | None) -> Iterator[RunTables | None]:
    """The run whose tables are trained; None: nothing is on a server."""
    if client is None:
        yield None
        return
    remembered = remembered_run(job.checkpoints, job.model_name) if job.resume else None
    if remembered is not None:
        tables = RunTables(client, Run(job.model_name, remembered.run))
    else:
        tables = RunTables.begin(client, job.model_name, job.run)
    with tables:
        remember_run(job.checkpoints, job.model_name, Remembered(tables.run.name, None))
        yield tables


def _plan(job: OnlineJob) -> list[tuple[Variant, bool]]:
    return [
        (variant, restrict)
        for variant in job.variants
        for restrict in ((False, True) if job.restrict and variant.dynamic else (False,))
    ]


def _published(job: OnlineJob) -> tuple[Variant, bool] | None:
    """Which of the runs is published."""
    if not job.publication.wanted:
        return None
    return next(variant for variant in job.variants if variant.remote), job.restrict


def _growing(plan: ModelPlan) -> dict[str, str]:
    """Tables that new entities make larger, and whose they are; those of categories have rows for few values."""
    return {
        part.table.name: side.name
        for side in plan.sides
        for one in side.columns
        if one.column.type in ("id", "text")
        for part in one.parts
    }


def _limits(whole: Problem, config: OnlineConfig) -> Limits:
    given = {"user": config.max_user_rows, "item": config.max_item_rows}
    limits: dict[str, Limit] = {}
    for table, side in _growing(whole.plan).items():
        trigger = given[side] or int(config.trigger * whole.vocabulary[table])
        limits[table] = Limit(int(config.keep * trigger), trigger)
    return limits


def _train(
    job: OnlineJob,
    variant: Variant,
    limits: Limits | None,
    stream: Stream,
    own: RunTables | None,
    console: Console,
    refused: list[Published],
) -> Finished:
    label = f"{variant.value}, restricted" if limits is not None else variant.value
    checkpoints = Checkpoints(job.checkpoints, label, _fingerprint(job, label, stream))
    state = checkpoints.continue_from(resume=job.resume, resumable=variant.resumable, console=console, unit="period")
    tables = open_tables(
        variant, stream.whole, job.model, own, restrict=limits is not None,
        rows=None if state is None or not variant.remote else checkpoints.rows_of(state),
    )  # fmt: skip
    # Numbers are scaled by what is known in the end of the first period, and so for good.
    run = TrainingRun(label, stream.known_after(0), tables, job.model, limits=limits)
    readings: list[PeriodReading] = []
    if state is not None:
        run.restore(state)
        checkpoints.load_dense(run, state)
        readings = [PeriodReading.from_json(reading) for reading in state["periods"]]
    chosen = _published(job) == (variant, limits is not None)

    def publish_now(trained: TrainingRun, period: int, known: Problem) -> str:
        if own is not None and variant.remote:
            own.hold_all()
        if not chosen or own is None or not trained.history.epochs:
            return ""
        # Figures of unlike periods are no measure of each other.
        evaluated = f"the period after {min(period + 1, len(stream) - 1)} of {len(stream)}"
        publisher = Publisher(own.client, job.model, job.publication, job.read_at_s, evaluated, console)
        published = publisher.publish(trained, known, own)
        if published.refused:
            console.print(f"NOTICE: {published.refused}", style="bold yellow", highlight=False, markup=False)
            refused.append(published)
        return published.version

    log, progress = RunLog(job.log_dir, label, len(readings)), Progress(console)
    with progress.run(label, epochs=len(stream), steps=max(1, stream.steps() // len(stream))):
        before = run.train_s, run.steps
        for reading in train_periods(run, stream, len(readings), progress, publish_now):
            readings.append(reading)
            if reading.judged is not None:
                log.epoch(
                    run, learning_rate=job.model.learning_rate, seconds=run.train_s - before[0],
                    interactions=(run.steps - before[1]) * job.model.batch_size,
                )  # fmt: skip
            before = run.train_s, run.steps
            if variant.resumable:
                checkpoints.save(
                    run, None if own is None else own.client, {"periods": [one.as_json() for one in readings]}
                )
    for name, data in tower_files(run, job.model).items():
        (job.out / name).write_bytes(data)
    return run, readings


def _fingerprint(job: OnlineJob, label: str, stream: Stream) -> str:
    facts = {**settings_json(job.model, job.online), "label": label, "model_name": job.model_name}
    facts["schema"] = as_json(stream.whole)
    everything = stream.line.interactions
    return fingerprint(
        facts, *stream.whole.features.arrays(), stream.line.ends, everything.user_ids, everything.item_ids,
        everything.times, *([] if everything.weights is None else [everything.weights]),
    )  # fmt: skip


def _write(
    job: OnlineJob,
    dataset: Dataset,
    stream: Stream,
    limits: Limits | None,
    baselines: Baselines,
    finished: list[Finished],
    run: str | None,
) -> None:
    figures = {
        "arguments": dict(job.arguments),
        "config": settings_json(job.model, job.online),
        "dataset": {
            "name": dataset.name,
            "interactions": len(stream.line.interactions),
            "periods": len(stream),
            "vocabulary": stream.whole.vocabulary,
        },
        "limits": {} if limits is None else {
            kind: {"trigger": limit.trigger, "num_reserved": limit.num_reserved} for kind, limit in limits.items()
        },
        "run": run,
        **{label.replace(" ", "_"): [judged.as_json() for judged in periods] for label, periods in baselines.items()},
        "variants": [
            {**trained.as_json(), "periods": [reading.as_json() for reading in readings]}
            for trained, readings in finished
        ],
        "versions": versions(),
    }  # fmt: skip
    try:
        (job.out / "metrics.json").write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        plot_accuracy(job.out / "accuracy.png", finished, baselines, f"Online training on {dataset.name}")
        runs = [trained for trained, _ in finished]
        growing = {table: stream.whole.vocabulary[table] for table in _growing(stream.whole.plan)}
        plot_sizes(job.out / "sizes.png", runs, growing, limits, f"Table sizes on {dataset.name}")
    except OSError as error:
        raise TrainerError(f"{job.out}: the report cannot be written: {error.strerror}") from None
    write_ids(job.out, dataset)


def _summarise(console: Console, stream: Stream, baselines: Baselines, finished: list[Finished]) -> None:
    table = Table(title=f"Mean over {len(stream) - 1} next periods: top-{_SHOWN} of unseen items")
    table.add_column("tables", no_wrap=True)
    growing = _growing(stream.whole.plan)
    for column in ("all users", "met before", "new", *(f"{name} rows" for name in growing), "cuts", "evicted"):
        table.add_column(column, justify="right")
    for label, periods in baselines.items():
        table.add_row(label, *_means(periods), *("" for _ in growing), "", "")
    for run, readings in finished:
        sizes = run.tables.sizes()
        rows = [str(sizes[name]) for name in growing]
        judged = [reading.judged for reading in readings if reading.judged is not None]
        cuts = len(run.history.restrictions)
        table.add_row(run.label, *_means(judged), *rows, str(cuts), str(run.evictions))
    console.print(table)


def _means(judged: list[Judged]) -> list[str]:
    """For all users, those met before and new ones: the mean over the periods that have some."""
    cells: list[str] = []
    for group in ("everybody", "known", "new"):
        found = [getattr(one, group) for one in judged]
        rates = [accuracy.unseen[_SHOWN] for accuracy in found if accuracy is not None]
        cells.append(f"{np.mean(rates):.4f}" if rates else "")
    return cells
