"""Names of machines as numbers, within a time: the system's own question has no limit."""

from __future__ import annotations

import ipaddress
import os
import socket
import threading


class _Lookup:
    """One question to the system, by a thread of its own."""

    def __init__(self, key: tuple[int, str]) -> None:
        self._key = key
        self._found: list[str] = []
        self._error: OSError | None = None
        # Held until the answer is there. No Event: a signal's handler may ask for the same name in the middle of it.
        self._asking = threading.Lock()
        self._asking.acquire()

    def start(self) -> None:
        try:
            threading.Thread(target=self._run, name="names", daemon=True).start()
        except RuntimeError as error:
            self._error = OSError(str(error))
            self._end()

    def _run(self) -> None:
        try:
            answers = socket.getaddrinfo(self._key[1], None, type=socket.SOCK_STREAM)
            self._found = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
        except (OSError, UnicodeError) as error:
            self._error = OSError(str(error))
        finally:
            self._end()

    def _end(self) -> None:
        _lookups.pop(self._key, None)
        self._asking.release()

    def result(self, timeout_s: float) -> list[str]:
        if not self._asking.acquire(timeout=max(0.0, timeout_s)):
            raise TimeoutError(f"{self._key[1]}: the system has not said within {timeout_s:g} s which address that is")
        self._asking.release()
        if self._error is not None:
            raise self._error
        return self._found


# By process, as no thread goes on in a forked child.
_lookups: dict[tuple[int, str], _Lookup] = {}


def numbers(host: str, timeout_s: float) -> list[str]:
    """The numeric addresses of `host`, in the system's order. A number stands for itself.

    A question that takes longer goes on, and whoever asks for the same name meanwhile waits for its answer.

    Raises:
        TimeoutError: they are not known in time.
        OSError: there are none.
    """
    host = host.strip("[]")
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        pass
    key = (os.getpid(), host)
    made = _Lookup(key)
    lookup = _lookups.setdefault(key, made)
    if lookup is made:
        lookup.start()
    return lookup.result(timeout_s)
