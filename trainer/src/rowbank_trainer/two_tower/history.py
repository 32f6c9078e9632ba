"""What was seen while a model trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from rowbank_trainer.evaluation import Accuracy
from rowbank_trainer.segments import Segments


@dataclass(frozen=True, slots=True)
class SizeReading:
    """Rows in each table, by short name, after a step; steps are counted from 1 over all epochs."""

    step: int
    rows: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Restriction:
    """One table that shrank."""

    step: int
    table: str
    rows_before: int
    rows_after: int


@dataclass(frozen=True, slots=True)
class EpochReading:
    """How far a model was after an epoch, counted from 1."""

    epoch: int
    loss: float
    accuracy: Accuracy


@dataclass(slots=True)
class History:
    """What was seen, in order."""

    sizes: list[SizeReading] = field(default_factory=list)
    restrictions: list[Restriction] = field(default_factory=list)
    epochs: list[EpochReading] = field(default_factory=list)

    @property
    def segments(self) -> Segments | None:
        """Figures by segment after the last epoch, if they were taken."""
        return self.epochs[-1].accuracy.segments if self.epochs else None

    def as_json(self) -> dict[str, Any]:
        """Ready for `json.dump`; of segments, only those after the last epoch."""
        return {
            "sizes": [{"step": reading.step, **reading.rows} for reading in self.sizes],
            "restrictions": [asdict(event) for event in self.restrictions],
            "epochs": [
                {"epoch": reading.epoch, "loss": reading.loss, "accuracy": reading.accuracy.as_json()}
                for reading in self.epochs
            ],
            "segments": None if self.segments is None else self.segments.as_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> History:
        """What `as_json` wrote."""
        history = cls(
            sizes=[
                SizeReading(reading["step"], {name: rows for name, rows in reading.items() if name != "step"})
                for reading in data["sizes"]
            ],
            restrictions=[Restriction(**event) for event in data["restrictions"]],
            epochs=[
                EpochReading(reading["epoch"], reading["loss"], Accuracy.from_json(reading["accuracy"]))
                for reading in data["epochs"]
            ],
        )
        if history.epochs and data.get("segments") is not None:
            last = history.epochs[-1]
            segments = Segments.from_json(data["segments"])
            history.epochs[-1] = replace(last, accuracy=replace(last.accuracy, segments=segments))
        return history
