"""Features from files, imported into a real server: what is in the file is what is read, or nothing is written."""

from __future__ import annotations

import datetime
import gzip
import json
import threading
import time
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rowbank import Client, feature_files
from rowbank.errors import InvalidFeature, InvalidFile, ViewNotFound
from rowbank.features import FeatureField, FeatureView
from rowbank.files import features as importing
from rowbank.text import token_key

KINDS = {
    "age": "int64", "score": "double", "title": "string", "adult": "bool",
    "tokens": "int64_list", "vector": "float_list", "genres": "string_list",
}  # fmt: skip
IDS = [7, -8, 2**62]
ROWS: list[dict[str, Any]] = [
    {"age": 2**53 + 1, "score": 0.1, "title": "Amélie, 長い\nzwei", "adult": True,
     "tokens": [1, -2], "vector": [0.5, -2.0], "genres": ["Comedy", "Romance"]},
    {"age": None, "score": None, "title": None, "adult": None, "tokens": None, "vector": None, "genres": None},
    {"age": -3, "score": -1e300, "title": "", "adult": False, "tokens": [5], "vector": [1.25], "genres": ["x"]},
]  # fmt: skip
DEFAULTS = {"age": 0, "score": 0.0, "title": "", "adult": False, "tokens": (), "vector": (), "genres": ()}


@pytest.fixture
def client(target):
    with Client(target) as client:
        yield client


@pytest.fixture
def view(table_name):
    """A name of a view that no other test uses."""
    return table_name.replace("-", "_")


@pytest.fixture
def people(client, view):
    fields = tuple(FeatureField(name, kind) for name, kind in KINDS.items())
    client.features.put_view(FeatureView(view, "user_id", fields))
    return view


def arrow_table(rows=ROWS, ids=IDS):
    types = [pa.int64(), pa.float64(), pa.string(), pa.bool_(), *map(pa.list_, (pa.int64(), pa.float32(), pa.string()))]
    columns = {"user_id": pa.array(ids, pa.int64())}
    for name, kind in zip(KINDS, types, strict=True):
        columns[name] = pa.array([row[name] for row in rows], kind)
    return pa.table(columns)


def csv_text(ids=IDS):
    """As spreadsheets write it: texts quoted where needed; an empty cell is no value, and "" an empty text."""
    lines = [
        f'{ids[0]},{2**53 + 1},0.1,"Amélie, 長い\nzwei",true,1|-2,0.5|-2.0,Comedy|Romance',
        f"{ids[1]},,,,,,,",
        f'{ids[2]},-3,-1e300,"",False,5,1.25,x',
    ]
    return "\n".join([",".join(["user_id", *KINDS]), *lines]) + "\n"


def write_file(folder, kind):
    path = folder / f"people.{kind}"
    if kind == "parquet":
        pq.write_table(arrow_table(), path, row_group_size=2)
    elif kind == "csv":
        path.write_text(csv_text())
    elif kind == "csv.gz":
        path.write_bytes(gzip.compress(csv_text().encode()))
    elif kind == "tsv":
        path.write_text(csv_text().replace(",", "\t").replace("Amélie\t", "Amélie,"))
    else:
        lines = [json.dumps({"user_id": one, **row}) for one, row in zip(IDS, ROWS, strict=True)]
        path.write_text("\n".join([lines[0], "", *lines[1:]]))
    return str(path)


def tupled(value):
    return tuple(value) if isinstance(value, list) else value


def expected(row):
    return {name: DEFAULTS[name] if value is None else tupled(value) for name, value in row.items()}


