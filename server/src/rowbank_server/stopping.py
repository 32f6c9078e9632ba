"""Waits for a reason to stop: a signal, or another thread."""

from __future__ import annotations

import os
import queue
import signal
import sys
from types import FrameType


class StopRequest:
    """Set once by a signal or a thread, awaited by the main thread.

    A signal handler runs between any two instructions of the main thread, also while that holds the lock inside a
    threading.Event that it waits for, so an Event set by a handler can deadlock. A SimpleQueue's put cannot.
    """

    def __init__(self) -> None:
        self._reasons: queue.SimpleQueue[str] = queue.SimpleQueue()

    def ask(self, reason: str) -> None:
        """Asks to stop. Safe from signal handlers and threads."""
        self._reasons.put(reason)

    def wait(self) -> str:
        """Returns the first reason."""
        return self._reasons.get()

    def asked_within(self, timeout_s: float) -> bool:
        """Whether there is a reason, or comes one within `timeout_s`; it is used up."""
        try:
            self._reasons.get(timeout=timeout_s)
        except queue.Empty:
            return False
        return True

    def ask_on_signals(self, process: str) -> None:
        """SIGTERM and SIGINT ask to stop; a second one ends the process at once. `process` is named in the message."""
        asked = False

        def handle(number: int, frame: FrameType | None) -> None:
            nonlocal asked
            if asked:
                os.write(sys.stderr.fileno(), f"{process}: second signal, ending at once\n".encode())
                os._exit(128 + number)
            asked = True
            self.ask(signal.Signals(number).name)

        signal.signal(signal.SIGTERM, handle)
        signal.signal(signal.SIGINT, handle)
