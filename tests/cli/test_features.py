"""`rowbank features` against a real server, as a user types it."""

from __future__ import annotations

import json
import time
import uuid

import pytest

from rowbank import Client
from rowbank.cli import files

CSV = "user_id,age,name,score,genres,adult\n1,31,ann,0.5,a|b,true\n-2,,bob,1.5,,false\n"


@pytest.fixture
def view(target):
    name = f"cli_{uuid.uuid4().hex[:8]}"
    yield name
    with Client(target) as client:
        client.features.drop_view(name)


@pytest.fixture
def people(rowbank, view, tmp_path):
    """A view that was created from a file."""
    (tmp_path / "people.csv").write_text(CSV)
    types = ["--type", "genres=string_list", "--max-age-s", "3600"]
    rowbank("features", "import", view, str(tmp_path / "people.csv"), "--create", "user_id", *types)
    return view


def test_a_file_becomes_a_view_that_is_listed_shown_read_and_dropped(rowbank, answer, view, tmp_path):
    path = tmp_path / "people.csv"
    path.write_text(CSV)
    create = ["--create", "user_id", "--type", "genres=string_list", "--max-age-s", "3600"]
    report = answer("features", "import", view, str(path), *create)
    features = ["age", "name", "score", "genres", "adult"]
    assert report == {
        "view": view, "path": str(path), "rows": 2, "written": 2, "outdated": 0, "created": True, "features": features,
    }  # fmt: skip
    listed = {"name": view, "entity": "user_id", "features": features, "max_age_s": 3600.0}
    assert listed in answer("features", "list")
    kinds = ["int64", "string", "double", "string_list", "bool"]
    assert [(row["feature"], row["type"]) for row in answer("features", "show", view)] == list(
        zip(features, kinds, strict=True)
    )
    one, two, three = answer("features", "get", view, "1", "-2", "3")
    written = one.pop("event_time_at_s")
    assert time.time() - 3600 < written <= time.time()
    expected = {"age": 31, "name": "ann", "score": 0.5, "genres": ["a", "b"], "adult": True}
    assert one == {"id": 1, "status": "present", **expected}
    assert (two["id"], two["age"], two["genres"]) == (-2, 0, [])
    assert (three["status"], three["event_time_at_s"]) == ("not_found", 0.0)
    assert rowbank("features", "drop", view, "--yes").stdout == f"dropped {view}\n"
    assert f"view '{view}' does not exist" in rowbank("features", "drop", view, "--yes", code=1).stderr
    assert rowbank("features", "drop", view, "--yes", "--missing-ok").stdout == f"there was no view {view}\n"
    assert view not in [one["name"] for one in answer("features", "list")]


def test_tables_for_people(rowbank, people):
    shown = rowbank("features", "show", people).stdout.splitlines()
    assert shown[0] == f"{people}: features of user_id, maximum age 3600 s"
    assert shown[2].split() == ["age", "int64", "-"]
    heading, first, second = rowbank("features", "get", people, "1", "-2").stdout.splitlines()
    assert heading.split() == ["ID", "STATUS", "WRITTEN", "ADULT", "AGE", "GENRES", "NAME", "SCORE"]
    assert first.split()[:2] == ["1", "present"]
    assert first.split()[4:] == ["yes", "31", "a,", "b", "ann", "0.5"]
    assert second.split()[4:] == ["no", "0", "[]", "bob", "1.5"]
    assert people in rowbank("features", "list").stdout


