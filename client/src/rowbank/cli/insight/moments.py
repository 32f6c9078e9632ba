"""Times as they are typed: ISO 8601, or how long ago."""

from __future__ import annotations

import datetime
import re
import time

import typer

_AGO = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|m|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def moment(given: str | None, option: str) -> float | None:
    """Unix seconds of `given`: "2h" or "7d" ago, or an ISO time, of UTC unless it says otherwise."""
    if given is None:
        return None
    ago = _AGO.fullmatch(given)
    if ago is not None:
        return max(time.time() - float(ago[1]) * _SECONDS[ago[2]], 0.0)
    try:
        parsed = datetime.datetime.fromisoformat(re.sub(r"Z$", "+00:00", given))
        if parsed.tzinfo is None:
            parsed = parsed.replace(tzinfo=datetime.timezone.utc)
        return max(parsed.timestamp(), 0.0)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"expected how long ago (90s, 30m, 2h, 7d) or a time such as 2026-01-31T12:00:00Z, got {given!r}",
            param_hint=option,
        ) from None
