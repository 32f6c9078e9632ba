"""One file of interactions or of items, read column by column, without the rows that cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow

from rowbank_trainer.data.cells.column import BadRows, Column, counted, read_column
from rowbank_trainer.data.cells.ids import RawIds, read_ids
from rowbank_trainer.data.cells.times import Times, read_times, span
from rowbank_trainer.data.cells.values import read_titles, read_weights
from rowbank_trainer.data.columns import ColumnNames, find_column, recognised
from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.data.options import Reading
from rowbank_trainer.data.reading import Source, open_source
from rowbank_trainer.errors import DataError
from rowbank_trainer.schema import Schema
from rowbank_trainer.schema.spec import SIDES

Notify = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DeclaredCells:
    """The columns of a file that a schema names.

    Attributes:
        table: all rows of the file.
        kept: [R] int64: those that are used; None: all.
    """

    table: pyarrow.Table
    kept: Ids | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A file of interactions."""

    source: Source
    rows: int
    users: RawIds
    items: RawIds
    times: Times | None
    weights: npt.NDArray[np.float32] | None
    title_column: str | None
    titles: list[str] | None
    declared: DeclaredCells

    @property
    def path(self) -> Path:
        """Of the file."""
        return self.source.path


@dataclass(frozen=True, slots=True)
class Listed:
    """A file of items, or of users, which have no titles."""

    source: Source
    ids: RawIds
    title_column: str | None
    titles: list[str] | None
    declared: DeclaredCells

    @property
    def path(self) -> Path:
        """Of the file."""
        return self.source.path


def read_part(path: Path, names: ColumnNames, reading: Reading, notify: Notify, schema: Schema | None = None) -> Part:
    """Reads a file of interactions and says what was understood. Raises DataError."""
    source = _open(path, reading)
    given = {role: getattr(names, role) or _declared_id(source, schema, role) for role in ("user", "item")}
    chosen = {
        role: find_column(source, role, given.get(role, getattr(names, role)), required=role in given)
        for role in ("user", "item", "time", "weight")
    }
    title = _title_column(source, names)
    extra = [name for side in SIDES for name in _declared(source, schema, side)]
    cells = _Cells(source, [*chosen.values(), title, *extra])
    bad: list[BadRows] = []
    users, wrong = read_ids(cells.column(chosen["user"]), "user", reading.missing_words)
    bad += wrong
    items, wrong = read_ids(cells.column(chosen["item"]), "item", reading.missing_words)
    bad += wrong
    times, weights = None, None
    if chosen["time"] is not None:
        times, wrong = read_times(cells.column(chosen["time"]), reading.missing_words, reading.time_unit)
        bad += wrong
    if chosen["weight"] is not None:
        weights, wrong = read_weights(cells.column(chosen["weight"]), reading.missing_words)
        bad += wrong
    titles = None if title is None else read_titles(cells.column(title))
    part = Part(source, cells.rows, users, items, times, weights, title, titles, cells.declared(extra))
    kept = _kept(source, cells.rows, bad, reading, notify)
    if kept is not None:
        part = _taken(part, kept)
    if part.weights is not None and not part.weights.any():
        raise DataError(f"{path}: column {chosen['weight']!r}: all weights are 0; nothing would be learned")
    notify(_understood(part, chosen))
    return part


def read_listed(
    path: Path, role: str, names: ColumnNames, reading: Reading, notify: Notify, schema: Schema | None = None
) -> Listed:
    """Reads a file of "item"s, or of "user"s, and says what was understood. Raises DataError."""
    source = _open(path, reading)
    given = getattr(names, role)
    if given is not None and given not in source.columns and len(recognised(source.columns, role)) == 1:
        given = None  # Interactions and this file may call it differently.
    entity = find_column(source, role, given or _declared_id(source, schema, role), required=True)
    title = _title_column(source, names) if role == "item" else None
    extra = _declared(source, schema, role)
    cells = _Cells(source, [entity, title, *extra])
    ids, bad = read_ids(cells.column(entity), role, reading.missing_words)
    titles = None if title is None else read_titles(cells.column(title))
    kept = _kept(source, cells.rows, bad, reading, notify)
    if kept is not None:
        ids = ids.take(kept)
        titles = None if titles is None else [titles[row] for row in kept.tolist()]
    rows = counted(cells.rows if kept is None else len(kept), "row")
    notify(f"{path}: {_divided(source)}{rows}, {role}s in {entity!r}.")
    return Listed(source, ids, title, titles, replace(cells.declared(extra), kept=kept))


