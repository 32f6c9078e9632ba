"""Trials of a comparison, kept on disk as they finish, so that an interrupted job goes on where it stopped."""

from __future__ import annotations

import enum
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rowbank_trainer.errors import TrainerError, UsageError

STATE_FILE = "state.json"


class TableKind(enum.Enum):
    """Where embedding rows live: in matrices of this process, or on a Rowbank server."""

    STATIC = "static"
    ROWBANK = "rowbank"


@dataclass(frozen=True, slots=True, order=True)
class Trial:
    """One model trained once."""

    tables: str
    model: str
    seed: int

    def __str__(self) -> str:
        return f"{self.model} on {self.tables}, seed {self.seed}"


def trials(kinds: Sequence[TableKind], models: Sequence[enum.Enum], seeds: Sequence[int]) -> Iterator[Trial]:
    """All trials of a comparison; those to be compared with each other follow each other."""
    for kind in kinds:
        for seed in seeds:
            for model in models:
                yield Trial(kind.value, model.value, seed)


class Finished:
    """The results of trials that are done, in `state.json` of a folder.

    Args:
        folder: of the job; it exists.
        settings: what results depend on besides the trial; plain values.
        resume: whether to go on with what is there. Otherwise a state that is there is replaced.
    Raises:
        TrainerError: the state cannot be read, or was made with other settings.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, resume: bool) -> None:
        self._path = folder / STATE_FILE
        self._settings: dict[str, Any] = json.loads(json.dumps(settings))
        self._results: dict[Trial, dict[str, Any]] = {}
        if resume and self._path.exists():
            self._read()

    def __contains__(self, trial: Trial) -> bool:
        return trial in self._results

    def __getitem__(self, trial: Trial) -> dict[str, Any]:
        return self._results[trial]

    def add(self, trial: Trial, result: Mapping[str, Any]) -> None:
        """Keeps a result, of plain values, on disk before this returns."""
        self._results[trial] = dict(result)
        state = {
            "settings": self._settings,
            "trials": [
                {"tables": done.tables, "model": done.model, "seed": done.seed, "result": kept}
                for done, kept in self._results.items()
            ],
        }
        # Under another name first: an interruption leaves the old state or the new one.
        partial = self._path.with_suffix(".partial")
        try:
            partial.write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
            os.replace(partial, self._path)
        except OSError as error:
            raise TrainerError(f"{self._path}: cannot be written: {error.strerror}") from None

    def _read(self) -> None:
        try:
            state = json.loads(self._path.read_text(encoding="utf-8"))
            settings = dict(state["settings"])
            results = {
                Trial(str(entry["tables"]), str(entry["model"]), int(entry["seed"])): dict(entry["result"])
                for entry in state["trials"]
            }
        except OSError as error:
            raise TrainerError(f"{self._path}: cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise TrainerError(
                f"{self._path}: expected the state of a job ({type(error).__name__}: {error}); start without --resume"
            ) from None
        differing = [
            f"{name} was {settings.get(name)!r}, is {value!r}"
            for name, value in self._settings.items()
            if settings.get(name) != value
        ]
        if differing or settings.keys() != self._settings.keys():
            raise TrainerError(
                f"--resume: {self._path} was made with other settings "
                f"({'; '.join(differing) or 'of another version'}); use the same ones, another --out, or start anew "
                "without --resume"
            )
        self._results = results


def parse_list(option: str, text: str, kind: type[enum.Enum]) -> tuple[Any, ...]:
    """Reads a comma list of an enumeration's values, in order.

    Raises:
        TrainerError: an unknown or a repeated name, or none at all.
    """
    known = ", ".join(str(member.value) for member in kind)
    found: list[enum.Enum] = []
    for name in (part.strip() for part in text.split(",")):
        try:
            member = kind(name)
        except ValueError:
            raise UsageError(f"{option}: unknown name {name!r}; expected a comma list of {known}") from None
        if member in found:
            raise UsageError(f"{option}: {name!r} is listed twice")
        found.append(member)
    return tuple(found)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Reads seeds: a comma list of whole numbers of at least 0.

    Raises:
        TrainerError: something else, or a repeated seed.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() for part in parts) or len(set(map(int, parts))) != len(parts):
        raise UsageError(f"--seeds: expected distinct whole numbers of at least 0 with commas, got {text!r}")
    return tuple(map(int, parts))
