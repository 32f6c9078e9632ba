"""The commands against a real parameter server."""

from __future__ import annotations

import csv
import io
import threading
import uuid

import numpy as np
import pytest

from rowbank import SGD, Adagrad, Client, Constant, TableSpec
from rowbank.text import token_key

TABLE_FIELDS = [
    "name", "dim", "value_dtype", "initializer", "optimizer", "min_count", "eviction", "max_rows", "max_bytes",
    "low_watermark", "ttl_s", "second_chance_bytes", "durability", "frequency_half_life_s", "track_reads",
    "table_id", "created_at_s", "bucket_count", "rows", "bytes", "step", "frozen", "missing_shards",
]  # fmt: skip
STATS_FIELDS = [
    "table", "dim", "rows", "bytes", "payload_bytes", "dirty_rows", "pulled_rows", "pulled_found",
    "pulled_initialized", "pulled_not_admitted", "pushed_rows", "inserted_rows", "evicted_rows", "removed_rows",
    "regretted_rows", "corrupt_rows", "step", "last_write_back_s",
    *(f"second_chance_{name}" for name in ("rows", "bytes", "stored", "returned", "missed", "expired")),
    "missing_shards",
]  # fmt: skip
EVICTION_FIELDS = [
    "at_ms", "table", "reason", "rows", "bytes", "score_cut", "duration_ms", "rows_left", "shard", "outcome",
    "ages", "frequencies", "regretted", "missing_shards",
]  # fmt: skip
EVICT_FIELDS = [
    "table", "dry_run", "rows_before", "rows_after", "evicted", "bytes", "score_cut", "duration_ms", "sample_keys",
]  # fmt: skip
ROW_FIELDS = [
    "table", "key", "id", "found", "bucket", "shard", "frequency", "last_used", "score", "dirty", "position", "values",
    "slots", "missing_shards",
]  # fmt: skip


@pytest.fixture
def table(target):
    """A table of dim 2 with keys -3..6; key k was pushed k + 4 times, and SGD(1) moved it down by one each time."""
    name = f"cli-{uuid.uuid4().hex[:8]}"
    with Client(target) as client:
        created = client.create_table(TableSpec(name, dim=2, initializer=Constant(0.5), optimizer=SGD(1.0)))
        for least in range(-3, 7):
            keys = np.arange(least, 7)
            created.push(keys, np.ones((len(keys), 2), np.float32))
        yield name
        client.drop_table(name, missing_ok=True)


def test_table_is_created_described_listed_and_dropped(rowbank, answer):
    name = f"cli-{uuid.uuid4().hex[:8]}"
    numbers = ["--initializer", "uniform:low=-0.5,high=0.5,seed=7", "--optimizer", "adagrad:learning_rate=0.25"]
    created = answer("table", "create", name, "--dim", "4", *numbers)
    assert list(created) == TABLE_FIELDS
    assert created["initializer"] == "uniform:low=-0.5,high=0.5,seed=7"
    assert created["optimizer"].startswith("adagrad:")
    assert "learning_rate=0.25" in created["optimizer"]
    assert (created["dim"], created["value_dtype"], created["eviction"], created["rows"]) == (4, "float32", "none", 0)
    assert answer("table", "describe", name) == {**created, "holders": []}
    assert created in answer("tables")
    assert name in rowbank("tables").stdout
    assert rowbank("table", "create", name, "--dim", "4", *numbers, "--exist-ok").returncode == 0
    assert f"'{name}'" in rowbank("table", "create", name, "--dim", "4", *numbers, code=1).stderr
    assert rowbank("table", "drop", name, "--yes").stdout == f"dropped {name}\n"
    assert rowbank("table", "drop", name, "--yes", "--missing-ok").stdout == f"there was no table {name}\n"


