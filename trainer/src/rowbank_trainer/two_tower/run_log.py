"""What each epoch brought, written down while a model trains: a line of JSON, and events for TensorBoard.

Both are written after every epoch and say the same. A training that is gone on with keeps the lines of the epochs that
its checkpoint has; events cannot be taken back one by one, so their files are written anew from those lines.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from rowbank_trainer.errors import TrainerError
from rowbank_trainer.tally import by_cutoff
from rowbank_trainer.two_tower.training import TrainingRun

FILE = "log.jsonl"


class RunLog:
    """The log of one training; with `folder` None it keeps nothing.

    Args:
        label: of the training; its events are in a folder of this name.
        done: epochs that the training has behind it: of later ones nothing is kept.
    Raises:
        TrainerError: the folder cannot be written.
    """

    def __init__(self, folder: Path | None, label: str, done: int) -> None:
        self._folder, self._label = folder, label
        self._writer: Any = None
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lines = _lines(folder / FILE)
            kept = [line for line in lines if line["tables"] != label or line["epoch"] <= done]
            partial = folder / f"{FILE}.partial"
            partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
            partial.replace(folder / FILE)
            events = folder / re.sub(r"[^a-z0-9]+", "-", label.lower())
            shutil.rmtree(events, ignore_errors=True)
            events.mkdir()
            self._writer = tf.summary.create_file_writer(str(events))
            for line in kept:
                if line["tables"] == label:
                    self._write_events(line)
        except (OSError, tf.errors.OpError) as error:
            raise self._unwritable(error) from None

    def epoch(self, run: TrainingRun, *, learning_rate: float, seconds: float, interactions: int) -> None:
        """Writes down the last epoch of `run`.

        Args:
            seconds: of its training, without the figures after it.
            interactions: trained on in it.
        Raises:
            TrainerError: the folder cannot be written.
        """
        if self._folder is None:
            return
        reading = run.history.epochs[-1]
        accuracy, segments = reading.accuracy, reading.accuracy.segments
        line: dict[str, Any] = {
            "tables": self._label,
            "epoch": reading.epoch,
            "step": run.steps,
            "loss": reading.loss,
            "learning_rate": learning_rate,
            "seconds": seconds,
            "interactions_per_s": interactions / max(seconds, 1e-9),
            "rows": dict(run.tables.sizes()),
            **{name: rates for name, rates in accuracy.as_json().items() if name != "all_items"},
        }
        if segments is not None:
            line |= {
                "recall_new_users": by_cutoff(segments.new_users.recall),
                "recall_rare_items": by_cutoff(segments.rare_items.recall),
                "coverage": by_cutoff(segments.coverage),
                "novelty": by_cutoff(segments.novelty),
            }
        if run.stopping_recalls:
            line["stopping_recall"] = run.stopping_recalls[-1]
        try:
            with (self._folder / FILE).open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
            self._write_events(line)
        except (OSError, tf.errors.OpError) as error:
            raise self._unwritable(error) from None

    def _write_events(self, line: Mapping[str, Any]) -> None:
        with self._writer.as_default(step=line["epoch"]):
            for tag, number in _numbers(line):
                if tag != "epoch":
                    tf.summary.scalar(tag, number)
        self._writer.flush()

    def _unwritable(self, error: Exception) -> TrainerError:
        why = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        return TrainerError(f"--log-dir {self._folder}: cannot be written: {why}")


def begin(folder: Path | None, *, resume: bool) -> None:
    """Makes a log's folder; without `resume` lets go of the lines that are in it. Raises TrainerError."""
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not resume:
            (folder / FILE).unlink(missing_ok=True)
    except OSError as error:
        raise TrainerError(f"--log-dir {folder}: cannot be written: {error.strerror}") from None


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a log: a kill may have left half of one."""
    if not path.exists():
        return []
    texts = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(text) for text in texts if text.endswith("\n")]


def _numbers(tree: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a line under the names that lead to it: "recall/top_20"."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{before}{name}/")
        elif not isinstance(value, str):
            yield f"{before}{name}", value
