"""Ids in a user's own files: integers or text, missing ones, and types of columns."""

from __future__ import annotations

import decimal
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from tests.colliding import FIRST, KEY, SECOND

from rowbank.text import token_key
from rowbank_trainer.data import Dataset
from rowbank_trainer.data.files import InteractionFiles, load_files
from rowbank_trainer.data.options import Reading
from rowbank_trainer.errors import DataError


def load(path: Path, said: list[str] | None = None, **reading) -> Dataset:
    return load_files(InteractionFiles(path, reading=Reading(**reading)), ([] if said is None else said).append)


def rows(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "events.csv"
    path.write_text("user,item\n" + "".join(f"{line}\n" for line in lines))
    return path


def users(dataset: Dataset) -> list[str] | list[int]:
    keys = dataset.interactions.user_ids.tolist()
    return keys if dataset.user_names is None else [dataset.user_names[key] for key in keys]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["7", "-3", "0"], [7, -3, 0]),
        (['"7"', "8"], [7, 8]),
        ([" 7", "8 "], [7, 8]),
        (["9223372036854775807", "-9223372036854775808"], [2**63 - 1, -(2**63)]),
        (['"007"', '"7"'], ["007", "7"]),
        (["0x1F", "31"], ["0x1F", "31"]),
        (["-0", "0"], ["-0", "0"]),
        (["+1", "1"], ["+1", "1"]),
        (["1.0", "1"], ["1.0", "1"]),
        (["1e3", "1000"], ["1e3", "1000"]),
        (["2024-01-31", "true"], ["2024-01-31", "true"]),
    ],
)
def test_ids_are_integers_only_if_all_are_plain_ones(tmp_path: Path, cells: list[str], expected: list) -> None:
    dataset = load(rows(tmp_path, *(f"{cell},{number}" for number, cell in enumerate(cells))))
    assert users(dataset) == expected
    assert dataset.item_names is None


def test_text_becomes_keys_as_everywhere(tmp_path: Path) -> None:
    dataset = load(rows(tmp_path, "007,1", "7,1"))
    np.testing.assert_array_equal(dataset.interactions.user_ids, [token_key("007"), token_key("7")])


def test_what_ids_are_is_said_with_the_reason(tmp_path: Path) -> None:
    said: list[str] = []
    path = rows(tmp_path, "1,5", "07,6")
    load(path, said)
    assert "User ids are text, as '07' in line 3 is no plain integer; item ids are integers." in said
    assert users(load(path, id_type="int")) == [1, 7]
    assert users(load(path, id_type="text")) == ["1", "07"]
    with pytest.raises(
        DataError, match=r"column 'user': expected user ids as integers \(--id-type int\), got 'x' in line 2"
    ):
        load(rows(tmp_path, "x,5"), id_type="int")
    with pytest.raises(DataError, match="--id-type: expected one of auto, int, text, got 'number'"):
        Reading(id_type="number")


def test_one_file_with_text_makes_the_ids_of_all_text(tmp_path: Path) -> None:
    train, test, items = (tmp_path / name for name in ("train.csv", "test.csv", "items.csv"))
    train.write_text("user,item\n1,5\n2,6\n")
    test.write_text("user,item\n1,6\n")
    items.write_text("item,title\n5,Five\n6,Six\nB7,Seven\n")
    dataset = load_files(InteractionFiles(train=train, test=test, items=items))
    assert dataset.user_names is None
    assert set(dataset.item_names.values()) == {"5", "6", "B7"}
    np.testing.assert_array_equal(dataset.held_out.item_ids, [token_key("6")])


def test_numbers_in_one_file_and_text_in_another_name_both(tmp_path: Path) -> None:
    train = tmp_path / "train.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"user": [1, 2], "item": [5, 6]}), train)
    items = tmp_path / "items.csv"
    items.write_text("item,title\n005,Five\n006,Six\n")
    files = InteractionFiles(train, items=items)
    with pytest.raises(DataError) as caught:
        load_files(files)
    assert str(train) in str(caught.value)
    assert f"{items}: column 'item': text, such as '005' in line 2" in str(caught.value)
    with pytest.raises(DataError, match=r"lists none of the 2 items of .*such as '5', it has ids such as '005'"):
        load_files(InteractionFiles(train, items=items, reading=Reading(id_type="text")))


@pytest.mark.parametrize("word", ["", " ", "NA", "null", "NULL", "NaN", "None", "<NA>", '""'])
def test_blank_ids_and_words_for_them_are_missing(tmp_path: Path, word: str) -> None:
    path = rows(tmp_path, "u1,a", f"{word},b", "u2,c", f"u3,{word}")
    with pytest.raises(DataError, match=r"column 'user': 1 missing user id, the first in line 3 \(.*--skip-bad-rows"):
        load(path)
    said: list[str] = []
    assert users(load(path, said, skip_bad_rows=True)) == ["u1", "u2"]
    assert said[0].startswith(f"{path}: skipped 2 of 4 rows ('user': 1 missing user id, line 3 (")


def test_words_are_ids_if_the_caller_says_so(tmp_path: Path) -> None:
    path = rows(tmp_path, "NA,a", "null,b", "x,c")
    assert users(load(path, missing_words=())) == ["NA", "null", "x"]
    with pytest.raises(DataError, match=r"1 missing user id, the first in line 4 \('x'\)"):
        load(path, missing_words=("X",))
    with pytest.raises(DataError, match="1 missing user id, the first in line 5"):
        load(rows(tmp_path, "NA,a", "null,b", "x,c", ",d"), missing_words=())


