"""Where a pull's time goes: a ladder from an echo of the same bytes to the product, one layer on top of the other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from . import candidates
from .candidates import Candidate
from .peers.work import BATCHES, Work
from .placement import Placement, placement
from .report import Figure, Settings, notice, speedup
from .timing import Timing

_WARM_CALLS = 400
_ECHO = "echo"
_BARE = (_ECHO, "fresh buffer", "numpy.take", "core", "core and protobuf", "core over TCP")
_BARS = {"the client, native endpoint": 0.7}


def ladder(settings: Settings) -> list[Figure]:
    """A pull through each layer, server and client pinned to a core each; the figures are parts of the echo's speed."""
    cores = placement(1)
    work = Work(settings.rows, settings.dim, settings.batch, settings.seed, "adagrad", ("first",), settings.keys)
    print(f"ladder: {cores}", flush=True)
    with contextlib.ExitStack() as stack:
        rungs = dict(_rungs(stack, work, cores))
        for rung in rungs.values():
            rung.timed("pull", max(_WARM_CALLS, BATCHES), 0)
        seconds: dict[str, list[float]] = {name: [] for name in rungs}
        for number in range(settings.rounds):
            for name, rung in rungs.items():
                seconds[name] += rung.timed("pull", settings.calls_per_round, number * settings.calls_per_round)
    timings = {name: Timing(name, tuple(took)) for name, took in seconds.items()}
    return [
        speedup("ladder", timing, timings[_ECHO], at_least=_BARS.get(name), rows=settings.batch)
        for name, timing in timings.items()
        if name != _ECHO
    ]


def _rungs(stack: contextlib.ExitStack, work: Work, cores: Placement) -> Iterator[tuple[str, Candidate]]:
    for layer in _BARE:
        yield layer, stack.enter_context(candidates.rung(layer, work, cores))
    quiet = {"ROWBANK_PS_FLUSH_INTERVAL_S": "3600"}
    for name, more in (("gRPC's server", {"ROWBANK_PS_NATIVE_BIND": "off"}), ("native endpoint", {})):
        shard = stack.enter_context(
            candidates.rowbank(name, work, cores, durability="relaxed", environment=quiet | more)
        )
        address = shard.target if more else candidates.native_address(shard.target)
        if not address:
            notice("ladder: this server has no native endpoint; its rungs are left out")
            return
        yield f"a stock client, {name}", stack.enter_context(candidates.stock_client(address, work, cores))
        yield f"the client, {name}", shard
