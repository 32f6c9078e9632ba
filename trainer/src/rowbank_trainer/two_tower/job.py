"""The whole two-tower job: data, one run per variant, publication, report."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tf_keras
from rich.console import Console

from rowbank import Client
from rowbank_trainer.data import Dataset
from rowbank_trainer.errors import TrainerError, UsageError
from rowbank_trainer.evaluation import Evaluator
from rowbank_trainer.progress import Progress
from rowbank_trainer.schema.spec import Schema
from rowbank_trainer.two_tower.batches import BatchSource
from rowbank_trainer.two_tower.checkpoint import (
    Checkpoints,
    Remembered,
    fingerprint,
    remember_run,
    remembered_run,
)
from rowbank_trainer.two_tower.config import TwoTowerConfig, Variant
from rowbank_trainer.two_tower.continuing import Start, find_start, load_training
from rowbank_trainer.two_tower.logq import drawing_log_q
from rowbank_trainer.two_tower.parallel import WorkerPart, worker_run
from rowbank_trainer.two_tower.part import PartTraining
from rowbank_trainer.two_tower.problem import Problem, prepare
from rowbank_trainer.two_tower.publication import Publication
from rowbank_trainer.two_tower.publish import Publisher, require_served, say_published, say_wordless, tower_files
from rowbank_trainer.two_tower.report import Report, print_summary, write_ids
from rowbank_trainer.two_tower.run_log import RunLog
from rowbank_trainer.two_tower.run_log import begin as begin_log
from rowbank_trainer.two_tower.runs import Run, RunTables
from rowbank_trainer.two_tower.schedule import Schedule
from rowbank_trainer.two_tower.schema_file import as_json
from rowbank_trainer.two_tower.served_columns import check_served
from rowbank_trainer.two_tower.stopping import CUTOFF, best_epoch, has_stopped
from rowbank_trainer.two_tower.tables.opening import open_tables
from rowbank_trainer.two_tower.training import TrainingRun, train_epoch
from rowbank_trainer.two_tower.watches import limits_of


@dataclass(frozen=True, slots=True)
class Job:
    """What to do.

    Attributes:
        variants: trained one after the other, on the same data, from the same seeds.
        restrict: train each variant whose tables can shrink once more, with restrictions.
        targets: addresses of the parameter server; None: ROWBANK_TARGETS, else the local default.
        publication: what becomes of the model of the first variant on Rowbank, else of the first variant.
        out: folder for the report, the exported towers and checkpoints.
        model_name: in the registry, and the beginning of table names.
        arguments: as given on the command line, for the report.
        read_at_s: Unix seconds at which reading the data began.
        resume: go on from the checkpoints in `out`.
        part: which of several workers this is; None: the only one.
        run: what the run is called; None: the next free number.
        log_dir: folder for a line and events per epoch; None: none are written.
        going_on: "active", "latest" or the version to go on from; None: start anew.
        schema: the columns of users and items; None: what data and settings say.
    """

    config: TwoTowerConfig
    variants: tuple[Variant, ...]
    restrict: bool
    targets: str | None
    publication: Publication
    out: Path
    model_name: str
    arguments: Mapping[str, Any]
    read_at_s: float = field(default_factory=time.time)
    resume: bool = False
    part: WorkerPart | None = None
    run: str | None = None
    going_on: str | None = None
    log_dir: Path | None = None
    schema: Schema | None = None

    def __post_init__(self) -> None:
        if self.config.logq == "table" and set(self.variants) != {Variant.ROWBANK}:
            raise UsageError(
                "--logq table: only the tables of kind rowbank count what is trained; use --tables rowbank"
            )
        if self.part is not None and (set(self.variants) != {Variant.ROWBANK} or self.restrict or self.resume):
            raise UsageError("several workers train --tables rowbank, without --restrict and --resume")
        if self.part is not None and self.config.schedule != "constant":
            raise UsageError(
                f"--learning-rate-schedule {self.config.schedule}: several workers are at different epochs at one "
                "time; use constant"
            )
        if self.config.early_stopping:
            self._check_stopping()
        if self.going_on is None:
            return
        if set(self.variants) != {Variant.ROWBANK} or self.restrict or self.part is not None:
            raise UsageError("--continue trains --tables rowbank in one process, without --restrict")
        if self.run is not None:
            raise UsageError("--run: --continue goes on with the run of its version; leave one of them out")

    def _check_stopping(self) -> None:
        kept = [variant.value for variant in self.variants if not variant.resumable]
        if kept:
            raise UsageError(
                f"--early-stopping goes back to the best epoch's rows, and rows of TFRA's tables are in no checkpoint; "
                f"leave {', '.join(kept)} out of --tables, or leave out --early-stopping"
            )
        if self.part is not None:
            raise UsageError("--early-stopping: several workers are at different epochs at one time; train with one")

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.out / "checkpoint"


def run(job: Job, dataset: Dataset, console: Console) -> None:
    """Does the job.

    Raises:
        TrainerError, RowbankError: what went wrong.
    """
    make_folder(job.out)
    if job.part is None or job.part.lead:
        begin_log(job.log_dir, resume=job.resume)
    problem = prepare(dataset, job.config, job.schema)
    if job.publication.wanted:
        check_served(problem)
    evaluator = problem.evaluator()
    baseline = problem.baseline(evaluator)
    say_data(console, dataset, problem, job.config)
    say_wordless(console, problem)
    remote = any(variant.remote for variant in job.variants)
    with client_for(job.targets, job.publication.wanted or remote) as client:
        start = _start(job, client, problem, console)
        with _own_tables(job, client, start) as own:
            if own is not None:
                console.print(f"Tables: {own.run.prefix}.* ({own.run.title})", highlight=False)
            if job.part is None:
                runs = _train_all(job, problem, evaluator, own, start, console)
            else:
                assert own is not None
                runs = [PartTraining(job.part, problem, job.config, own, job.out, job.log_dir).run(evaluator, console)]
                if not job.part.lead:
                    return
            print_summary(console, problem, baseline, runs)
            report = Report(
                job.out, problem, job.config, job.arguments, baseline, runs, None if own is None else own.run.name
            )
            # Written before anything is published, so that a refusal does not cost the figures.
            report.write(None)
            write_ids(job.out, dataset)
            chosen = _choose(runs)
            for name, data in tower_files(chosen, job.config).items():
                (job.out / name).write_bytes(data)
            published = None
            if job.publication.wanted and own is not None:
                published = _publisher(job, dataset, own.client, console).publish(chosen, problem, own)
                report.write(published)
                say_published(console, published)
    console.print(f"Report: {job.out}/metrics.json, accuracy.png, sizes.png", highlight=False)
    if published is not None:
        require_served(published)
    elif remote:
        _say_unpublished(job, chosen, console)


def _start(job: Job, client: Client | None, problem: Problem, console: Console) -> Start | None:
    """The version to go on from, if there is one; a resumed job keeps to the one that it began with."""
    remembered = remembered_run(job.checkpoints, job.model_name) if job.resume else None
    which = job.going_on if remembered is None else remembered.version
    if which is None:
        return None
    assert client is not None
    start = find_start(client, job.model_name, which, problem, job.config)
    console.print(f"Goes on from version {start.version} ({start.run.title})", highlight=False)
    if remembered is None:
        for note in start.notes:
            console.print(f"NOTICE: {note}", style="bold yellow", highlight=False)
    return start


@contextlib.contextmanager
def _own_tables(job: Job, client: Client | None, start: Start | None) -> Iterator[RunTables | None]:
    """The run whose tables are trained; None: nothing is on a server."""
    if client is None:
        yield None
        return
    remembered = remembered_run(job.checkpoints, job.model_name) if job.resume else None
    if start is not None:
        tables = RunTables(client, start.run)
    elif remembered is not None:
        tables = RunTables(client, Run(job.model_name, remembered.run))
    elif job.part is not None and not job.part.lead:
        tables = RunTables(client, Run(job.model_name, worker_run(job.part, job.run)), worker=job.part.worker_id)
    else:
        wanted = job.run if job.part is None else worker_run(job.part, job.run)
        tables = RunTables.begin(client, job.model_name, wanted)
    with tables:
        if job.part is None:
            version = None if start is None else start.version
            remember_run(job.checkpoints, job.model_name, Remembered(tables.run.name, version))
        yield tables


def _publisher(job: Job, dataset: Dataset, client: Client, console: Console) -> Publisher:
    evaluated = "a test part of its own" if dataset.held_out is not None else job.config.split
    if job.config.evaluate_on == "validation":
        evaluated = f"validation, {evaluated}"
    return Publisher(client, job.config, job.publication, job.read_at_s, evaluated, console)


def _say_unpublished(job: Job, chosen: TrainingRun, console: Console) -> None:
    again = "the same command with --resume and --publish" if chosen.resumable else "train with --publish"
    console.print(f"Not published. To store this model: {again}; with --activate it is served, too.", highlight=False)


def make_folder(out: Path) -> None:
    """Creates the folder of a job's results. Raises TrainerError."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainerError(f"--out {out}: cannot be created: {error.strerror}") from None


