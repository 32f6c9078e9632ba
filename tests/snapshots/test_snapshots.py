"""Snapshots of real shards: whole, at one moment, and back onto any number of shards."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from tests.client.test_frozen_tables import FILES, grown_table, manifest_over
from tests.snapshots.conftest import content, train

from rowbank import SGD, Adam, Client, Constant, TableSpec, Uniform, snapshots
from rowbank.errors import InvalidFile, InvalidRequest, NotReady, SnapshotNotFound, TableExists, TableHeld

DIM = 4


@pytest.fixture
def start(start_ps, redis_server, tmp_path):
    """start(shard_count): a client of a new cluster with a namespace of its own."""
    with contextlib.ExitStack() as opened:
        numbers = iter(range(100))

        def start(shard_count):
            namespace = f"{tmp_path.name}-{next(numbers)}"
            shards = [
                start_ps("--shard", f"{shard}/{shard_count}", "--namespace", namespace) for shard in range(shard_count)
            ]
            return opened.enter_context(Client([shard.target for shard in shards], timeout_s=10))

        yield start


def fill(client):
    """Two trained tables, one of which is empty again, and a third without state."""
    adam = client.create_table(
        TableSpec("adam/users", dim=DIM, initializer=Uniform(-1, 1, seed=2), optimizer=Adam(0.01, amsgrad=True))
    )
    plain = client.create_table(TableSpec("plain", dim=7, value_dtype="float16", durability="relaxed"))
    client.create_table(TableSpec("empty", dim=2))
    train(adam, seed=1)
    train(plain, seed=2)


def contents(client):
    return {info.spec.name: (info.step, content(client.table(info.spec.name))) for info in client.list_tables()}


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 3)])
def test_restored_onto_another_number_of_shards_bit_for_bit(start, tmp_path, before, after):
    first = start(before)
    fill(first)
    saved = snapshots.save(first, str(tmp_path / "all"))
    assert [point.shard for point in saved.shards] == list(range(before))
    assert all(point.position > 0 for point in saved.shards)
    second = start(after)
    snapshots.restore(second, saved.location)
    assert contents(second) == contents(first)
    assert [table.spec for table in saved.tables] == [info.spec for info in second.list_tables()]


def polite_threads(process):
    """How many of its threads have a lower priority than the process itself."""
    folder = Path("/proc", str(process), "task")
    nice = [os.getpriority(os.PRIO_PROCESS, int(thread.name)) for thread in folder.iterdir()]
    return sum(value > os.getpriority(os.PRIO_PROCESS, process) for value in nice)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
def test_whoever_reads_and_writes_it_lets_requests_go_first(start_ps, tmp_path):
    shard = start_ps()
    with Client(shard.target) as client:
        fill(client)
        assert polite_threads(shard.process.pid) == 0
        seen = []
        snapshots.save(client, str(tmp_path / "all"), progress=lambda done, total: seen.append(nice_of_this_thread()))
    assert 1 <= polite_threads(shard.process.pid) <= 3  # A call for each table, a thread for each that found none free.
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert seen
    assert set(seen) == {max(10, own)}
    assert nice_of_this_thread() == own


def nice_of_this_thread():
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_changes_after_the_moment_are_not_in_it_and_those_before_are(start, tmp_path):
    client = start(1)
    fill(client)
    before = contents(client)
    saved = snapshots.save(client, str(tmp_path), name="first")
    client.table("adam/users").clear()
    client.drop_table("plain")
    train(client.create_table(TableSpec("later", dim=3)), seed=5)
    snapshots.restore(client, saved.location, replace=True)
    later = client.table_info("later")
    assert later.rows > 0  # Tables that the snapshot does not have stay.
    client.drop_table("later")
    assert contents(client) == before


def test_pushes_go_on_and_a_push_to_two_tables_is_in_wholly_or_not_at_all(start, tmp_path):
    """Each writer pushes -1 to the same keys of two tables at once, so both must have moved by the same number."""
    client = start(1)
    keys = np.arange(2000)
    for name in ("left", "right"):
        client.create_table(TableSpec(name, dim=DIM, initializer=Constant(0.0), optimizer=SGD(1.0)))
    gradients = -np.ones((len(keys), DIM), np.float32)
    client.push({"left": (keys, gradients), "right": (keys, gradients)})
    acknowledged = [1]
    stop, running = threading.Event(), threading.Event()

    def write():
        while not stop.is_set():
            client.push({"left": (keys, gradients), "right": (keys, gradients)})
            acknowledged[0] += 1
            running.set()

    writer = threading.Thread(target=write)
    writer.start()
    saves = []
    try:
        assert running.wait(20)
        for number in range(5):
            least = acknowledged[0]
            saved = snapshots.save(client, str(tmp_path), name=str(number))
            saves.append((least, saved, acknowledged[0] + 1))
    finally:
        stop.set()
        writer.join()
    for least, saved, most in saves:
        snapshots.restore(client, saved.location, replace=True)
        left, right = (client.table(name).lookup(keys).values for name in ("left", "right"))
        count = left[0, 0]
        assert least <= count <= most
        np.testing.assert_array_equal(left, np.full_like(left, count))
        np.testing.assert_array_equal(right, left)
    assert saves[-1][2] > saves[0][0] + 1  # Pushes did go on.


def test_what_follows_from_something_is_not_in_without_it(start, tmp_path):
    """Keys of the second shard are pushed only after the first acknowledged; the snapshot may never show more there."""
    client = start(2)
    table = client.create_table(TableSpec("chain", dim=1, initializer=Constant(0.0), optimizer=SGD(1.0)))
    shards = [client.table("chain").describe_row(key).shard for key in range(64)]
    first, second = shards.index(0), shards.index(1)
    stop, running = threading.Event(), threading.Event()

    def write():
        while not stop.is_set():
            table.push([first], [[-1.0]])
            table.push([second], [[-1.0]])
            running.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert running.wait(20)
        saved = [snapshots.save(client, str(tmp_path), name=str(number)) for number in range(5)]
    finally:
        stop.set()
        writer.join()
    for snapshot in saved:
        snapshots.restore(client, snapshot.location, replace=True)
        ahead, behind = client.table("chain").lookup([first, second]).values[:, 0]
        assert behind <= ahead <= behind + 1


@pytest.mark.parametrize("damage", ["torn", "changed", "missing", "manifest"])
def test_damage_is_found_by_verify_and_refused_by_restore(start, tmp_path, damage):
    client = start(2)
    fill(client)
    saved = snapshots.save(client, str(tmp_path), name="saved")
    assert snapshots.verify(saved.location) == saved
    path = Path(saved.location) / saved.tables[0].files[1].path
    if damage == "manifest":
        path = Path(saved.location) / "manifest.json"
        path.write_text(path.read_text().replace('"step": 3', '"step": 4'))
    elif damage == "torn":
        path.write_bytes(path.read_bytes()[:-10])
    elif damage == "changed":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    else:
        path.unlink()
    before = contents(client)
    for refuse in (lambda: snapshots.verify(saved.location), lambda: snapshots.restore(client, saved.location)):
        with pytest.raises(InvalidFile, match=path.name):
            refuse()
    with pytest.raises(InvalidFile, match=path.name):
        snapshots.restore(client, saved.location, replace=True)
    assert contents(client) == before


@pytest.mark.parametrize("shards", [1, 2])
def test_what_changed_since_another_is_enough(start, tmp_path, shards):
    """Rows pushed, added, removed and evicted; a table that is new, one that was made anew, one that is gone."""
    client = start(shards)
    fill(client)
    users, plain = client.table("adam/users"), client.table("plain")
    whole = snapshots.save(client, str(tmp_path), name="whole")
    keys = np.concatenate([chunk.keys for chunk in users.export()])
    users.push(keys[:7], np.ones((7, DIM), np.float32))
    users.remove(keys[10:13])
    users.upsert([1, 2], np.ones((2, DIM), np.float32))
    plain.restrict(100)
    client.drop_table("empty")
    train(client.create_table(TableSpec("empty", dim=3)), seed=8, pushes=1)
    second = snapshots.save(client, str(tmp_path), name="second", base="whole")
    second_contents = contents(client)
    written = {table.name: (table.on_base, sum(file.rows for file in table.files)) for table in second.tables}
    assert written == {"adam/users": (True, 9), "plain": (True, 0), "empty": (False, client.table("empty").size())}
    assert {table.name: table.rows for table in second.tables} == {
        name: len(rows) for name, (_, rows) in second_contents.items()
    }
    users.push(keys[5:9], np.ones((4, DIM), np.float32))
    users.push(keys[10:11], np.ones((1, DIM), np.float32))  # Removed before.
    client.drop_table("plain")
    third = snapshots.save(client, str(tmp_path), name="third", base="second")
    third_contents = contents(client)
    assert third.bytes < whole.bytes
    other = start(3 - shards)
    for saved, expected in ((second, second_contents), (third, third_contents)):
        snapshots.verify(saved.location)
        snapshots.restore(other, saved.location, replace=True)
        assert {name: rows for name, rows in contents(other).items() if name in expected} == expected
    path = Path(whole.location) / whole.tables[0].files[0].path
    path.write_bytes(path.read_bytes()[:-1])
    for refuse in (lambda: snapshots.verify(third.location), lambda: snapshots.restore(other, third.location)):
        with pytest.raises(InvalidFile, match=f"whole/.*{path.name}"):
            refuse()


def test_base_must_be_a_whole_snapshot_and_other_shards_write_tables_whole(start, tmp_path):
    one, two = start(1), start(2)
    fill(one)
    with pytest.raises(InvalidFile, match="nothing: no snapshot there"):
        snapshots.save(one, str(tmp_path), base="nothing")
    base = snapshots.save(one, str(tmp_path), name="base")
    snapshots.restore(two, base.location)
    saved = snapshots.save(two, str(tmp_path), name="next", base="base")
    assert not any(table.on_base for table in saved.tables)
    snapshots.restore(one, saved.location, replace=True)
    assert contents(one) == contents(two)
    index = Path(base.location) / base.tables[0].indexes[0].path
    index.write_bytes(index.read_bytes()[:-1])
    with pytest.raises(InvalidFile, match=index.name):
        snapshots.save(one, str(tmp_path), name="torn", base="base")
    assert not (tmp_path / "torn").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("not JSON", "is no JSON; it was not written by a snapshot, or is torn"),
        ("[]", "is no manifest of a snapshot: what it holds is of another form"),
        ("{}", "is no manifest of a snapshot: it lacks 'format'"),
    ],
)
def test_a_manifest_of_another_kind_is_told_so(tmp_path, content, words):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InvalidFile, match=f"manifest.json: {words}$"):
        snapshots.verify(str(tmp_path))


def test_without_a_manifest_there_is_no_snapshot(start, tmp_path):
    client = start(1)
    fill(client)
    saved = snapshots.save(client, str(tmp_path), name="whole")
    snapshots.save(client, str(tmp_path), name="torn")
    (tmp_path / "torn" / "manifest.json").unlink()
    assert snapshots.find(str(tmp_path)) == [saved]
    with pytest.raises(InvalidFile, match=r"torn: no snapshot there"):
        snapshots.verify(str(tmp_path / "torn"))
    with pytest.raises(InvalidFile, match=r"whole: exists"):
        snapshots.save(client, str(tmp_path), name="whole")


def test_failed_save_leaves_nothing_and_the_shard_free(start, tmp_path):
    client = start(1)
    fill(client)

    def fail(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        snapshots.save(client, str(tmp_path), name="broken", progress=fail)
    assert not (tmp_path / "broken").exists()
    saved = snapshots.save(client, str(tmp_path), name="next")
    assert saved.rows == sum(info.rows for info in client.list_tables())


def test_existing_rows_are_not_touched_unless_asked(start, tmp_path):
    client = start(1)
    fill(client)
    saved = snapshots.save(client, str(tmp_path))
    train(client.table("plain"), seed=9)
    before = contents(client)
    with pytest.raises(TableExists, match="'adam/users' exists and has"):
        snapshots.restore(client, saved.location)
    assert contents(client) == before
    with pytest.raises(InvalidRequest, match="no table 'nobody'; it has: adam/users, empty, plain"):
        snapshots.restore(client, saved.location, tables=["nobody"])
    client.table("adam/users").clear()
    restored = snapshots.restore(client, saved.location, tables=["adam/users"])
    assert [table.name for table in restored.tables] == ["adam/users"]
    assert client.table("adam/users").size() == restored.rows


def test_what_a_version_holds_is_replaced_by_force_alone_and_its_copies_are_not_saved(start, tmp_path):
    client = start(1)
    table, keys, values = grown_table(client, "t", rows=50)
    other = client.create_table(TableSpec("a", dim=2))
    client.models.publish(manifest_over("t"), FILES)
    saved = snapshots.save(client, str(tmp_path), name="first")
    assert [one.name for one in saved.tables] == ["a", "t"]
    table.upsert(keys, values + 1)
    other.upsert([1], np.ones((1, 2), np.float32))
    with pytest.raises(TableHeld, match="nothing was restored"):
        snapshots.restore(client, saved.location, replace=True)
    assert other.size() == 1  # Nor was the table before it touched.
    snapshots.restore(client, saved.location, replace=True, force=True)
    np.testing.assert_array_equal(client.table("t").lookup(keys).values, values)
    (bound,) = client.models.get("t").manifest.tables
    np.testing.assert_array_equal(client.table(bound.name).lookup(keys).values, values)


def test_mutations_go_on_by_themselves_when_the_caller_is_gone(start):
    from rowbank.calls import methods
    from rowbank_protos.v1 import snapshots_pb2

    client = start(1)
    fill(client)
    transport = client.calls.transport
    begin = snapshots_pb2.BeginSnapshotRequest(snapshot_id="lost", hold_ms=300)
    transport.one(methods.BEGIN_SNAPSHOT, 0, begin)
    train(client.table("plain"), seed=3, pushes=1)  # Waits for the 300 ms to pass.
    resume = snapshots_pb2.ResumeMutationsRequest(snapshot_id="lost")
    assert not transport.one(methods.RESUME_MUTATIONS, 0, resume).held
    other = snapshots_pb2.BeginSnapshotRequest(snapshot_id="other", hold_ms=300)
    with pytest.raises(NotReady, match="another snapshot"):
        transport.one(methods.BEGIN_SNAPSHOT, 0, other, retry=False)
    transport.one(methods.END_SNAPSHOT, 0, snapshots_pb2.EndSnapshotRequest(snapshot_id="lost"))
    with pytest.raises(SnapshotNotFound):
        transport.one(methods.RESUME_MUTATIONS, 0, resume)
    for wrong in (
        snapshots_pb2.BeginSnapshotRequest(hold_ms=300),
        snapshots_pb2.BeginSnapshotRequest(snapshot_id="x"),
        snapshots_pb2.BeginSnapshotRequest(snapshot_id="x", hold_ms=10_001),
    ):
        with pytest.raises(InvalidRequest):
            transport.one(methods.BEGIN_SNAPSHOT, 0, wrong)


def test_commands(rowbank, start_ps, tmp_path):
    target = start_ps().target
    with Client(target) as client:
        fill(client)
        before = contents(client)
    folder = str(tmp_path / "kept")

    def answer(*arguments):
        return json.loads(rowbank("snapshot", *arguments, "-o", "json", at=target).stdout)

    saved = answer("save", folder, "--name", "monday")
    rows = sum(len(rows) for _, rows in before.values())
    assert (saved["name"], saved["location"], saved["rows"], saved["tables"]) == ("monday", f"{folder}/monday", rows, 3)
    assert answer("list", folder) == [saved]
    assert answer("verify", f"{folder}/monday") == saved
    assert "monday" in rowbank("snapshot", "list", folder, at=target).stdout
    refused = rowbank("snapshot", "restore", f"{folder}/monday", at=target, code=1)
    assert "nothing was restored" in refused.stderr
    assert answer("restore", f"{folder}/monday", "--replace") == saved
    assert answer("restore", f"{folder}/monday", "--replace", "--table", "plain")["tables"] == 1
    with Client(target) as client:
        assert contents(client) == before
    (tmp_path / "kept" / "monday" / "table-0" / "shard-0.rows.parquet").write_bytes(b"PAR1")
    broken = rowbank("snapshot", "verify", f"{folder}/monday", code=1)
    assert "table-0/shard-0.rows.parquet: expected" in broken.stderr


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "../a", "a\\b", "a\nb"])
def test_names_stay_in_the_folder(client, adam_table, tmp_path, name):
    folder = tmp_path / "outer" / "snaps"
    for arguments in ({"name": name}, {"base": name}):
        with pytest.raises(InvalidRequest, match=r"(name|base): expected the name of a folder without a path, such as"):
            snapshots.save(client, str(folder), **arguments)
    assert list(tmp_path.rglob("*")) == []


def test_a_manifest_that_leads_out_of_its_folder_is_refused(client, adam_table, tmp_path):
    saved = snapshots.save(client, str(tmp_path / "in"), name="one")
    path = tmp_path / "in" / "one" / "manifest.json"
    body = json.loads(path.read_text())
    for change in ({"base": "../other"}, {"base": ".."}):
        rewrite(path, {**body, **change})
        with pytest.raises(InvalidFile, match="names files outside of its folder"):
            snapshots.verify(saved.location)
    for place in ("../../secret", "/etc/passwd", "a/../../b"):
        body["tables"][0]["files"][0]["path"] = place
        rewrite(path, body)
        with pytest.raises(InvalidFile, match="names files outside of its folder"):
            snapshots.restore(client, saved.location, replace=True)
    with pytest.raises(InvalidFile, match="expected a folder with snapshots in it, got a file"):
        snapshots.find(str(path))


def rewrite(path, body):
    """Writes a manifest with a checksum that matches."""
    rest = {key: value for key, value in body.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps({**rest, "sha256": digest}))
