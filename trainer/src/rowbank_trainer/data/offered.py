"""The columns that MovieLens folders and the synthetic data set offer to schemas."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow

from rowbank_trainer.data.dataset import Catalogue, Dataset, Ids
from rowbank_trainer.data.entities import MemorySource, Sheet, read_entities
from rowbank_trainer.data.options import Reading
from rowbank_trainer.errors import DataError
from rowbank_trainer.schema import Schema

Notify = Callable[[str], None]
# Of the fields in a line: the two layouts order them differently.
_LAYOUTS = (
    ("u.user", "|", ("user_id", "age", "gender", "occupation", "zip_code")),
    ("users.dat", "::", ("user_id", "gender", "age", "occupation", "zip_code")),
)
_READING = Reading(missing_words=())


def silent(_: str) -> None:
    """For callers who do not want to be told."""


def with_columns(dataset: Dataset, folder: Path, schema: Schema, notify: Notify) -> Dataset:
    """A MovieLens data set with the columns of a schema.

    Raises:
        DataError: there is no such column, or a line of users is malformed.
    """
    users = read_users(folder) if schema.user.from_files else None
    films = next(folder / name for name in ("u.item", "movies.dat") if (folder / name).exists())
    return offer(dataset, users, catalogue_source(films, dataset.catalogue), schema, notify)


def offer(
    dataset: Dataset, users: tuple[MemorySource, Ids] | None, items: tuple[MemorySource, Ids], schema: Schema,
    notify: Notify,
) -> Dataset:  # fmt: skip
    """A data set with the columns of a schema.

    Args:
        users, items: a table, and the id of each of its rows [N] int64.
    """
    known = [] if users is None else [users[1]]
    user_ids = np.unique(np.concatenate([dataset.interactions.user_ids, *known]))
    return dataclasses.replace(
        dataset,
        users=read_entities(
            "user", schema.user, user_ids, [] if users is None else [_sheet(*users, user_ids)], _READING, notify
        ),
        items=read_entities(
            "item", schema.item, dataset.catalogue.item_ids, [_sheet(*items, dataset.catalogue.item_ids)], _READING,
            notify,
        ),
    )  # fmt: skip


def _sheet(source: MemorySource, ids: Ids, every: Ids) -> Sheet:
    return Sheet(source, source.read(source.columns), np.searchsorted(every, ids).astype(np.int64))


def catalogue_source(path: Path, catalogue: Catalogue) -> tuple[MemorySource, Ids]:
    """The titles, genres and years of items."""
    table = {
        "title": list(catalogue.titles),
        "genres": [list(genres) or None for genres in catalogue.genres],
        "year": [year or None for year in catalogue.years],
    }
    return MemorySource(path, pyarrow.table(table)), catalogue.item_ids


def read_users(folder: Path) -> tuple[MemorySource, Ids]:
    """The users of `u.user` (100k layout) or `users.dat` (1M layout).

    Raises:
        DataError: neither file is there, or one is malformed; the message names file and line.
    """
    for name, separator, fields in _LAYOUTS:
        if (folder / name).exists():
            return _read_users(folder / name, separator, fields)
    raise DataError(
        f"{folder}: the schema names columns of users; expected u.user (100k layout) or users.dat (1M layout), found "
        "neither"
    )


def _read_users(path: Path, separator: str, fields: Sequence[str]) -> tuple[MemorySource, Ids]:
    rows: list[list[str]] = []
    lines: list[int] = []
    for line, text in enumerate(path.read_text(encoding="latin-1").splitlines(), start=1):
        if not text.strip():
            continue
        row = text.split(separator)
        if len(row) != len(fields):
            raise DataError.at(path, line, f"expected {len(fields)} fields separated by {separator!r}, got {len(row)}")
        if not row[0].isdigit():
            raise DataError.at(path, line, f"expected a whole number as user id, got {row[0]!r}")
        rows.append(row)
        lines.append(line)
    if not rows:
        raise DataError(f"{path}: the file is empty")
    columns = dict(zip(fields, zip(*rows, strict=True), strict=True))
    ids = np.array([int(value) for value in columns.pop("user_id")], np.int64)
    return MemorySource(path, pyarrow.table(_texts(columns)), lines), ids


def _texts(columns: Mapping[str, Sequence[str]]) -> dict[str, pyarrow.Array]:
    return {name: pyarrow.array(values, pyarrow.string()) for name, values in columns.items()}
