"""MovieLens folders in both layouts, and what is wrong with bad ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rowbank_trainer.data import load_movielens
from rowbank_trainer.errors import DataError

FLAGS = "0|0|0|1|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0"  # Animation, Comedy.
NO_FLAGS = "|".join("0" * 19)


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_bytes(text.encode("latin-1"))
    return folder


def small_100k(folder: Path, data: str = "7\t2\t4\t881250949\n3\t1\t5\t881250950\n") -> Path:
    items = f"1|Am\xe9lie (2001)|01-Jan-2001||http://x|{FLAGS}\n2|unknown||||{NO_FLAGS}\n"
    return write(folder, u_data=data, u_item=items)


def test_100k_layout(tmp_path: Path) -> None:
    dataset = load_movielens(small_100k(tmp_path))
    assert dataset.name == "MovieLens 100k"
    np.testing.assert_array_equal(dataset.interactions.user_ids, [7, 3])
    np.testing.assert_array_equal(dataset.interactions.item_ids, [2, 1])
    np.testing.assert_array_equal(dataset.interactions.ratings, np.float32([4, 5]))
    np.testing.assert_array_equal(dataset.interactions.times, [881250949, 881250950])
    assert dataset.catalogue.titles == ("Amélie (2001)", "unknown")
    assert dataset.catalogue.genres == (("Animation", "Comedy"), ())
    assert dataset.catalogue.years == (2001, 0)


def test_1m_layout(tmp_path: Path) -> None:
    movies = "2::Jumanji (1995)::Adventure|Children's\n1::Toy Story (1995)::Animation\n"
    dataset = load_movielens(write(tmp_path, ratings_dat="1::2::5::978300760\n", movies_dat=movies))
    assert dataset.name == "MovieLens 1M"
    np.testing.assert_array_equal(dataset.interactions.item_ids, [2])
    np.testing.assert_array_equal(dataset.catalogue.item_ids, [1, 2])
    assert dataset.catalogue.titles == ("Toy Story (1995)", "Jumanji (1995)")
    assert dataset.catalogue.genres == (("Animation",), ("Adventure", "Children's"))


def test_windows_line_ends_are_read(tmp_path: Path) -> None:
    dataset = load_movielens(small_100k(tmp_path, "7\t2\t4\t881250949\r\n"))
    np.testing.assert_array_equal(dataset.interactions.times, [881250949])


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("7\t2\t4", "expected 4 fields"),
        ("seven\t2\t4\t9", "expected the user id to be a whole number, got 'seven'"),
        ("7\t2\t4.5\t9", "expected the rating to be a whole number, got '4.5'"),
        ("7\t2\t6\t9", "expected a rating from 1 to 5, got 6"),
        ("7\t99\t4\t9", "movie id 99 is not in the list of movies"),
        ("99999999999999999999\t2\t4\t9", "does not fit into 64 bits"),
    ],
)
def test_malformed_interaction_names_file_and_line(tmp_path: Path, line: str, problem: str) -> None:
    folder = small_100k(tmp_path, f"7\t2\t4\t881250949\n\n{line}\n")
    with pytest.raises(DataError) as caught:
        load_movielens(folder)
    assert str(caught.value).startswith(f"{folder / 'u.data'}:3: ")
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("3|Short", "expected 24 fields"),
        (f"x|Title|||u|{FLAGS}", "expected the movie id to be a whole number, got 'x'"),
        (f"1|Again|||u|{FLAGS}", "movie id 1 is listed twice"),
        (f"3|Flags|||u|{FLAGS[:-1]}2", "genre flags of 0 or 1"),
    ],
)
def test_malformed_movie_names_file_and_line(tmp_path: Path, line: str, problem: str) -> None:
    folder = small_100k(tmp_path)
    with (folder / "u.item").open("a", encoding="latin-1") as items:
        items.write(line + "\n")
    with pytest.raises(DataError) as caught:
        load_movielens(folder)
    assert str(caught.value).startswith(f"{folder / 'u.item'}:3: ")
    assert problem in str(caught.value)


def test_missing_folder_and_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        load_movielens(tmp_path / "nowhere")
    with pytest.raises(DataError, match="found neither"):
        load_movielens(tmp_path)
    write(tmp_path, u_data="1\t1\t1\t1\n")
    with pytest.raises(DataError, match=r"u\.item: cannot be read: No such file"):
        load_movielens(tmp_path)
    write(tmp_path, u_item="\n")
    with pytest.raises(DataError, match=r"u\.item: the file is empty"):
        load_movielens(tmp_path)