def test_a_column_of_missing_ids_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"skipped 1 of 1 rows \(.*\); none is left"):
        load(rows(tmp_path, ",a"), skip_bad_rows=True)


def test_the_type_of_ids_is_that_of_the_rows_that_are_kept(tmp_path: Path) -> None:
    dataset = load(rows(tmp_path, "1,a", "x,", "2,b"), skip_bad_rows=True)
    assert users(dataset) == [1, 2]
    assert set(dataset.item_names.values()) == {"a", "b"}


def parquet(tmp_path: Path, column) -> Path:
    path = tmp_path / "events.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"user": column, "item": list(range(len(column)))}), path)
    return path


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pyarrow.array([5, -6], pyarrow.int32()), [5, -6]),
        (pyarrow.array([5, 2**63 - 1], pyarrow.uint64()), [5, 2**63 - 1]),
        (pyarrow.array([5, 6]).dictionary_encode(), [5, 6]),
        (pyarrow.array([decimal.Decimal(5), decimal.Decimal(6)]), [5, 6]),
        (pyarrow.array(["a", "b"], pyarrow.large_string()), ["a", "b"]),
        (pyarrow.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (pyarrow.array([b"a", b"b"]), ["a", "b"]),
        (pyarrow.array(["5", "6"]), [5, 6]),
    ],
    ids=lambda value: str(getattr(value, "type", ""))[:20],
)
def test_types_of_parquet_columns(tmp_path: Path, column, expected: list) -> None:
    assert users(load(parquet(tmp_path, column))) == expected


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pyarrow.array([1, 2**63 + 5], pyarrow.uint64()),
         "expected integers of 64 bits with a sign, from -2**63 to 2**63 - 1, got 9223372036854775813 in row 2"),
        (pyarrow.array(["1", "13835058055282163712"]), "got '13835058055282163712' in row 2; renumber them, or"),
        (pyarrow.array([[1], [2]]), "expected one value in each row, got lists (list<element: int64>); write a"),
        (pyarrow.array([1.0, None]), "got double; pandas makes fractions of integers where cells are empty"),
        (pyarrow.array([True, False]), "expected ids as integers or text, got bool"),
        (pyarrow.array(["a", None, "NA"]), "2 missing user ids, the first in row 2 (null), row 3 ('NA')"),
        (pyarrow.array([1, None]), "1 missing user id, the first in row 2 (null)"),
        (pyarrow.array([None, None]), "2 missing user ids"),
        (pyarrow.array([b"\xff", b"b"]), "expected text or numbers, got bytes that are no UTF-8 text"),
    ],
    ids=lambda value: str(getattr(value, "type", ""))[:20],
)  # fmt: skip
def test_columns_that_are_no_ids(tmp_path: Path, column, message: str) -> None:
    path = parquet(tmp_path, column)
    with pytest.raises(DataError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: column 'user': ")
    assert message in str(caught.value)


@pytest.mark.parametrize("turned", [False, True], ids=["integers first", "texts first"])
def test_integers_alone_in_one_file_and_none_in_another_are_refused(tmp_path: Path, turned: bool) -> None:
    """A file of text says nothing of types, but ids of two kinds are no ids of the same things."""
    integers, texts = tmp_path / "integers.csv", tmp_path / "texts.csv"
    integers.write_text("user,item\n1,5\n2,6\n")
    texts.write_text("user,item\nu1,5\nu2,6\n")
    train, test = (texts, integers) if turned else (integers, texts)
    with pytest.raises(DataError) as caught:
        load_files(InteractionFiles(train=train, test=test))
    assert str(caught.value) == (
        f"user ids must be of one kind in all files; got {integers}: column 'user': plain integers, such as '1' in "
        f"line 2, and {texts}: column 'user': text, such as 'u1' in line 2; write them alike, or take all as text with "
        "--id-type text"
    )
    dataset = load_files(InteractionFiles(train=train, test=test, reading=Reading(id_type="text")))
    assert set(dataset.user_names.values()) == {"1", "2", "u1", "u2"}


def test_texts_with_the_same_hash_are_named_with_their_files(tmp_path: Path) -> None:
    assert token_key(FIRST) == token_key(SECOND) == KEY
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text(f"user,item\nanna,x\n{FIRST},y\n")
    test.write_text(f"user,item\nbob,y\nanna,x\n{SECOND},x\n")
    with pytest.raises(DataError) as caught:
        load_files(InteractionFiles(train=train, test=test))
    assert str(caught.value) == (
        f"{test}: column 'user': user ids {SECOND!r} in line 4 and {FIRST!r} in {train}, line 3 have the same hash; "
        "write one of them differently in all files, or number them yourself, with integers"
    )


def test_ids_have_a_longest_length(tmp_path: Path) -> None:
    """In bytes of UTF-8, as the service has it."""
    longest = "é" * 512
    assert users(load(rows(tmp_path, f"{longest},1", "b,1"))) == [longest, "b"]
    with pytest.raises(
        DataError, match=r"the user id 'éé.* in line 3 has 1026 bytes as UTF-8, .* at most 1024; shorten"
    ):
        load(rows(tmp_path, "b,1", f"{longest}é,1"))
