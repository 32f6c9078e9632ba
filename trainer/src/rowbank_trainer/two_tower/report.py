"""What a run leaves behind: a summary on the terminal, `metrics.json` and two pictures."""

from __future__ import annotations

import csv
import importlib.metadata
import json
import operator
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rowbank_trainer.data import Dataset
from rowbank_trainer.errors import TrainerError
from rowbank_trainer.evaluation import Accuracy
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.plots import plot_accuracy, plot_sizes
from rowbank_trainer.two_tower.problem import Problem
from rowbank_trainer.two_tower.publish import Published
from rowbank_trainer.two_tower.segment_table import print_segments
from rowbank_trainer.two_tower.training import TrainingRun

_SHOWN = (10, 50, 100)  # Cutoffs of the summary; metrics.json has all.
_MOST_TABLES = 2  # Whose sizes have columns of their own in the summary.
_DISTRIBUTIONS = (
    "rowbank-trainer", "rowbank", "tensorflow", "tf-keras", "tensorflow-recommenders", "tensorflow-recommenders-addons",
    "numpy", "onnx", "pyarrow",
)  # fmt: skip


def print_summary(console: Console, problem: Problem, baseline: Accuracy, runs: Sequence[TrainingRun]) -> None:
    """One line per run beside popularity: accuracy on unseen items, table sizes, evictions, seconds.

    Of more than a few tables the sizes come after it.
    """
    names = problem.plan.table_names
    many = len(names) > _MOST_TABLES
    table = Table(
        title=f"{problem.dataset_name}: hit rates of {len(problem.held_out)} held-out interactions, unseen items"
    )
    table.add_column("tables", no_wrap=True)
    for column in (*(f"top-{k}" for k in _SHOWN), "of all", "recall@20", "NDCG@20",
                   *(["rows"] if many else [f"{name} rows" for name in names]), "evicted", "seconds"):  # fmt: skip
        table.add_column(column, justify="right")
    table.add_row("popularity", *_rates(baseline))
    for run in runs:
        sizes = run.tables.sizes()
        table.add_row(
            run.label,
            *_rates(run.accuracy),
            *([str(sum(sizes.values()))] if many else [str(sizes[name]) for name in names]),
            str(run.evictions),
            f"{run.train_s:.1f}",
        )
    console.print(table)
    for run in runs if many else ():
        listed = ", ".join(f"{name} {size}" for name, size in run.tables.sizes().items())
        console.print(f"{run.label}: rows by table: {listed}", highlight=False)
    print_segments(console, {"popularity": baseline.segments} | {run.label: run.accuracy.segments for run in runs})


def _rates(accuracy: Accuracy) -> list[str]:
    figures = [*(accuracy.unseen[k] for k in _SHOWN), accuracy.all_items[100], accuracy.recall[20], accuracy.ndcg[20]]
    return [f"{figure:.4f}" for figure in figures]


@dataclass(frozen=True, slots=True)
class Report:
    """What goes into `metrics.json` and the pictures.

    Attributes:
        run: what the run on the server is called; None: there is none.
    """

    folder: Path
    problem: Problem
    config: TwoTowerConfig
    arguments: Mapping[str, Any]
    baseline: Accuracy
    runs: Sequence[TrainingRun]
    run: str | None

    def write(self, published: Published | None) -> None:
        """Writes `metrics.json`, `accuracy.png` and `sizes.png`. May be called again when more is known.

        Raises:
            TrainerError: the folder cannot be written.
        """
        problem, config = self.problem, self.config
        figures = {
            "arguments": dict(self.arguments),
            "config": asdict(config),
            "dataset": {
                "name": problem.dataset_name,
                "users": len(problem.user_keys),
                "items": len(problem.catalogue),
                "train": len(problem.train),
                "held_out": len(problem.held_out),
                "evaluated_on": config.evaluate_on,
                "vocabulary": problem.vocabulary,
                "wordless_titles": len(problem.wordless),
            },
            "baseline": self.baseline.as_json(),
            "baseline_segments": None if self.baseline.segments is None else self.baseline.segments.as_json(),
            "run": self.run,
            "variants": [run.as_json() for run in self.runs],
            "workers": _workers(self.folder) if any(run.label.endswith("workers") for run in self.runs) else [],
            "published": None if published is None else published.as_json(),
            "versions": versions(),
        }
        try:
            text = json.dumps(figures, indent=2, sort_keys=True) + "\n"
            (self.folder / "metrics.json").write_text(text, encoding="utf-8")
        except OSError as error:
            raise TrainerError(f"{self.folder}: the report cannot be written: {error.strerror}") from None
        _write_plots(self.folder, problem, self.baseline, self.runs)


def _workers(folder: Path) -> list[Any]:
    """What the workers that ran on this machine measured."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("worker-*.json"))]


def write_ids(folder: Path, dataset: Dataset) -> None:
    """Writes `users.csv` and `items.csv`, which say what string each key of a table is, where ids were strings.

    Raises:
        TrainerError: the folder cannot be written.
    """
    for file, names in (("users.csv", dataset.user_names), ("items.csv", dataset.item_names)):
        if names is None:
            continue
        rows = sorted(names.items(), key=operator.itemgetter(1))
        try:
            with (folder / file).open("w", encoding="utf-8", newline="") as stream:
                writer = csv.writer(stream)
                writer.writerow(("key", "id"))
                writer.writerows(rows)
        except OSError as error:
            raise TrainerError(f"{folder}: {file} cannot be written: {error.strerror}") from None


def _write_plots(folder: Path, problem: Problem, baseline: Accuracy, runs: Sequence[TrainingRun]) -> None:
    try:
        plot_accuracy(folder / "accuracy.png", runs, baseline, f"Two-tower on {problem.dataset_name}")
        plot_sizes(folder / "sizes.png", runs, problem.vocabulary, f"Table sizes on {problem.dataset_name}")
    except OSError as error:
        raise TrainerError(f"{folder}: the plots cannot be written: {error.strerror}") from None


def versions() -> dict[str, str]:
    """Versions of what took part."""
    found = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        found[name] = importlib.metadata.version(name)
    return found
