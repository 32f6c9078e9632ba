"""Pictures of a run: how accurate the variants became, and how large their tables were meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from rowbank_trainer.evaluation import Accuracy
from rowbank_trainer.two_tower.training import TrainingRun

_CUTOFF = 100


def plot_accuracy(path: Path, runs: Sequence[TrainingRun], baseline: Accuracy, title: str) -> None:
    """Top-100 accuracy by epoch, one line per run, and the popularity baseline."""
    figure, axes = plt.subplots(figsize=(8, 5))
    for index, run in enumerate(runs):
        epochs = [reading.epoch for reading in run.history.epochs]
        rates = [reading.accuracy.unseen[_CUTOFF] for reading in run.history.epochs]
        axes.plot(epochs, rates, label=run.label, linestyle=_style(run), color=_color(index), marker=".", markersize=4)
    axes.axhline(baseline.unseen[_CUTOFF], color="gray", linestyle=":", label="popularity")
    axes.set(xlabel="epoch", ylabel=f"top-{_CUTOFF} accuracy, unseen items", title=title)
    axes.set_ylim(bottom=0.0)
    _finish(figure, axes, path)


def plot_sizes(path: Path, runs: Sequence[TrainingRun], vocabulary: dict[str, int], title: str) -> None:
    """Rows in each table by step, one line per run; the vocabulary is the level a table without restriction reaches."""
    figure, all_axes = plt.subplots(1, len(vocabulary), figsize=(6 * len(vocabulary), 5), squeeze=False)
    for axes, table in zip(all_axes[0], vocabulary, strict=True):
        for index, run in enumerate(runs):
            steps = [reading.step for reading in run.history.sizes]
            rows = [reading.rows[table] for reading in run.history.sizes]
            axes.plot(steps, rows, label=run.label, linestyle=_style(run), color=_color(index))
        axes.axhline(vocabulary[table], color="gray", linestyle=":", label="keys in training")
        axes.set(xlabel="step", ylabel="rows", title=f"{table} table")
        axes.set_ylim(bottom=0)
        axes.legend()
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _style(run: TrainingRun) -> str:
    return "--" if run.restricted else "-"


def _color(index: int) -> str:
    return f"C{index}"


def _finish(figure: Any, axes: Any, path: Path) -> None:
    axes.legend()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
