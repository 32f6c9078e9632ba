"""Checkpoints: after a kill at any moment a run goes on from the last epoch it finished, as if nothing had happened.

A checkpoint is a folder with the dense weights and the optimizer's state, a file with every row of each table on the
server, optimizer state and frequencies included, and what was measured so far. Nothing refers to it before it is whole.
Resuming puts all of it back; what the tables met after the checkpoint is gone, so that it is learned once.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from rich.console import Console

from rowbank import Client
from rowbank.parquet import export_table
from rowbank_trainer.errors import TrainerError
from rowbank_trainer.two_tower.training import TrainingRun

_STATE = "state.json"
_RUN = "run.json"
_DENSE = "dense"


class Checkpoints:
    """The checkpoints of one run: the newest is kept.

    Args:
        folder: of all runs of a job; this run's is in it, by its label.
        fingerprint: of everything that the run depends on, so that it is not continued with other settings or data.
    """

    def __init__(self, folder: Path, label: str, fingerprint: str) -> None:
        self._folder = folder / re.sub(r"[^a-z0-9]+", "-", label.lower())
        self._fingerprint = fingerprint
        self._label = label

    def state(self) -> dict[str, Any] | None:
        """What the newest checkpoint says of its run; None if there is none.

        Raises:
            TrainerError: it is of a run with other settings or other data.
        """
        path = self._folder / _STATE
        if not path.exists():
            return None
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if state["fingerprint"] != self._fingerprint:
            raise TrainerError(
                f"--resume: the checkpoint of {self._label!r} in {self._folder} is of a run with other settings or "
                "data; give the same options, or start anew without --resume"
            )
        return state

    def continue_from(
        self, *, resume: bool, resumable: bool, console: Console, unit: str = "epoch"
    ) -> dict[str, Any] | None:
        """What to go on from, with a line that says so; None: start anew, and without `resume` forget what was.

        Args:
            resumable: whether checkpoints can hold the rows.
            unit: what a checkpoint follows on.
        """
        if not resume:
            shutil.rmtree(self._folder, ignore_errors=True)
            return None
        state = self.state() if resumable else None
        if state is None:
            why = f"no {unit} was finished" if resumable else "tables of TFRA are not in checkpoints"
            console.print(f"{self._label}: starts anew: {why}", highlight=False)
        else:
            done = len(state["periods"]) if "periods" in state else state["epochs_done"]
            console.print(f"{self._label}: goes on after {unit} {done}", highlight=False)
        return state

    def rows_of(self, state: Mapping[str, Any]) -> dict[str, Path]:
        """Table name -> the file with its rows."""
        return {name: self._folder / state["folder"] / file for name, file in state["tables"].items()}

    def load_dense(self, run: TrainingRun, state: Mapping[str, Any]) -> None:
        """Puts dense weights and the optimizer's state back; where a variable is made later, when it is made."""
        _checkpoint(run).read(str(self._folder / state["folder"] / _DENSE)).expect_partial()

    def save(self, run: TrainingRun, client: Client | None, extra: Mapping[str, Any] | None = None) -> None:
        """Keeps the run as it is now, and lets go of the checkpoint before.

        Args:
            client: where the run's tables are; None if they live in this process.
            extra: further facts for `state`.
        """
        name = f"epoch-{run.epochs_done:05d}"
        target = self._folder / name
        try:
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True)
            _checkpoint(run).write(str(target / _DENSE))
            tables = {}
            for index, table in enumerate(run.tables.table_names.values()):
                assert client is not None
                tables[table] = f"table-{index}.parquet"
                export_table(client.table(table), str(target / tables[table]))
            state = {"fingerprint": self._fingerprint, "folder": name, "tables": tables, **run.state(), **(extra or {})}
            partial = self._folder / f"{_STATE}.partial"
            partial.write_text(json.dumps(state), encoding="utf-8")
            partial.replace(self._folder / _STATE)
            for old in self._folder.glob("epoch-*"):
                if old.name != name:
                    shutil.rmtree(old)
        except OSError as error:
            raise TrainerError(f"{target}: the checkpoint cannot be written: {error.strerror}") from None


@dataclass(frozen=True, slots=True)
class Remembered:
    """Which run the checkpoints of a job are of.

    Attributes:
        run: its name.
        version: that it goes on from; None: it began anew.
    """

    run: str
    version: str | None


def remember_run(folder: Path, model: str, remembered: Remembered) -> None:
    """Says in the folder of a job's checkpoints which run they are of. Raises TrainerError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _RUN).write_text(json.dumps({"model": model, **asdict(remembered)}) + "\n", encoding="utf-8")
    except OSError as error:
        raise TrainerError(f"{folder}: the checkpoint cannot be written: {error.strerror}") from None


def remembered_run(folder: Path, model: str) -> Remembered | None:
    """Which run of a model the checkpoints in a folder are of; None if there are none of it."""
    path = folder / _RUN
    if not path.exists():
        return None
    said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Remembered(said["run"], said["version"]) if said["model"] == model else None


def fingerprint(facts: Mapping[str, Any], *columns: Any) -> str:
    """A name for settings and data: equal only if all of them are.

    Args:
        columns: NumPy arrays.
    """
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for column in columns:
        digest.update(column.tobytes())
    return digest.hexdigest()


def _checkpoint(run: TrainingRun) -> tf.train.Checkpoint:
    return tf.train.Checkpoint(model=run.model, optimizer=run.model.optimizer)
