"""What a follower does with each message of an owner, and with those that it cannot use."""

from __future__ import annotations

import numpy as np
import pytest
from tests.following.support import Author, dump
from tests.server.support import adam, i64, sgd, uniform

from rowbank_protos.v1 import common_pb2, deltas_pb2, rows_pb2, tables_pb2
from rowbank_server.journal.records import Kind
from rowbank_server.ps.durability.dedup import DedupWindow
from rowbank_server.ps.following.copies import VoidError


@pytest.fixture
def author():
    return Author()


def follow(follower, author, *names):
    """Takes the tables' pictures, from the greeting on."""
    follower.applier.begin(author.hello())
    take(follower, author.listed())
    for name in names:
        take(follower, *author.picture(name))


def take(follower, *messages):
    for message in messages:
        follower.applier.take(message)


def assert_equal(follower, author, *names):
    for name in names or author.tables:
        copy = follower.applier.copies.reading(name)
        assert copy is not None, name
        assert copy.table is follower.shard.get(name)
        assert dump(copy.table) == dump(author.tables[name])


def test_a_picture_and_every_kind_of_record_give_the_owners_table(follower, author):
    author.create("t", optimizer=adam(), initializer=uniform())
    author.push("t", list(range(50)), np.random.default_rng(1).normal(size=(50, 2)))
    follow(follower, author, "t")
    assert_equal(follower, author)
    requests = [
        (Kind.UPSERT, rows_pb2.UpsertRequest(table="t", keys=i64(3, 60), values=np.ones(4, "<f4").tobytes())),
        (
            Kind.ACCUMULATE,
            rows_pb2.AccumulateRequest(table="t", keys=i64(3, 61), deltas=np.ones(4, "<f4").tobytes(), exists=b"\1\0"),
        ),
        (Kind.REMOVE, rows_pb2.RemoveRequest(table="t", keys=i64(5, 1000))),
        (Kind.TOUCH, rows_pb2.TouchRequest(table="t", keys=i64(3, 6))),
        (
            Kind.IMPORT,
            rows_pb2.ImportRequest(
                table="t", keys=i64(70), values=np.ones(2, "<f4").tobytes(), frequency=b"\5\0\0\0", step=30
            ),
        ),
        (
            Kind.STORE,
            rows_pb2.StoreRequest(
                tables=[rows_pb2.TableStore(table="t", keys=i64(8, 80), values=np.ones(4, "<f4").tobytes(), touch=True)]
            ),
        ),
    ]
    for kind, request in requests:
        take(follower, author.records(author.commit(kind, request)))
        assert_equal(follower, author)
    take(follower, author.records(author.push("t", [1, 2, 1]), author.clear("t"), author.push("t", [2, 9])))
    assert_equal(follower, author)
    assert follower.applier.position == follower.log.position == author.position
    assert follower.applier.records == 9


def test_a_picture_may_be_taken_while_the_table_changes(follower, author):
    """Each bucket as it is when its turn comes, and changes in between, of buckets that came and of those to come."""
    rng = np.random.default_rng(2)
    author.create("t", optimizer=adam(), initializer=uniform())
    author.push("t", list(range(100)))
    follower.applier.begin(author.hello())
    take(follower, author.listed(), author.picture_start("t"))
    for bucket in author.tables["t"].buckets:
        for _ in range(5):
            keys = rng.integers(0, 150, 20).tolist()
            changes = [author.push("t", keys), author.remove("t", rng.integers(0, 150, 5).tolist())]
            take(follower, author.records(*changes))
        if bucket == 2:
            take(follower, author.records(author.clear("t"), author.push("t", [1, 2, 3])))
        assert follower.applier.copies.reading("t") is None
        # As released, and not sent yet, when the bucket is exported.
        ahead = author.push("t", rng.integers(0, 150, 20).tolist())
        take(follower, author.bucket("t", bucket), author.records(ahead))
    take(follower, author.picture_end("t"))
    assert_equal(follower, author)
    take(follower, author.records(author.push("t", [1, 2, 200])))
    assert_equal(follower, author)


