"""Files of several kinds: delimited text, JSON lines, Parquet; how they are recognised, and what bad ones say."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from rowbank_trainer.data import Dataset
from rowbank_trainer.data.columns import ColumnNames
from rowbank_trainer.data.files import InteractionFiles, load_files
from rowbank_trainer.data.options import Reading
from rowbank_trainer.errors import DataError


def load(path: Path, said: list[str] | None = None, *, title: str | None = None, **reading) -> Dataset:
    files = InteractionFiles(path, columns=ColumnNames(title=title), reading=Reading(**reading))
    return load_files(files, ([] if said is None else said).append)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def pairs(dataset: Dataset) -> list[tuple]:
    users, items = dataset.user_names, dataset.item_names
    return [
        (user if users is None else users[user], item if items is None else items[item])
        for user, item in zip(
            dataset.interactions.user_ids.tolist(), dataset.interactions.item_ids.tolist(), strict=True
        )
    ]


@pytest.mark.parametrize(
    ("name", "content", "understood"),
    [
        ("a.csv", "user,item\n1,2\n3,4\n", ""),
        ("a.csv", "user;item\n1;2\n3;4\n", "columns are divided by semicolons"),
        ("a.csv", "user\titem\n1\t2\n3\t4\n", "columns are divided by tabs"),
        ("a.csv", "user|item\n1|2\n3|4\n", "columns are divided by vertical bars"),
        ("a.tsv", "user\titem\n1\t2\n3\t4\n", ""),
        ("a.tsv", "user,item\n1,2\n3,4\n", "columns are divided by commas"),
        ("a.csv", "user;item;title\n1;2;a, b\n3;4;c, d\n", "columns are divided by semicolons"),
        ("a.csv", b"\xef\xbb\xbfuser,item\r\n1,2\r\n3,4\r\n", ""),
        ("a.csv", b"user,item\r1,2\r3,4\r", ""),
        ("a.csv", " user , item\n1,2\n\n3,4\n", ""),
        ("a.csv.gz", gzip.compress(b"user,item\n1,2\n3,4\n", mtime=0), ""),
        ("a.jsonl", '{"user": 1, "item": 2}\n\n{"item": 4, "user": 3, "more": [1]}\n', ""),
        ("a.ndjson", '{"user": "1", "item": "2"}\r\n{"user": "3", "item": "4"}', ""),
        ("a.jsonl.gz", gzip.compress(b'{"user": 1, "item": 2}\n{"user": 3, "item": 4}\n', mtime=0), ""),
    ],
)
def test_what_is_read_without_options(tmp_path: Path, name: str, content: str | bytes, understood: str) -> None:
    said: list[str] = []
    path = write(tmp_path / name, content)
    assert pairs(load(path, said)) == [(1, 2), (3, 4)]
    assert said[0].startswith(f"{path}: {understood}{'; ' if understood else ''}2 interactions, users in 'user'")


def test_compressed_by_zstandard(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.zst"
    with pyarrow.output_stream(str(path), compression="zstd") as stream:
        stream.write(b"user,item\n1,2\n")
    assert pairs(load(path)) == [(1, 2)]


def test_a_delimiter_can_be_named(tmp_path: Path) -> None:
    assert pairs(load(write(tmp_path / "a.csv", "user#item\n1#2\n"), delimiter="#")) == [(1, 2)]
    assert pairs(load(write(tmp_path / "a.csv", "user\titem\n1\t2\n"), delimiter="tab")) == [(1, 2)]
    with pytest.raises(DataError, match="--delimiter: expected one character such as ';' or 'tab', got '::'"):
        load(tmp_path / "a.csv", delimiter="::")


def test_line_breaks_in_cells_of_a_large_file(tmp_path: Path) -> None:
    """Two lines a row, 2 MB; the line of a bad row is that of the file."""
    text = "user,item,title\n" + "".join(f'{row},{row},"line one\nline two {row}"\n' for row in range(60_000))
    dataset = load(write(tmp_path / "a.csv", text))
    assert len(dataset.interactions) == 60_000
    assert dataset.catalogue.titles[59_999] == "line one\nline two 59999"
    with pytest.raises(DataError, match="the first in line 120002 "):
        load(write(tmp_path / "a.csv", text + ",7,x\n"))


def test_malformed_rows_are_errors_or_skipped_and_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'user,item\n1,2\n"a\nb",2,3\n3\n,4\n5,6\n')
    with pytest.raises(DataError, match=r"line 3: expected 2 cells as in the header, got 3: 'a\\nb,2,3'; mend it, put"):
        load(path)
    said: list[str] = []
    assert pairs(load(path, said, skip_bad_rows=True)) == [(1, 2), (5, 6)]
    assert said[0].startswith(f"{path}: skipped 3 of 5 rows (2 malformed, line 3: expected 2 cells")
    assert "'user': 1 missing user id, line 6 ('')" in said[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1,2\n3,4\n", "no column is recognised as the user; its columns are 1, 2; say which: --user-column NAME; its "
                       "first line looks like a row, not like names of columns: add a header line"),
        ("user#item\n1#2\n", "if other characters divide its columns, name them: --delimiter ';'"),
        ("user,item,item\n1,2,2\n", "columns 2 and 3 are both named 'item'; rename one"),
        ("", "the file is empty; expected at least one row"),
        ("user,item", "the file has no rows below its header"),
        ("user,item\n", "the file has no rows"),
        (b"user,item\n1,2\n3,\xe9\n", "expected text in UTF-8, got byte 0xe9 at offset 16; save it as UTF-8"),
        (b"\xfcser,item\n1,2\n", "expected text in UTF-8, got byte 0xfc at offset 0"),
        ("user,item\n1,2\n".encode("utf-16"), "expected text in UTF-8, got UTF-16"),
        (b"user,item\n1,\0\n", "got a NUL byte at offset 12"),
        ('user,item\n1,2\n3,"4\n5,6\n', "a quoted cell begins after line 2 and never ends; add the closing quote"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_text(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = write(tmp_path / "a.csv", content)
    with pytest.raises(DataError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}:")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_place_of_a_byte_that_is_no_utf8_is_that_in_the_file(tmp_path: Path) -> None:
    """Beyond a piece of 1 MiB, and a letter of two bytes over its edge."""
    head = b"user,item_id\n"
    filling = b"1,ab\n" * 300_000
    edge = (1 << 20) - 1
    data = bytearray(head + filling)
    data[edge : edge + 2] = "é".encode()
    offset = len(data) + 2
    path = write(tmp_path / "a.csv", bytes(data) + b"3,\xe9\n")
    line = bytes(data).count(b"\n") + 1
    with pytest.raises(DataError, match=rf"a\.csv:{line}: .*byte 0xe9 at offset {offset};"):
        load(path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"user": 1, "item": [2]}], "column 'item': expected one value in each row, got lists"),
        ([{"user": 1, "item": 2}, {"item": 2}], "column 'user': 1 missing user id, the first in line 2 (null)"),
        ([{"user": 1, "item": 2}, {"user": "x", "item": 2}], "a.jsonl:2: column 'user': expected an integer as in"),
        ([{"user": 1, "item": 2}] * 1500 + [{"user": "x", "item": 2}], "a.jsonl:1501: column 'user': expected an"),
        ([{"user": 2**63, "item": 2}], "a.jsonl:1: column 'user': expected integers of 64 bits with a sign"),
        ([{"user": 1, "item": 2}] * 1500 + [{"user": 2**63, "item": 2}], "a.jsonl:1501: column 'user': expected"),
        ([[1, 2]], "a.jsonl:1: expected a JSON object in each line, got '[1, 2]'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_json_lines(tmp_path: Path, rows: list, message: str) -> None:
    path = write(tmp_path / "a.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))
    with pytest.raises(DataError) as caught:
        load(path)
    assert message in str(caught.value)


def test_json_that_does_not_parse_names_its_line(tmp_path: Path) -> None:
    good = '{"user": 1, "item": 2}\n'
    for before in (1, 1500):
        with pytest.raises(
            DataError, match=rf"a\.jsonl:{before + 1}: expected a JSON object in the line, got '\{{.user"
        ):
            load(write(tmp_path / "a.jsonl", good * before + '{"user": \n'))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.csv", "expected a file, got a folder; name one file in it"),
        ("a.json", "expected a file named *.parquet, *.csv, *.tsv or *.jsonl (text also with .gz, .zst or .bz2)"),
        ("a.parquet.gz", "expected a file named"),
    ],
)
def test_files_of_the_wrong_kind(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(DataError) as caught:
        load(tmp_path / name)
    assert message in str(caught.value)


def test_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read: .*[Tt]runcated"):
        load(write(tmp_path / "a.csv.gz", gzip.compress(b"user,item\n" + b"1,2\n" * 1000)[:-20]))
    with pytest.raises(DataError, match="cannot be read: "):
        load(write(tmp_path / "a.parquet", b"user,item\n1,2\n"))


def catalogue(tmp_path: Path, column, name: str = "title") -> Path:
    path = tmp_path / "items.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"item": list(range(len(column))), name: column}), path)
    return path


@pytest.mark.parametrize(
    ("column", "titles"),
    [
        (pyarrow.array([1984, 2001]), ("1984", "2001")),
        (pyarrow.array(["Heat", None, "Heat"]).dictionary_encode(), ("Heat", "", "Heat")),
        (pyarrow.array([1984, None]).dictionary_encode(), ("1984", "")),
        (pyarrow.array([19_000], pyarrow.date32()), ("2022-01-08",)),
        (pyarrow.array(["", " ", "NA"]), ("", "", "NA")),
        (pyarrow.array(["a", "b"], pyarrow.large_string()), ("a", "b")),
        (pyarrow.array([None, None]), ("", "")),
    ],
    ids=lambda value: str(getattr(value, "type", ""))[:20],
)
def test_titles_of_any_type_are_text(tmp_path: Path, column, titles: tuple[str, ...]) -> None:
    path = write(tmp_path / "a.csv", "user,item\n1,0\n")
    assert load_files(InteractionFiles(path, items=catalogue(tmp_path, column))).catalogue.titles == titles


def test_titles_that_are_lists_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "user,item\n1,0\n")
    with pytest.raises(DataError, match=r"items\.parquet: column 'title': expected one value in each row, got lists"):
        load_files(InteractionFiles(path, items=catalogue(tmp_path, pyarrow.array([["a"]]))))


def test_titles_are_found_in_the_catalogue_or_missed_aloud(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "user,item\n1,0\n1,9\n")
    items = catalogue(tmp_path, pyarrow.array(["Heat", ""]), name="name")
    said: list[str] = []
    dataset = load_files(InteractionFiles(path, items=items, columns=ColumnNames(title="name")), said.append)
    assert dataset.catalogue.titles == ("Heat", "", "")
    assert f"Titles are column 'name' of {items}: 1 of 3 items have one." in said
    assert f"1 of 2 items with interactions are not in {items}, such as 9: they are candidates without a title." in said
    said.clear()
    assert not load_files(InteractionFiles(path, items=items), said.append).catalogue.titled
    assert any(
        text.startswith(f"No column is recognised as titles ({items} has item, name; {path} has") for text in said
    )
    with pytest.raises(
        DataError, match=r"no file has a column 'nam' \(--title-column\); their columns are .*item, name"
    ):
        load_files(InteractionFiles(path, items=items, columns=ColumnNames(title="nam")))


def test_the_catalogue_may_name_its_items_otherwise(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "user,film\n1,2\n")
    items = write(tmp_path / "items.csv", "item_id,title\n2,Heat\n")
    files = InteractionFiles(path, items=items, columns=ColumnNames(item="film"))
    assert load_files(files).catalogue.titles == ("Heat",)


@pytest.mark.parametrize("weight", ["-1", "x", "1e300", "inf"])
def test_weights_that_are_none(tmp_path: Path, weight: str) -> None:
    path = write(tmp_path / "a.csv", f"user,item,weight\n1,2,.5\n1,3,{weight}\n1,4,2\n1,5,\n")
    with pytest.raises(DataError, match="column 'weight': 1 missing weight, the first in line 5"):
        load(path)
    said: list[str] = []
    assert load(path, said, skip_bad_rows=True).interactions.weights.tolist() == [0.5, 2.0]
    assert f"1 weight that is no number of at least 0, line 3 ('{weight}')" in said[0]
