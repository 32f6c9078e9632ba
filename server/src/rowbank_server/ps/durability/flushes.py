"""Write-backs that callers ask for: each has a number, and goes on when the caller's time is up.

A write-back of all that waits may take longer than a call. So a caller waits for a moment, is told the number if it was
not enough, and asks again for that one. Numbers are not given twice, not by another process either: who asks for one
that nobody knows here asks for a new write-back.
"""

from __future__ import annotations

import collections
import logging
import threading
import time
from collections.abc import Callable

_log = logging.getLogger("rowbank.ps")
_KEPT = 256


class Flush:
    """One write-back that somebody asked for.

    Attributes:
        rows: how many were written or deleted in Redis, once it has ended.
        error: why it failed.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.rows = 0
        self.error: Exception | None = None
        self.ended = threading.Event()


class Flushes:
    """Runs them, one at a time, in a thread that is there while there are any. Thread-safe.

    Args:
        flush: writes what changed to Redis and returns the rows, as `Keeper.flush`.
    """

    def __init__(self, flush: Callable[[], int]) -> None:
        self._flush = flush
        self._lock = threading.Lock()
        self._known: collections.OrderedDict[int, Flush] = collections.OrderedDict()
        self._last = time.time_ns()
        self._next: Flush | None = None  # Asked for, not begun: whoever asks before it begins shares it.
        self._running = False

    def ask(self, number: int = 0) -> Flush:
        """The write-back of that number; if there is none, one that begins from now on."""
        with self._lock:
            known = self._known.get(number)
            if known is not None:
                return known
            if self._next is None:
                self._last += 1
                self._next = self._known[self._last] = Flush(self._last)
                if len(self._known) > _KEPT:
                    self._known.popitem(last=False)
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="flush", daemon=True).start()
            return self._next

    def _run(self) -> None:
        while True:
            with self._lock:
                flush, self._next = self._next, None
                if flush is None:
                    self._running = False
                    return
            try:
                flush.rows = self._flush()
            except Exception as error:  # Whoever waits raises it.
                _log.debug("a write-back that was asked for failed: %s", error)
                flush.error = error
            flush.ended.set()