def test_policies_are_described_as_given(rowbank, answer, table_name):
    policies = {"--eviction": "lru", "--max-rows": "1000", "--ttl-s": "60.0", "--min-count": "3"}
    arguments = [part for option in policies.items() for part in option]
    created = answer("table", "create", table_name, "--dim", "4", *arguments)
    got = [str(created[field]) for field in ("eviction", "max_rows", "ttl_s", "min_count")]
    assert got == list(policies.values())
    rowbank("table", "drop", table_name, "--yes")


def test_a_table_that_exists_says_what_differs(rowbank, table_name):
    create = ("table", "create", table_name, "--dim", "4", "--optimizer", "adagrad:learning_rate=0.1")
    rowbank(*create)
    equal = rowbank(*create, code=1).stderr
    assert equal == f"error: table '{table_name}' exists, with an equal spec; exist_ok=True (--exist-ok) accepts it\n"
    rowbank(*create, "--exist-ok")
    other = ("--dim", "8", "--optimizer", "adam", "--eviction", "lru", "--max-rows", "9", "--exist-ok")
    assert rowbank(*create, *other, code=1).stderr == (
        f"error: table '{table_name}' exists with another spec: dim is 4, asked for 8; "
        "optimizer is adagrad, asked for adam; eviction.policy is none, asked for lru; eviction.max_rows is 0, "
        "asked for 9; ask for what it is, choose another name, or drop it first\n"
    )
    rowbank("table", "drop", table_name, "--yes")


def test_known_tables_begin_with_the_closest_and_say_how_many_more_there_are(rowbank):
    names = [f"a{number:02}-known" for number in range(12)] + ["zz-profiles-known"]
    for name in names:
        rowbank("table", "create", name, "--dim", "4")
    text = rowbank("table", "describe", "zz-profile-known", code=1).stderr
    listed = text.partition("known tables: ")[2].split(" and ")
    assert listed[0].split(", ")[0] == "'zz-profiles-known'"
    assert len(listed[0].split(", ")) == 10
    assert int(listed[1].split()[0]) >= 3
    for name in names:
        rowbank("table", "drop", name, "--yes")


@pytest.mark.parametrize(
    "arguments",
    [
        ["table", "describe", "nobody"],
        ["table", "drop", "nobody", "--yes"],
        ["stats", "nobody"],
        ["row", "nobody", "1"],
        ["top", "nobody"],
        ["evict", "nobody", "--keep", "1"],
        ["evict", "nobody", "--keep", "1", "--dry-run"],
    ],
)
def test_unknown_table_is_one_line_on_stderr(rowbank, arguments):
    done = rowbank(*arguments, code=1)
    assert done.stdout == ""
    assert done.stderr.startswith("error: table 'nobody' does not exist")
    assert done.stderr.count("\n") == 1


def test_stats_count_rows(answer, table):
    (stats,) = answer("stats", table)
    assert list(stats) == STATS_FIELDS
    assert (stats["rows"], stats["inserted_rows"], stats["pushed_rows"]) == (10, 10, 55)  # 10 + 9 + ... + 1
    assert table in [other["table"] for other in answer("stats")]


def test_watched_stats_end_after_count(rowbank, table):
    done = rowbank("stats", table, "--watch", "--interval", "0.05", "--count", "3", "-o", "csv")
    lines = list(csv.reader(io.StringIO(done.stdout)))
    assert lines[0] == STATS_FIELDS
    assert [line[0] for line in lines[1:]] == [table] * 3


def test_row_shows_values_and_metadata(rowbank, answer, table):
    row = answer("row", table, "-3")
    assert list(row) == ROW_FIELDS
    assert (row["key"], row["found"], row["frequency"], row["values"]) == (-3, True, 1, [-0.5, -0.5])
    unseen = answer("row", table, "99")
    assert (unseen["found"], unseen["values"]) == (False, [0.5, 0.5])
    text = rowbank("row", table, "6").stdout
    assert "-9.5 -9.5" in text


