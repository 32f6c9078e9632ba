"""Interactions from files of the user's own: Parquet, delimited text or JSON lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rowbank_trainer.data.cells.ids import NumberedIds, RawIds, number_ids
from rowbank_trainer.data.cells.times import Times
from rowbank_trainer.data.columns import ColumnNames
from rowbank_trainer.data.dataset import TICKS_PER_S, Catalogue, Dataset, Entities, Ids, Interactions
from rowbank_trainer.data.entities import Sheet, read_entities
from rowbank_trainer.data.options import Reading
from rowbank_trainer.data.parts import Listed, Part, read_listed, read_part
from rowbank_trainer.errors import DataError, ReadingError
from rowbank_trainer.schema import Schema

Notify = Callable[[str], None]


def _silent(_: str) -> None:
    """For callers who do not want to be told."""


@dataclass(frozen=True, slots=True)
class InteractionFiles:
    """What to read.

    Attributes:
        interactions: one file, to be split.
        train, test: two files, split already; instead of `interactions`.
        items: the catalogue, a file with an item and a title column; None: the items of the interactions.
        columns: their names, in all files.
        reading: how cells are understood.
        users: a file with a user column and columns of the schema.
        schema: the columns of users and items that are read, too, from any of the files.
    """

    interactions: Path | None = None
    train: Path | None = None
    test: Path | None = None
    items: Path | None = None
    columns: ColumnNames = field(default_factory=ColumnNames)
    reading: Reading = field(default_factory=Reading)
    users: Path | None = None
    schema: Schema | None = None

    def __post_init__(self) -> None:
        if (self.train is None) != (self.test is None):
            raise ReadingError("--train and --test go together; got only one of them")
        if (self.interactions is None) == (self.train is None):
            raise DataError("expected either --interactions FILE, or --train FILE and --test FILE")


def load_files(files: InteractionFiles, notify: Notify = _silent) -> Dataset:
    """Reads interactions; those of `test` become the dataset's `held_out`.

    Args:
        notify: told, in a sentence for each file and kind of id, what was understood, and which rows were left out.
    Raises:
        DataError: a file is missing or malformed; the message says which, what was expected and what to do.
    """
    paths = [files.interactions] if files.interactions is not None else [files.train, files.test]
    given = (files.columns, files.reading, notify, files.schema)
    parts = [read_part(path, *given) for path in paths if path is not None]
    _require_alike(parts)
    listed = None if files.items is None else read_listed(files.items, "item", *given)
    people = None if files.users is None else read_listed(files.users, "user", *given)
    _require_title(files, parts, listed)
    users = number_ids([part.users for part in parts] + _ids_of(people), "user", files.reading.id_type)
    items = number_ids([part.items for part in parts] + _ids_of(listed), "item", files.reading.id_type)
    notify(f"User ids are {users.understood}; item ids are {items.understood}.")
    if listed is not None:
        _compare(parts, listed, "item", items, "they are candidates without a title", notify)
    if people is not None:
        _compare(parts, people, "user", users, "only their interactions are known", notify)
    catalogue = _catalogue(parts, listed, items)
    _say_titles(parts, listed, catalogue, notify)
    times = _in_one_unit(parts)
    made = [
        Interactions(
            user_ids=users.keys[index],
            item_ids=items.keys[index],
            ratings=np.ones(part.rows, np.float32) if part.weights is None else part.weights,
            times=times[index].ticks,
            weights=part.weights,
            time_unit=times[index].unit,
        )
        for index, part in enumerate(parts)
    ]
    return Dataset(
        name=" + ".join(part.path.name for part in parts),
        interactions=made[0],
        catalogue=catalogue,
        held_out=made[1] if len(made) > 1 else None,
        timed=parts[0].times is not None,
        user_names=users.names,
        item_names=items.names,
        users=_declared_entities(files, "user", parts, people, users, notify),
        items=_declared_entities(files, "item", parts, listed, items, notify),
    )


def _ids_of(listed: Listed | None) -> list[RawIds]:
    return [] if listed is None else [listed.ids]


def _declared_entities(
    files: InteractionFiles, side: str, parts: Sequence[Part], listed: Listed | None, ids: NumberedIds, notify: Notify
) -> Entities | None:
    """The schema's columns of all users, or items: first what their own file says, then the interactions."""
    if files.schema is None:
        return None
    every: Ids = np.unique(np.concatenate(ids.keys))
    sources: list[tuple[Part | Listed, Ids]] = list(zip(parts, ids.keys, strict=False))
    if listed is not None:
        sources.insert(0, (listed, ids.keys[-1]))
    sheets = []
    for source, keys in sources:
        entities = np.searchsorted(every, keys).astype(np.int64)
        if source.declared.kept is not None:
            entities = _placed(source.declared.kept, entities, source.declared.table.num_rows)
        sheets.append(Sheet(source.source, source.declared.table, entities))
    return read_entities(side, files.schema.side(side), every, sheets, files.reading, notify)


