"""A folder of one run: private, and gone when the run ends, or when the next one begins."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import IO

_PREFIX = "rowbank-api-"
_LOCK = "lock"


class PrivateFolder:
    """A temporary folder that only this user can enter. Its lock says that its run goes on; the kernel frees it with
    the process, however that ends, so folders whose lock is free are what crashed runs left.
    """

    def __init__(self, parent: Path | None = None) -> None:
        above = parent if parent is not None else Path(tempfile.gettempdir())
        remove_left_over(above)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=above))  # With mode 0700.
        self._lock: IO[bytes] = (self.path / _LOCK).open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def close(self) -> None:
        """Removes the folder with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def remove_left_over(above: Path) -> None:
    """Removes the folders in `above` of runs of this user that ended without removing theirs."""
    for folder in above.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if not stat.S_ISDIR(folder.lstat().st_mode) or folder.lstat().st_uid != os.geteuid():
                continue
            with (folder / _LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
