"""Trains every combination of a grid, judges each on the validation part, and says which is best.

What is finished is written down at once, under a name that depends on settings and data, so that a search which was
killed goes on where it was. A trial's tables are dropped when its figures are kept: nothing else needs them.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rowbank import Client
from rowbank.errors import RowbankError
from rowbank_trainer.data import Dataset, Interactions
from rowbank_trainer.data.dataset import Entities
from rowbank_trainer.errors import TrainerError, UsageError
from rowbank_trainer.two_tower.checkpoint import fingerprint
from rowbank_trainer.two_tower.grid import Trial
from rowbank_trainer.two_tower.job import Job, make_folder, run
from rowbank_trainer.two_tower.runs import Run
from rowbank_trainer.two_tower.trial_log import Entry, TrialLog

_FIGURES = {"recall@20": ("recall", "top_20"), "NDCG@20": ("ndcg", "top_20"), "top-100": ("unseen", "top_100")}
_SHOWN = 20  # Lines on the terminal; the files have all.


@dataclass(frozen=True, slots=True)
class Outcome:
    """A combination and what was measured, one entry per seed."""

    trial: Trial
    entries: tuple[Entry, ...]

    def figures(self, name: str) -> list[float]:
        """One of `_FIGURES`, by seed."""
        where, cutoff = _FIGURES[name]
        return [entry.accuracy[where][cutoff] for entry in self.entries]

    def mean(self, name: str) -> float:
        return statistics.fmean(self.figures(name))

    def spread(self, name: str) -> float:
        """Sample standard deviation; 0 for one seed."""
        return statistics.stdev(self.figures(name)) if len(self.entries) > 1 else 0.0

    @property
    def seconds(self) -> float:
        """Of training, over all seeds."""
        return sum(entry.seconds for entry in self.entries)


def run_trials(
    job: Job,
    trials: Sequence[Trial],
    seeds: Sequence[int],
    dataset: Dataset,
    console: Console,
    command: Callable[[Mapping[str, str]], str],
) -> None:
    """Trains what is not finished yet and reports all, best first.

    Args:
        job: what the trials have in common.
        command: the command line that trains with given options.
    Raises:
        TrainerError, RowbankError: what went wrong; finished trials are kept.
    """
    if len(job.variants) != 1 or job.restrict:
        raise UsageError("--try compares settings with one kind of table; give one --tables, and leave out --restrict")
    make_folder(job.out)
    log = TrialLog.open(job.out, _common(job, dataset), _tried(job, trials), resume=job.resume)
    plan = [(trial, seed) for trial in trials for seed in seeds]
    done = sum(log.find(_config(trial, seed)) is not None for trial, seed in plan)
    if len(log) > done:
        console.print(
            f"NOTICE: the grid has changed: {len(log) - done} finished trials are not in it; trials.json keeps them, "
            "the table leaves them out", style="bold yellow", highlight=False,
        )  # fmt: skip
    console.print(
        f"{dataset.name}: {len(plan)} trials, judged on the validation part; {done} are finished; output of each: "
        f"{job.out}/trial-*/output.txt",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    for number, (trial, seed) in enumerate(plan, start=1):
        if log.find(_config(trial, seed)) is None:
            label = trial.title if len(seeds) == 1 else f"{trial.title}, seed {seed}"
            entry = _train(job, trial, seed, label, dataset, log)
            console.print(
                f"Trial {number} of {len(plan)}: {label}: recall@20 {entry.accuracy['recall']['top_20']:.4f}, "
                f"{entry.seconds:.1f} s",
                highlight=False, soft_wrap=True,
            )  # fmt: skip
    outcomes = [Outcome(trial, tuple(log[_config(trial, seed)] for seed in seeds)) for trial in trials]
    outcomes.sort(key=lambda outcome: -outcome.mean("recall@20"))
    log.write([_as_json(outcome) for outcome in outcomes])
    _write_csv(job.out / "trials.csv", outcomes)
    _print(console, outcomes)
    console.print(f"Report: {job.out}/trials.json, trials.csv", highlight=False)
    console.print(f"To train with the best: {command(outcomes[0].trial.options)}", highlight=False, soft_wrap=True)


def _tried(job: Job, trials: Sequence[Trial]) -> set[str]:
    """Settings that trials differ in, from each other or from the job's own."""
    configs = [asdict(config) for config in (job.config, *(trial.config for trial in trials))]
    return {name for name in configs[0] if any(config[name] != configs[0][name] for config in configs)}


def _config(trial: Trial, seed: int) -> Any:
    return dataclasses.replace(trial.config, seed=seed)


