"""Two processes that both believe they own a shard: the elder can neither acknowledge nor overwrite."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import redis
from tests.journal.support import flush, push_request
from tests.processes import stand_still
from tests.server.support import exported, i64, refused

from rowbank.errors import NotReady, RedisUnavailable
from rowbank_protos.v1 import rows_pb2
from rowbank_server.journal.streams import JournalStreams
from rowbank_server.journal.writer import StreamWriter
from rowbank_server.storage.layout import Layout
from rowbank_server.storage.node import transact
from rowbank_server.storage.rows import BucketChange, FenceLostError, RowStore
from rowbank_server.storage.state import ShardState, Standing, UnfinishedJournalError


@pytest.fixture
def client(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        yield client


def test_a_zombie_neither_acknowledges_nor_overwrites(never_writes_back, connect):
    """It is stopped while its successor starts, and wakes up with changed rows and a client that goes on."""
    elder = never_writes_back()
    old = connect(elder.target)
    old.create("t", 1)
    keys = list(range(50))
    old.push("t", keys, -np.ones((50, 1)))
    stand_still(elder.pid)
    successor = never_writes_back()
    new = connect(successor.target)
    new.push("t", keys, -np.ones((50, 1)))
    flush(new)
    os.kill(elder.pid, signal.SIGCONT)
    with pytest.raises(Exception, match=r"another process|not confirmed"):
        old.rows.Push(push_request("t", keys, -np.ones((50, 1)), sequence=1))
    assert elder.wait() == 1
    assert "another process" in elder.log
    before = exported(new, "t")
    assert new.pull("t", keys, dim=1)[0].tolist() == [[2]] * 50
    successor.kill()
    again = connect(never_writes_back().target)
    assert exported(again, "t") == before
    answer = again.rows.Push(push_request("t", keys, -np.ones((50, 1)), sequence=1))
    assert not answer.repeated_request
    assert again.pull("t", keys, dim=1)[0].tolist() == [[3]] * 50


def test_write_back_of_a_zombie_is_refused(never_writes_back, connect):
    elder = never_writes_back()
    old = connect(elder.target)
    old.create("t", 1)
    old.push("t", [1], [[-1]])
    new = connect(never_writes_back().target)
    new.push("t", [1], [[-1]])
    flush(new)
    with refused(NotReady, "another process"):
        flush(old)
    assert elder.wait() == 1
    assert new.pull("t", [1], dim=1)[0].tolist() == [[2]]


def change(bucket, key, packed=b"row"):
    return BucketChange(bucket, np.array([key], np.int64), packed, np.array([], np.int64))


def test_redis_itself_refuses_rows_of_an_older_epoch(client, namespace):
    layout = Layout(namespace)
    elder, successor, twin = (RowStore(client, layout, shard=0, owner=name) for name in ("elder", "young", "twin"))
    elder.use_epoch(4)
    with pytest.raises(FenceLostError):  # Nobody has the bucket.
        elder.write(3, [change(0, 1)])
    assert elder.claim(3, range(2)) == 4
    elder.write(3, [change(0, 1), change(1, 2)])
    successor.use_epoch(5)
    assert successor.claim(3, range(1)) == 5
    for write in (
        lambda: elder.write(3, [change(0, 1, b"old")]),
        lambda: elder.write(3, [change(1, 2, b"new"), change(0, 1, b"old")]),
        lambda: elder.write(3, [change(0, 1, b"old")], rebuilt=True),
        lambda: elder.start_rebuild(3, 0),
        lambda: elder.finish_rebuild(3, 0),
        lambda: elder.clear(3, range(2)),
    ):
        with pytest.raises(NotReady, match="another process"):
            write()
    assert client.hgetall(layout.rows(3, 0)) == {i64(1): b"row"}
    assert client.hgetall(layout.rows(3, 1)) == {i64(2): b"row"}
    elder.write(3, [change(1, 2, b"new")])  # This bucket is still its own.
    assert elder.claim(3, range(2)) == 5
    with pytest.raises(NotReady):
        elder.write(3, [change(0, 1, b"old")])
    twin.use_epoch(5)  # Of another process, as Redis came back older in between.
    assert twin.claim(3, range(2)) == 6
    with pytest.raises(NotReady):
        twin.write(3, [change(0, 1, b"old")])


def test_a_write_that_a_successor_overtakes_does_nothing(client, namespace, monkeypatch):
    """The epoch rises between the check and the write: the transaction fails."""
    layout = Layout(namespace)
    store = RowStore(client, layout, shard=0, owner="elder")
    store.use_epoch(1)
    store.claim(3, range(1))

    def overtaken(node, commands):
        client.set(layout.epoch(3, 0), "2:young")
        transact(node, commands)

    monkeypatch.setattr("rowbank_server.storage.rows.transact", overtaken)
    with pytest.raises(RedisUnavailable):
        store.write(3, [change(0, 1)])
    assert not client.exists(layout.rows(3, 0))


def claimed(client, layout, owner):
    """The epoch that a process of that name got, and its streams."""
    state = ShardState(client, layout, shard=0, shard_count=1, owner=owner)
    return state, state.claim().epoch, JournalStreams(client, layout, shard=0, owner=owner)


def test_sealed_streams_take_no_more(client, namespace):
    layout = Layout(namespace)
    state, first, streams = claimed(client, layout, "elder")
    assert streams.open(first)
    writer = streams.writer(first)
    assert writer.append(1, [(b"one",), (b"t", b"wo")])
    _, second, theirs = claimed(client, layout, "young")
    assert second == first + 1
    assert theirs.seal_older(second) == [f"{first}:elder"]
    assert not writer.append(2, [(b"late",)])
    assert not streams.open(first)  # Nor can it begin anew.
    assert [record.data for record in theirs.read_sealed(f"{first}:elder")] == [b"one", b"two"]
    with pytest.raises(NotReady):
        state.write({3: 7})
    assert not client.hexists(layout.state(0), "step:3")
    theirs.delete_sealed([f"{first}:elder"])
    assert theirs.seal_older(second) == []


def test_processes_with_one_epoch_never_append_to_one_stream(client, namespace):
    """Redis came back from before the first one's claim, so the second got the same number."""
    layout = Layout(namespace)
    _, first, streams = claimed(client, layout, "elder")
    assert streams.open(first)
    writer = streams.writer(first)
    assert writer.append(1, [(b"kept",)])
    client.delete(*client.keys(f"{namespace}:*"))
    _, second, theirs = claimed(client, layout, "young")
    assert second == first
    assert theirs.open(second)
    assert theirs.writer(second).append(1, [(b"theirs",)])
    assert not writer.append(2, [(b"mine",)])
    assert not streams.open(first)
    assert client.xlen(layout.journal(0, f"{second}:young")) == 2