@pytest.mark.parametrize("kind", ["parquet", "csv", "csv.gz", "tsv", "jsonl"])
def test_what_is_in_a_file_is_read(client, people, tmp_path, kind):
    before = time.time()
    report = feature_files.import_features(client, people, write_file(tmp_path, kind))
    assert (report.rows, report.written, report.outdated, report.created) == (3, 3, 0, False)
    assert report.features == tuple(KINDS)
    reads = client.features.read(people, IDS)
    assert [read.values for read in reads] == [expected(row) for row in ROWS]
    assert {read.status for read in reads} == {"present"}
    assert all(before - 1e-5 <= read.event_time_s <= time.time() for read in reads)


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_a_view_is_created_for_a_file(client, view, tmp_path, kind):
    types = {} if kind != "csv" else {"tokens": "int64_list", "vector": "float_list", "genres": "string_list"}
    arguments = {"create": "user_id", "max_age_s": 3600.0, "types": types}
    path = write_file(tmp_path, kind)
    assert feature_files.import_features(client, view, path, **arguments).created
    made = client.features.view(view)
    assert {field.name: field.type for field in made.fields} == KINDS
    assert (made.entity, made.max_age_s) == ("user_id", 3600.0)
    assert not feature_files.import_features(client, view, path, **arguments).created
    with pytest.raises(InvalidFeature, match="is there and is of entity 'user_id', not of 'item_id'"):
        feature_files.import_features(client, view, path, create="item_id", entity_column="user_id")


def test_types_of_text_are_those_that_all_cells_fit(client, view, tmp_path):
    path = tmp_path / "f.csv"
    path.write_text("user_id,a,b,c,d,e\n1,1,1.5,true,007,x\n2,,2,False,12,\n")
    feature_files.import_features(client, view, str(path), create="user_id")
    kinds = {field.name: field.type for field in client.features.view(view).fields}
    assert kinds == {"a": "int64", "b": "double", "c": "bool", "d": "string", "e": "string"}
    assert client.features.read(view, [1])[0].values["d"] == "007"


def test_what_pandas_writes_is_read(client, people, tmp_path):
    """Integers with gaps are doubles there, texts may be categories, and numbers of any width."""
    frame = pd.DataFrame({"user_id": np.array([1, 2], np.int32), "age": [31.0, np.nan], "score": np.float32([0.5, 2])})
    frame["title"] = pd.Series(["a", None], dtype="category")
    frame["tokens"] = [np.array([1, 2], np.int16), None]
    frame.to_parquet(tmp_path / "f.parquet")
    feature_files.import_features(client, people, str(tmp_path / "f.parquet"))
    reads = client.features.read(people, [1, 2], ["age", "score", "title", "tokens"])
    assert [read.values for read in reads] == [
        {"age": 31, "score": 0.5, "title": "a", "tokens": (1, 2)},
        {"age": 0, "score": 2.0, "title": "", "tokens": ()},
    ]


def test_an_empty_cell_takes_a_feature_away_and_a_missing_column_does_not(client, people, tmp_path):
    client.features.write(people, {1: {"age": 4, "title": "a"}}, event_time_s=1000.0)
    (tmp_path / "f.csv").write_text("user_id,age\n1,\n")
    feature_files.import_features(client, people, str(tmp_path / "f.csv"))
    assert client.features.read(people, [1], ["age", "title"])[0].values == {"age": 0, "title": "a"}


MOMENT_S = 1_767_225_600.5
TIMES = {
    "seconds": (str(MOMENT_S), "1767225600.5"),
    "iso": ("2026-01-01T00:00:00.500Z", "2026-01-01 00:00:00.5"),
    "zone": ("2026-01-01T01:00:00.500+01:00", "2025-12-31T19:00:00.500-05:00"),
}


@pytest.mark.parametrize("kind", TIMES)
def test_times_of_events_are_taken_from_a_column_of_text(client, people, tmp_path, kind):
    first, second = TIMES[kind]
    (tmp_path / "f.csv").write_text(f"user_id,age,at\n1,5,{first}\n2,6,{second}\n")
    feature_files.import_features(client, people, str(tmp_path / "f.csv"), event_time_column="at")
    assert [read.event_time_s for read in client.features.read(people, [1, 2])] == [MOMENT_S, MOMENT_S]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_times_of_events_are_taken_from_timestamps(client, people, tmp_path, unit):
    naive = datetime.datetime(2026, 1, 1, 0, 0, 0, 500_000)
    columns = {"user_id": [1, 2], "age": [5, 6], "at": pa.array([naive, naive], pa.timestamp(unit))}
    pq.write_table(pa.table(columns), tmp_path / "f.parquet")
    feature_files.import_features(client, people, str(tmp_path / "f.parquet"), event_time_column="at")
    assert [read.event_time_s for read in client.features.read(people, [1, 2])] == [MOMENT_S, MOMENT_S]


