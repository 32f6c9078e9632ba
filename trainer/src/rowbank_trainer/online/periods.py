"""Interactions in the order in which they happened, cut into periods."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rowbank_trainer.data import Dataset, Interactions
from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.errors import DataError
from rowbank_trainer.online.config import OnlineConfig

_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Timeline:
    """All interactions by time, and where periods end.

    Attributes:
        interactions: [N], times ascending.
        ends: [P] int64, for each period the row after its last.
    """

    interactions: Interactions
    ends: Ids

    def __len__(self) -> int:
        return len(self.ends)

    def period(self, index: int) -> Interactions:
        """The interactions of one period, counted from 0."""
        return self.interactions.take(np.arange(self.first(index), self.ends[index]))

    def first(self, index: int) -> int:
        """The row at which a period begins."""
        return 0 if index == 0 else int(self.ends[index - 1])

    def until(self, index: int) -> Interactions:
        """The interactions of all periods up to and with `index`."""
        return self.interactions.take(np.arange(self.ends[index]))


def timeline(dataset: Dataset, config: OnlineConfig) -> Timeline:
    """Cuts a dataset into periods; a test part that came along is appended.

    Raises:
        DataError: times are not known, or there are fewer than two periods.
    """
    if not dataset.timed:
        raise DataError(f"{dataset.name}: online training needs times; name their column with --time-column")
    everything = dataset.interactions if dataset.held_out is None else _joined(dataset.interactions, dataset.held_out)
    ordered = everything.take(np.argsort(everything.times, kind="stable").astype(np.int64))
    if config.periods:
        ends = np.unique(np.linspace(0, len(ordered), config.periods + 1).astype(np.int64)[1:])
    else:
        # Whole ticks: a fraction's rounding would move what happens at the very end of a period into the next.
        length = max(1, round(config.days * _DAY_S * ordered.ticks_per_s))
        number = (ordered.times - ordered.times[0]) // length
        ends = np.append(np.flatnonzero(np.diff(number)) + 1, len(ordered)).astype(np.int64)
    if len(ends) < 2:
        raise DataError(
            f"{dataset.name}: expected at least 2 periods, got {len(ends)} of {len(ordered)} interactions; "
            "give a shorter --days, or --periods"
        )
    return Timeline(ordered, ends)


def _joined(first: Interactions, second: Interactions) -> Interactions:
    def both(name: str) -> Ids:
        return np.concatenate([getattr(first, name), getattr(second, name)])

    weights = None if first.weights is None or second.weights is None else np.concatenate(
        [first.weights, second.weights]
    )  # fmt: skip
    ratings = np.concatenate([first.ratings, second.ratings])
    return Interactions(both("user_ids"), both("item_ids"), ratings, both("times"), weights, first.time_unit)
