"""A replica that has to stay equal whatever happens: python -m tests.following.soak --minutes 30 [--seed N]."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.following.cluster import Pair, pair
from tests.following.writers import Writer, specs

from rowbank import Client
from rowbank.errors import InvalidSpec
from rowbank_server.redis_supervisor import EmbeddedRedis

ROUND_S = 120.0  # Each round has a seed of its own.


def create_tables(target: str) -> None:
    """All that writers write to."""
    with Client(target, timeout_s=20) as client:
        for spec in specs():
            try:
                client.create_table(spec)
            except InvalidSpec:  # A Redis that cannot tell what is on its disk.
                client.create_table(dataclasses.replace(spec, durability="journaled"))


class Soak:
    """A pair, writers, and what befalls it: cuts, and ends of either process, now and then; all chosen by `seed`."""

    def __init__(self, made: Pair, folder: Path, *, seed: int, writers: int, pause_s: float) -> None:
        self._pair = made
        self._random = random.Random(seed)
        self._pause_s = pause_s
        self._going, self._stop = threading.Event(), threading.Event()
        create_tables(made.owner.target)
        self.writers = [
            Writer(made.owner.target, self._random.randrange(1 << 30), folder / "snapshots", self._going, self._stop)
            for _ in range(writers)
        ]
        self.events: Counter[str] = Counter()
        self.rows_compared = 0

    @property
    def done(self) -> Counter[str]:
        """What the writers did, by kind."""
        return sum((writer.done for writer in self.writers), Counter())

    def run(self, seconds: float) -> None:
        """Lets writers and faults run; holds the writers now and then, and compares."""
        for writer in self.writers:
            writer.start()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._going.set()
            ends = min(deadline, time.monotonic() + self._pause_s)
            while (left_s := ends - time.monotonic()) > 0:
                self._stop.wait(min(left_s, self._random.uniform(0.3, 2.0)))
                self._befall()
            self._compare()
        self._stop.set()
        for writer in self.writers:
            writer.join(60)
        self._require_well()

    def _befall(self) -> None:
        what = self._random.choices(
            ("nothing", "connections cut", "kill -9 of the replica", "kill -9 of the owner", "a new replica"),
            (10, 4, 1, 1, 1),
        )[0]
        if what == "connections cut":
            self._pair.proxy.cut()
        elif what == "kill -9 of the replica":
            self._pair.replica.kill()
            self._pair.start_replica()
        elif what == "kill -9 of the owner":
            self._pair.owner.kill()
            self._pair.start_owner()
        elif what == "a new replica":
            self._pair.replica.terminate()
            self._pair.start_replica()
        self.events[what] += 1

    def _compare(self) -> None:
        """Once no writer is in the middle of something."""
        self._going.clear()
        with contextlib.ExitStack() as held:
            for writer in self.writers:
                held.enter_context(writer.busy)
            self._require_well()
            self.rows_compared += self._pair.require_equal()
        self.events["compared"] += 1

    def _require_well(self) -> None:
        assert [writer.failure for writer in self.writers if writer.failure] == []
        for process in (self._pair.owner, self._pair.replica):
            assert process.process.poll() is None, process.log


@contextlib.contextmanager
def soaking(folder: Path, *, seed: int, writers: int = 2, pause_s: float = 15.0) -> Iterator[Soak]:
    """A soak with a Redis of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    options = ("--flush-interval-s", "0.2", "--eviction-interval-s", "0.3", "--journal-wait-s", "15")
    with (
        EmbeddedRedis(folder / "redis", appendfsync="always") as redis,
        pair(folder, redis.url, "soak", *options) as made,
    ):
        yield Soak(made, folder, seed=seed, writers=writers, pause_s=pause_s)


def main() -> int:
    parser = argparse.ArgumentParser(description="Changes tables in every way, and compares a replica with the owner.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--writers", type=int, default=2)
    options = parser.parse_args()
    left_s, seed = options.minutes * 60, options.seed
    while left_s > 0:
        round_s = min(left_s, ROUND_S)
        print(f"seed {seed}, {round_s:.0f} s, {options.writers} writers", flush=True)
        folder = Path(tempfile.mkdtemp(prefix="rowbank-follow-"))
        with soaking(folder, seed=seed, writers=options.writers) as soak:
            soak.run(round_s)
            print(f"  equal, {soak.rows_compared} rows compared; {dict(soak.done)}; {dict(soak.events)}", flush=True)
        left_s, seed = left_s - round_s, seed + 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