class _LosesAnAnswer(StreamWriter):
    """The first command arrives, and its answer is lost."""

    lost = False

    def call(self, pieces):
        answer = super().call(pieces)
        if not self.lost:
            self.lost = True
            self.close()
            raise redis.ConnectionError("lost")
        return answer


def test_an_append_whose_answer_was_lost_is_taken_once(client, namespace):
    key = Layout(namespace).journal(0, "1:me")
    client.xadd(key, {"format": "1"}, id="0-1")
    writer = _LosesAnAnswer(client, key)
    with pytest.raises(RedisUnavailable):
        writer.append(1, [(b"mine",)])
    assert writer.append(1, [(b"mine",)])
    assert client.xlen(key) == 2


def test_an_id_that_another_writer_took_is_not_taken_for_ours(client, namespace):
    key = Layout(namespace).journal(0, "1:me")
    client.xadd(key, {"0": "other"}, id="9-0")
    writer = StreamWriter(client, key)
    for _ in range(2):
        with pytest.raises(RedisUnavailable, match="equal or smaller"):
            writer.append(7, [(b"mine",)])


def test_a_journal_that_redis_lost_holds_nothing_up(client, namespace):
    layout = Layout(namespace)
    streams = JournalStreams(client, layout, shard=0, owner="me")
    client.hset(layout.state(0), mapping={"epoch": 5, "journal:3:elder": 1})
    assert streams.seal_older(5) == []
    assert client.hgetall(layout.state(0)) == {b"epoch": b"5"}


