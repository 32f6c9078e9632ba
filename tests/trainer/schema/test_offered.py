"""Columns that MovieLens folders and the synthetic set offer, and the commands that take a schema."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rowbank.text import token_key
from rowbank_trainer.data import load_movielens, synthetic_dataset
from rowbank_trainer.errors import DataError
from rowbank_trainer.schema import load_schema, parse_schema

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "movielens.toml"
PROGRAM = (sys.executable, "-c", "from rowbank_trainer.cli import main; main()")


def test_the_example_for_online_training_says_what_it_takes() -> None:
    schema = load_schema(EXAMPLE.with_name("movielens-online.toml"))
    users = {column.name: column for column in schema.user.columns}
    assert list(users) == ["user_id", "gender", "age", "occupation", "history"]
    assert users["user_id"].dropout == 0.5
    assert (users["history"].type, users["history"].table, users["history"].length) == ("history", "item_id", 50)
    assert [column.name for column in schema.item.columns] == ["item_id", "genres", "year"]


def layout_100k(folder: Path) -> Path:
    flags = {"Drama": 8, "War": 17}
    lines = []
    for number, title, genres in ((1, "Amélie (2001)", ["Drama"]), (2, "Untitled", ["Drama", "War"])):
        bits = ["1" if place in [flags[name] for name in genres] else "0" for place in range(19)]
        lines.append(f"{number}|{title}|01-Jan-1995||url|{'|'.join(bits)}")
    (folder / "u.item").write_text("\n".join(lines), encoding="latin-1")
    (folder / "u.data").write_text("1\t1\t5\t10\n3\t2\t4\t20\n")
    (folder / "u.user").write_text("1|24|M|writer|85711\n2|53|F|other|V3N4P\n3|23|M|other|05201\n")
    return folder


def layout_1m(folder: Path) -> Path:
    (folder / "movies.dat").write_text("7::Heat (1995)::Action|Crime\n")
    (folder / "ratings.dat").write_text("1::7::5::10\n")
    (folder / "users.dat").write_text("1::F::1::10::48067-1234\n")
    return folder


def test_columns_of_the_100k_layout(tmp_path: Path) -> None:
    schema = parse_schema(EXAMPLE.read_text() + '\n[user.columns.zip_code]\ntype = "categorical"\n')
    said: list[str] = []
    dataset = load_movielens(layout_100k(tmp_path), schema, said.append)
    users, items = dataset.users, dataset.items
    assert users is not None
    assert items is not None
    assert users.ids.tolist() == [1, 2, 3]
    assert users.stored == {
        "gender": ["M", "F", "M"], "age": [24.0, 53.0, 23.0], "occupation": ["writer", "other", "other"],
        "zip_code": ["85711", "V3N4P", "05201"],
    }  # fmt: skip
    assert users.keys["occupation"].values.tolist() == [token_key("writer"), token_key("other"), token_key("other")]
    assert items.stored == {
        "title": ["Amélie (2001)", "Untitled"], "genres": [["Drama"], ["Drama", "War"]], "year": [2001.0, None],
    }  # fmt: skip
    np.testing.assert_array_equal(items.numbers["year"], np.float32([2001, np.nan]))
    assert items.keys["title"].values.tolist() == [token_key(word) for word in ("amélie", "2001", "untitled")]
    assert said == [
        "Columns of users, and how many of 3 have a value: gender (string) 3, age (double) 3, occupation (string) 3, "
        "zip_code (string) 3.",
        "Columns of items, and how many of 2 have a value: title (string) 2, genres (string_list) 2, year (double) 1.",
    ]


def test_columns_of_the_1m_layout(tmp_path: Path) -> None:
    dataset = load_movielens(layout_1m(tmp_path), load_schema(EXAMPLE))
    assert dataset.users is not None
    assert dataset.items is not None
    assert dataset.users.stored == {"gender": ["F"], "age": [1.0], "occupation": [10]}
    assert dataset.users.types["occupation"] == "int64"
    assert dataset.items.stored["genres"] == [["Action", "Crime"]]


def test_columns_of_the_synthetic_set_are_the_same_at_every_run() -> None:
    schema = load_schema(EXAMPLE)
    plain, first, second = (synthetic_dataset(schema=declared) for declared in (None, schema, schema))
    assert plain.users is None
    np.testing.assert_array_equal(plain.interactions.item_ids, first.interactions.item_ids)
    assert first.users is not None
    assert second.users is not None
    assert first.users.stored == second.users.stored
    assert 0 < sum(age is None for age in first.users.stored["age"]) < 80


def test_what_folders_do_not_have(tmp_path: Path) -> None:
    folder = layout_100k(tmp_path)
    schema = parse_schema('[user.columns]\nid = "id"\nocupation = "categorical"\n[item.columns]\nid = "id"')
    with pytest.raises(DataError) as caught:
        load_movielens(folder, schema)
    assert str(caught.value) == (
        "[user.columns.ocupation]: no file has a column 'ocupation'; did you mean occupation? "
        f"{folder}/u.user has age, gender, occupation, zip_code; name one of these in the schema, or leave it "
        "out"
    )
    (folder / "u.user").write_text("1|24|M|writer|85711\n3|x|M|other|05201\n")
    with pytest.raises(DataError, match=r"u\.user: column 'age': 1 cell that is no number, .* in line 2 \('x'\)"):
        load_movielens(folder, load_schema(EXAMPLE))
    (folder / "u.user").write_text("1|24|M|writer|85711\n3|x|M|other\n")
    with pytest.raises(DataError, match=r"u\.user:2: expected 5 fields separated by '\|', got 4"):
        load_movielens(folder, load_schema(EXAMPLE))
    (folder / "u.user").unlink()
    with pytest.raises(DataError, match=r"the schema names columns of users; expected u\.user"):
        load_movielens(folder, load_schema(EXAMPLE))


@pytest.mark.parametrize("job", ["two-tower", "online"])
def test_a_wrong_schema_is_one_line(job: str, tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text('[user.columns]\nid = "id"\nage = "numerik"\n[item.columns]\nid = "id"\n')
    met = tmp_path / "met.csv"
    met.write_text("user,item\n1,2\n")
    for arguments, status, message in (
        (["--data", str(layout_100k(tmp_path)), "--schema", str(path)], 1,
         f"error: {path}: [user.columns.age]: type: expected one of id, categorical, numeric, text, history, related, "
         "got 'numerik'; did you mean numeric?\n"),
        (["--interactions", str(met), "--users", str(met)], 2,
         "error: --users: a schema says which of its columns are for the model; name one with --schema\n"),
        (["--users", str(met), "--schema", str(EXAMPLE)], 2,
         "error: --users says how to read your own files; name them with --interactions\n"),
    ):  # fmt: skip
        done = subprocess.run(
            [*PROGRAM, job, *arguments], capture_output=True, text=True, check=False, env=dict(os.environ)
        )
        assert (done.returncode, done.stderr) == (status, message)