def _common(job: Job, dataset: Dataset) -> dict[str, Any]:
    """What all trials have in common, by option; those that are tried are overruled."""

    def columns(part: Interactions | None) -> list[Any]:
        if part is None:
            return []
        return [getattr(part, name) for name in ("user_ids", "item_ids", "times", "weights")]

    facts = {name: value for name, value in asdict(job.config).items() if name not in ("seed", "evaluate_on")}
    given = [
        *columns(dataset.interactions),
        *columns(dataset.held_out),
        *_values(dataset.users),
        *_values(dataset.items),
    ]
    arrays = [array for array in (dataset.catalogue.item_ids, *given) if array is not None]
    schema = None if job.schema is None else asdict(job.schema)
    common = {
        **facts,
        "tables": job.variants[0].value,
        "model_name": job.model_name,
        "schema": fingerprint({"schema": schema}),
        "data": fingerprint({"titles": dataset.catalogue.titles}, *arrays),
    }
    found: dict[str, Any] = json.loads(json.dumps(common))
    return found


def _values(entities: Entities | None) -> list[Any]:
    """The values of a schema's columns."""
    if entities is None:
        return []
    lists = [array for keys in entities.keys.values() for array in (keys.values, keys.starts)]
    return [entities.ids, *lists, *entities.numbers.values()]


def _train(job: Job, trial: Trial, seed: int, label: str, dataset: Dataset, log: TrialLog) -> Entry:
    config = _config(trial, seed)
    folder = job.out / f"trial-{log.key(config)[:10]}"
    make_folder(folder)
    try:
        with (folder / "output.txt").open("a" if job.resume else "w", encoding="utf-8") as output:
            output.write(f"{label}\n")
            # A trial that was killed goes on after its last epoch; a new one finds no checkpoint.
            log_dir = None if job.log_dir is None else job.log_dir / folder.name
            begun = dataclasses.replace(job, config=config, out=folder, log_dir=log_dir)
            run(begun, dataset, Console(file=output, width=120))
    except (TrainerError, RowbankError) as error:
        kept = "; finished trials are kept: go on with --resume" if len(log) else ""
        kind = UsageError if isinstance(error, UsageError) else TrainerError
        raise kind(f"--try: {label}: {error}{kept}") from None
    report = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    (measured,) = report["variants"]
    entry = Entry(
        options=dict(trial.options), seed=seed, accuracy=measured["accuracy"], epochs=len(measured["epochs"]),
        seconds=measured["train_seconds"], folder=folder.name,
    )  # fmt: skip
    log.add(config, entry)
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    if report["run"] is not None:
        _drop_tables(job, Run(job.model_name, report["run"]))
    return entry


def _drop_tables(job: Job, of: Run) -> None:
    with Client(job.targets) as client:
        for info in client.list_tables():
            if of.owns(info.spec.name):
                client.drop_table(info.spec.name, missing_ok=True)


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "options": dict(outcome.trial.options),
        "mean": {name: outcome.mean(name) for name in _FIGURES},
        "standard_deviation": {name: outcome.spread(name) for name in _FIGURES},
        "seconds": outcome.seconds,
        "seeds": [asdict(entry) for entry in outcome.entries],
    }


def _write_csv(path: Path, outcomes: Sequence[Outcome]) -> None:
    options = list(outcomes[0].trial.options)
    figures = [column for name in _FIGURES for column in (name, f"{name} deviation")]
    try:
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow([*options, *figures, "seeds", "seconds"])
            for outcome in outcomes:
                numbers = [number for name in _FIGURES for number in (outcome.mean(name), outcome.spread(name))]
                writer.writerow(
                    [*outcome.trial.options.values(), *numbers, len(outcome.entries), round(outcome.seconds, 1)]
                )
    except OSError as error:
        raise TrainerError(f"{path}: cannot be written: {error.strerror}") from None


def _print(console: Console, outcomes: Sequence[Outcome]) -> None:
    seeds = len(outcomes[0].entries)
    spread = f"; mean and standard deviation of {seeds} seeds" if seeds > 1 else ""
    table = Table(title=f"{len(outcomes)} combinations on the validation part, best recall@20 first{spread}")
    for option in outcomes[0].trial.options:
        table.add_column(option)
    for name in (*_FIGURES, "epochs", "seconds"):
        table.add_column(name, justify="right")
    for outcome in outcomes[:_SHOWN]:
        table.add_row(
            *outcome.trial.options.values(),
            *(
                f"{outcome.mean(name):.4f} ± {outcome.spread(name):.4f}" if seeds > 1 else f"{outcome.mean(name):.4f}"
                for name in _FIGURES
            ),
            ", ".join(str(count) for count in dict.fromkeys(entry.epochs for entry in outcome.entries)),
            f"{outcome.seconds:.1f}",
        )
    console.print(table)
    if len(outcomes) > _SHOWN:
        console.print(f"... and {len(outcomes) - _SHOWN} more in trials.csv", highlight=False)
