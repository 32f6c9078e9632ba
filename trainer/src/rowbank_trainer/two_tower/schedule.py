"""How the learning rate goes on while a model trains. Importing this must stay cheap."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rowbank_trainer.errors import UsageError

_DEFAULT_FLOOR = 0.05


@dataclass(frozen=True, slots=True)
class Schedule:
    """A factor of the learning rate.

    Attributes:
        floor: of half a cosine wave, from 1 before the first epoch down to it after the last; None: always 1.
    """

    floor: float | None = None

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Reads "constant", "cosine" (down to 0.05) or "cosine:FLOOR". Raises UsageError."""
        name, colon, rest = text.partition(":")
        try:
            floor = float(rest) if colon else _DEFAULT_FLOOR
        except ValueError:
            floor = math.nan
        if text == "constant":
            return cls()
        if name != "cosine" or not 0.0 < floor <= 1.0:
            raise UsageError(
                "--learning-rate-schedule: expected constant, cosine or cosine:FLOOR with a floor above 0 and at most "
                f"1, got {text!r}"
            )
        return cls(floor)

    def factor(self, done: float) -> float:
        """The factor when `done` of the training, from 0 to 1, is over."""
        if self.floor is None:
            return 1.0
        return self.floor + (1.0 - self.floor) * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))
