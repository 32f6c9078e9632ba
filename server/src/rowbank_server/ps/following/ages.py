"""How old a copy is, at most, without trusting that two machines' clocks agree."""

from __future__ import annotations

_ROUNDING_S = 0.001  # The owner says times in whole milliseconds.


class AgeBound:
    """When the owner made its messages, in this process's monotonic time: not before `made`.

    The owner's clock is compared with itself alone: the first message was made after it was asked for, each other one
    as much later as the owner's clock says. Where that clock was set meanwhile, which shows in a message that was made
    before the one before it, or after it came, the bound starts anew from the message before.

    Args:
        asked: monotonic seconds before the owner was asked.
        first_ms: when the owner says that it made its first message, Unix milliseconds.
    """

    def __init__(self, asked: float, first_ms: int) -> None:
        self._asked = asked
        self._first_ms = first_ms
        self.made = asked

    def made_at(self, at_ms: int, came: float) -> float:
        """A bound for the message that the owner says it made at `at_ms`, and that came at `came`; never falls."""
        made = self._asked + (at_ms - self._first_ms) / 1e3 - _ROUNDING_S
        if made > came or made < self.made - 2 * _ROUNDING_S:
            self._asked, self._first_ms = self.made, at_ms
            made = self.made
        self.made = max(self.made, made)
        return self.made
