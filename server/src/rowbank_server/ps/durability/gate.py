"""Holds mutations back for a moment, so that a picture of all tables shows each of them wholly or not at all."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator


class MutationGate:
    """Many mutations pass at once while it is open. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = False

    @contextlib.contextmanager
    def passing(self) -> Iterator[None]:
        """Around the application of a mutation; waits while the gate is closed."""
        with self._changed:
            while self._closed:
                self._changed.wait()
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                if not self._inside:
                    self._changed.notify_all()

    def close(self, *, timeout_s: float) -> bool:
        """Lets nobody in any more and waits until nobody is inside; opens again and returns False if that takes long.

        Whoever closed it must open it; a second one waits until then.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            if not self._changed.wait_for(lambda: not self._closed, timeout_s):
                return False
            self._closed = True
            if self._changed.wait_for(lambda: not self._inside, max(0.0, deadline - time.monotonic())):
                return True
            self._closed = False
            self._changed.notify_all()
            return False

    def open(self) -> bool:
        """Lets mutations pass again; False if they did already."""
        with self._changed:
            was_closed, self._closed = self._closed, False
            self._changed.notify_all()
            return was_closed