def say_data(console: Console, dataset: Dataset, problem: Problem, config: TwoTowerConfig) -> None:
    """One line about the data."""
    console.print(
        f"{dataset.name}: {len(problem.user_keys)} users, {len(problem.catalogue)} items, {len(problem.train)} "
        f"interactions to train on, {len(problem.held_out)} held out ({config.evaluate_on})",
        highlight=False,
    )


@contextlib.contextmanager
def client_for(targets: str | None, needed: bool) -> Iterator[Client | None]:
    """A client, if anything needs the server."""
    if not needed:
        yield None
        return
    with Client(targets) as client:
        yield client


def _train_all(
    job: Job,
    problem: Problem,
    evaluator: Evaluator,
    own: RunTables | None,
    start: Start | None,
    console: Console,
) -> list[TrainingRun]:
    runs = []
    for variant in job.variants:
        for restrict in (False, True) if job.restrict and variant.dynamic else (False,):
            # Also lets go of the names that the last run's tables had within TensorFlow.
            tf_keras.backend.clear_session()
            tf_keras.utils.set_random_seed(job.config.seed)
            runs.append(_train(job, variant, restrict, problem, evaluator, own, start, console))
    return runs


def _train(
    job: Job,
    variant: Variant,
    restrict: bool,
    problem: Problem,
    evaluator: Evaluator,
    own: RunTables | None,
    start: Start | None,
    console: Console,
) -> TrainingRun:
    config = job.config
    opening = _Opening(job, variant, restrict, problem, own, start)
    checkpoints, best = opening.checkpoints(job.checkpoints), opening.checkpoints(job.checkpoints / "best")
    state = checkpoints.continue_from(resume=job.resume, resumable=variant.resumable, console=console)
    run, begun_at = opening.open(checkpoints, state)
    client = None if own is None else own.client
    if start is not None and state is None:
        checkpoints.save(run, client)  # From here on the tables differ from the version's.
    source = BatchSource(problem, run.tables, config, log_q=drawing_log_q(run.model, config))
    schedule, stopping = Schedule.parse(config.schedule), problem.stopping_evaluator()
    log, progress = RunLog(job.log_dir, opening.label, run.epochs_done), Progress(console)
    last = begun_at + config.epochs
    with progress.run(opening.label, epochs=last, steps=len(problem.train) // config.batch_size):
        while run.epochs_done < last and not has_stopped(run.stopping_recalls, config.early_stopping):
            rate = config.learning_rate * schedule.factor((run.epochs_done - begun_at) / config.epochs)
            if schedule.floor is not None or start is not None:  # A version comes with the rate that it ended with.
                run.set_learning_rate(rate)
            trained_s = run.train_s
            train_epoch(run, source, problem, evaluator, config, progress, stopping)
            log.epoch(
                run, learning_rate=rate, seconds=run.train_s - trained_s,
                interactions=len(problem.train) // config.batch_size * config.batch_size,
            )  # fmt: skip
            if own is not None and variant.remote:
                own.hold_all()
            # The best comes first: when a checkpoint says that an epoch is over, its rows are kept if they are needed.
            if config.early_stopping and best_epoch(run.stopping_recalls) == len(run.stopping_recalls):
                best.save(run, client)
            if variant.resumable:
                checkpoints.save(run, client)
    return _at_its_best(opening, best, run, console) if config.early_stopping else run


def _at_its_best(opening: _Opening, best: Checkpoints, run: TrainingRun, console: Console) -> TrainingRun:
    """The run as it was after its best epoch."""
    recalls = run.stopping_recalls
    chosen = best_epoch(recalls)
    console.print(
        f"{opening.label}: recall@{CUTOFF} on the validation part was best after epoch {chosen} of {len(recalls)}, "
        f"{recalls[chosen - 1]:.4f}; the model is that epoch's",
        highlight=False,
    )
    if chosen == len(recalls):
        return run
    tf_keras.backend.clear_session()
    restored, _ = opening.open(best, best.state())
    restored.stopping_recalls, restored.train_s = recalls, run.train_s
    return restored


@dataclass(frozen=True, slots=True)
class _Opening:
    """Opens one variant's tables and model, new, gone on with, or as a checkpoint has them."""

    job: Job
    variant: Variant
    restrict: bool
    problem: Problem
    own: RunTables | None
    start: Start | None

    @property
    def label(self) -> str:
        return f"{self.variant.value}, restricted" if self.restrict else self.variant.value

    def checkpoints(self, folder: Path) -> Checkpoints:
        """Of this variant, in a folder of the job."""
        return Checkpoints(folder, self.label, _fingerprint(self.job, self.label, self.problem, self.start))

    def open(self, checkpoints: Checkpoints, state: dict[str, Any] | None) -> tuple[TrainingRun, int]:
        """The run, and after how many epochs its training began.

        Args:
            state: of `checkpoints`; None: none of its own.
        """
        problem, config, start = self.problem, self.job.config, self.start
        tables = open_tables(
            self.variant, problem, config, self.own, restrict=self.restrict,
            rows=None if state is None or not self.variant.remote else checkpoints.rows_of(state),
            going_on=None if start is None else start.tables,
        )  # fmt: skip
        run = TrainingRun(
            self.label, problem, tables, config,
            limits=limits_of(problem.vocabulary, config) if self.restrict else None, resumable=self.variant.resumable,
        )  # fmt: skip
        if start is not None:
            load_training(run, start.training, self.job.checkpoints / "version")
        begun_at = run.epochs_done
        if state is not None:
            run.restore(state)
            checkpoints.load_dense(run, state)
        return run, begun_at


def _fingerprint(job: Job, label: str, problem: Problem, start: Start | None) -> str:
    facts = {name: value for name, value in asdict(job.config).items() if name != "epochs"}
    if job.config.schedule != "constant":
        facts["epochs"] = job.config.epochs  # The rate of each epoch depends on how many there are.
    facts |= {"label": label, "model_name": job.model_name, "goes_on_from": None if start is None else start.version}
    facts["schema"] = as_json(problem)
    train, held_out = problem.train, problem.held_out
    return fingerprint(
        facts, problem.item_keys, train.user_ids, train.item_ids, held_out.user_ids, held_out.item_ids,
        *problem.features.arrays(), *([] if train.weights is None else [train.weights]),
    )  # fmt: skip


def _choose(runs: list[TrainingRun]) -> TrainingRun:
    """The model to export: rows that are on the server already go before rows that would have to be uploaded."""
    unrestricted = [run for run in runs if not run.restricted]
    return next((run for run in unrestricted if run.tables.table_names), unrestricted[0])
