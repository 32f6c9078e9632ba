"""What it costs pushes that others follow the shard."""

from __future__ import annotations

import contextlib
import functools
import time

import grpc

import rowbank
from rowbank_protos.v1 import deltas_pb2, deltas_pb2_grpc

from . import services
from .arrays import Array
from .grpc_workloads import fill_rowbank
from .keys import BATCHES, query_batches, random_rows, table_keys
from .report import Figure, Settings, speedup
from .timing import take_turns

_REPLICAS = (0, 1, 2)
_WAIT_S = 600.0


def follower_cost(settings: Settings) -> list[Figure]:
    """One client pushes with Adagrad to shards that nobody, one replica and two replicas follow, in turns.

    Replicas run on the same machine: where it has few processors, what they do is in the figures, too.
    """
    keys = table_keys(settings)
    batches = query_batches(settings, keys)
    gradients = random_rows(settings, settings.batch)
    spec = rowbank.TableSpec("followed", dim=settings.dim, optimizer=rowbank.Adagrad(0.1))
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(services.running_redis(append_only=True))
        calls = {}
        for replicas in _REPLICAS:
            namespace = ("--namespace", f"followed{replicas}")
            owner = stack.enter_context(services.running_ps(port, *namespace))
            table = stack.enter_context(rowbank.Client(owner)).create_table(spec)
            fill_rowbank(table, settings, keys)
            for _ in range(replicas):
                stack.enter_context(services.running_ps(port, *namespace, "--replica", orderly=False))
            _wait_for_followers(owner, replicas)
            calls[f"{replicas} replicas"] = functools.partial(_push, table, batches, gradients)
        timings = take_turns(calls, rounds=settings.rounds, calls_per_round=settings.calls_per_round)
    alone = timings["0 replicas"]
    return [
        speedup(
            "follower_cost",
            timings[f"{replicas} replicas"],
            alone,
            at_least=0.9 if replicas == 1 else None,
            rows=settings.batch,
        )
        for replicas in _REPLICAS[1:]
    ]


def _push(table: rowbank.Table, batches: list[Array], gradients: Array, number: int) -> None:
    table.push(batches[number % BATCHES], gradients)


def _wait_for_followers(owner: str, count: int) -> None:
    """Until so many have everything."""
    deadline = time.monotonic() + _WAIT_S
    with grpc.insecure_channel(owner) as channel:
        stub = deltas_pb2_grpc.DeltaServiceStub(channel)
        while True:
            listed = stub.ListFollowers(deltas_pb2.ListFollowersRequest(), timeout=10)
            done = [one for one in listed.followers if one.position >= listed.position and not one.lag_records]
            if len(done) >= count:
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(done)} of {count} replicas have caught up after {_WAIT_S:g} s")
            time.sleep(0.05)
