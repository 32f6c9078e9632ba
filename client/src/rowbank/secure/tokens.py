"""The token that a client shows: where it comes from, read again when its file changes."""

from __future__ import annotations

import os
import re

from rowbank.addresses import is_local
from rowbank.credentials import Credentials
from rowbank.errors import InvalidRequest

_FORM = re.compile(r"[\x21-\x7e]+")
_KEY = "authorization"


class TokenSource:
    """What a client's calls show. Threads may share it.

    Raises:
        InvalidRequest: there is no token where one is to be, or it cannot travel in a header.
    """

    def __init__(self, credentials: Credentials) -> None:
        self._path = credentials.token_file
        self._seen: tuple[int, ...] | None = None
        self._metadata: tuple[tuple[str, str], ...] = ()
        if credentials.token and credentials.token_file:
            raise InvalidRequest("credentials: expected one of token and token_file, got both")
        if credentials.token:
            self._metadata = _header(credentials.token, "token")
        elif self._path:
            self._seen, self._metadata = _stamp(self._path), _read(self._path)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with a call; the file is read again where it changed. One that is gone or empty changes nothing:
        it may be about to be replaced."""
        if self._path:
            try:
                stamp = _stamp(self._path)
                if stamp != self._seen:
                    self._metadata, self._seen = _read(self._path), stamp
            except InvalidRequest:
                pass
        return self._metadata

    def changed(self, shown: tuple[tuple[str, str], ...]) -> bool:
        """Whether there is another token than the one that was refused: the file is read in any case."""
        self._seen = None
        return self.metadata() != shown


def require_safe(target: str, credentials: Credentials) -> None:
    """Refuses to send a token where others on the way could read it. Raises InvalidRequest."""
    if not may_go_to(target, credentials):
        raise InvalidRequest(
            f"credentials: a token is not sent to {target} in plain text, where others on the way could read it; "
            "speak TLS (ca_file, ROWBANK_TLS_CA or --tls-ca: the CA of the server's certificate), or leave the token "
            "out (token, token_file, ROWBANK_TOKEN, ROWBANK_TOKEN_FILE)",
            metadata={"target": target},
        )


def may_go_to(target: str, credentials: Credentials) -> bool:
    """Whether a connection to `target` is safe for what would be sent over it."""
    shows = credentials.token or credentials.token_file
    return bool(credentials.ca_file) or not shows or is_local(target)


def _stamp(path: str) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError as error:
        raise InvalidRequest(f"token_file {path}: cannot be read ({error.strerror})") from None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read(path: str) -> tuple[tuple[str, str], ...]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError as error:
        raise InvalidRequest(f"token_file {path}: cannot be read ({error.strerror})") from None
    return _header(text, f"token_file {path}")


def _header(token: str, where: str) -> tuple[tuple[str, str], ...]:
    """Never shows the token, not even a wrong one."""
    token = token.strip()
    if not token:
        raise InvalidRequest(f"{where}: expected a token, got nothing")
    if not _FORM.fullmatch(token):
        raise InvalidRequest(f"{where}: expected one token of printable ASCII without spaces")
    return ((_KEY, f"Bearer {token}"),)