def test_an_epoch_whose_answer_was_lost_is_taken_again(client, namespace):
    """Redis came back empty, and the answer to the reclaim never came."""
    layout = Layout(namespace)
    state = ShardState(client, layout, shard=0, shard_count=1)
    epoch = state.claim().epoch
    owner = client.hget(layout.state(0), "owner")
    client.delete(layout.state(0))
    assert state.standing() is Standing.LOST
    client.hset(layout.state(0), mapping={"epoch": epoch + 1, "owner": owner})  # What the reclaim did.
    assert state.standing() is Standing.LOST
    assert state.reclaim() == epoch + 2
    assert state.standing() is Standing.CURRENT
    state.write({3: 7})
    assert client.hget(layout.state(0), "step:3") == b"7"


def test_two_processes_with_one_epoch_are_told_apart(client, namespace):
    """Redis came back from before the first one's claim, so the second got the same number."""
    layout = Layout(namespace)
    first, second = (ShardState(client, layout, shard=0, shard_count=1) for _ in range(2))
    first.claim()
    client.delete(layout.state(0))
    assert second.claim().epoch == first.epoch
    assert first.standing() is Standing.REPLACED
    for act in (lambda: first.write({3: 7}), first.reclaim):
        with pytest.raises(NotReady):
            act()
    assert second.standing() is Standing.CURRENT


def test_the_number_of_shards_may_not_change_over_an_unfinished_journal(client, namespace, start_ps, connect):
    server = start_ps("--shard", "0/1", "--flush-interval-s", "3600")
    wire = connect(server.target)
    wire.create("t")
    wire.push("t", [1], [[1, 1]])
    server.kill()
    with pytest.raises(UnfinishedJournalError, match="start all 1 shards"):
        ShardState(client, Layout(namespace), shard=1, shard_count=2).claim()
    refused_start = start_ps("--shard", "0/2", wait=False)
    assert refused_start.wait() != 0
    assert "shard 0/1 was not stopped cleanly" in refused_start.log
    assert start_ps("--shard", "0/1").terminate() == 0
    shards = [connect(start_ps("--shard", f"{index}/2").target) for index in range(2)]
    found = [wire.rows.Lookup(rows_pb2.LookupRequest(table="t", keys=i64(1))) for wire in shards if wire.size("t")]
    assert [list(answer.found) for answer in found] == [[1]]


def test_rows_keep_counting_after_they_moved_to_another_shard(start_ps, connect):
    """Rows carry positions of their former owner, whose epoch may have been far above the new one's."""
    for _ in range(3):
        assert start_ps("--shard", "0/1").terminate() == 0
    server = start_ps("--shard", "0/1")
    wire = connect(server.target)
    wire.create("t", 1)
    keys = list(range(64))
    wire.push("t", keys, -np.ones((64, 1)))
    assert server.terminate() == 0
    servers = [start_ps("--shard", f"{index}/2", "--flush-interval-s", "3600") for index in range(2)]
    mine = []
    for server in servers:
        wire = connect(server.target)
        mine.append([key for key in keys if owns(wire, key)])
        wire.push("t", mine[-1], -np.ones((len(mine[-1]), 1)))
        server.kill()
    assert sorted(mine[0] + mine[1]) == keys
    for index in range(2):
        wire = connect(start_ps("--shard", f"{index}/2").target)
        assert wire.pull("t", mine[index], dim=1)[0].tolist() == [[2]] * len(mine[index])


def owns(wire, key):
    try:
        wire.pull("t", [key], dim=1)
    except Exception:
        return False
    return True
