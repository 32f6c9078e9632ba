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
from rowbank_trainer.segments import USER_SEGMENTS
from rowbank_trainer.two_tower.job import Job, make_folder, run
from rowbank_trainer.two_tower.segment_table import segment_table

_SHOWN = (("unseen", "top_10"), ("unseen", "top_100"), ("recall", "top_20"), ("ndcg", "top_20"))
_SEGMENTS = (*(("users", name) for name in USER_SEGMENTS), ("rare_items",))


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
        config = dataclasses.replace(job.config, seed=seed)
        log_dir = None if job.log_dir is None else job.log_dir / out.name
        run(dataclasses.replace(job, config=config, out=out, log_dir=log_dir), dataset, console)
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
        of_label = {
            seed: next(variant for variant in report["variants"] if variant["label"] == label)
            for seed, report in reports.items()
        }
        by_seed = {seed: variant["accuracy"] for seed, variant in of_label.items()}
        segments = [variant["segments"] for variant in of_label.values()]
        variants.append(
            {
                "label": label,
                "accuracy": by_seed,
                "mean": _over(list(by_seed.values()), statistics.fmean),
                "standard_deviation": _over(list(by_seed.values()), _deviation),
                "segments": {
                    "mean": _over(segments, statistics.fmean),
                    "standard_deviation": _over(segments, _deviation),
                },
            }
        )
    return variants


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _over(trees: Sequence[Any], figure: Any) -> Any:
    """The figure of each number of trees of one shape; a number that some lack is that of the others."""
    if not isinstance(trees[0], Mapping):
        return figure(trees)
    names = dict.fromkeys(name for tree in trees for name in tree)
    return {name: _over([tree[name] for tree in trees if name in tree], figure) for name in names}


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
    _print_segments(console, variants)


def _print_segments(console: Console, variants: Sequence[Mapping[str, Any]]) -> None:
    table = segment_table()
    for variant in variants:
        paths = [*((*where, "recall", "top_20") for where in _SEGMENTS), ("coverage", "top_20"), ("novelty", "top_20")]
        table.add_row(variant["label"], *(_cell(variant["segments"], path) for path in paths))
    console.print(table)


def _cell(segments: Mapping[str, Any], path: Sequence[str]) -> str:
    """Mean and spread of the figure at a path; a dash where no seed has it."""
    mean, spread = segments["mean"], segments["standard_deviation"]
    for name in path:
        if name not in mean:
            return "-"
        mean, spread = mean[name], spread[name]
    digits = 2 if path[0] == "novelty" else 4
    return f"{mean:.{digits}f} ± {spread:.{digits}f}"
