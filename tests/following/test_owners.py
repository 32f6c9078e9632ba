"""Which owners a replica follows, and what it does with one that says what no owner should."""

from __future__ import annotations

import time

import pytest
from tests.following.scripted import ScriptedOwner
from tests.following.support import Author
from tests.processes import until
from tests.server.support import refused

from rowbank.errors import NotOwner, ReplicaTooStale
from rowbank_protos.v1 import admin_pb2


@pytest.fixture
def owner(redis_url, namespace):
    scripted = ScriptedOwner(redis_url, namespace)
    yield scripted
    scripted.close()


@pytest.fixture
def author():
    made = Author()
    made.create("t")
    made.push("t", list(range(20)))
    return made


@pytest.fixture
def replica(owner, start_ps, connect):
    return connect(start_ps("--replica").target)


def state(wire) -> str:
    return str(wire.admin.GetServerInfo(admin_pb2.GetServerInfoRequest()).state)


def is_in(wire, words: str) -> None:
    until(lambda: words in state(wire), what=f"state {words!r}")


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        ({"shard": 1, "shard_count": 2}, "refused: the owner serves shard 1/2, this process 0/1"),
        ({"namespace": "other"}, "refused: the owner serves namespace 'other'"),
        ({"version": "9.0.0"}, "refused: the owner has version 9.0.0"),
    ],
)
def test_an_owner_of_something_else_is_refused_and_the_state_says_why(owner, start_ps, connect, difference, words):
    owner.greeting.update(difference)
    owner.script = lambda request: iter([owner.hello()])
    wire = connect(start_ps("--replica").target)
    is_in(wire, words)
    with refused(ReplicaTooStale, "ask the owner"):
        wire.size("t")


def test_a_replica_without_an_owner_waits_for_one(start_ps, connect):
    wire = connect(start_ps("--replica").target)
    is_in(wire, "waiting for an owner")
    with refused(NotOwner, "is not known"):
        wire.push("t", [1], [[1, 1]])


def test_what_is_damaged_is_asked_for_anew(owner, author, replica):
    def script(request):
        yield owner.hello(position=author.position)
        yield author.listed()
        pictures = author.picture("t")
        if len(owner.asked) == 1:
            packed = bytearray(pictures[1].picture_rows.packed)
            packed[-1] ^= 1
            pictures[1].picture_rows.packed = bytes(packed)
        yield from pictures
        if len(owner.asked) == 2:
            yield author.records(b"no record")

    owner.script = script
    until(lambda: len(owner.asked) >= 3 and state(replica) == "following", what="a third stream")
    assert replica.size("t") == 20
    assert not owner.asked[1].complete_tables
    assert not owner.asked[2].complete_tables
    assert not owner.asked[2].HasField("since")


def test_a_cut_replica_asks_to_go_on(owner, author, replica):
    def script(request):
        if len(owner.asked) == 1:
            yield owner.hello(position=author.position)
            yield from [author.listed(), *author.picture("t")]
            raise ConnectionError
        yield owner.hello(continued=True, position=author.position)
        yield from [author.listed(), author.records(author.push("t", [50]))]

    owner.script = script
    until(lambda: len(owner.asked) == 2 and replica.size("t") == 21, what="the stream goes on")
    second = owner.asked[1]
    assert (second.since.server_id, second.since.number, list(second.complete_tables)) == ("scripted", 1, [1])
    assert second.role == "replica"
    assert second.address


def test_an_owner_that_falls_silent_is_asked_anew(owner, author, replica):
    owner.script = lambda request: iter([owner.hello(position=author.position), author.listed(), *author.picture("t")])
    until(lambda: state(replica) == "following", what="the picture")
    began = time.monotonic()
    until(lambda: len(owner.asked) == 2, what="a second stream")
    assert time.monotonic() - began < 30