def test_an_older_event_is_left_out_and_a_repeated_import_changes_nothing(client, people, tmp_path):
    client.features.write(people, {1: {"age": 40}}, event_time_s=2000.0)
    path = tmp_path / "f.csv"
    path.write_text("user_id,age,at\n1,39,1999\n2,5,1000\n2,6,1001\n3,8,1001\n3,7,1000\n")
    for _ in range(2):
        report = feature_files.import_features(client, people, str(path), event_time_column="at")
        assert report.outdated == report.rows - report.written
        reads = client.features.read(people, [1, 2, 3], ["age"])
        assert [(read.values["age"], read.event_time_s) for read in reads] == [(40, 2000), (6, 1001), (8, 1001)]
    assert report.outdated >= 1


def test_texts_as_ids_have_the_keys_of_training(client, people, tmp_path):
    (tmp_path / "f.csv").write_text("user_id,age\nann,5\n007,6\n")
    feature_files.import_features(client, people, str(tmp_path / "f.csv"), text_ids=True)
    reads = client.features.read(people, [token_key("ann"), token_key("007"), 7], ["age"])
    assert [(read.values["age"], read.status) for read in reads] == [(5, "present"), (6, "present"), (0, "not_found")]
    (tmp_path / "f.csv").write_text(f"user_id,age\n{'é' * 512},5\nann,9\n{'é' * 513},6\n")
    with pytest.raises(InvalidFile, match="column 'user_id', row 3: expected an id of 1 to 1024 bytes, got 'éé"):
        feature_files.import_features(client, people, str(tmp_path / "f.csv"), text_ids=True)
    assert client.features.read(people, ["ann"], ["age"], text_ids=True)[0].values == {"age": 5}


def test_a_view_that_is_created_for_texts_as_ids_keeps_them(client, view, tmp_path):
    (tmp_path / "f.csv").write_text("user_id,age\nann,5\n007,6\n")
    path = str(tmp_path / "f.csv")
    for _ in range(2):
        report = feature_files.import_features(client, view, path, text_ids=True, create="user_id")
        assert (report.written, report.features) == (2, ("age",))
    reads = client.features.read(view, ["ann", "007", "bob"], ["age", "_id"], text_ids=True)
    assert [(read.values["age"], read.values["_id"]) for read in reads] == [(5, "ann"), (6, "007"), (0, "")]


def test_only_some_columns_of_a_file_under_another_id(client, people, tmp_path):
    (tmp_path / "f.csv").write_text("who,age,x,score\n1,5,?,2\n")
    path = str(tmp_path / "f.csv")
    report = feature_files.import_features(client, people, path, entity_column="who", columns=["score", "age"])
    assert report.features == ("score", "age")
    assert client.features.read(people, [1], ["age", "score"])[0].values == {"age": 5, "score": 2.0}


