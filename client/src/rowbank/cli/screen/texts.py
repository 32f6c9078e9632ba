"""Values as a person reads them: units, times, and nothing that a terminal would obey."""

from __future__ import annotations

import datetime
import re
import unicodedata
from typing import Any

# C0 and C1 controls, and marks that turn the direction of text: a title must not steer the terminal.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def shown(field: str, value: Any) -> str:
    """Returns `value` as a person reads it; the unit is the suffix of `field`."""
    if value is None or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(clean, map(str, value)))
    return _number(field, value) if isinstance(value, int | float) else clean(str(value))


def _number(field: str, value: int | float) -> str:
    if field.endswith(("at_ms", "at_s", "last_used", "write_back_s")):
        return _moment(value / 1000 if field.endswith("_ms") else value)
    if field == "uptime_s":
        return _duration(value)
    if field.endswith(("bytes", "bytes_per_h")):
        return binary(value)
    if field.endswith("share"):
        return f"{value:.1%}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value) if field in {"key", "position"} else f"{value:,}"


def clean(text: str) -> str:
    """`text` with its control characters as escapes."""
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def binary(count: float) -> str:
    """A number of bytes in the largest fitting of B, KiB, MiB, GiB, TiB."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _moment(unix_s: float) -> str:
    if unix_s == 0:
        return "never"
    return datetime.datetime.fromtimestamp(unix_s, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")


def _duration(seconds: float) -> str:
    """In its two largest units."""
    left = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or parts or unit == "s":
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def cells(text: str) -> int:
    """Columns of a terminal that `text` takes: wide characters take two, marks above others none."""
    if text.isascii():
        return len(text)
    return sum(_cell(character) for character in text)


def _cell(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int, ellipsis: str) -> str:
    """`text` in at most `width` columns, with `ellipsis` where something is missing."""
    if cells(text) <= width:
        return text
    room = width - len(ellipsis)
    if room <= 0:
        return ellipsis[:width]
    kept, taken = 0, 0
    for character in text:
        taken += _cell(character)
        if taken > room:
            break
        kept += 1
    return text[:kept].rstrip() + ellipsis


def padded(text: str, width: int, *, right: bool) -> str:
    """`text` with spaces before or behind it."""
    spaces = " " * (width - cells(text))
    return spaces + text if right else text + spaces
