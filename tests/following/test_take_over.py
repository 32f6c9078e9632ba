"""What is left after an owner died under all kinds of mutations, and a standby took over: in RAM, and in Redis."""

from __future__ import annotations

import contextlib
import threading
import time

from tests.following.cluster import exported, pair, tables_of
from tests.following.soak import create_tables
from tests.following.writers import Writer
from tests.processes import until

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
    """All rows of the tables in which none expires by itself.

    Without frequencies where keys are admitted by them: what the former owner wrote to Redis counts from before.
    """
    return {
        name: {
            column: part.tolist()
            for column, part in exported(wire, name).items()
            if column != "frequency" or info.spec.admission.min_count == 1
        }
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