HUGE = str(2**63)
BAD_CSV = {
    "word": ("user_id,age\n1,5\n2,x\n3,y\n", "column 'age', row 2: expected int64, got 'x'; it takes an integer from"),
    "fraction": ("user_id,age\n1,5.5\n", "column 'age', row 1: expected int64, got '5.5'"),
    "range": (f"user_id,age\n1,{HUGE}\n", f"column 'age', row 1: expected int64, got '{HUGE}'"),
    "nan": ("user_id,score\n1,1\n2,NaN\n", "column 'score', row 2: expected double, got 'NaN'"),
    "infinite": ("user_id,score\n1,1\n2,1e400\n", "column 'score', row 2: expected double, got inf"),
    "truth": ("user_id,adult\n1,yes\n", "column 'adult', row 1: expected bool, got 'yes'"),
    "element": ("user_id,tokens\n1,1\n2,\n3,4|a\n", "column 'tokens', row 3: expected int64_list, got 'a'"),
    "float32": ("user_id,vector\n1,1|1e39\n", "column 'vector', row 1: expected float_list, got 1e.39 in a list"),
    "no id": ("user_id,age\n1,5\n,6\n", "column 'user_id', row 2: expected an id, got None"),
    "text id": ("user_id,age\n1,5\nann,6\n", "got 'ann'; texts as ids are imported with --text-ids"),
    "columns": ("user_id,age\n1,5\n2,6,7\n", "Expected 2 columns, got 3"),
    "no such": ("user_id,agee\n1,5\n", "column 'agee' is no feature of view .* did you mean age"),
    "no entity": ("user,age\n1,5\n", "expected a column 'user_id' with the entities' ids .* it has: user, age"),
    "twice": ("user_id,age,age\n1,5,6\n", "column 'age' is there twice"),
    "no features": ("user_id\n1\n", "expected columns of features besides 'user_id', got none"),
    "empty": ("", "Empty CSV file"),
}


@pytest.mark.parametrize("what", BAD_CSV)
def test_a_bad_file_is_refused_by_name_and_nothing_of_it_is_written(client, people, tmp_path, what):
    text, message = BAD_CSV[what]
    path = tmp_path / "f.csv"
    path.write_text(text)
    with pytest.raises((InvalidFile, InvalidFeature), match=message) as caught:
        feature_files.import_features(client, people, str(path))
    assert str(path) in str(caught.value)
    assert client.features.read(people, [1])[0].status == "not_found"


BAD_JSON = {
    "type": ('{"user_id": 1, "age": 5}\n{"user_id": 2, "age": "6"}', "column 'age', row 2: expected int64, got '6'"),
    "bool": ('{"user_id": 1, "age": true}', "column 'age', row 1: expected int64, got True"),
    "nan": ('{"user_id": 1, "score": NaN}', "column 'score', row 1: expected double, got nan"),
    "null": (
        '{"user_id": 1, "genres": ["a", null]}',
        "column 'genres', row 1: expected string_list, got None in a list",
    ),
    "no list": ('{"user_id": 1, "tokens": 3}', "column 'tokens', row 1: expected int64_list, got 3"),
    "torn": ('{"user_id": 1, "age": 5}\n{"user_id": 2', "line 2: expected a JSON object, got"),
    "no object": ("[1, 2]", "line 1: expected a JSON object, got a list"),
    "id": ('{"age": 5}', "expected a column 'user_id'"),
    "half a pair": (
        r'{"user_id": 1, "title": "\ud83c"}',
        r"column 'title', row 1: expected string, got '\\ud83c'; it takes a text that UTF-8 can hold",
    ),
}


@pytest.mark.parametrize("what", BAD_JSON)
def test_bad_json_lines_are_refused(client, people, tmp_path, what):
    text, message = BAD_JSON[what]
    (tmp_path / "f.jsonl").write_text(text)
    with pytest.raises(InvalidFile, match=message):
        feature_files.import_features(client, people, str(tmp_path / "f.jsonl"))
    assert client.features.read(people, [1])[0].status == "not_found"


BAD_PARQUET: dict[str, tuple[dict[str, Any], str]] = {
    "type": (
        {"age": ["a", "b"]},
        "column 'age': expected int64, got string, such as 'a' in row 1; write the column as",
    ),
    "fraction": ({"age": [1.0, 1.5]}, "column 'age', row 2: expected int64, got 1.5"),
    "nan": ({"score": [1.0, float("nan")]}, "column 'score', row 2: expected double, got nan"),
    "infinite": ({"vector": [[1.0], [float("inf")]]}, "column 'vector', row 2: expected float_list, got inf in a list"),
    "null": ({"tokens": [[1], [2, None]]}, "column 'tokens', row 2: expected int64_list, got None in a list"),
    "unsigned": (
        {"age": pa.array([1, 2**63], pa.uint64())},
        "column 'age', row 2: expected int64, got 9223372036854775808",
    ),
    "time": ({"age": pa.array([1, 2], pa.timestamp("us"))}, "column 'age': expected int64, got timestamp"),
}