def test_freshness_is_of_event_times(rowbank, answer, target, people, tmp_path):
    now = time.time()
    (tmp_path / "ages.csv").write_text(f"user_id,age,at\n1,5,{now + 1000}\n-2,6,{now + 2000}\n")
    report = answer("features", "import", people, str(tmp_path / "ages.csv"), "--event-time-column", "at")
    assert (report["written"], report["features"]) == (2, ["age"])
    with Client(target) as client:
        for entity, age_s in enumerate(range(100, 2000, 100), start=10):
            client.features.write(people, {entity: {"age": 1}}, event_time_s=now - age_s)
        client.features.write(people, {99: {"age": 1}}, event_time_s=now - 4000)
    fresh = answer("features", "freshness", people)
    since = time.time() - now
    assert (fresh["entities"], fresh["sampled"], fresh["max_age_s"]) == (22, 22, 3600.0)
    assert fresh["outside_max_age"] == pytest.approx(1 / 22)
    assert fresh["age_max_s"] == pytest.approx(4000, abs=since + 1)
    assert fresh["age_p50_s"] == pytest.approx(950, abs=since + 1)  # Of 0, 0, 100 ... 1900, 4000.
    assert fresh["newest_at_s"] == pytest.approx(now + 2000, abs=1e-3)
    assert answer("features", "freshness", people, "--sample", "5")["sampled"] == 5
    assert "outside_max_age" in rowbank("features", "freshness", people).stdout


def test_texts_as_ids(rowbank, answer, people, tmp_path):
    (tmp_path / "f.jsonl").write_text('{"user_id": "ann", "age": 5}\n{"user_id": "007", "age": 6}\n')
    answer("features", "import", people, str(tmp_path / "f.jsonl"), "--text-ids")
    reads = answer("features", "get", people, "ann", "007", "7", "--text-ids")
    assert [(read["id"], read["age"], read["status"]) for read in reads] == [
        ("ann", 5, "present"), ("007", 6, "present"), ("7", 0, "not_found"),
    ]  # fmt: skip
    wrong = rowbank("features", "import", people, str(tmp_path / "f.jsonl"), code=1)
    assert (
        "column 'user_id', row 1: expected int64, got 'ann'; texts as ids are imported with --text-ids" in wrong.stderr
    )
    assert "expected an integer, got 'ann'; for ids that are texts give --text-ids" in rowbank(
        "features", "get", people, "ann", code=2
    ).stderr  # fmt: skip
    assert "the id is empty" in rowbank("features", "get", people, "", "--text-ids", code=2).stderr


def test_mistakes_are_one_line(rowbank, people, view, tmp_path):
    (tmp_path / "bad.csv").write_text("user_id,age\n1,5\n2,many\n")
    bad = rowbank("features", "import", people, str(tmp_path / "bad.csv"), code=1).stderr
    assert bad.startswith(f"error: {tmp_path}/bad.csv: column 'age', row 2: expected int64, got 'many'; it takes")
    assert bad.count("\n") == 1
    for options, message in (
        (["--type", "age=int64"], "give --create ENTITY, too"),
        (["--create", "user_id", "--type", "age"], "expected COLUMN=TYPE, such as genres=string_list, got 'age'"),
        (["--event-time-column", "at", "--event-time-s", "5"], "one of --event-time-column and --event-time-s"),
    ):
        assert message in rowbank("features", "import", people, str(tmp_path / "bad.csv"), *options, code=2).stderr
    missing = rowbank("features", "show", "no_such_view", code=1).stderr
    assert missing.startswith("error: feature view 'no_such_view' does not exist; known views: ")
    assert "confirm with --yes" in rowbank("features", "drop", people, code=2).stderr


def test_json_is_whole_where_tables_are_cut(rowbank, answer, people, tmp_path):
    (tmp_path / "f.jsonl").write_text(json.dumps({"user_id": 5, "name": "x" * 500}))
    rowbank("features", "import", people, str(tmp_path / "f.jsonl"))
    assert answer("features", "get", people, "5")[0]["name"] == "x" * 500
    assert "x" * 61 not in rowbank("features", "get", people, "5").stdout


def test_progress_is_told_in_lines_where_nobody_sees_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(files, "_LINE_EVERY_S", 0.0)
    with files.staged_progress("people.csv") as progress:
        progress("checking", 8192, 0)
        progress("writing", 8192, 20_000)
    assert capsys.readouterr().err.splitlines() == [
        "checking people.csv: 8,192 rows", "writing people.csv: 8,192 of 20,000 rows",
    ]  # fmt: skip
