"""Writing everything to Redis, which may take longer than a call: the client asks again while there is progress."""

from __future__ import annotations

import time

from rowbank.calls import methods
from rowbank.calls.transport import Transport
from rowbank.errors import DeadlineExceeded
from rowbank_protos.v1 import admin_pb2

_LONGEST_WAIT_S = 2.0  # Of one call.
_SHARE = 0.25  # Of the deadline: a call has to come back before that, on a busy machine, too.


def flush(transport: Transport) -> int:
    """See `Client.flush`."""
    limit_s = transport.timeout_s
    wait_ms = max(1, int(min(_LONGEST_WAIT_S, limit_s * _SHARE) * 1000))
    answers = transport.each(methods.FLUSH, admin_pb2.FlushRequest(wait_ms=wait_ms))
    latest = dict(zip(transport.present, answers, strict=True))
    moved_s = dict.fromkeys(latest, time.monotonic())
    while waiting := {shard: answer for shard, answer in latest.items() if answer.number}:
        calls = [(shard, admin_pb2.FlushRequest(wait_ms=wait_ms, number=it.number)) for shard, it in waiting.items()]
        for (shard, _), answer in zip(calls, transport.run(methods.FLUSH, calls), strict=True):
            if answer.transactions != latest[shard].transactions or not answer.number:
                moved_s[shard] = time.monotonic()
            latest[shard] = answer
        for shard, answer in latest.items():
            if answer.number and time.monotonic() - moved_s[shard] > limit_s:
                raise DeadlineExceeded(
                    f"flush: {transport.shards[shard].target} has written nothing for {limit_s:g} s, "
                    f"{answer.waiting_rows} rows wait; it goes on, and another flush waits for what is left then"
                )
    return sum(answer.rows for answer in latest.values())