@pytest.mark.parametrize("what", BAD_PARQUET)
def test_bad_parquet_files_are_refused(client, people, tmp_path, what):
    columns, message = BAD_PARQUET[what]
    pq.write_table(pa.table({"user_id": [1, 2], **columns}), tmp_path / "f.parquet")
    with pytest.raises(InvalidFile, match=message):
        feature_files.import_features(client, people, str(tmp_path / "f.parquet"))
    assert client.features.read(people, [1])[0].status == "not_found"


def test_text_that_is_no_utf_8_is_refused(client, people, tmp_path):
    (tmp_path / "f.csv").write_bytes(b"user_id,title\n1,a\n2,b\xff\n")
    with pytest.raises(InvalidFile, match="column 'title', row 2: expected text in UTF-8"):
        feature_files.import_features(client, people, str(tmp_path / "f.csv"))
    raw = pa.array([b"a", b"b\xff"], pa.binary())
    torn = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    pq.write_table(pa.table({"user_id": [1, 2], "title": torn}), tmp_path / "f.parquet")
    with pytest.raises(InvalidFile, match="column 'title', row 2: expected text in UTF-8"):
        feature_files.import_features(client, people, str(tmp_path / "f.parquet"))


@pytest.mark.parametrize("bad", ["soon", "", "-1", "1e12", "nan", "2026-13-01"])
def test_bad_times_are_refused(client, people, tmp_path, bad):
    (tmp_path / "f.csv").write_text(f"user_id,age,at\n1,5,100\n2,5,{bad}\n")
    with pytest.raises(
        InvalidFile, match="column 'at', row 2: expected Unix seconds from 0 to 1e11, a timestamp or ISO"
    ):
        feature_files.import_features(client, people, str(tmp_path / "f.csv"), event_time_column="at")
    assert client.features.read(people, [1])[0].status == "not_found"


def test_other_mistakes_are_named(client, people, view, tmp_path):
    def imported(path, name=people, **arguments):
        feature_files.import_features(client, name, str(tmp_path / path), **arguments)

    (tmp_path / "f.csv").write_text("user_id,age\n1,5\n")
    (tmp_path / "f.txt").write_text("user_id,age\n1,5\n")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1xxxx")
    (tmp_path / "gaps.csv").write_text("user_id,age\n1,\n")
    with pytest.raises(InvalidFile, match=r"none\.csv: no such file"):
        imported("none.csv")
    with pytest.raises(InvalidFile, match=r"whose name ends in .parquet, .*, got '.txt'; say what it is"):
        imported("f.txt")
    with pytest.raises(InvalidFile, match="not a whole Parquet file"):
        imported("torn.parquet")
    with pytest.raises(ViewNotFound, match=r"view 'no_such' does not exist; known views: .*--create user_id"):
        imported("f.csv", "no_such")
    with pytest.raises(InvalidFile, match="column 'age': expected values of one type, got no value in any row"):
        imported("gaps.csv", "no_such", create="user_id")
    with pytest.raises(InvalidFile, match=r"type of column 'age': expected one of int64, .*, got 'int'"):
        imported("f.csv", "no_such", create="user_id", types={"age": "int"})
    with pytest.raises(InvalidFile, match="expected a column 'agee' as --column says"):
        imported("f.csv", columns=["agee"])
    with pytest.raises(InvalidFeature, match="event_time_s: expected Unix seconds"):
        imported("f.csv", event_time_s=float("nan"))
    assert "no_such" not in [one.name for one in client.features.list_views()]
    imported("f.txt", file_format="csv")