def test_row_of_an_id_that_is_a_text(target, rowbank, answer):
    name = f"cli-{uuid.uuid4().hex[:8]}"
    with Client(target) as client:
        client.create_table(TableSpec(name, dim=2)).upsert([token_key("anna")], np.array([[1.0, 2.0]], np.float32))
        row = answer("row", name, "anna", "--text-ids")
        assert (row["key"], row["found"], row["values"]) == (token_key("anna"), True, [1.0, 2.0])
        assert not answer("row", name, "--text-ids", "-3")["found"]
        refused = rowbank("row", name, "anna", code=2)
        assert "expected an integer, got 'anna'; with --text-ids it is an id that is a text" in refused.stderr
        client.drop_table(name)


def test_row_shows_optimizer_state(target, rowbank, answer):
    name = f"cli-{uuid.uuid4().hex[:8]}"
    with Client(target) as client:
        table = client.create_table(TableSpec(name, dim=2, optimizer=Adagrad(0.1, initial_accumulator=0.5)))
        table.push([7], np.array([[1.0, 2.0]], np.float32))
        assert list(answer("row", name, "7")["slots"].values()) == [[1.5, 4.5]]  # 0.5 + g * g
        assert "1.5 4.5" in rowbank("row", name, "7").stdout
        client.drop_table(name)


def test_top_lists_the_most_frequent(answer, table):
    best = answer("top", table, "-n", "3")
    assert [(row["key"], row["frequency"]) for row in best] == [(6, 10), (5, 9), (4, 8)]
    assert all(list(row) == ["key", "id", "frequency", "last_used", "missing_shards"] for row in best)


def test_dry_run_says_what_evict_then_does(answer, table):
    preview = answer("evict", table, "--keep", "6", "--dry-run")
    assert list(preview) == EVICT_FIELDS
    assert (preview["dry_run"], preview["rows_before"], preview["rows_after"], preview["evicted"]) == (True, 10, 6, 4)
    assert (preview["sample_keys"], preview["score_cut"]) == ([-3, -2, -1, 0], 4.0)
    assert answer("stats", table)[0]["rows"] == 10
    assert not answer("evictions", table)
    done = answer("evict", table, "--keep", "6")
    assert {**done, "duration_ms": 0} == {**preview, "dry_run": False, "duration_ms": 0}
    assert answer("stats", table)[0]["rows"] == 6
    (event,) = answer("evictions", table)
    assert list(event) == EVICTION_FIELDS
    assert (event["table"], event["reason"], event["rows"], event["rows_left"]) == (table, "manual", 4, 6)


def test_evictions_for_people(rowbank, table):
    report = rowbank("evict", table, "--keep", "2", "--sample", "3").stdout.splitlines()
    assert [line.split() for line in report if line.startswith("sample_keys")] == [["sample_keys", "-3,", "-2,", "-1"]]
    header, line = rowbank("evictions", table).stdout.splitlines()
    assert header.split()[:4] == ["WHEN", "TABLE", "REASON", "ROWS"]
    assert " manual " in line


def test_output_has_no_escapes_without_a_terminal(rowbank, table):
    for arguments in (["tables"], ["stats", table], ["top", table], ["row", table, "1"], ["evictions"]):
        assert "\x1b" not in rowbank(*arguments).stdout


def test_top_live_counts_what_is_pushed_now(target, answer, table):
    """Each round pushes key 6 three times as often as key 5; key 4, the third of all, not at all."""
    stop = threading.Event()

    def push() -> None:
        with Client(target) as client:
            mine = client.table(table)
            while not stop.wait(0.01):
                mine.push([5], np.zeros((1, 2), np.float32))
                for _ in range(3):
                    mine.push([6], np.zeros((1, 2), np.float32))

    pushing = threading.Thread(target=push)
    pushing.start()
    try:
        first, second = answer("top", table, "--live", "--window-s", "1")
    finally:
        stop.set()
        pushing.join()
    assert (first["key"], second["key"]) == (6, 5)
    assert first["share"] == pytest.approx(0.75, abs=0.1)
    assert first["share"] + second["share"] == pytest.approx(1)
