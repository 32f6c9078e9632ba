"""The audit log: one line of JSON for each call that steers, and for each that was refused. Never secrets or rows."""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import os
import sys
import threading
import time
from typing import IO

from rowbank import tracing
from rowbank.token_text import without_secrets
from rowbank_server.security.caller import Caller
from rowbank_server.settings import StartError

_log = logging.getLogger("rowbank.security")
_MOST_TEXT = 256
_MOST_NAMES = 16
_MOST_REFUSED_A_SECOND = 20  # Of callers without a valid token: they must not fill the disk.


class Audit:
    """Writes to stderr, or to a file that is opened again when it was moved away. Thread-safe.

    Args:
        path: the file; empty: stderr.
    Raises:
        StartError: the file cannot be written.
    """

    def __init__(self, path: str = "") -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stream: IO[str] | None = None
        self._inode = (0, 0)
        self._failed = False
        self._second, self._refused, self._suppressed = 0, 0, 0
        if path:
            try:
                self._open()
            except OSError as error:
                raise StartError(f"setting audit_file: {path}: {error.strerror}") from None

    def note(
        self,
        caller: Caller | None,
        peer: str,
        method: str,
        subjects: dict[str, list[str]],
        outcome: str,
        token_id: str = "",
    ) -> None:
        """Writes a line.

        Args:
            caller: None: nobody known, whose lines are bounded.
            peer: where the call came from.
            subjects: what it is about: {"tables": [...]}.
            outcome: "ok", or the reason of the error.
            token_id: of what an unknown caller showed.
        """
        now = time.time()
        said: dict[str, object] = {
            "at": datetime.datetime.fromtimestamp(now, datetime.timezone.utc).isoformat(timespec="milliseconds"),
            "caller": "" if caller is None else caller.name,
            "token": token_id if caller is None else caller.token_id,
            "role": "" if caller is None else caller.role,
            "peer": _short(peer),
            "method": _short(method),
            **{kind: [_short(name) for name in names[:_MOST_NAMES]] for kind, names in subjects.items() if names},
            "outcome": outcome,
            "request_id": tracing.request_id(),
        }
        with self._lock:
            if caller is None and not self._has_room(int(now), said):
                return
            self._write(json.dumps(said))

    def close(self) -> None:
        """Ends writing."""
        with self._lock:
            if self._stream is not None:
                self._stream.close()
                self._stream = None

    def _has_room(self, second: int, said: dict[str, object]) -> bool:
        if second != self._second:
            if self._suppressed:
                said["left_out_before"] = self._suppressed
            self._second, self._refused, self._suppressed = second, 0, 0
        self._refused += 1
        if self._refused <= _MOST_REFUSED_A_SECOND:
            return True
        self._suppressed += 1
        return False

    def _write(self, line: str) -> None:
        if not self._path:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(f"{line}\n")
                sys.stderr.flush()
            return
        try:
            self._reopen_if_moved()
            assert self._stream is not None
            self._stream.write(f"{line}\n")
            self._stream.flush()
            self._failed = False
        except (OSError, ValueError) as error:
            if not self._failed:
                _log.error("audit_file %s cannot be written (%s); its lines go to stderr", self._path, error)
            self._failed = True
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(f"{line}\n")

    def _reopen_if_moved(self) -> None:
        try:
            found = os.stat(self._path)
            moved = (found.st_dev, found.st_ino) != self._inode
        except FileNotFoundError:
            moved = True
        if moved or self._stream is None:
            if self._stream is not None:
                self._stream.close()
                self._stream = None
            self._open()

    def _open(self) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._stream = os.fdopen(descriptor, "a", encoding="utf-8")
        found = os.fstat(descriptor)
        self._inode = (found.st_dev, found.st_ino)


def _short(text: str) -> str:
    return without_secrets(text[:_MOST_TEXT])
