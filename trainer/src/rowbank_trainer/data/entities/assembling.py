"""Entities with the values of a schema's columns, out of all files that say something of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow

from rowbank.closest import closest
from rowbank.text import title_keys, token_key, tokens
from rowbank_trainer.data.cells.column import counted
from rowbank_trainer.data.cells.ids import number_values
from rowbank_trainer.data.dataset import Entities, Ids, KeyLists
from rowbank_trainer.data.entities.memory import MemorySource
from rowbank_trainer.data.entities.merging import Merge, merge
from rowbank_trainer.data.entities.values import read_categories, read_numbers, read_texts
from rowbank_trainer.data.options import Reading
from rowbank_trainer.data.reading import Source
from rowbank_trainer.errors import DataError, SchemaError
from rowbank_trainer.schema import Column, Side

Notify = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file that says something of users, or of items.

    Attributes:
        table: the columns that the schema names and the file has, with all rows of the file.
        entities: [N] int64: the position, among all entities, of the one that each row is of; -1: the row is left out.
    """

    source: Source
    table: pyarrow.Table
    entities: Ids

    def has(self, column: Column) -> bool:
        """Whether the file has a column."""
        return column.name in self.table.column_names


@dataclass(slots=True)
class _Made:
    """What is read so far."""

    keys: dict[str, KeyLists] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)
    stored: dict[str, Sequence[Any]] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)


def read_entities(name: str, side: Side, ids: Ids, sheets: Sequence[Sheet], reading: Reading,
                  notify: Notify) -> Entities:  # fmt: skip
    """The values of a side's columns.

    Args:
        name: "user" or "item".
        ids: [N] int64, ascending: all entities.
        sheets: the files, those first whose values win.
        notify: told, in sentences, how many have values, and what counts as missing.
    Raises:
        DataError: no file has a column, or cells are not what the schema says; the message names file, column and row.
    """
    made = _Made()
    known: list[str] = []
    for column in side.from_files:
        having = [sheet for sheet in sheets if sheet.has(column)]
        if not having:
            raise _not_there(name, column, sheets)
        read = {"categorical": _categorical, "numeric": _numeric, "text": _text}[column.type]
        count = read(column, having, ids, made, reading, notify)
        if not count:
            paths = " and ".join(str(sheet.source.path) for sheet in having)
            raise DataError(f"{paths}: column {column.name!r}: no {name} has a value; leave it out of the schema")
        known.append(f"{column.name} ({made.types[column.name]}) {count:,}")
    if known:
        notify(f"Columns of {name}s, and how many of {len(ids):,} have a value: {', '.join(known)}.")
    return Entities(ids, made.keys, made.numbers, made.stored, made.types)


def _not_there(name: str, column: Column, sheets: Sequence[Sheet]) -> SchemaError:
    columns = [other for sheet in sheets for other in sheet.source.columns]
    meant = closest(column.name, columns)
    have = "; ".join(f"{sheet.source.path} has {', '.join(sheet.source.columns)}" for sheet in sheets)
    own = not any(isinstance(sheet.source, MemorySource) for sheet in sheets)
    return SchemaError(
        f"[{name}.columns.{column.name}]",
        f"no file has a column {column.name!r}"
        + (f"; did you mean {meant}? {have}" if meant else f"; {have or 'there is no file'}")
        + "; name one of these in the schema, or "
        + (f"give a file that has it with --{name}s" if own else "leave it out"),
    )


def _categorical(column: Column, sheets: Sequence[Sheet], ids: Ids, made: _Made, reading: Reading,
                 notify: Notify) -> int:  # fmt: skip
    read = [read_categories(sheet.source, column, sheet.table.column(column.name), reading, notify) for sheet in sheets]
    default: tuple[Any, ...] = ()
    if column.default is not None:
        default = column.default if column.many else (column.default,)
    text = bool(default) and isinstance(default[0], str)
    noun = f"values of column {column.name!r}"
    numbers = next((part.raw.column for part in read if part.raw.numbers is not None and len(part.rows)), None)
    if text and numbers is not None:
        raise DataError(f"{numbers}: the schema's default is a text, {default[0]!r}, and the column has integers")
    numbered = number_values([part.raw for part in read], noun, "text" if text else "auto")
    if default and not text and numbered.names is not None:
        raise DataError(
            f"{read[0].raw.column}: the schema's default is an integer, {default[0]}, and the column has "
            f"{numbered.understood}"
        )
    merged = merge(
        [sheet.entities[part.rows] for sheet, part in zip(sheets, read, strict=True)],
        [part.starts for part in read], numbered.keys, len(ids),
    )  # fmt: skip
    names = dict(numbered.names) if numbered.names is not None else None
    keys_of_default = [_default_key(value, names, noun) for value in default]
    made.keys[column.name] = merged.lists(column.length if column.many else 1, keys_of_default)
    made.stored[column.name] = _stored(merged, names, many=column.many)
    made.types[column.name] = ("int64" if names is None else "string") + ("_list" if column.many else "")
    _say_differing(merged, column, sheets, [part.rows for part in read], notify)
    return merged.count


