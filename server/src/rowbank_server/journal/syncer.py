"""Waits for Redis's disk on behalf of all synced mutations at once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from rowbank.errors import RedisUnavailable
from rowbank_server import _core
from rowbank_server.journal.writer import Barrier, close_quietly

_log = logging.getLogger("rowbank.journal")
_RETRY_S = 0.1


class Syncer:
    """A thread of its own, so that appends of other tables do not wait for the disk.

    Args:
        finish: called for each entry once everything appended before it was added is on disk.
    """

    def __init__(self, barrier: Barrier, finish: Callable[[_core.JournalEntry], None]) -> None:
        self._barrier = barrier
        self._finish = finish
        self._lock = threading.Condition()
        self._waiting: list[_core.JournalEntry] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="journal-sync", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def add(self, entry: _core.JournalEntry) -> None:
        """Takes an entry that was appended."""
        with self._lock:
            self._waiting.append(entry)
            self._lock.notify()

    def stop(self) -> None:
        """Ends after what waits has passed, or at the first failure."""
        with self._lock:
            self._stopping = True
            self._lock.notify()
        if self._thread.is_alive():
            self._thread.join()
        close_quietly(self._barrier)

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._waiting and not self._stopping:
                    self._lock.wait()
                if not self._waiting:
                    return
                batch, self._waiting = self._waiting, []
            if self._passed():
                for entry in batch:
                    self._finish(entry)
                continue
            with self._lock:
                if self._stopping:
                    return
                self._waiting = batch + self._waiting
                self._lock.wait(_RETRY_S)

    def _passed(self) -> bool:
        try:
            return self._barrier.passed()
        except RedisUnavailable as error:
            _log.warning("cannot wait for the disk of Redis, synced mutations are not confirmed: %s", error)
        except Exception:
            _log.exception("waiting for the disk of Redis failed for a reason that is a defect; it is tried again")
        return False