def test_large_files_are_read_twice_and_a_change_between_is_told(client, people, tmp_path, monkeypatch):
    """What does not fit into memory is checked first and read again to be written."""
    monkeypatch.setattr(importing, "_KEPT_BYTES", 0)
    path = tmp_path / "f.parquet"
    count = 20_000
    pq.write_table(pa.table({"user_id": range(count), "age": range(count)}), path)
    seen = []
    report = feature_files.import_features(client, people, str(path), progress=lambda *now: seen.append(now))
    assert (report.rows, report.written) == (count, count)
    assert [read.values["age"] for read in client.features.read(people, range(count), ["age"])] == list(range(count))
    assert seen[0] == ("checking", 8192, count)
    assert seen[-1] == ("writing", count, count)

    def replaced(stage, done, total):
        if (stage, done) == ("checking", count):
            pq.write_table(pa.table({"user_id": range(9000), "age": range(9000)}), path)

    with pytest.raises(InvalidFile, match="it had 20,000 rows when it was checked, and 9,000 when they were written"):
        feature_files.import_features(client, people, str(path), progress=replaced)


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_texts_of_ten_megabytes(client, people, tmp_path, kind):
    """Rows go in requests that the server takes, however long they are."""
    texts = [letter * 10_000_000 for letter in "abcdefgh"]
    path = tmp_path / f"f.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table({"user_id": range(8), "title": texts}), path)
    elif kind == "csv":
        path.write_text("user_id,title\n" + "".join(f"{entity},{text}\n" for entity, text in enumerate(texts)))
    else:
        lines = [json.dumps({"user_id": entity, "title": text}) for entity, text in enumerate(texts)]
        path.write_text("\n".join(lines))
    assert feature_files.import_features(client, people, str(path)).written == 8
    for entity, text in enumerate(texts):
        assert client.features.read(people, [entity], ["title"])[0].values["title"] == text


def test_a_view_of_five_hundred_features(client, view, tmp_path):
    columns = {f"f{number}": np.arange(100) * number for number in range(500)}
    pq.write_table(pa.table({"user_id": range(100), **columns}), tmp_path / "f.parquet")
    feature_files.import_features(client, view, str(tmp_path / "f.parquet"), create="user_id")
    read = client.features.read(view, [7])[0]
    assert read.values == {f"f{number}": 7 * number for number in range(500)}


def test_a_view_that_is_replaced_during_an_import_takes_nothing_of_it(client, people, tmp_path, monkeypatch):
    monkeypatch.setattr(importing, "_KEPT_BYTES", 0)
    count = 40_000
    pq.write_table(pa.table({"user_id": range(count), "age": range(count)}), tmp_path / "f.parquet")
    replaced = threading.Event()

    def replace(stage, done, total):
        if stage == "writing" and not replaced.is_set():
            replaced.set()
            client.features.drop_view(people)
            client.features.put_view(FeatureView(people, "user_id", (FeatureField("age", "string"),)))

    with pytest.raises(
        (InvalidFeature, ViewNotFound), match=r"the first [\d,]+ of 40,000 rows were written, .*import the file again"
    ):
        feature_files.import_features(client, people, str(tmp_path / "f.parquet"), progress=replace)
    read = client.features.read(people, [count - 1])[0]
    assert (read.status, read.values["age"]) == ("not_found", "")


def test_of_two_imports_at_once_the_later_events_stay(target, client, people, tmp_path):
    count = 5000
    for name, at in (("old", 1000), ("new", 2000)):
        columns = {"user_id": range(count), "age": [at] * count, "at": [at] * count}
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")

    def run(name):
        with Client(target) as own:
            path = str(tmp_path / f"{name}.parquet")
            feature_files.import_features(own, people, path, event_time_column="at")

    threads = [threading.Thread(target=run, args=(name,)) for name in ("old", "new", "old", "new")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    reads = client.features.read(people, range(count), ["age"])
    assert {(read.values["age"], read.event_time_s) for read in reads} == {(2000, 2000.0)}