def _default_key(value: Any, names: dict[int, str] | None, noun: str) -> int:
    if names is None:
        return int(value)
    key = token_key(value)
    if names.setdefault(key, value) != value:
        raise DataError(f"{noun} {names[key]!r} and the default {value!r} have the same hash; choose another default")
    return key


def _stored(merged: Merge, names: dict[int, str] | None, *, many: bool) -> list[Any]:
    whole = merged.lists(None, ())
    values = whole.values.tolist()
    texts = values if names is None else [names[key] for key in values]
    starts = whole.starts.tolist()
    lists = [texts[start:end] for start, end in itertools.pairwise(starts)]
    return [value or None for value in lists] if many else [value[0] if value else None for value in lists]


def _numeric(column: Column, sheets: Sequence[Sheet], ids: Ids, made: _Made, reading: Reading,
             notify: Notify) -> int:  # fmt: skip
    read = [read_numbers(sheet.source, column, sheet.table.column(column.name), reading, notify) for sheet in sheets]
    merged = merge(
        [sheet.entities[part.rows] for sheet, part in zip(sheets, read, strict=True)],
        [np.arange(len(part.rows) + 1, dtype=np.int64) for part in read],
        [part.values for part in read], len(ids),
    )  # fmt: skip
    values = merged.values[merged.first[merged.known]]
    numbers = np.full(len(ids), np.nan if column.default is None else column.default, np.float32)
    numbers[merged.known] = values
    made.numbers[column.name] = numbers
    stored = np.full(len(ids), None, object)
    stored[merged.known] = values
    made.stored[column.name] = stored.tolist()
    made.types[column.name] = "double"
    _say_differing(merged, column, sheets, [part.rows for part in read], notify)
    return merged.count


def _text(column: Column, sheets: Sequence[Sheet], ids: Ids, made: _Made, _: Reading, notify: Notify) -> int:
    read = [read_texts(sheet.source, column, sheet.table.column(column.name)) for sheet in sheets]
    texts = [text for part in read for text in part.values]
    code: dict[str, int] = {}
    codes = np.array([code.setdefault(text, len(code)) for text in texts], np.int64)
    sizes = np.cumsum([0, *(len(part.values) for part in read)])
    merged = merge(
        [sheet.entities[part.rows] for sheet, part in zip(sheets, read, strict=True)],
        [np.arange(len(part.rows) + 1, dtype=np.int64) for part in read],
        [codes[start:end] for start, end in itertools.pairwise(sizes)], len(ids),
    )  # fmt: skip
    first = merged.first.tolist()
    stored = [texts[place] if place >= 0 else None for place in first]
    made.stored[column.name] = stored
    made.keys[column.name] = _word_keys([text or column.default or "" for text in stored], column.length)
    made.types[column.name] = "string"
    _say_differing(merged, column, sheets, [part.rows for part in read], notify)
    return merged.count


def _word_keys(texts: Sequence[str], length: int) -> KeyLists:
    """Keys of the first words of texts, as `title_keys` makes them, without padding."""
    padded = title_keys(texts, length)
    counts = np.array([min(len(tokens(text)), length) for text in texts], np.int64)
    return KeyLists(padded[np.arange(length)[None, :] < counts[:, None]], np.r_[0, np.cumsum(counts)].astype(np.int64))


def _say_differing(merged: Merge, column: Column, sheets: Sequence[Sheet], rows: Sequence[Ids],
                   notify: Notify) -> None:  # fmt: skip
    """Says that rows of one entity disagree."""
    if merged.differing is None:
        return
    ends = np.cumsum([len(part) for part in rows])

    def at(place: int) -> str:
        sheet = int(np.searchsorted(ends, place, side="right"))
        row = int(rows[sheet][place - (ends[sheet] - len(rows[sheet]))])
        source = sheets[sheet].source
        return f"{source.place(row)} of {source.path}"

    count, first, second = merged.differing
    notify(
        f"Column {column.name!r}: {counted(count, 'entity has', 'entities have')} different values in different rows, "
        f"as in {at(first)} and {at(second)}; the first one counts."
    )
