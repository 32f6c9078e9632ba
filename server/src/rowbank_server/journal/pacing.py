"""How mutations wait where the journal fills faster than write-back empties it."""

from __future__ import annotations

import threading
import time

from rowbank_server import _core

_UNIT_S = 0.02  # What a mutation waits half-way between four fifths of the bound and all of it.
_LOOK_S = 0.05  # Who waits learns that late that the journal failed meanwhile.


class Pacing:
    """Lets each mutation wait a little, and more the fuller the journal is.

    Problem: the journal has a bound, and is trimmed all at once where a write-back of everything ends. Whoever pushes
    at full speed until the bound is reached, and is refused from there on, stands still for the rest of the
    write-back, and for as long again as its client waits between two tries. Idea: from four fifths on a mutation waits
    `_UNIT_S` c / (1 - c), c being the part of the last fifth that is full. So pushes slow down to what the rest of the
    write-back leaves room for. At the bound they wait until there is room. Limit: a wait is a call in flight, of
    which there are `max_calls`. Thread-safe.

    Attributes:
        waits: how often somebody began to wait.
    """

    def __init__(self, queue: _core.JournalQueue) -> None:
        self._queue = queue
        self._changed = threading.Condition()
        self.waits = 0

    def wait(self, longest_s: float) -> None:
        """Waits as it has to be, until there is room or the journal failed, or for `longest_s`."""
        began_s = time.monotonic()
        with self._changed:
            self.waits += 1
            while not (self._queue.fenced or self._queue.failure):
                waited_s = time.monotonic() - began_s
                left_s = min(delay_s(self._queue.crowding), longest_s) - waited_s
                if left_s <= 0:
                    return
                self._changed.wait(min(left_s, _LOOK_S))

    def look_again(self) -> None:
        """There may be room."""
        with self._changed:
            self._changed.notify_all()


def delay_s(crowding: float) -> float:
    """Seconds that a mutation waits; infinite at the bound and beyond."""
    return _UNIT_S * max(crowding, 0.0) / (1 - crowding) if crowding < 1 else float("inf")
