"""When a worker that ended is started again: pure functions of numbers."""

from __future__ import annotations

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
STEADY_S = 60.0  # A worker that served so long had no reason to end that a restart does not mend.
MOST_FAILURES = 5


def pause_s(failures: int) -> float:
    """How long to wait before the next start of a worker that ended `failures` times in a row without serving long."""
    return 0.0 if failures <= 1 else min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 2, 10))


def failures_after(failures: int, served_s: float) -> int:
    """The failures in a row, one that served `served_s` having just ended."""
    return 1 if served_s >= STEADY_S else failures + 1


def is_hopeless(failures: list[int], serving: int) -> bool:
    """Whether to give up: nobody serves, and each worker ended too often in a row. While one serves, the reason may be
    a neighbour's, such as a Redis that stands still, and pass.

    Args:
        failures: in a row, by worker.
        serving: how many workers serve.
    """
    return serving == 0 and all(count >= MOST_FAILURES for count in failures)
