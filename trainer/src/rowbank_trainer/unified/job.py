"""The whole unified job: every trial that is not done yet, then the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from rowbank import Client
from rowbank_trainer.comparison.fitting import batches, fit, start
from rowbank_trainer.comparison.job import ComparisonJob, compare
from rowbank_trainer.comparison.trials import TableKind, Trial
from rowbank_trainer.data import Dataset
from rowbank_trainer.progress import Progress
from rowbank_trainer.unified.config import Model, UnifiedConfig
from rowbank_trainer.unified.features import Features
from rowbank_trainer.unified.models import Built, build_remote, build_static
from rowbank_trainer.unified.problem import Columns, Part, prepare
from rowbank_trainer.unified.report import print_summary, write_report

_EVALUATION_BATCH = 4096


Job = ComparisonJob[UnifiedConfig, Model]


def run(job: Job, dataset: Dataset, features: Features, console: Console) -> None:
    """Does the job.

    Raises:
        TrainerError, RowbankError: what went wrong; trials that were finished are kept.
    """

    def train(trial: Trial, client: Client | None, progress: Progress) -> dict[str, Any]:
        return _train(trial, job, dataset, features, client, progress)

    results = compare("unified", job, dataset, train, _figures, console)
    print_summary(console, dataset.name, results)
    write_report(job.out, dataset, job.config, job.arguments, results)
    console.print(f"Report: {job.out}/metrics.json, auc.png", highlight=False)


def _figures(result: Mapping[str, Any]) -> str:
    return f"AUC {result['auc']:.4f}, log loss {result['log_loss']:.4f}, {result['parameters']} parameters"


def _train(
    trial: Trial, job: Job, dataset: Dataset, features: Features, client: Client | None, progress: Progress
) -> dict[str, Any]:
    """Trains one model; returns what the report needs of it."""
    start(trial.seed)
    problem = prepare(dataset, features, job.config, trial.seed)
    built = _build(trial, job, problem.vocabularies, client)
    fitted = fit(
        str(trial),
        built.model,
        _batches(built, problem.train, job.config.batch_size),
        _batches(built, problem.held_out, _EVALUATION_BATCH),
        epochs=job.config.epochs,
        progress=progress,
    )
    return {
        "auc": fitted.epochs[-1]["val_auc"],
        "log_loss": fitted.epochs[-1]["val_log_loss"],
        "parameters": built.parameters(),
        "train_s": fitted.train_s,
        "epochs": fitted.epochs,
        "tables": list(built.table_names),
    }


def _build(trial: Trial, job: Job, vocabularies: Columns, client: Client | None) -> Built:
    if client is None or trial.tables == TableKind.STATIC.value:
        return build_static(Model(trial.model), vocabularies, job.config)
    return build_remote(Model(trial.model), job.config, client, prefix=job.prefix, seed=trial.seed)


def _batches(built: Built, part: Part, batch_size: int) -> Any:
    """The parts of a split are in random order; batches are the same in every epoch."""
    columns = {name: part.columns[name] for name in built.model.input_names}
    return batches(columns, part.labels, batch_size=batch_size, shuffle_seed=None)
