"""Interactions from a user's own files: what is recognised, how it is split, and what is wrong with bad ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from rowbank.text import token_key
from rowbank_trainer.data import Interactions, SplitRule, split_by
from rowbank_trainer.data.columns import ColumnNames
from rowbank_trainer.data.files import InteractionFiles, load_files
from rowbank_trainer.errors import DataError
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.problem import prepare
from rowbank_trainer.two_tower.tables.remote import last_parts


def csv(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def parquet(path: Path, **columns) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def load(path: Path, **columns: str):
    return load_files(InteractionFiles(path, columns=ColumnNames(**columns)))


def test_csv_with_usual_names_needs_no_options(tmp_path: Path) -> None:
    dataset = load(
        csv(tmp_path / "a.csv", "User ID,item_id,timestamp,weight\n7,30,1700000000,2\n3,10,1700000060,0.5\n")
    )
    found = dataset.interactions
    np.testing.assert_array_equal(found.user_ids, [7, 3])
    np.testing.assert_array_equal(found.item_ids, [30, 10])
    np.testing.assert_array_equal(found.times, [1700000000, 1700000060])
    np.testing.assert_array_equal(found.weights, np.float32([2, 0.5]))
    np.testing.assert_array_equal(dataset.catalogue.item_ids, [10, 30])
    assert dataset.catalogue.titles == ("10", "30")
    assert (dataset.catalogue.titled, dataset.timed, dataset.user_names) == (False, True, None)


def test_parquet_with_named_columns(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", who=pyarrow.array([1, 2], pyarrow.int32()), what=[5, 6], name=["Five", None])
    dataset = load(path, user="who", item="what", title="name")
    assert dataset.interactions.user_ids.dtype == np.int64
    assert dataset.interactions.weights is None
    assert not dataset.timed
    assert (dataset.catalogue.titled, dataset.catalogue.titles) == (True, ("Five", ""))


@pytest.mark.parametrize("encoded", [False, True])
def test_string_ids_are_hashed_and_remembered(tmp_path: Path, encoded: bool) -> None:
    users = pyarrow.array(["ann", "bob", "ann"])
    path = parquet(tmp_path / "a.pq", user=users.dictionary_encode() if encoded else users, item=["x", "y", "y"])
    dataset = load(path)
    keys = [token_key(word) for word in ("ann", "bob", "ann")]
    np.testing.assert_array_equal(dataset.interactions.user_ids, keys)
    assert dataset.user_names == {keys[0]: "ann", keys[1]: "bob"}
    assert sorted(dataset.catalogue.titles) == ["x", "y"]
    assert dataset.catalogue.item_ids.tolist() == sorted(token_key(word) for word in ("x", "y"))


def test_train_and_test_files_with_a_catalogue(tmp_path: Path) -> None:
    files = InteractionFiles(
        train=csv(tmp_path / "train.csv", "user,item\na,x\nb,y\n"),
        test=csv(tmp_path / "test.csv", "user,item\na,y\nc,z\n"),
        items=csv(tmp_path / "items.csv", "item,title\nx,The X\nnever,Never Met\n"),
    )
    dataset = load_files(files)
    assert dataset.held_out is not None
    assert (len(dataset.interactions), len(dataset.held_out)) == (2, 2)
    assert dict(zip(dataset.catalogue.item_ids.tolist(), dataset.catalogue.titles, strict=True)) == {
        token_key("x"): "The X", token_key("y"): "", token_key("z"): "", token_key("never"): "Never Met",
    }  # fmt: skip
    problem = prepare(dataset, TwoTowerConfig(batch_size=2))
    np.testing.assert_array_equal(problem.held_out.user_ids, dataset.held_out.user_ids)
    assert len(problem.user_keys) == 3


def test_without_titles_the_item_tower_goes_by_id(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", user=list(range(10)), item=[5, 9] * 5)
    problem = prepare(load(path), TwoTowerConfig(batch_size=2))
    np.testing.assert_array_equal(problem.item_keys, [[5], [9]])
    assert (last_parts(problem.plan)["item"], problem.vocabulary["item"]) == ("item", 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "user,thing\n1,2\n",
            "no column is recognised as the item; its columns are user, thing; say which: --item",
        ),
        ("user,uid,item\n1,2,3\n", "columns user, uid may all be the user; say which: --user-column NAME"),
        ("user,item\n", "the file has no rows; expected at least one"),
        (
            "user,item\n1,\n2,3\n",
            "column 'item': 1 missing item id, the first in line 2 (''); expected an id in every row",
        ),
        (
            "user,item,time\n1,2,noon\n",
            "column 'time': 1 cell that is no time, the first in line 2 ('noon'); expected numbers since 1970, dates",
        ),
        ("user,item,weight\n1,2,3\n1,2,-1\n", "1 weight that is no number of at least 0, the first in line 3 ('-1')"),
        ("user,item,weight\n1,2,0\n", "column 'weight': all weights are 0"),
        ("user,item\n1,2,3\n", "line 2: expected 2 cells as in the header, got 3: '1,2,3'"),
    ],
)
def test_malformed_files_say_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    path = csv(tmp_path / "a.csv", text)
    with pytest.raises(DataError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_names_and_kinds_of_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match=r"expected a file named \*\.parquet"):
        load(csv(tmp_path / "a.json", "{}"))
    path = csv(tmp_path / "a.csv", "user,item\n1,2\n")
    with pytest.raises(DataError, match=r"no column 'person' \(--user-column\); its columns are user, item"):
        load(path, user="person")
    with pytest.raises(DataError, match="--train and --test go together"):
        InteractionFiles(train=path)
    with pytest.raises(DataError, match=r"only .*b\.csv has times"):
        load_files(InteractionFiles(train=path, test=csv(tmp_path / "b.csv", "user,item,time\n1,2,3\n")))


def timeline() -> Interactions:
    # User 1 meets 10 to 14 at 0, 10, ..., 40; user 2 meets 10, 11 at 5, 45; user 3 meets 10 at 50.
    users, items = np.array([1, 1, 1, 1, 1, 2, 2, 3]), np.array([10, 11, 12, 13, 14, 10, 11, 10])
    times = np.array([0, 10, 20, 30, 40, 5, 45, 50])
    return Interactions(users, items, np.ones(8, np.float32), times)


def test_time_split_holds_out_the_latest() -> None:
    parts = split_by(SplitRule.parse("time:0.25"), timeline(), timed=True, seed=1)
    np.testing.assert_array_equal(parts.held_out.times, [45, 50])
    np.testing.assert_array_equal(parts.train.times, [0, 5, 10, 20, 30, 40])


def test_leave_last_keeps_users_who_would_have_nothing_left() -> None:
    parts = split_by(SplitRule.parse("leave-last:2"), timeline(), timed=True, seed=1)
    np.testing.assert_array_equal(parts.held_out.times, [30, 40])
    assert set(parts.train.user_ids) == {1, 2, 3}
    parts = split_by(SplitRule.parse("leave-last:1"), timeline(), timed=True, seed=1)
    np.testing.assert_array_equal(parts.held_out.times, [40, 45])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latest", "expected random:FRACTION, time:FRACTION or leave-last:COUNT, such as time:0.2; got 'latest'"),
        ("time:1.5", "--split time: expected a fraction between 0 and 1, got 1.5"),
        ("leave-last:0.5", "--split leave-last: expected a whole number of at least 1, got 0.5"),
        ("random:..", "--split random: expected a fraction"),
    ],
)
def test_wrong_split_rules(text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        SplitRule.parse(text)
    assert message in str(caught.value)


def test_splits_that_need_times_or_leave_nothing() -> None:
    with pytest.raises(DataError, match=r"--split time:0\.2 needs times: name their column with --time-column"):
        split_by(SplitRule.parse("time:0.2"), timeline(), timed=False, seed=1)
    with pytest.raises(DataError, match="no interaction is left held out of 8"):
        split_by(SplitRule.parse("leave-last:9"), timeline(), timed=True, seed=1)
