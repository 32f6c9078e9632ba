"""Settings of an online job, beside those of the model. Importing this must stay cheap."""

from __future__ import annotations

from dataclasses import dataclass

from rowbank_trainer.errors import UsageError, option


@dataclass(frozen=True, slots=True)
class OnlineConfig:
    """How time goes by.

    Attributes:
        days: length of a period; periods without interactions are left out.
        periods: so many periods of equal numbers of interactions instead; 0: by `days`.
        passes: over the interactions of a period.
        replay: earlier interactions that each pass trains on again for each of the period's, drawn evenly from all
            periods before.
        steps_per_restrict: steps between two looks at the tables' sizes.
        trigger: part of the keys of all periods; a table with more rows is cut.
        max_user_rows, max_item_rows: trigger as a number of rows instead; 0: by `trigger`.
        keep: part of the trigger that a cut leaves.
    """

    days: float = 1.0
    periods: int = 0
    passes: int = 1
    replay: float = 0.0
    steps_per_restrict: int = 20
    trigger: float = 0.8
    max_user_rows: int = 0
    max_item_rows: int = 0
    keep: float = 0.8

    def __post_init__(self) -> None:
        for name, low in (("passes", 1), ("steps_per_restrict", 1), ("max_user_rows", 0), ("max_item_rows", 0)):
            if getattr(self, name) < low:
                raise UsageError(f"{option(name)} must be at least {low}, got {getattr(self, name)}")
        if self.periods < 0 or self.periods == 1:
            raise UsageError(f"--periods must be at least 2, or 0 to go by days, got {self.periods}")
        if not 0.0 <= self.replay < float("inf"):
            raise UsageError(f"--replay must be at least 0, got {self.replay}")
        if not self.days > 0.0:
            raise UsageError(f"--days must be above 0, got {self.days}")
        for name in ("trigger", "keep"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise UsageError(f"{option(name)} must be above 0 and at most 1, got {getattr(self, name)}")