class _Cells:
    """The columns of a file that are needed, each once."""

    def __init__(self, source: Source, names: Sequence[str | None]) -> None:
        self._source = source
        self._table = source.read(list(dict.fromkeys(name for name in names if name is not None)))
        self.rows = int(self._table.num_rows)
        if self.rows == 0:
            raise DataError(f"{source.path}: the file has no rows; expected at least one")

    def column(self, name: str | None) -> Column:
        """A column that is there."""
        assert name is not None
        return read_column(self._source, name, self._table.column(name))

    def declared(self, names: Sequence[str]) -> DeclaredCells:
        """The columns that a schema names."""
        return DeclaredCells(self._table.select(list(dict.fromkeys(names))))


def _open(path: Path, reading: Reading) -> Source:
    return open_source(path, delimiter=reading.delimiter, skip_malformed=reading.skip_bad_rows)


def _declared(source: Source, schema: Schema | None, side: str) -> list[str]:
    """The columns of a side that a file has."""
    columns = () if schema is None else schema.side(side).from_files
    return [column.name for column in columns if column.name in source.columns]


def _declared_id(source: Source, schema: Schema | None, side: str) -> str | None:
    """The column that a schema calls the id, if a file has it."""
    column = None if schema is None else schema.side(side).id
    return column.name if column is not None and column.name in source.columns else None


def _title_column(source: Source, names: ColumnNames) -> str | None:
    """The column of titles; one that was asked for may be in another file."""
    if names.title is not None and names.title not in source.columns:
        return None
    return find_column(source, "title", names.title, required=False)


def _kept(source: Source, rows: int, bad: Sequence[BadRows], reading: Reading, notify: Notify) -> Ids | None:
    """Positions of the rows that can be used; None: all.

    Raises:
        DataError: some cannot, and they may not be left out, or none can.
    """
    if bad and not reading.skip_bad_rows:
        raise bad[0].error()
    good = np.ones(rows, np.bool_)
    for problem in bad:
        good[problem.rows] = False
    kept = np.flatnonzero(good).astype(np.int64)
    said = [f"{problem.column.name!r}: {problem.counted()}, {problem.first()}" for problem in bad]
    if source.malformed_count:
        said.insert(0, f"{source.malformed_count} malformed, {source.malformed[0].partition(';')[0]}")
    if said:
        count = rows - len(kept) + source.malformed_count
        text = f"{source.path}: skipped {count} of {rows + source.malformed_count} rows ({'; '.join(said)})"
        if not len(kept):
            raise DataError(f"{text}; none is left")
        notify(f"{text}.")
    return kept if bad else None


def _taken(part: Part, kept: Ids) -> Part:
    return replace(
        part,
        rows=len(kept),
        users=part.users.take(kept),
        items=part.items.take(kept),
        times=None if part.times is None else replace(part.times, ticks=part.times.ticks[kept]),
        weights=None if part.weights is None else part.weights[kept],
        titles=None if part.titles is None else [part.titles[row] for row in kept.tolist()],
        declared=replace(part.declared, kept=kept),
    )


def _understood(part: Part, chosen: dict[str, str | None]) -> str:
    said = [f"users in {chosen['user']!r}", f"items in {chosen['item']!r}"]
    if part.times is None:
        said.append("no times")
    else:
        between = span(part.times)
        said.append(f"times in {chosen['time']!r}: {part.times.understood}{', ' if between else ''}{between}")
    if part.weights is not None:
        said.append(f"weights in {chosen['weight']!r}")
    return f"{part.path}: {_divided(part.source)}{counted(part.rows, 'interaction')}, {', '.join(said)}."


def _divided(source: Source) -> str:
    return f"{source.understood}; " if source.understood else ""
