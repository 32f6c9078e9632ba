"""Who a client is, and what numbers mean."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
from tests.field.case import Case, World

from rowbank import SGD, Client, TableSpec

_FORKS = """
import sys
from concurrent.futures import ProcessPoolExecutor
import multiprocessing
import numpy as np
from rowbank import SGD, Client, TableSpec

c = Client(sys.argv[1])
t = c.create_table(TableSpec(sys.argv[2], dim=2, optimizer=SGD(1.0)))

def up(i):
    return t.upsert(np.arange(i * 10, i * 10 + 10), np.full((10, 2), i + 1, np.float32))

def push(i):
    for _ in range(5):
        t.push([999], np.full((1, 2), -1.0, np.float32))

if __name__ == "__main__":
    with ProcessPoolExecutor(4, multiprocessing.get_context("fork")) as pool:
        answers = list(pool.map(up, range(4)))
        list(pool.map(push, range(4)))
    fresh = Client(sys.argv[1]).table(sys.argv[2])
    stored = fresh.size() - 1
    up(9)
    print(answers, stored, fresh.lookup([999]).values[0, 0], fresh.size() - 1)
"""

_PICKLED = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from rowbank import SGD, Client, TableSpec

if __name__ == "__main__":
    t = Client(sys.argv[1]).create_table(TableSpec(sys.argv[2], dim=2, optimizer=SGD(1.0)))
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        print(list(pool.map(t.upsert, [[1], [2]], [[[1.0, 1.0]], [[2.0, 2.0]]])), t.size())
"""

_KERAS = """
import sys
import numpy as np
import tensorflow as tf
from rowbank import SGD, TableSpec
from rowbank.keras import Embedding

layer = Embedding(TableSpec(sys.argv[2], dim=2, optimizer=SGD(1.0)), target=sys.argv[1])
try:
    print("taken", layer(tf.constant([2**63 + 5], tf.uint64)).numpy().tolist())
except Exception as error:
    print(type(error).__name__, error)
"""


def _program(text: str, world: World) -> str:
    path = world.folder / "program.py"
    path.write_text(text)
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, str(path), world.target, world.name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    return done.stdout if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def _forked(world: World) -> str:
    return _program(_FORKS, world)


def _pickled(world: World) -> str:
    return _program(_PICKLED, world)


def _keras_uint64(world: World) -> str:
    return _program(_KERAS, world)


def _with_table(world: World, act: Any) -> str:
    with Client(world.target) as client:
        table = client.create_table(TableSpec(world.name, dim=2, optimizer=SGD(1.0)))
        try:
            return str(act(table))
        finally:
            client.drop_table(world.name)


def _restrict_beyond_int64(world: World) -> str:
    return _with_table(world, lambda table: table.restrict(2**70))


def _top_beyond_32_bits(world: World) -> str:
    return _with_table(world, lambda table: table.top(2**32))


def _learning_rate_beyond_float32(world: World) -> str:
    return _with_table(world, lambda table: table.push([1], [[0.0, 0.0]], learning_rate=1e300))


def _timeout_of_words(world: World) -> str:
    with Client(world.target, timeout_s="2") as client:
        return str(len(client.list_tables()))


def _restrict_two_shards(world: World) -> str:
    """100 of 200 rows whose frequencies are 1 to 200, the high ones on one shard as far as there are."""
    from tests.processes import PsProcess

    from rowbank import hashing
    from rowbank_server.redis_supervisor import EmbeddedRedis

    with EmbeddedRedis(world.folder / "redis") as redis:
        shards = [
            PsProcess("--shard", f"{shard}/2", redis_url=redis.url, log=world.folder / f"{shard}.log")
            for shard in (0, 1)
        ]
        try:
            with Client([shard.wait_ready().target for shard in shards]) as client:
                keys = np.arange(200)
                owner = hashing.shard_of(keys, shard_count=2)
                counts = np.empty(200, np.int64)
                counts[np.argsort(owner, kind="stable")] = np.arange(1, 201)
                table = client.create_table(TableSpec(world.name, dim=1))
                table.push(keys, np.zeros((200, 1), np.float32), counts=counts)
                table.restrict(100)
                return f"{int((counts[table.lookup(keys).found] > 100).sum())} of the best 100"
        finally:
            for shard in shards:
                shard.close()


def _features(world: World, kind: str, value: Any, **options: Any) -> str:
    from rowbank.features import FeatureField, FeatureView

    with Client(world.target) as client:
        client.features.put_view(FeatureView(world.name, "item_id", (FeatureField("x", kind),)))
        client.features.write(world.name, {7: {"x": value}}, **options)
        read = client.features.read(world.name, [7])[0]
    return f"read {read.values['x']} of {read.event_time_s if options else 'now'}"


def _numpy_in_list(world: World) -> str:
    return _features(world, "int64_list", list(np.array([1, 2])))


def _nan(world: World) -> str:
    return _features(world, "double", float("nan"))


def _beyond_float32(world: World) -> str:
    return _features(world, "float_list", [1e300])


def _time_zero(world: World) -> str:
    return _features(world, "double", 1.0, event_time_s=0.0)


CASES = [
    Case("4 forked children upsert 40 rows, push 20 times; then the parent upserts",
         r"\[10, 10, 10, 10\] 40 20\.0 50", _forked),
    Case("a table is sent to a spawned pool", r"\[1, 1\] 2", _pickled),
    Case("restrict to 100 of 200 rows on two shards", "100 of the best 100", _restrict_two_shards),
    Case("restrict(2**70)", r"(InvalidRequest: .*num_reserved.*1180591620717411303424.*)", _restrict_beyond_int64),
    Case("top(2**32)", r"InvalidRequest: limit: expected an integer of at most 2\*\*32 - 1, got 4294967296",
         _top_beyond_32_bits),
    Case("push(learning_rate=1e300)", r"InvalidRequest: learning_rate: expected a finite number.*float32, got .*",
         _learning_rate_beyond_float32),
    Case("Client(timeout_s='2')", r"InvalidRequest: timeout_s: expected seconds above 0, got '2'", _timeout_of_words),
    Case("uint64 id 2**63 + 5 in a Keras layer",
         r".*InvalidRequest.*: expected at most 2\*\*63 - 1 \(keys are int64\), got 9223372036854775813.*",
         _keras_uint64),
    Case("features: list(np.array([1, 2]))", r"read \(1, 2\) of now", _numpy_in_list),
    Case("features: NaN", r"InvalidFeature: feature 'x': expected double, got nan; .*", _nan),
    Case("features: 1e300 into float32", r"InvalidFeature: feature 'x': expected float_list, got 1e\+300 in it; .*",
         _beyond_float32),
    Case("features: event_time_s=0.0", r"read 1\.0 of 0\.0", _time_zero),
]  # fmt: skip
