"""How old a copy is, at most, without trusting that two machines' clocks agree."""

from __future__ import annotations

_ROUNDING_S = 0.001  # The owner says times in whole milliseconds.


class AgeBound:
    """Until when everything that the owner acknowledged is in what it sent, in this process's monotonic time.

    The owner's clock is compared with itself alone: the first message was made after it was asked for, and each other
    time is as much later, or earlier, as the owner's clock says. Where that clock was set meanwhile, which shows in a
    time before the one before, or after the message came, the bound starts anew from the time before.

    Args:
        asked: monotonic seconds before the owner was asked.
        first_ms: when the owner says that it made its first message, Unix milliseconds.
    """

    def __init__(self, asked: float, first_ms: int) -> None:
        self._asked = asked
        self._first_ms = first_ms
        self._until: float | None = None

    def until(self, at_ms: int, came: float) -> float | None:
        """A bound for a message with the time `at_ms` that came at `came`; never falls. None: not known yet."""
        if not at_ms:
            return self._until
        until = self._asked + (at_ms - self._first_ms) / 1e3 - _ROUNDING_S
        if self._until is None:
            self._until = min(until, came)
        elif until > came or until < self._until - 2 * _ROUNDING_S:
            self._asked, self._first_ms = self._until, at_ms
        else:
            self._until = max(self._until, until)
        return self._until
