"""MovieLens folders, in the layouts of 100k (`u.data`, `u.item`) and of 1M (`ratings.dat`, `movies.dat`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rowbank_trainer.data.dataset import Catalogue, Dataset, Interactions
from rowbank_trainer.data.offered import Notify, silent, with_columns
from rowbank_trainer.errors import DataError
from rowbank_trainer.schema import Schema

_GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
_YEAR = re.compile(r"\((\d{4})\)\s*$")


@dataclass(frozen=True, slots=True)
class _Movie:
    title: str
    genres: tuple[str, ...]


def load_movielens(folder: Path, schema: Schema | None = None, notify: Notify = silent) -> Dataset:
    """Reads a MovieLens folder; which of the two layouts it has is told by its files.

    Args:
        schema: of which the columns are read, too: gender, age, occupation and zip_code of users; title, genres and
            year of items.
        notify: told, in sentences, which have values.
    Raises:
        DataError: a file is missing, empty or malformed; the message names file and line. There is no column of the
            schema.
    """
    dataset = _load(folder)
    return dataset if schema is None else with_columns(dataset, folder, schema, notify)


def _load(folder: Path) -> Dataset:
    if not folder.is_dir():
        raise DataError(
            f"{folder}: expected a folder with u.data and u.item, or ratings.dat and movies.dat; no such folder"
        )
    if (folder / "u.data").exists():
        movies = _read_movies(folder / "u.item", _movie_100k)
        return _dataset("MovieLens 100k", folder / "u.data", "\t", movies)
    if (folder / "ratings.dat").exists():
        movies = _read_movies(folder / "movies.dat", _movie_1m)
        return _dataset("MovieLens 1M", folder / "ratings.dat", "::", movies)
    raise DataError(
        f"{folder}: expected u.data and u.item (100k layout) or ratings.dat and movies.dat (1M layout); found neither"
    )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines that are not blank. MovieLens titles are Latin-1."""
    try:
        text = path.read_text(encoding="latin-1")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    found = False
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            found = True
            yield number, line.rstrip("\r")
    if not found:
        raise DataError(f"{path}: the file is empty")


def _integer(text: str, what: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise ValueError(f"expected {what} to be a whole number, got {text!r}") from None
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{what} {text} does not fit into 64 bits")
    return value


def _movie_100k(line: str) -> tuple[int, _Movie]:
    fields = line.split("|")
    expected = 5 + len(_GENRES_100K)
    if len(fields) != expected:
        raise ValueError(f"expected {expected} fields separated by '|', got {len(fields)}")
    flags = fields[5:]
    if any(flag not in ("0", "1") for flag in flags):
        raise ValueError(f"expected genre flags of 0 or 1, got {'|'.join(flags)!r}")
    genres = tuple(genre for genre, flag in zip(_GENRES_100K, flags, strict=True) if flag == "1")
    return _integer(fields[0], "the movie id"), _Movie(fields[1], genres)


def _movie_1m(line: str) -> tuple[int, _Movie]:
    fields = line.split("::")
    if len(fields) != 3:
        raise ValueError(f"expected 3 fields separated by '::' (id, title, genres), got {len(fields)}")
    return _integer(fields[0], "the movie id"), _Movie(fields[1], tuple(fields[2].split("|")))


def _read_movies(path: Path, parse: Callable[[str], tuple[int, _Movie]]) -> dict[int, _Movie]:
    movies: dict[int, _Movie] = {}
    for number, line in _lines(path):
        try:
            item_id, movie = parse(line)
        except ValueError as error:
            raise DataError.at(path, number, str(error)) from None
        if item_id in movies:
            raise DataError.at(path, number, f"movie id {item_id} is listed twice")
        movies[item_id] = movie
    return movies


def _dataset(name: str, path: Path, separator: str, movies: dict[int, _Movie]) -> Dataset:
    rows: list[tuple[int, int, int, int]] = []
    for number, line in _lines(path):
        fields = line.split(separator)
        if len(fields) != 4:
            raise DataError.at(
                path, number, f"expected 4 fields (user id, movie id, rating, time), got {len(fields)}: {line!r}"
            )
        try:
            row = (_integer(fields[0], "the user id"), _integer(fields[1], "the movie id"),
                   _integer(fields[2], "the rating"), _integer(fields[3], "the time"))  # fmt: skip
        except ValueError as error:
            raise DataError.at(path, number, str(error)) from None
        if row[1] not in movies:
            raise DataError.at(path, number, f"movie id {row[1]} is not in the list of movies")
        if not 1 <= row[2] <= 5:
            raise DataError.at(path, number, f"expected a rating from 1 to 5, got {row[2]}")
        rows.append(row)
    columns = np.asarray(rows, dtype=np.int64)
    interactions = Interactions(
        np.ascontiguousarray(columns[:, 0]),
        np.ascontiguousarray(columns[:, 1]),
        columns[:, 2].astype(np.float32),
        np.ascontiguousarray(columns[:, 3]),
    )
    return Dataset(name, interactions, _catalogue(movies))


def _catalogue(movies: dict[int, _Movie]) -> Catalogue:
    item_ids = sorted(movies)
    listed = [movies[item_id] for item_id in item_ids]
    return Catalogue(
        item_ids=np.asarray(item_ids, dtype=np.int64),
        titles=tuple(movie.title for movie in listed),
        genres=tuple(movie.genres for movie in listed),
        years=tuple(_year(movie.title) for movie in listed),
    )


def _year(title: str) -> int:
    found = _YEAR.search(title)
    return int(found.group(1)) if found else 0
