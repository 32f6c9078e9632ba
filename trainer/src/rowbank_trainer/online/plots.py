"""Pictures of an online run: accuracy on each next period, and the tables' sizes by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from rowbank_trainer.online.stream import Judged, PeriodReading
from rowbank_trainer.two_tower.training import TrainingRun
from rowbank_trainer.two_tower.watches import Limits

_CUTOFF = 100
_STYLES = {False: "-", True: "--"}


def plot_accuracy(
    path: Path,
    runs: Sequence[tuple[TrainingRun, Sequence[PeriodReading]]],
    baselines: Mapping[str, Sequence[Judged]],
    title: str,
) -> None:
    """Share of the next period's interactions among the best 100 unseen items, for all users and for known ones."""
    figure, all_axes = plt.subplots(1, 2, figsize=(13, 5), sharey=True)
    for axes, known in zip(all_axes, (False, True), strict=True):
        for index, (run, readings) in enumerate(runs):
            judged = [(reading.period, reading.judged) for reading in readings if reading.judged is not None]
            axes.plot(
                [period for period, _ in judged], _smooth([_rate(one, known) for _, one in judged]),
                _STYLES[run.restricted], color=f"C{index}", label=run.label,
            )  # fmt: skip
        for (label, popularity), style in zip(baselines.items(), (":", "-."), strict=False):
            periods = range(1, len(popularity) + 1)
            axes.plot(periods, _smooth([_rate(one, known) for one in popularity]), style, color="gray", label=label)
        axes.set(xlabel="periods trained on", title="users met before" if known else "all users")
        axes.set_ylim(bottom=0.0)
        axes.grid(alpha=0.3)
        axes.legend()
    all_axes[0].set_ylabel(f"top-{_CUTOFF} of the next period, mean of 5 periods")
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def plot_sizes(
    path: Path,
    runs: Sequence[TrainingRun],
    vocabulary: Mapping[str, int],
    limits: Limits | None,
    title: str,
) -> None:
    """Rows in each table by step; lines at the vocabulary, at the trigger, and at what a cut leaves."""
    figure, all_axes = plt.subplots(1, len(vocabulary), figsize=(6.5 * len(vocabulary), 5), squeeze=False)
    for axes, table in zip(all_axes[0], vocabulary, strict=True):
        for index, run in enumerate(runs):
            steps = [reading.step for reading in run.history.sizes]
            rows = [reading.rows[table] for reading in run.history.sizes]
            axes.plot(steps, rows, _STYLES[run.restricted], color=f"C{index}", label=run.label)
        axes.axhline(vocabulary[table], color="gray", linestyle="--", linewidth=1, label="vocabulary")
        if limits is not None and table in limits:
            axes.axhline(limits[table].trigger, color="gray", linestyle=":", linewidth=1, label="trigger")
            axes.axhline(limits[table].num_reserved, color="gray", linestyle="-.", linewidth=1, label="kept by a cut")
        axes.set(xlabel="step", ylabel="rows", title=f"{table} table")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right")
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _rate(judged: Judged, known: bool) -> float:
    accuracy = judged.known if known else judged.everybody
    return float("nan") if accuracy is None else accuracy.unseen[_CUTOFF]


def _smooth(values: Sequence[float]) -> list[float]:
    """Each value's mean with the two on either side, as far as there are any."""
    array = np.array(values)
    windows = [array[max(0, index - 2) : index + 3] for index in range(len(array))]
    return [float(window[~np.isnan(window)].mean()) if not np.isnan(window).all() else np.nan for window in windows]
