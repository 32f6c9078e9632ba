"""What is left after an owner died under all kinds of mutations, and a standby took over: in RAM, and in Redis."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

import grpc
from tests.following.cluster import exported, pair, tables_of
from tests.following.soak import create_tables
from tests.following.test_replicas import pull
from tests.following.writers import Writer
from tests.processes import stand_still, until

from rowbank_protos.v1 import admin_pb2
from rowbank_server.redis_supervisor import EmbeddedRedis


@contextlib.contextmanager
def writing(target, folder, seed):
    """Writers, to be held by the lock of each."""
    going, stop = threading.Event(), threading.Event()
    writers = [Writer(target, seed + number, folder, going, stop) for number in range(2)]
    for writer in writers:
        writer.start()
    try:
        yield going, writers
    finally:
        stop.set()
        for writer in writers:
            writer.join(60)
        assert [writer.failure for writer in writers if writer.failure] == []


@contextlib.contextmanager
def held(going, writers):
    """While no writer is in the middle of something."""
    going.clear()
    with contextlib.ExitStack() as locks:
        for writer in writers:
            locks.enter_context(writer.busy)
        yield


def some(writers, *, more: int) -> None:
    """Waits until so much more was done."""
    before = sum(writer.done.total() for writer in writers)
    until(lambda: sum(writer.done.total() for writer in writers) >= before + more, what="writers write")


def contents(wire):
    """All rows of the tables in which none expires by itself."""
    return {
        name: {column: part.tolist() for column, part in exported(wire, name).items()}
        for name, info in tables_of(wire).items()
        if not info.spec.eviction.ttl_s
    }


def test_replicas_equal_the_new_owner_and_redis_has_all_of_it(tmp_path):
    options = ("--flush-interval-s", "0.3", "--eviction-interval-s", "0.3", "--journal-wait-s", "15")
    with (
        EmbeddedRedis(tmp_path / "redis", appendfsync="always") as redis,
        pair(tmp_path, redis.url, "w", *options) as made,
    ):
        create_tables(made.owner.target)
        standby = made.start_standby()
        target = f"{made.owner.target}|{standby.target}"
        with writing(target, tmp_path / "snapshots", seed=5) as (going, writers):
            going.set()
            some(writers, more=150)
            until(lambda: made.info(standby).state == "following", what="the standby follows")
            some(writers, more=60)
            made.owner.kill()
            killed = time.monotonic()
            until(lambda: made.info(standby).role == "owner", what="the take-over")
            assert time.monotonic() - killed < 30
            made.owner = standby
            some(writers, more=60)
            with held(going, writers):
                assert made.require_equal() > 0
                wire = made.wire(standby)
                wire.admin.Flush(admin_pb2.FlushRequest())
                before = contents(wire)
                standby.kill()
                cold = made.start_owner()
                assert contents(made.wire(cold)) == before
                made.require_equal()


def test_an_owner_that_was_replaced_without_knowing_makes_no_replica_look_fresh(tmp_path, redis_url, namespace):
    """It stands still, a standby takes over and acknowledges a push, and it goes on as if nothing had been."""
    with pair(tmp_path, redis_url, namespace) as made:
        owner, replica = made.wire(made.owner), made.wire(made.replica)
        owner.create("t")
        owner.push("t", [1], [[-1, -1]])
        standby = made.start_standby()
        until(lambda: made.info(standby).state == "following", what="the standby follows")
        made.require_equal()
        stand_still(made.owner.pid)
        until(lambda: made.info(standby).role == "owner", what="the take-over")
        made.wire(standby).push("t", [1], [[-1, -1]])
        acknowledged = time.monotonic()
        until(lambda: time.monotonic() > acknowledged + 0.4, what="the push is old enough to show")
        os.kill(made.owner.pid, signal.SIGCONT)
        answers = []

        def read() -> bool:
            with contextlib.suppress(grpc.RpcError):  # Not fresh enough, which is fine.
                answers.append(pull(replica, "t", [1], max_staleness_ms=300)[0].tolist())
            return bool(made.info(made.replica).epoch == made.info(standby).epoch and answers)

        until(read, what="the replica follows the new owner")
        assert answers == [[2, 2]] * len(answers)