@pytest.mark.parametrize("seed", range(12))
def test_any_history_gives_the_owners_tables(follower, author, seed):
    """Mutations of all kinds, cuts with records that come again, and pictures in between, at random."""
    rng = np.random.default_rng(seed)
    dtypes = (common_pb2.DATA_TYPE_FLOAT32, common_pb2.DATA_TYPE_FLOAT16, common_pb2.DATA_TYPE_BFLOAT16)
    for name, optimizer, dtype in zip("abc", (adam(), sgd(0.5), adam(0.01)), dtypes, strict=True):
        author.create(name, optimizer=optimizer, value_dtype=dtype, initializer=uniform(seed))
    follow(follower, author, "a")
    sent = []
    for round_ in range(60):
        name = "abc"[rng.integers(3)]
        sent.append(random_change(author, rng, name))
        take(follower, author.records(sent[-1]))
        if rng.random() < 0.15:
            follower.applier.begin(author.hello(continued=True))
            take(follower, author.listed(), author.records(*sent[-3:]))
        if rng.random() < 0.1 or round_ == 59:
            for other in "abc" if round_ == 59 else "abc"[rng.integers(3)]:
                take(follower, author.picture_start(other))
                for bucket in author.tables[other].buckets:
                    sent.append(random_change(author, rng, other))
                    take(follower, author.records(sent[-1]))
                    late = random_change(author, rng, other)  # In the bucket, and sent after it.
                    take(follower, author.bucket(other, bucket), author.records(late))
                take(follower, author.picture_end(other))
                assert_equal(follower, author, other)
    assert_equal(follower, author)


def random_change(author, rng, name):
    keys = rng.integers(0, 60, rng.integers(1, 12)).tolist()
    count = len(keys)
    values = rng.normal(size=(count, 2)).astype("<f4")
    column, flags = values.tobytes(), rng.integers(0, 2, count).astype(np.uint8).tobytes()
    packed = i64(*keys)
    part = rows_pb2.TableStore(table=name, keys=packed, values=column, exists=flags, touch=True)
    requests = {
        Kind.UPSERT: rows_pb2.UpsertRequest(table=name, keys=packed, values=column),
        Kind.ACCUMULATE: rows_pb2.AccumulateRequest(table=name, keys=packed, deltas=column, exists=flags),
        Kind.REMOVE: rows_pb2.RemoveRequest(table=name, keys=packed),
        Kind.TOUCH: rows_pb2.TouchRequest(table=name, keys=packed),
        Kind.CLEAR: rows_pb2.ClearRequest(table=name),
        Kind.IMPORT: rows_pb2.ImportRequest(table=name, keys=packed, values=column, step=int(rng.integers(0, 90))),
        Kind.STORE: rows_pb2.StoreRequest(tables=[part]),
    }
    kind = rng.choice([*requests, *[Kind.PUSH] * 8], p=[*[0.07] * 4, 0.02, *[0.07] * 2, *[0.07] * 8])
    if kind == Kind.PUSH:
        return author.push(name, keys, values)
    return author.commit(Kind(kind), requests[Kind(kind)])


def test_a_table_is_whole_when_everything_up_to_its_picture_is_applied(follower, author):
    author.create("t")
    follower.applier.begin(author.hello())
    picture = [author.listed(), *author.picture("t")]
    picture[-1].picture_end.whole_at = 2
    take(follower, *picture)
    assert not follower.applier.copies.whole
    records = [author.push("t", [1]), author.push("t", [1])]
    first, second = author.records(records[0]), author.records(records[1])
    first.position.number = 1
    take(follower, first)
    assert not follower.applier.copies.whole
    take(follower, second)
    assert follower.applier.copies.whole
    assert_equal(follower, author)


