"""A parameter server over gRPC beside TFRA's tables on Redis and in this process, and an echo of the same bytes."""

from __future__ import annotations

import contextlib

import grpc

import rowbank

from . import services, tfra_tables
from .arrays import Array
from .core_workloads import fill_cuckoo
from .keys import BATCHES, query_batches, random_rows, table_keys
from .report import Figure, Settings, speedup
from .timing import take_turns

_FILL_ROWS = 65_536


def fill_rowbank(table: rowbank.Table, settings: Settings, keys: Array) -> None:
    """Upserts as many rows as the references hold."""
    rows = random_rows(settings, _FILL_ROWS)
    for start in range(0, len(keys), _FILL_ROWS):
        part = keys[start : start + _FILL_ROWS]
        table.upsert(part, rows[: len(part)])


def grpc_pull(settings: Settings) -> list[Figure]:
    """One client pulls batches of random stored rows, at float32 and at float16 on the wire."""
    keys = table_keys(settings)
    batches = query_batches(settings, keys)
    answer_bytes = settings.batch * (settings.dim * 4 + 1)
    tf, _ = tfra_tables.load()
    tensors = [tf.constant(batch) for batch in batches]
    with contextlib.ExitStack() as stack:
        ours, theirs = (stack.enter_context(services.running_redis()) for _ in range(2))
        address = stack.enter_context(services.running_ps(ours))
        client = stack.enter_context(rowbank.Client(address))
        half_client = stack.enter_context(rowbank.Client(address, wire_dtype="float16"))
        table = client.create_table(rowbank.TableSpec("bench", dim=settings.dim, optimizer=rowbank.Adagrad(0.1)))
        half_table = half_client.table("bench")
        fill_rowbank(table, settings, keys)
        client.flush()
        cuckoo = tfra_tables.cuckoo_variable("grpc_pull_cuckoo", dim=settings.dim)
        fill_cuckoo(cuckoo, settings, keys)
        creator = stack.enter_context(tfra_tables.redis_config(theirs, tag="bench"))
        redis_table = tfra_tables.redis_variable("grpc_pull_redis", dim=settings.dim, creator=creator)
        fill_cuckoo(redis_table, settings, keys)
        echo_channel = stack.enter_context(
            grpc.insecure_channel(
                stack.enter_context(services.running_echo(answer_bytes)), options=services.CHANNEL_OPTIONS
            )
        )
        echo = echo_channel.unary_unary("/bench.Echo/Answer", None, None)
        payloads = [batch.tobytes() for batch in batches]
        timings = take_turns(
            {
                "rowbank": lambda number: table.pull(batches[number % BATCHES]),
                "rowbank float16": lambda number: half_table.pull(batches[number % BATCHES]),
                "gRPC echo": lambda number: echo(payloads[number % BATCHES]),
                "TFRA RedisTable": lambda number: redis_table.lookup(tensors[number % BATCHES]),
                "TFRA CuckooHashTable": lambda number: cuckoo.lookup(tensors[number % BATCHES]),
            },
            rounds=settings.rounds,
            calls_per_round=settings.calls_per_round,
        )
    bars = [
        ("rowbank", "gRPC echo", 0.7),
        ("rowbank", "TFRA RedisTable", 3.0),
        ("rowbank", "TFRA CuckooHashTable", None),
        ("rowbank float16", "TFRA CuckooHashTable", 1.0),
    ]
    return [
        speedup("grpc_pull", timings[subject], timings[reference], at_least=bar, rows=settings.batch)
        for subject, reference, bar in bars
    ]
