"""Parts interactions into what is learned from and what is judged on."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from rowbank_trainer.data.dataset import Ids, Interactions
from rowbank_trainer.errors import DataError, ReadingError

_EXPECTED = "expected random:FRACTION, time:FRACTION or leave-last:COUNT, such as time:0.2"


@dataclass(frozen=True, slots=True)
class Split:
    """Two disjoint parts of one set of interactions."""

    train: Interactions
    held_out: Interactions


@dataclass(frozen=True, slots=True)
class SplitRule:
    """How to split.

    Attributes:
        kind: "random", "time" (the latest of all) or "leave-last" (the latest of each user).
        amount: the held-out fraction in (0, 1); for "leave-last" interactions per user, at least 1.
    """

    kind: str
    amount: float

    @classmethod
    def parse(cls, text: str) -> SplitRule:
        """Reads "random:0.2", "time:0.2" or "leave-last:1".

        Raises:
            DataError: it is none of these.
        """
        found = re.fullmatch(r"(random|time|leave-last):([0-9.]+)", text)
        try:
            amount = float(found.group(2)) if found else 0.0
        except ValueError:
            amount = 0.0
        if not found:
            raise ReadingError(f"--split: {_EXPECTED}; got {text!r}")
        whole = found.group(1) == "leave-last"
        if not (amount >= 1.0 and amount == int(amount) if whole else 0.0 < amount < 1.0):
            wanted = "a whole number of at least 1" if whole else "a fraction between 0 and 1"
            raise ReadingError(f"--split {found.group(1)}: expected {wanted}, got {found.group(2)}")
        return cls(found.group(1), amount)

    def __str__(self) -> str:
        return f"{self.kind}:{self.amount:g}"


def split_by(rule: SplitRule, interactions: Interactions, *, timed: bool, seed: int) -> Split:
    """Parts interactions by a rule.

    Args:
        timed: whether times are known.
        seed: of the random rule.
    Raises:
        DataError: the rule needs times, or leaves one part empty.
    """
    if rule.kind == "random":
        if len(interactions) < 2:
            raise DataError(f"expected at least 2 interactions to split, got {len(interactions)}")
        return split(interactions, held_out_fraction=rule.amount, seed=seed)
    if not timed:
        raise DataError(f"--split {rule} needs times: name their column with --time-column, or use --split random:0.2")
    if rule.kind == "time":
        order = np.argsort(interactions.times, kind="stable").astype(np.int64)
        count = int(len(order) * rule.amount)
        train, held_out = order[: len(order) - count], order[len(order) - count :]
    else:
        train, held_out = _leave_last(interactions, int(rule.amount))
    for name, rows in (("to train on", train), ("held out", held_out)):
        if not len(rows):
            raise DataError(f"--split {rule}: no interaction is left {name} of {len(interactions)}; choose another")
    return Split(train=interactions.take(train), held_out=interactions.take(held_out))


def _leave_last(interactions: Interactions, count: int) -> tuple[Ids, Ids]:
    """The latest `count` of each user are held out; users with no more than that stay in training."""
    order = np.lexsort((interactions.times, interactions.user_ids)).astype(np.int64)
    users = interactions.user_ids[order]
    starts = np.flatnonzero(np.r_[True, users[1:] != users[:-1]])
    sizes = np.diff(np.r_[starts, len(users)])
    left = np.repeat(starts + sizes, sizes) - np.arange(len(users))  # 1 for a user's latest, 2 for the one before.
    last = (left <= count) & (np.repeat(sizes, sizes) > count)
    return order[~last], order[last]


def split(interactions: Interactions, *, held_out_fraction: float, seed: int) -> Split:
    """Parts interactions at random: the same `seed` gives the same parts.

    Args:
        interactions: at least two.
        held_out_fraction: in (0, 1); the held-out part is rounded down, but never empty.
        seed: of the shuffle.
    """
    if not 0.0 < held_out_fraction < 1.0:
        raise ValueError(f"held_out_fraction must be in (0, 1), got {held_out_fraction}")
    if len(interactions) < 2:
        raise ValueError(f"expected at least 2 interactions to split, got {len(interactions)}")
    order = np.random.default_rng(seed).permutation(len(interactions)).astype(np.int64)
    held_out = max(1, int(len(order) * held_out_fraction))
    return Split(train=interactions.take(order[held_out:]), held_out=interactions.take(order[:held_out]))
