"""`rowbank-train unified --schema`: features that a schema's columns are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rowbank_trainer.data.dataset import Catalogue, Dataset, Entities, Interactions
from rowbank_trainer.errors import DataError, UsageError
from rowbank_trainer.schema import Column, Schema, Side
from rowbank_trainer.unified.config import UnifiedConfig
from rowbank_trainer.unified.features import schema_features
from rowbank_trainer.unified.problem import prepare

PROGRAM = (sys.executable, "-c", "from rowbank_trainer.cli import main; main()")
SCHEMA = """
[user.columns]
reader = "id"
plan = { type = "categorical", default = "none" }
"years old" = "numeric"
bio = { type = "text", length = 3 }
[item.columns]
book = "id"
shelf = "categorical"
"""


def dataset(stars: list[float]) -> Dataset:
    """Users 1 to 8 met item 20; ages 10 to 70, one unknown."""
    users = np.arange(1, 9)
    ages = np.array([10, 20, 30, 40, 50, 60, 70, np.nan], np.float32)
    met = Interactions(users, np.full(8, 20), np.float32(stars), np.zeros(8, np.int64))
    plans = ["gold", None, "gold", "basic", "basic", "gold", "gold", "gold"]
    return Dataset(
        "by hand", met, Catalogue(np.array([20, 30]), ("a", "b"), ((), ()), (0, 0)),
        users=Entities(users, numbers={"age": ages}, stored={"plan": plans}),
        items=Entities(np.array([20, 30]), stored={"shelf": [7, None]}),
    )  # fmt: skip


def test_features_by_hand() -> None:
    """Six edges between seven ages: the k-th is (10 + 60 k / 7), so that each age has a group of its own."""
    users = (Column("user_id", "id"), Column("plan", "categorical", default="none"), Column("age", "numeric"),
             Column("bio", "text", length=2))  # fmt: skip
    items = (
        Column("item_id", "id"),
        Column("shelf", "categorical"),
        Column("tags", "categorical", many=True, length=2),
    )
    given = dataset([1, 2, 3, 4, 5, 1, 2, 5])
    features, unused = schema_features(given, Schema(Side(users), Side(items)))
    assert unused == ["bio of users (text)", "tags of items (lists)"]
    assert features.names == ("user_id", "plan", "age", "item_id", "shelf")
    assert {name: values.tolist() for name, values in features.columns(given.interactions).items()} == {
        "user_id": ["1", "2", "3", "4", "5", "6", "7", "8"],
        "plan": ["gold", "none", "gold", "basic", "basic", "gold", "gold", "gold"],
        "age": ["0", "1", "2", "3", "4", "5", "6", ""],
        "item_id": ["20"] * 8,
        "shelf": ["7"] * 8,
    }
    assert features.hash_buckets() == (("user_id", 20), ("plan", 20), ("age", 20), ("item_id", 20), ("shelf", 20))
    problem = prepare(given, features, UnifiedConfig(test_fraction=0.5), 1)
    assert problem.vocabularies["plan"].tolist() == ["basic", "gold", "none"]
    with pytest.raises(DataError, match=r"by hand: expected ratings of 3 stars or more and lower ones, .* only high"):
        prepare(dataset([4.0] * 8), features, UnifiedConfig(test_fraction=0.5), 1)
    with pytest.raises(UsageError, match="this job takes ids, numbers and single categories, and the schema has bio"):
        schema_features(given, Schema(Side(users[3:]), Side(items[2:])))


def run_job(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, check=False, env=dict(os.environ))


def written(folder: Path) -> tuple[Path, Path, Path, Path]:
    rng = np.random.default_rng(3)
    (folder / "schema.toml").write_text(SCHEMA)
    (folder / "readers.csv").write_text(
        "reader,plan,years old,bio\n" + "".join(f"r{n},{'gold' if n % 3 else ''},{20 + n},reads\n" for n in range(40))
    )
    (folder / "books.csv").write_text("book,shelf\n" + "".join(f"b{n},s{n % 5}\n" for n in range(30)))
    met = [f"r{rng.integers(40)},b{(book := rng.integers(30))},{1 + (book % 5)}\n" for _ in range(600)]
    (folder / "met.csv").write_text("reader,book,stars\n" + "".join(met))
    return tuple(folder / name for name in ("schema.toml", "readers.csv", "books.csv", "met.csv"))  # type: ignore[return-value]


@pytest.mark.timeout(600)
def test_own_files_with_string_ids(tmp_path: Path) -> None:
    """Stars are a function of the shelf, which is a column of the books' own file."""
    schema, readers, books, met = written(tmp_path)
    done = run_job(
        "unified", "--schema", str(schema), "--interactions", str(met), "--rating-column", "stars", "--users",
        str(readers), "--items", str(books), "--tables", "static", "--seeds", "1", "--models", "unified", "--epochs",
        "30", "--batch-size", "64", "--out", str(tmp_path / "out"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "leaves out bio of users (text)" in done.stdout
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["config"]["features"] == ["reader", "plan", "years_old", "book", "shelf"]
    assert metrics["models"][0]["auc"]["mean"] > 0.9


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    schema, _, books, met = written(tmp_path)
    for arguments, status, message in (
        (["--interactions", str(met), "--schema", str(schema)], 2,
         "error: --interactions and --rating-column go together: this job is about ratings, stars from 1 to 5; got "
         "only --interactions\n"),
        (["--interactions", str(met), "--rating-column", "stars"], 2,
         "error: --interactions: a schema says which columns the models are to go by; name one with --schema\n"),
        (["--schema", str(schema), "--models", "hash-with-age"], 2, "error: --models hash-with-age is for MovieLens's"),
        (["--interactions", str(met), "--rating-column", "stars", "--schema", str(schema), "--items", str(books)], 1,
         f"error: {schema}: [user.columns.plan]: no file has a column 'plan'; "),
    ):  # fmt: skip
        done = run_job("unified", *arguments)
        assert done.returncode == status
        assert done.stderr.startswith(message)
    (tmp_path / "met.csv").write_text("reader,book,stars\nr1,b1,9\n")
    rated = ["--rating-column", "stars"]
    done = run_job("rating", "--interactions", str(met), "--user-column", "reader", "--item-column", "book", *rated)
    assert (done.returncode, done.stderr) == (
        1, f"error: {met}: column 'stars': expected stars from 1 to 5, got 9 to 9; scale them\n",
    )  # fmt: skip
    done = run_job("rating", "--models", "schema", "--download", "none")
    assert (done.returncode, done.stderr) == (2, "error: --models schema: name a schema with --schema\n")
