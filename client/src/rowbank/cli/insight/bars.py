"""Histograms by powers of two: as records for programs, as bars for people."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from rowbank.cli.screen import terminal

_BAR = 40  # Characters, where the terminal has room.
_BESIDE = 23  # Between names, counts and bars.
_UNITS = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def levels(counts: Sequence[int]) -> list[dict[str, Any]]:
    """One record a level, from the first that has rows: `from`, `to`, `rows`, `share`, `up_to` (cumulative)."""
    total, sum_, records = sum(counts), 0, []
    for level, count in enumerate(counts):
        sum_ += count
        if sum_:
            first, last = (level, level) if level < 2 else (1 << (level - 1), (1 << level) - 1)
            records.append({"from": first, "to": last, "rows": count, "share": count / total, "up_to": sum_ / total})
    return records


def both(frequencies: Sequence[dict[str, Any]], ages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records of two histograms in one list, which says of each what it is of."""
    parts = {"frequency": frequencies, "age_s": ages}
    return [{"of": of, **record} for of, part in parts.items() for record in part]


def lines(title: str, records: Sequence[dict[str, Any]], *, seconds: bool = False) -> list[str]:
    """The records as aligned lines with bars, the longest of which is of the largest level."""
    if not records:
        return []
    most = max(record["rows"] for record in records)
    names = [_name(record["from"], record["to"], seconds=seconds) for record in records]
    counts = [f"{record['rows']:,}" for record in records]
    wide, wide_counts = max(len(title), *map(len, names)), max(4, *map(len, counts))
    room = max(0, min(_BAR, terminal.columns() - wide - wide_counts - _BESIDE))
    text = [f"{title:<{wide}}  {'ROWS':>{wide_counts}}   SHARE   UP TO"]
    for name, count, record in zip(names, counts, records, strict=True):
        bar = "#" * (-(-record["rows"] * room // most))
        shares = f"{record['share'] * 100:5.1f} %  {record['up_to'] * 100:5.1f} %"
        text.append(f"{name:<{wide}}  {count:>{wide_counts}}  {shares}  {bar}".rstrip())
    return text


def _name(first: int, last: int, *, seconds: bool) -> str:
    if not seconds:
        return f"{first:,}" if first == last else f"{first:,}-{last:,}"
    return duration(first) if first == last else f"{duration(first)} to {duration(last + 1)}"


def duration(seconds: float) -> str:
    """Seconds in the largest unit that they have one of: 0s, 59s, 4.3m, 2.3h, 97d."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.1f}".removesuffix(".0") + unit
    return "0s"


def utc(at_s: float) -> str:
    """Unix seconds as a person reads them."""
    return datetime.datetime.fromtimestamp(at_s, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")
