"""Columns of a schema out of real files: what entities have, and what is wrong with bad files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest

from rowbank.text import token_key
from rowbank_trainer.data import Dataset
from rowbank_trainer.data.dataset import Entities
from rowbank_trainer.data.files import InteractionFiles, load_files
from rowbank_trainer.data.options import Reading
from rowbank_trainer.errors import DataError
from rowbank_trainer.schema import Column, Schema, Side


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def parquet(path: Path, **columns) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def schema(*users: Column, items: tuple[Column, ...] = ()) -> Schema:
    return Schema(Side((Column("user_id", "id"), *users)), Side((Column("item_id", "id"), *items)))


def keys_of(entities: Entities, name: str) -> dict[int, list[int]]:
    lists = entities.keys[name]
    starts = lists.starts.tolist()
    assert {lists.values.dtype.name, lists.starts.dtype.name} == {"int64"}
    assert len(starts) == len(entities.ids) + 1
    return {
        key: lists.values[start:end].tolist()
        for key, start, end in zip(entities.ids.tolist(), starts, starts[1:], strict=False)
    }


def load(
    folder: Path, declared: Schema, users: Path | None = None, items: Path | None = None, said: list | None = None,
    interactions: str = "user_id,item_id\n1,10\n2,20\n", **reading,
) -> Dataset:  # fmt: skip
    met = write(folder / "met.csv", interactions)
    files = InteractionFiles(met, items=items, users=users, schema=declared, reading=Reading(**reading))
    return load_files(files, [].append if said is None else said.append)


CATEGORICAL, NUMERIC = Column("c", "categorical"), Column("n", "numeric")
MANY = Column("c", "categorical", many=True, length=2)


def test_string_ids_nulls_and_six_columns_of_a_csv(tmp_path: Path) -> None:
    declared = schema(
        Column("gender", "categorical"),
        Column("age", "numeric"),
        Column("langs", "categorical", many=True, length=2, separator=";", default=("en",)),
        items=(
            Column("price", "numeric", default=2.0),
            Column("shelf", "categorical", default=7),
            Column("title", "text", length=3, default="no name"),
        ),
    )
    users = write(
        tmp_path / "users.csv", "user_id,gender,age,langs\nann,F,31,de; fr;it\nbob,,NA,\ncy,M,40.5,en\ndi,NULL,,fr\n"
    )
    items = write(tmp_path / "items.csv", 'item_id,price,shelf,title\nx,1.5,3,"The ""X"", again and again"\nz,,,\n')
    dataset = load(tmp_path, declared, users, items, interactions="user_id,item_id\nann,x\nbob,y\n")
    assert dataset.users is not None
    assert dataset.items is not None
    ann, bob, cy, di = (token_key(name) for name in ("ann", "bob", "cy", "di"))
    assert dataset.users.ids.tolist() == sorted([ann, bob, cy, di])
    assert keys_of(dataset.users, "gender") == {ann: [token_key("F")], bob: [], cy: [token_key("M")], di: []}
    de, en, fr = (token_key(name) for name in ("de", "en", "fr"))
    assert keys_of(dataset.users, "langs") == {ann: [de, fr], bob: [en], cy: [en], di: [fr]}
    place = {key: row for row, key in enumerate(dataset.users.ids.tolist())}
    ages = dataset.users.numbers["age"]
    assert ages.dtype == np.float32
    assert [ages[place[key]] for key in (ann, cy)] == [31, 40.5]
    assert np.isnan(ages[[place[bob], place[di]]]).all()
    stored = {name: [values[place[key]] for key in (ann, bob, cy)] for name, values in dataset.users.stored.items()}
    assert stored == {
        "gender": ["F", None, "M"], "age": [31.0, None, 40.5], "langs": [["de", "fr", "it"], None, ["en"]],
    }  # fmt: skip
    assert dataset.users.types == {"gender": "string", "age": "double", "langs": "string_list"}

    x, y, z = (token_key(name) for name in "xyz")
    assert dataset.items.ids.tolist() == sorted([x, y, z]) == dataset.catalogue.item_ids.tolist()
    place = {key: row for row, key in enumerate(dataset.items.ids.tolist())}
    assert [dataset.items.numbers["price"][place[key]] for key in (x, y, z)] == [1.5, 2.0, 2.0]
    assert keys_of(dataset.items, "shelf") == {x: [3], y: [7], z: [7]}
    words = {word: token_key(word) for word in ("the", "x", "again", "no", "name")}
    assert keys_of(dataset.items, "title") == {
        x: [words["the"], words["x"], words["again"]], y: [words["no"], words["name"]],
        z: [words["no"], words["name"]],
    }  # fmt: skip
    assert [dataset.items.stored["title"][place[key]] for key in (x, z)] == ['The "X", again and again', None]
    assert dataset.items.types == {"price": "double", "shelf": "int64", "title": "string"}


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "pandas"])
def test_real_lists_and_types(tmp_path: Path, kind: str) -> None:
    rows: list[dict[str, Any]] = [
        {"user_id": 1, "tags": ["a", "b", "c"], "codes": [5, 0, 5], "vip": True, "n": 0.1, "old": 3},
        {"user_id": 2, "tags": [], "codes": None, "vip": None, "n": None, "old": 0},
        {"user_id": 5, "tags": None, "codes": [-7], "vip": False, "n": 2, "old": None},
    ]
    if kind == "jsonl":
        path = write(tmp_path / "u.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    elif kind == "pandas":
        frame = pandas.DataFrame(rows).astype({"old": "Int64", "vip": "boolean"})
        frame.to_parquet(path := tmp_path / "u.parquet")
    else:
        path = parquet(
            tmp_path / "u.parquet",
            user_id=[1, 2, 5],
            tags=pyarrow.array([row["tags"] for row in rows], pyarrow.list_(pyarrow.dictionary("int8", "string"))),
            codes=pyarrow.array([row["codes"] for row in rows], pyarrow.large_list(pyarrow.int32())),
            vip=[row["vip"] for row in rows],
            n=[row["n"] for row in rows],
            old=pyarrow.array([3, 0, None]),
        )
    many = {"many": True, "length": 2}
    declared = schema(
        Column("tags", "categorical", **many), Column("codes", "categorical", **many), Column("vip", "categorical"),
        NUMERIC, Column("old", "categorical", default=9),
    )  # fmt: skip
    users = load(tmp_path, declared, path).users
    assert users is not None
    assert users.ids.tolist() == [1, 2, 5]
    assert keys_of(users, "tags") == {1: [token_key("a"), token_key("b")], 2: [], 5: []}
    assert keys_of(users, "codes") == {1: [5, 0], 2: [], 5: [-7]}
    assert keys_of(users, "vip") == {1: [1], 2: [], 5: [0]}
    assert keys_of(users, "old") == {1: [3], 2: [0], 5: [9]}
    np.testing.assert_array_equal(users.numbers["n"], np.float32([0.1, np.nan, 2.0]))
    assert users.stored["n"] == [0.1, None, 2.0]
    assert users.stored["codes"] == [[5, 0, 5], None, [-7]]
    assert users.stored["old"] == [3, 0, None]
    assert (users.types["tags"], users.types["codes"], users.types["vip"]) == ("string_list", "int64_list", "int64")


def test_lists_of_fixed_size(tmp_path: Path) -> None:
    pairs = pyarrow.array([[1, 2], [3, 4]], pyarrow.list_(pyarrow.int64(), 2))
    users = load(tmp_path, schema(MANY), parquet(tmp_path / "u.parquet", user_id=[1, 2], c=pairs)).users
    assert users is not None
    assert keys_of(users, "c") == {1: [1, 2], 2: [3, 4]}


def test_interactions_may_have_columns_and_the_first_value_counts(tmp_path: Path) -> None:
    said: list[str] = []
    dataset = load(
        tmp_path, schema(CATEGORICAL, Column("n", "numeric"), items=(Column("g", "categorical", many=True, length=3),)),
        users=write(tmp_path / "u.csv", "user_id,n\n1,5\n1,6\n"), said=said,
        interactions="user_id,item_id,c,g,n\n1,10,,a|b,7\n1,20,x,,\n2,10,y,a|b,8\n1,20,z,c,\n2,20,y,c|a,9\n",
    )  # fmt: skip
    assert dataset.users is not None
    assert dataset.items is not None
    assert keys_of(dataset.users, "c") == {1: [token_key("x")], 2: [token_key("y")]}
    assert dataset.users.numbers["n"].tolist() == [5.0, 8.0]  # The users' own file goes first.
    a, b, c = (token_key(word) for word in "abc")
    assert keys_of(dataset.items, "g") == {10: [a, b], 20: [c]}
    met, users = tmp_path / "met.csv", tmp_path / "u.csv"
    assert [text for text in said if "different values" in text] == [
        f"Column 'c': 1 entity has different values in different rows, as in line 3 of {met} and line 5 of {met}; the "
        "first one counts.",
        f"Column 'n': 2 entities have different values in different rows, as in line 2 of {users} and line 3 of "
        f"{users}; the first one counts.",
        f"Column 'g': 1 entity has different values in different rows, as in line 5 of {met} and line 6 of {met}; the "
        "first one counts.",
    ]
    assert "Columns of users, and how many of 2 have a value: c (string) 2, n (double) 2." in said


def test_train_and_test_files_and_a_renamed_id_column(tmp_path: Path) -> None:
    declared = Schema(Side((Column("reader", "id"), NUMERIC)), Side((Column("book", "id"),)))
    files = InteractionFiles(
        train=write(tmp_path / "train.csv", "reader,book,n\n1,7,3\n"),
        test=write(tmp_path / "test.csv", "reader,book,n\n2,7,4\n"),
        schema=declared,
    )
    users = load_files(files).users
    assert users is not None
    assert (users.ids.tolist(), users.numbers["n"].tolist()) == ([1, 2], [3.0, 4.0])


def test_a_default_that_is_a_text_makes_digits_text(tmp_path: Path) -> None:
    path = write(tmp_path / "u.csv", "user_id,c\n1,90210\n2,\n")
    users = load(tmp_path, schema(CATEGORICAL), path).users
    assert users is not None
    assert (keys_of(users, "c"), users.types["c"]) == ({1: [90210], 2: []}, "int64")
    users = load(tmp_path, schema(Column("c", "categorical", default="none")), path).users
    assert users is not None
    assert keys_of(users, "c") == {1: [token_key("90210")], 2: [token_key("none")]}
    assert (users.stored["c"], users.types["c"]) == (["90210", None], "string")


def test_bad_cells_count_as_missing_if_rows_may_be_skipped(tmp_path: Path) -> None:
    said: list[str] = []
    users = parquet(
        tmp_path / "u.parquet", user_id=[1, 2, None], n=["7", "old", "x"],
        c=pyarrow.array([[1, None], [2], [3, None]]),
    )  # fmt: skip
    dataset = load(tmp_path, schema(NUMERIC, MANY), users, said=said, skip_bad_rows=True)
    assert dataset.users is not None
    np.testing.assert_array_equal(dataset.users.numbers["n"], np.float32([7, np.nan]))
    assert keys_of(dataset.users, "c") == {1: [], 2: [2]}
    assert f"{users}: column 'n': 2 cells that are no numbers, the first in row 2 ('old'), row 3 ('x'): they " in (
        " ".join(said)
    )
    assert f"{users}: column 'c': 2 lists with an element that is null or empty, the first in row 1: they" in (
        " ".join(said)
    )


@pytest.mark.parametrize(
    ("column", "cells", "message"),
    [
        (Column("cc", "numeric"), "c\n1\n2", "[user.columns.cc]: no file has a column 'cc'; did you mean c? "),
        (NUMERIC, "n\n1\nold", "column 'n': 1 cell that is no number, the first in line 3 ('old'); expected a finite"),
        (NUMERIC, "n\ninf\n2", "column 'n': 1 number that is not finite, the first in line 2 ('inf'); expected a fin"),
        (NUMERIC, "n\n2\nnan", "column 'n': 1 number that is not finite, the first in line 3 ('nan')"),
        (NUMERIC, "n\n2\n1e39", "column 'n': 1 number that is not finite, the first in line 3 ('1e39')"),
        (Column("n", "numeric", scale="log"), "n\n2\n-0.5", "column 'n': 1 number below 0, the first in line 3"),
        (NUMERIC, "n\n\n ", "column 'n': no user has a value; leave it out of the schema"),
        (CATEGORICAL, 'c\nx\n"[1, 2]"', "the schema says one categorical value, got a list: '[1, 2]' in line 3; decl"),
        (MANY, "c\na|b\n['a']", "expected a list in a file of text as its values with '|' between them (separator), "
         "got \"['a']\" in line 3"),
        (MANY, "c\na|b\na||b", "1 list with an element that is null or empty, the first in line 3; expected a value"),
        (Column("c", "categorical", default=3), "c\n4\nx", "the schema's default is an integer, 3, and the column has "
         "text, as 'x' in line 3 is no plain integer"),
        (CATEGORICAL, "c\n1\n99999999999999999999", "got '99999999999999999999' in line 3; renumber them"),
    ],
)  # fmt: skip
def test_bad_text_files(tmp_path: Path, column: Column, cells: str, message: str) -> None:
    header, *rows = cells.split("\n")
    text = "".join(f"{row + 1},{cell}\n" for row, cell in enumerate(rows))
    path = write(tmp_path / "users.csv", f"user_id,{header}\n{text}")
    with pytest.raises(DataError) as caught:
        load(tmp_path, schema(column), path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (NUMERIC, [1.0, math.nan], "column 'n': 1 number that is not finite, the first in row 2 (nan); expected a"),
        (NUMERIC, [-math.inf, 1.0], "column 'n': 1 number that is not finite, the first in row 1 (-inf)"),
        (NUMERIC, [[1.0], [2.0, 3.0]], "the schema says one numeric value, got lists (list<"),
        (NUMERIC, pyarrow.array([0, 1], pyarrow.timestamp("ms")), "expected numbers, got timestamp[ms], such as"),
        (CATEGORICAL, [["a"], ["b"]], "the schema says one categorical value, got lists (list<element: string>), such "
         "as ['a'] in row 1; declare them (many = true, length = ...), or write one value in each row"),
        (CATEGORICAL, [1.0, None], "expected integers or text, got double, such as 1.0 in row 1; declare a numeric"),
        (CATEGORICAL, [{"a": 1}, None], "expected one value in each row, got struct"),
        (MANY, [3, 4], "the schema says a list of values (many = true), got one value of type int64 in a row, such"),
        (MANY, [["a"], ["b", None]], "1 list with an element that is null or empty, the first in row 2; expected a v"),
        (MANY, [["a"], ["b", " "]], "1 list with an element that is null or empty, the first in row 2"),
        (MANY, [[1.5], [2.5]], "expected integers or text, got double, such as 1.5 in row 1"),
        (Column("c", "categorical", default="x"), [1, 2], "default is a text, 'x', and the column has integers"),
        (Column("c", "text", length=2), [["a"], ["b"]], "the schema says one text value, got lists"),
    ],
)  # fmt: skip
def test_bad_parquet_files(tmp_path: Path, column: Column, values, message: str) -> None:
    path = parquet(tmp_path / "users.parquet", user_id=[1, 2], **{column.name: values})
    with pytest.raises(DataError) as caught:
        load(tmp_path, schema(column), path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"c": ["a"]}, {"c": "a"}], "u.jsonl:2: column 'c': expected a list as in the rows before, got text ('a')"),
        ([{"c": ["a"]}, {"c": [1]}], "u.jsonl:2: column 'c': expected text as in the rows before, got an integer (1)"),
        ([{"c": ["a"]}] * 1500 + [{"c": [1]}], "u.jsonl:1501: column 'c': expected text as in the rows before, got an"),
        ([{"c": ["a"]}, {"c": ["b", None]}], "1 list with an element that is null or empty, the first in line 2"),
        ([{"c": [["a"]]}], "column 'c': expected one value in each row, or a list of such, got lists with a list"),
        ([{"c": {"a": 1}}], "column 'c': expected one value in each row, or a list of such, got an object"),
    ],
)
def test_bad_json_lines(tmp_path: Path, rows: list[dict], message: str) -> None:
    text = "".join(json.dumps({"user_id": row + 1, **cells}) + "\n" for row, cells in enumerate(rows))
    with pytest.raises(DataError) as caught:
        load(tmp_path, schema(MANY), write(tmp_path / "u.jsonl", text))
    assert message in str(caught.value)


def test_types_that_change_between_files(tmp_path: Path) -> None:
    users = parquet(tmp_path / "u.parquet", user_id=[1, 2], c=[5, 6])
    with pytest.raises(DataError, match=r"values of column 'c' must be of one kind in all files; got .*u\.parquet: "):
        load(tmp_path, schema(CATEGORICAL), users, interactions="user_id,item_id,c\n1,10,x\n")
    users = parquet(tmp_path / "u.parquet", user_id=["ann", "bob"], n=[5, 6])
    numbers = parquet(tmp_path / "met.parquet", user_id=[1, 2], item_id=[1, 2])
    with pytest.raises(DataError, match=r"user ids must be of one kind in all files; got .*met\.parquet: column 'us"):
        load_files(InteractionFiles(numbers, users=users, schema=schema(NUMERIC)))
    with pytest.raises(DataError, match=r"user ids must be of one kind in all files; got .*met\.csv: .*u\.parquet: "):
        load(tmp_path, schema(NUMERIC), users)
    users = parquet(tmp_path / "u.parquet", user_id=[7, 8], n=[5, 6])
    with pytest.raises(DataError, match=r"u\.parquet: lists none of the 2 users of .*met\.csv; they have ids such as"):
        load(tmp_path, schema(NUMERIC), users)


def test_values_that_hash_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rowbank_trainer.data.cells.ids.token_key", len)
    path = write(tmp_path / "u.csv", "user_id,c\n1,red\n2,sky\n")
    with pytest.raises(DataError, match=r"values of column 'c' 'sky' in line 3 and 'red' in .*, line 2 have the same"):
        load(tmp_path, schema(CATEGORICAL), path)