def test_admission_goes_as_it_went_at_the_owner(follower, author):
    spec = {"admission": tables_pb2.Admission(min_count=2), "optimizer": adam(), "initializer": uniform()}
    author.create("t", **spec)
    author.push("t", [1, 2])
    follow(follower, author, "t")
    for keys in ([3], [1, 3], [4, 5, 1], [1, 2, 4]):
        take(follower, author.records(author.push("t", keys)))
    theirs, ours = dump(author.tables["t"]), dump(follower.shard.get("t"))
    assert ours["rows"].keys() == {1, 2, 3, 4}
    assert theirs == ours  # Frequencies, too: those of keys count from before they were admitted.


def test_tables_come_go_and_change(follower, author):
    author.create("a")
    follow(follower, author, "a")
    author.create("b")
    take(follower, author.listed(), author.records(author.push("b", [1])))
    assert_equal(follower, author)
    old = author.tables.pop("b")
    take(follower, author.listed())
    assert follower.applier.copies.reading("b") is None
    assert [table.name for table in follower.shard.tables()] == ["a"]
    anew = author.create("b", dim=3)
    assert anew.entry.table_id != old.entry.table_id
    take(follower, author.listed(), author.records(author.push("b", [1])))
    assert_equal(follower, author)
    slower = tables_pb2.Optimizer(sgd=tables_pb2.Optimizer.SGD(learning_rate=0.25))
    spec = tables_pb2.TableSpec()
    spec.CopyFrom(anew.spec)
    spec.optimizer.CopyFrom(slower)
    anew.update(type(anew.entry)(anew.entry.table_id, anew.entry.created_at_s, anew.entry.bucket_count, spec))
    before = author.push("b", [1])  # With the new rate, before the list says so.
    take(follower, author.records(before), author.listed(), author.records(author.push("b", [1])))
    assert_equal(follower, author)
    assert follower.shard.get("b").spec == spec


def test_a_table_that_comes_back_is_not_taken_for_a_new_one(follower, author):
    """No owner drops a table and has it again; one that seems to has said something wrong, and rows would lack."""
    author.create("a")
    author.push("a", [1])
    follow(follower, author, "a")
    table = author.tables.pop("a")
    take(follower, author.listed())
    author.tables["a"] = table
    with pytest.raises(VoidError, match="is back"):
        take(follower, author.listed())
    assert follower.applier.copies.reading("a") is None
    assert follower.applier.position == 0
    follow(follower, author, "a")
    assert_equal(follower, author)


def test_a_frozen_table_is_read_once_it_is_here(follower, author):
    author.create("a")
    follow(follower, author, "a")
    frozen = author.create("f", frozen=True, durability=common_pb2.DURABILITY_RELAXED)
    take(follower, author.listed())
    assert follower.applier.copies.reading("f") is None
    frozen.rows.import_rows(np.array([4], np.int64), np.ones((1, 2), np.float32), now=1)
    take(follower, *author.picture("f"))
    assert_equal(follower, author)


def test_a_stream_goes_on_where_it_was_cut(follower, author):
    """Records that come a second time are known by their positions; tables that were not whole come as pictures."""
    author.create("a")
    author.create("b")
    follow(follower, author, "a")
    assert follower.applier.copies.complete() == [1]
    again = author.push("a", [1, 2])
    take(follower, author.records(again))
    follower.applier.begin(author.hello(continued=True))
    take(follower, author.listed(), author.records(again, author.push("a", [1])), *author.picture("b"))
    assert_equal(follower, author)
    assert follower.applier.copies.pictures == 2


def test_an_owner_that_cannot_go_on_gives_everything_anew(follower, author):
    author.create("t")
    author.push("t", [1])
    follow(follower, author, "t")
    old = follower.shard.get("t")
    follower.applier.begin(author.hello())
    assert follower.applier.copies.reading("t") is None
    take(follower, author.listed(), *author.picture("t"))
    assert follower.shard.get("t") is not old
    assert_equal(follower, author)


def test_a_picture_has_the_owners_step_even_if_that_is_lower(follower, author):
    """An owner that was killed has forgotten pushes of a relaxed table that a follower has seen."""
    author.create("t")
    author.push("t", [1])
    follow(follower, author, "t")
    take(follower, author.records(author.push("t", [1]), author.push("t", [1])))
    again = Author()
    again.create("t")
    again.push("t", [1])
    follower.applier.begin(again.hello())
    take(follower, again.listed(), *again.picture("t"))
    assert_equal(follower, again)