def _placed(rows: Ids, entities: Ids, count: int) -> Ids:
    """The entities of kept rows among all `count` rows of a file; -1 for the others."""
    placed = np.full(count, -1, np.int64)
    placed[rows] = entities
    return placed


def _require_alike(parts: Sequence[Part]) -> None:
    for name in ("times", "weights"):
        if len({getattr(part, name) is None for part in parts}) > 1:
            with_it = next(part.path for part in parts if getattr(part, name) is not None)
            raise DataError(
                f"only {with_it} has {name}; expected both of --train and --test to have them, or neither; "
                f"--{name[:-1]}-column names the column"
            )


def _in_one_unit(parts: Sequence[Part]) -> list[Times]:
    """The times of all files in the finest of their units."""
    timed = [part.times for part in parts if part.times is not None]
    unit = max((times.unit for times in timed), key=TICKS_PER_S.__getitem__, default="s")
    try:
        return [
            Times(np.zeros(part.rows, np.int64), unit, "") if part.times is None else part.times.in_unit(unit)
            for part in parts
        ]
    except OverflowError:
        raise DataError(
            f"{parts[0].path} and {parts[1].path}: times of one are too far from 1970 for the unit of the other; "
            "write both in one unit"
        ) from None


def _require_title(files: InteractionFiles, parts: Sequence[Part], listed: Listed | None) -> None:
    """A column of titles that was asked for must be in one of the files at least."""
    wanted = files.columns.title
    sources: list[Part | Listed] = [*parts, *([] if listed is None else [listed])]
    if wanted is None or any(source.title_column for source in sources):
        return
    have = "; ".join(f"{source.path}: {', '.join(source.source.columns)}" for source in sources)
    raise DataError(f"no file has a column {wanted!r} (--title-column); their columns are {have}")


def _compare(parts: Sequence[Part], listed: Listed, role: str, ids: NumberedIds, then: str, notify: Notify) -> None:
    """Says how many users or items with interactions their file lists: none at all is a mistake.

    Raises:
        DataError: it lists none.
    """
    met = np.unique(np.concatenate(ids.keys[: len(parts)]))
    unlisted = np.setdiff1d(met, ids.keys[-1])
    if not len(unlisted):
        return

    def shown(key: int) -> str:
        return repr(ids.names[key]) if ids.names is not None else str(key)

    if len(unlisted) == len(met):
        raise DataError(
            f"{listed.path}: lists none of the {len(met)} {role}s of {parts[0].path}; they have ids such as "
            f"{shown(int(met[0]))}, it has ids such as {shown(int(ids.keys[-1][0]))}; write ids alike in both, or "
            f"name another column with --{role}-column"
        )
    notify(
        f"{len(unlisted)} of {len(met)} {role}s with interactions are not in {listed.path}, such as "
        f"{shown(int(unlisted[0]))}: {then}."
    )


def _say_titles(parts: Sequence[Part], listed: Listed | None, catalogue: Catalogue, notify: Notify) -> None:
    sources: list[Part | Listed] = [*([] if listed is None else [listed]), *parts]
    taken = [f"column {source.title_column!r} of {source.path}" for source in sources if source.title_column]
    if taken:
        count = sum(1 for title in catalogue.titles if title)
        notify(f"Titles are {' and '.join(taken)}: {count} of {len(catalogue)} items have one.")
        return
    columns = "; ".join(f"{source.path} has {', '.join(source.source.columns)}" for source in sources)
    notify(f"No column is recognised as titles ({columns}): items go by id. --title-column NAME says otherwise.")


def _catalogue(parts: Sequence[Part], listed: Listed | None, ids: NumberedIds) -> Catalogue:
    """All items of the list and of the interactions; the first title of each that is not empty."""
    sources = [(keys, part.titles) for keys, part in zip(ids.keys, parts, strict=False)]
    if listed is not None:
        sources.insert(0, (ids.keys[-1], listed.titles))
    item_ids: Ids = np.unique(np.concatenate([keys for keys, _ in sources]))
    titled = any(titles is not None for _, titles in sources)
    titles = np.full(len(item_ids), "", dtype=object)
    for keys, given in reversed(sources):
        if given is not None:
            texts = np.array(given, dtype=object)
            rows = np.flatnonzero(texts != "")[::-1]  # Of several assignments to one place the last stays.
            titles[np.searchsorted(item_ids, keys[rows])] = texts[rows]
    if not titled:
        titles[:] = [str(key) if ids.names is None else ids.names[key] for key in item_ids.tolist()]
    return Catalogue(
        item_ids=item_ids,
        titles=tuple(titles.tolist()),
        genres=((),) * len(item_ids),
        years=(0,) * len(item_ids),
        titled=titled,
    )
