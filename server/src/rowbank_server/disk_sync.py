"""Brings the embedded Redis's append-only file to disk about once a second, beside Redis.

Problem: with `appendfsync everysec` Redis does not write to its file while an fsync of its own runs, for up to two
seconds, and answers all the same. What it answered meanwhile is in no file when Redis is killed, on a slow disk some
thousand writes. With `no` each answer waits for the write, so killing Redis loses nothing, but the system may keep
what was written in its memory for half a minute, until the machine loses power. Idea: `no`, and an fsync from here.

What is on the disk is dropped from the system's memory then: Redis reads its file when it starts, if ever, and pages
that were given back are given out again. Pages that a virtual machine has to ask its host for cost Redis more than all
else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from pathlib import Path

_log = logging.getLogger("rowbank.redis")


class DiskSync:
    """Syncs the append-only files in a folder until stopped.

    Args:
        folder: Redis's working directory.
        interval_s: the pause between two rounds.
    """

    def __init__(self, folder: Path, *, interval_s: float = 1.0) -> None:
        self._folder = folder
        self._interval_s = interval_s
        self._stopping = threading.Event()
        self._failing = False
        self._synced: dict[Path, tuple[int, int]] = {}  # Modification time and size, as synced.
        self._thread = threading.Thread(target=self._run, name="disk sync", daemon=True)

    def start(self) -> None:
        """Starts the rounds."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the rounds; one under way ends first."""
        self._stopping.set()
        self._thread.join()

    def sync(self) -> int:
        """Syncs the files that changed since they were synced last: how many. Raises OSError."""
        found: dict[Path, tuple[int, int]] = {}
        synced = 0
        for path in self._folder.rglob("*.aof"):
            try:
                fd = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                continue  # Redis has rewritten its file.
            try:
                status = os.fstat(fd)
                found[path] = (status.st_mtime_ns, status.st_size)
                if self._synced.get(path) != found[path]:
                    os.fsync(fd)
                    _drop_from_memory(fd)
                    synced += 1
            finally:
                os.close(fd)
        self._synced = found
        return synced

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            self._try_to_sync()

    def _try_to_sync(self) -> None:
        try:
            self.sync()
        except OSError as error:
            if not self._failing:
                _log.error("cannot sync the append-only file of the embedded Redis to disk: %s", error)
            self._failing = True
        else:
            self._failing = False


def _drop_from_memory(fd: int) -> None:
    if hasattr(os, "posix_fadvise"):  # macOS has none.
        with contextlib.suppress(OSError):  # It is advice, which not every file system takes.
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
