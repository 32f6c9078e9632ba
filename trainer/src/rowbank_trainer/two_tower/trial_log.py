"""The trials that a search has finished, in `trials.json`, each under a name that its settings and data give it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rowbank_trainer.errors import TrainerError, option
from rowbank_trainer.two_tower.checkpoint import fingerprint
from rowbank_trainer.two_tower.config import OPTION_OF, TwoTowerConfig

FILE = "trials.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """A finished trial of one seed.

    Attributes:
        options: that were tried, as written.
        accuracy: as `Accuracy.as_json` has it, on the validation part.
        epochs: after which that was; with early stopping the best.
        seconds: of training.
        folder: of its report, within the search's.
    """

    options: Mapping[str, str]
    seed: int
    accuracy: Mapping[str, Mapping[str, float]]
    epochs: int
    seconds: float
    folder: str


class TrialLog:
    """Finished trials by their settings. Use `open`.

    Args:
        common: settings and data that all trials share, by field of the settings; those tried are overruled.
        tried: fields that trials differ in.
    """

    def __init__(self, path: Path, common: Mapping[str, Any], tried: set[str], entries: Mapping[str, Entry]) -> None:
        self._path, self._common, self._tried = path, common, tried
        self._entries = dict(entries)

    @classmethod
    def open(cls, folder: Path, common: Mapping[str, Any], tried: set[str], *, resume: bool) -> TrialLog:
        """The log of a folder.

        Raises:
            TrainerError: it has finished trials and `resume` was not asked for, or they are of other settings or data.
        """
        path = folder / FILE
        if not path.exists():
            return cls(path, common, tried, {})
        said = json.loads(path.read_text(encoding="utf-8"))
        count = len(said["finished"])
        if not resume and count:
            raise TrainerError(
                f"{path} has {count} finished trials; go on with --resume, which keeps those of the same settings and "
                "data, or give another --out"
            )
        before: Mapping[str, Any] = said["common"]
        fixed = [name for name in common if name not in tried and name not in said["tried"]]
        for name in fixed if count else ():
            if before.get(name) != common[name]:
                raise TrainerError(f"--resume: {path} is of other {_differs(name, before.get(name), common[name])}; "
                                   "give the same again, or another --out")  # fmt: skip
        return cls(path, common, tried, {key: Entry(**entry) for key, entry in said["finished"].items()})

    def key(self, config: TwoTowerConfig) -> str:
        """The name of the trial with these settings on the log's data."""
        shared = {name: self._common[name] for name in ("tables", "model_name", "schema", "data")}
        return fingerprint({**asdict(config), **shared})

    def find(self, config: TwoTowerConfig) -> Entry | None:
        """The finished trial with these settings, if there is one."""
        return self._entries.get(self.key(config))

    def __getitem__(self, config: TwoTowerConfig) -> Entry:
        return self._entries[self.key(config)]

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, config: TwoTowerConfig, entry: Entry) -> None:
        """Writes a finished trial down. Raises TrainerError."""
        self._entries[self.key(config)] = entry
        self.write([])

    def write(self, outcomes: Sequence[Mapping[str, Any]]) -> None:
        """Writes the log.

        Args:
            outcomes: what the whole search found, best first; empty: it goes on.
        Raises:
            TrainerError: the folder cannot be written.
        """
        content = {
            "trials": list(outcomes),
            "finished": {key: asdict(entry) for key, entry in self._entries.items()},
            "common": dict(self._common),
            "tried": sorted(self._tried),
        }
        partial = self._path.with_suffix(".partial")
        try:
            partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            partial.replace(self._path)
        except OSError as error:
            raise TrainerError(f"{self._path}: cannot be written: {error.strerror}") from None


def _differs(name: str, before: Any, now: Any) -> str:
    if name in ("data", "schema"):
        return name
    return f"settings: {option(OPTION_OF.get(name, name))} was {before} and is {now}"
