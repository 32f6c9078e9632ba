"""Refused calls: counted by cause, and logged a few times a minute."""

from __future__ import annotations

import logging
import threading
import time

from prometheus_client import CollectorRegistry, Counter

from rowbank.errors import RequestError

_log = logging.getLogger("rowbank.security")
CAUSES = ("missing", "malformed", "unknown", "expired", "revoked", "role", "scope", "in_url", "not_read")
_MOST_A_MINUTE = 3


class Failures:
    """Thread-safe."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter = Counter(
            "rowbank_auth_failures_total",
            "Calls that were refused for what they showed, or did not show, by cause.",
            ["reason"],
            registry=registry,
        )
        self._counts = {cause: counter.labels(cause) for cause in CAUSES}
        self._lock = threading.Lock()
        self._logged: dict[str, tuple[int, int]] = {}

    def note(self, error: RequestError, peer: str, method: str) -> None:
        """Counts a refusal. What is logged of it names the token by its id and never shows it."""
        cause = error.metadata.get("cause", "not_read")
        self._counts[cause].inc()
        minute = int(time.monotonic() // 60)
        with self._lock:
            then, lines = self._logged.get(cause, (minute, 0))
            lines = lines + 1 if then == minute else 1
            self._logged[cause] = (minute, lines)
        if lines <= _MOST_A_MINUTE:
            more = "; more of these are only counted in this minute" if lines == _MOST_A_MINUTE else ""
            token = error.metadata.get("token", "")
            _log.warning(
                "refused %.128s from %s (%s%s)%s", method, peer, cause, f", token {token}" if token else "", more
            )
