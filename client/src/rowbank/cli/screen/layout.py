"""Aligned tables and records that fit the terminal: texts are cut first, then the last columns are left out."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from rowbank.cli.screen import terminal
from rowbank.cli.screen.texts import cells, cut, padded, shown

Record = Mapping[str, Any]
_GAP = 2
_LEAST_TEXT = 12  # Columns to which a text may be cut to make room for others.
_LEAST_NAME = 40  # The same of the first one, which says what a line is about.
_LEAST_WRAPPED = 24  # Columns below which a value beside its name is not wrapped.


def table_lines(records: Sequence[Record], columns: Mapping[str, str], width: int) -> list[str]:
    """Heading and one line per record, numbers to the right and text to the left.

    Args:
        columns: field -> heading, the most important first.
        width: of the terminal.
    """
    texts = {field: [shown(field, record[field]) for record in records] for field in columns}
    right = {field for field in columns if _is_number([record[field] for record in records])}
    widths = fitted(
        {field: max(map(cells, [columns[field], *texts[field]])) for field in columns},
        {field: cells(columns[field]) for field in columns if field not in right},
        width,
    )
    rows = [[columns[field] for field in widths]]
    rows += [[texts[field][place] for field in widths] for place in range(len(records))]
    lines = [_line(row, widths, right) for row in rows]
    return [terminal.bold(lines[0]), *lines[1:]]


def _line(row: Sequence[str], widths: Mapping[str, int], right: set[str]) -> str:
    dots = terminal.ellipsis()
    parts = [
        padded(cut(text, taken, dots), taken, right=field in right)
        for text, (field, taken) in zip(row, widths.items(), strict=True)
    ]
    return (" " * _GAP).join(parts).rstrip()


def fitted(natural: Mapping[str, int], texts: Mapping[str, int], width: int) -> dict[str, int]:
    """The columns that are shown, with their widths.

    Args:
        natural: the width of each column as it is.
        texts: columns that may be cut, with the widths of their headings, which are not.
    """
    kept, first = dict(natural), next(iter(natural))
    least = {field: max(heading, _LEAST_NAME if field == first else _LEAST_TEXT) for field, heading in texts.items()}
    while True:
        excess = sum(kept.values()) + _GAP * (len(kept) - 1) - width
        while excess > 0:
            room = {field: kept[field] - least[field] for field in texts if field in kept}
            widest = max(room, key=lambda field: (room[field] > 0, kept[field]), default=None)
            if widest is None or room[widest] <= 0:
                break
            taken = min(excess, room[widest])
            kept[widest] -= taken
            excess -= taken
        if excess <= 0 or len(kept) == 1:
            break
        kept = {field: natural[field] for field in list(kept)[:-1]}
    if len(kept) == 1:
        kept = {field: min(taken, width) for field, taken in kept.items()}
    return kept


def record_lines(record: Record, width: int) -> list[str]:
    """A line for each field: its name, and its value, which goes on below itself where it is too long."""
    names = max(map(cells, record), default=0)
    room = width - names - _GAP
    lines = []
    for name, value in record.items():
        text = shown(name, value)
        parts = [text]
        if cells(text) > room >= _LEAST_WRAPPED:
            parts = textwrap.wrap(text, room, break_on_hyphens=False) or [text]
        lines.append((padded(name, names + _GAP, right=False) + parts[0]).rstrip())
        lines += [" " * (names + _GAP) + part for part in parts[1:]]
    return lines


def _is_number(values: Sequence[Any]) -> bool:
    told = [value for value in values if value is not None]
    return bool(told) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in told)
