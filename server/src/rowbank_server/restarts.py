"""How often what ended may be started again."""

from __future__ import annotations

import time

from rowbank_server.settings import StartError

_MOST = 5  # Within a minute; a server that falls this often has a reason that a restart does not mend.
_WITHIN_S = 60.0


class Restarts:
    """Counts them.

    Args:
        whose: who ended, as an error begins.
        hint: what the error says at the end.
    """

    def __init__(self, whose: str, *, hint: str = "") -> None:
        self._whose = whose
        self._hint = hint
        self._times: list[float] = []

    def note(self) -> None:
        """Counts one more. Raises StartError if there were too many in a short time."""
        now = time.monotonic()
        self._times = [at for at in self._times if now - at < _WITHIN_S] + [now]
        if len(self._times) > _MOST:
            raise StartError(f"{self._whose} ended {_MOST + 1} times within a minute{self._hint}")
