"""The whole two-tower job: data, one run per variant, publication, report."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tf_keras
from rich.console import Console

from rowbank import Client
from rowbank_trainer.data import Dataset
from rowbank_trainer.errors import TrainerError
from rowbank_trainer.evaluation import Evaluator
from rowbank_trainer.progress import Progress
from rowbank_trainer.two_tower.config import TwoTowerConfig, Variant
from rowbank_trainer.two_tower.problem import Problem, prepare
from rowbank_trainer.two_tower.publish import Published, publish, tower_files
from rowbank_trainer.two_tower.report import print_summary, write_metrics, write_plots
from rowbank_trainer.two_tower.tables.opening import open_tables
from rowbank_trainer.two_tower.training import Trained, train


@dataclass(frozen=True, slots=True)
class Job:
    """What to do.

    Attributes:
        variants: trained one after the other, on the same data, from the same seeds.
        restrict: train each variant whose tables can shrink once more, with restrictions.
        targets: addresses of the parameter server; None: ROWBANK_TARGETS, else the local default.
        publish: whether to publish a model: that of the first variant on Rowbank, else of the first variant.
        out: folder for the report and the exported towers.
        model_name: in the registry, and the beginning of table names.
        arguments: as given on the command line, for the report.
    """

    config: TwoTowerConfig
    variants: tuple[Variant, ...]
    restrict: bool
    targets: str | None
    publish: bool
    out: Path
    model_name: str
    arguments: Mapping[str, Any]


def run(job: Job, dataset: Dataset, console: Console) -> None:
    """Does the job.

    Raises:
        TrainerError, RowbankError: what went wrong; nothing was published then.
    """
    try:
        job.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainerError(f"--out {job.out}: cannot be created: {error.strerror}") from None
    problem = prepare(dataset, job.config)
    evaluator = problem.evaluator()
    baseline = problem.baseline(evaluator)
    console.print(
        f"{dataset.name}: {len(problem.user_keys)} users, {len(problem.catalogue)} items, {len(problem.train)} "
        f"interactions to train on, {len(problem.held_out)} held out ({job.config.evaluate_on})",
        highlight=False,
    )
    with _client(job) as client:
        runs = _train_all(job, problem, evaluator, client, console)
        print_summary(console, problem, baseline, runs)
        # Written before anything is published, so that a refusal does not cost the figures.
        write_metrics(job.out, problem, job.config, job.arguments, baseline, runs, None)
        write_plots(job.out, problem, baseline, runs)
        chosen = _choose(job, runs)
        for name, data in tower_files(chosen, job.config).items():
            (job.out / name).write_bytes(data)
        if job.publish and client is not None:
            published = publish(client, chosen, problem, job.config, model_name=job.model_name)
            write_metrics(job.out, problem, job.config, job.arguments, baseline, runs, published)
            _say_published(console, published)
    console.print(f"Report: {job.out}/metrics.json, accuracy.png, sizes.png", highlight=False)


@contextlib.contextmanager
def _client(job: Job) -> Iterator[Client | None]:
    if not job.publish and not any(variant.remote for variant in job.variants):
        yield None
        return
    with Client(job.targets) as client:
        yield client


def _train_all(
    job: Job, problem: Problem, evaluator: Evaluator, client: Client | None, console: Console
) -> list[Trained]:
    runs = []
    for variant in job.variants:
        for restrict in (False, True) if job.restrict and variant.dynamic else (False,):
            # Also lets go of the names that the last run's tables had within TensorFlow.
            tf_keras.backend.clear_session()
            tf_keras.utils.set_random_seed(job.config.seed)
            label = f"{variant.value}, restricted" if restrict else variant.value
            tables = open_tables(variant, problem, job.config, client, model_name=job.model_name, restrict=restrict)
            runs.append(train(label, problem, evaluator, tables, job.config, Progress(console), restrict=restrict))
    return runs


def _choose(job: Job, runs: list[Trained]) -> Trained:
    """The model to export: rows that are on the server already go before rows that would have to be uploaded."""
    plain = [run for run in runs if not run.restricted]
    return next((run for run in plain if run.tables.table_names), plain[0])


def _say_published(console: Console, published: Published) -> None:
    tables = ", ".join(published.tables.values())
    console.print(
        f"Published {published.name} {published.version} ({published.label}; tables {tables}) and activated it.",
        highlight=False,
    )