def test_a_read_that_began_on_a_table_before_its_picture_is_known_to_be_bad(follower, author):
    author.create("t")
    author.push("t", [1])
    follow(follower, author, "t")
    copies = follower.applier.copies
    before = copies.reading("t")
    assert before is not None
    assert before.whole
    take(follower, *author.picture("t"))
    assert not before.whole
    assert copies.reading("t") is not before


def test_a_record_that_is_damaged_voids_everything(follower, author):
    author.create("t")
    follow(follower, author, "t")
    good, bad = author.push("t", [1]), bytearray(author.push("t", [1]))
    bad[-1] ^= 1
    with pytest.raises(VoidError, match="checksum"):
        take(follower, author.records(good, bytes(bad)))
    assert not follower.applier.copies.whole
    assert follower.applier.copies.complete() == []
    assert (follower.applier.position, follower.applier.unusable) == (0, 1)


def test_a_record_that_cannot_be_applied_voids_its_tables_alone(follower, author):
    author.create("a")
    author.create("b")
    follow(follower, author, "a", "b")
    good, other = author.push("a", [1]), author.push("b", [1])
    # A push of dim 1 to a table of dim 2, which no owner would write.
    narrow = author.create("n", dim=1)
    narrow.entry = type(narrow.entry)(author.tables["a"].entry.table_id, 0, 4, narrow.spec)
    broken = author.push("n", [1], sequence=1)
    del author.tables["n"]
    with pytest.raises(VoidError, match="cannot be applied"):
        take(follower, author.records(good, broken, other))
    assert follower.applier.copies.complete() == [author.tables["b"].entry.table_id]
    assert follower.applier.position == author.position
    assert_equal(follower, author, "b")
    # Its answer is known: what the owner did with it comes with the picture.
    assert follower.dedup.enter(common_pb2.RequestId(client_id="c", sequence=1), Kind.PUSH).answer is not None
    follower.applier.begin(author.hello(continued=True))
    take(follower, author.listed(), *author.picture("a"))
    assert_equal(follower, author)


def test_a_damaged_picture_is_not_served(follower, author):
    author.create("t")
    author.push("t", list(range(20)))
    follower.applier.begin(author.hello())
    take(follower, author.listed(), author.picture_start("t"))
    rows = author.bucket("t", 0)
    packed = bytearray(rows.picture_rows.packed)
    packed[30] ^= 1
    rows.picture_rows.packed = bytes(packed)
    with pytest.raises(VoidError, match="damaged"):
        take(follower, rows)
    assert follower.applier.copies.reading("t") is None
    assert follower.applier.unusable == 1


def test_answers_are_known_for_repeats(follower, author):
    author.create("t")
    author.push("t", [1], sequence=1)
    theirs = DedupWindow(window=8, max_clients=8)
    theirs.replay("c", 1, Kind.PUSH, b"one")
    windows = [
        deltas_pb2.AnswerWindow(client_id=name, packed=data) for name, data in theirs.take_changes().windows.items()
    ]
    follower.applier.begin(author.hello())
    follower.dedup.replay("c", 2, Kind.PUSH, b"two")
    message = author.listed()
    message.windows.windows.extend(windows)
    take(follower, author.listed(), message, *author.picture("t"))
    take(follower, author.records(author.push("t", [1], sequence=3)))
    answers = [
        follower.dedup.enter(common_pb2.RequestId(client_id="c", sequence=number), Kind.PUSH).answer
        for number in (1, 2, 3)
    ]
    assert answers == [b"one", b"two", rows_pb2.PushResponse(steps=[2]).SerializeToString()]


def test_a_hand_over_is_known_until_the_next_stream(follower, author):
    author.create("t")
    follow(follower, author, "t")
    message = author.listed()
    message.hand_over.SetInParent()
    take(follower, message)
    assert follower.applier.handed_over
    follower.applier.begin(author.hello(continued=True))
    assert not follower.applier.handed_over
