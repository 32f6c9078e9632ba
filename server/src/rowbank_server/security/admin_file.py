"""The token in a file, by which the first tokens are made: whoever can read the file may do everything."""

from __future__ import annotations

import contextlib
import hmac
import logging
import os
import stat
from pathlib import Path

from rowbank.token_text import TokenText, new_token, parse_token
from rowbank_server.security.caller import Caller
from rowbank_server.settings import StartError

_log = logging.getLogger("rowbank.security")
NAME = "admin-token-file"


class AdminFile:
    """Reads the file again when it changes.

    Raises:
        StartError: it holds no token, or others may read it.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._stamp: tuple[int, int, int, int] | None = None
        self._failure = ""
        try:
            self._digest, self._caller = self._read()
        except (OSError, ValueError) as error:
            raise StartError(f"setting admin_token_file: {_words(error, self._path)}") from None

    def caller(self, shown: TokenText) -> Caller | None:
        """The bearer, if it is the file's token."""
        caller = self._caller
        return caller if hmac.compare_digest(self._digest, shown.digest) and caller.token_id == shown.id else None

    def look(self) -> None:
        """Takes in what the file has by now. While it is not sound, the token that it had goes on."""
        try:
            if self._stamp == _stamp(os.stat(self._path)):
                return
            self._digest, self._caller = self._read()
            self._failure = ""
            _log.info("the admin token was read again: %s", self._caller.token_id)
        except (OSError, ValueError) as error:
            words = _words(error, self._path)
            if words != self._failure:
                _log.warning("admin_token_file: %s; the token that it had goes on", words)
            self._failure = words

    def _read(self) -> tuple[bytes, Caller]:
        with open(self._path, encoding="ascii", errors="replace") as stream:
            found = os.fstat(stream.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ValueError("expected a file")
            # What root hands to a group to read, as a mounted Secret is (0440), is for this process's own group.
            handed = found.st_uid == 0 != os.geteuid() and not found.st_mode & 0o037
            if found.st_mode & 0o077 and not handed:
                raise ValueError(f"others may read it (mode {stat.S_IMODE(found.st_mode):04o}); chmod 600 {self._path}")
            text = stream.read(4096).strip()
        token = parse_token(text)
        if token is None:
            raise ValueError("it holds no token; `rowbank tokens generate` makes one")
        self._stamp = _stamp(found)
        return token.digest, Caller(NAME, "admin", None, None, token.id)


def make(path: Path) -> bool:
    """Makes the file with a new token, for its owner alone; False: there is one."""
    with contextlib.suppress(FileExistsError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(f"{new_token().text}\n")
        return True
    return False


def _stamp(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode


def _words(error: Exception, path: Path) -> str:
    return f"{path}: {error.strerror if isinstance(error, OSError) else error}"
