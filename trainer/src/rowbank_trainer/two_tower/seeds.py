"""The same job from several seeds, one after the other: mean and spread of their figures."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rowbank_trainer.data import Dataset
from rowbank_trainer.errors import TrainerError
from rowbank_trainer.two_tower.job import Job, make_folder, run

_SHOWN = (("unseen", "top_10"), ("unseen", "top_100"), ("recall", "top_20"), ("ndcg", "top_20"))


def run_seeds(job: Job, seeds: Sequence[int], dataset: Dataset, console: Console) -> None:
    """Does the job once per seed, each in `seed-<seed>` of its folder, and writes what they say together.

    Raises:
        TrainerError, RowbankError: what went wrong.
    """
    make_folder(job.out)
    reports = {}
    for seed in seeds:
        console.print(f"Seed {seed}", highlight=False)
        out = job.out / f"seed-{seed}"
        run(dataclasses.replace(job, config=dataclasses.replace(job.config, seed=seed), out=out), dataset, console)
        reports[seed] = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    figures = together(reports)
    _write(job.out / "metrics.json", {"arguments": dict(job.arguments), "seeds": list(seeds), "variants": figures})
    _print(console, figures, len(seeds))
    console.print(f"Report: {job.out}/metrics.json", highlight=False)


def together(reports: Mapping[int, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Per variant: its figures by seed, their mean, and their sample standard deviation (0 for one seed).

    Args:
        reports: content of each seed's `metrics.json`.
    """
    variants = []
    for label in [variant["label"] for variant in next(iter(reports.values()))["variants"]]:
        by_seed = {
            seed: next(variant["accuracy"] for variant in report["variants"] if variant["label"] == label)
            for seed, report in reports.items()
        }
        mean: dict[str, dict[str, float]] = {}
        spread: dict[str, dict[str, float]] = {}
        for where, rates in next(iter(by_seed.values())).items():
            values = {name: [accuracy[where][name] for accuracy in by_seed.values()] for name in rates}
            mean[where] = {name: statistics.fmean(all_of) for name, all_of in values.items()}
            spread[where] = {
                name: statistics.stdev(all_of) if len(all_of) > 1 else 0.0 for name, all_of in values.items()
            }
        variants.append({"label": label, "accuracy": by_seed, "mean": mean, "standard_deviation": spread})
    return variants


def _write(path: Path, figures: Mapping[str, Any]) -> None:
    try:
        path.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    except OSError as error:
        raise TrainerError(f"{path.parent}: the report cannot be written: {error.strerror}") from None


def _print(console: Console, variants: Sequence[Mapping[str, Any]], count: int) -> None:
    table = Table(title=f"Mean and standard deviation of {count} seeds")
    table.add_column("tables", no_wrap=True)
    for column in ("top-10", "top-100", "recall@20", "NDCG@20"):
        table.add_column(column, justify="right")
    for variant in variants:
        mean, spread = variant["mean"], variant["standard_deviation"]
        table.add_row(
            variant["label"], *(f"{mean[where][name]:.4f} ± {spread[where][name]:.4f}" for where, name in _SHOWN)
        )
    console.print(table)
