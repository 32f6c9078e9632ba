"""Paired timing: subject and references take turns, so that a drift of the machine's speed cancels out of the ratio."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Call = Callable[[int], object]  # Takes the number of the call, so that each call can use other keys.


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of each call of one candidate."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        return float(np.median(self.seconds)) * 1e3

    @property
    def p99_ms(self) -> float:
        return float(np.quantile(self.seconds, 0.99)) * 1e3


def take_turns(
    candidates: Mapping[str, Call], *, rounds: int, calls_per_round: int, warmup: int = 5
) -> dict[str, Timing]:
    """Times `calls_per_round` calls of each candidate in turn, `rounds` times over.

    Args:
        candidates: name -> call. The reference is one of them.
        rounds: how often the turn goes round.
        calls_per_round: calls of one candidate before the next one's turn.
        warmup: untimed calls of each candidate at the start.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for call in candidates.values():
        for number in range(warmup):
            call(number)
    gc.collect()
    gc.disable()
    try:
        for turn in range(rounds):
            for name, call in candidates.items():
                for number in range(turn * calls_per_round, (turn + 1) * calls_per_round):
                    start = time.perf_counter()
                    call(number)
                    seconds[name].append(time.perf_counter() - start)
    finally:
        gc.enable()
    return {name: Timing(name, tuple(values)) for name, values in seconds.items()}


def time_once(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
