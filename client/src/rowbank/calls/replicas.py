"""Reads that may go to replicas: which ones, how old their rows may be, and how a client reads its own writes.

A replica is asked with bounds: no older than so many seconds, and at least at the position of the client's own last
acknowledged mutation of that shard. One that cannot meet them refuses, and the owner is asked; so it is where a replica
is away, or says anything else that is no answer.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc

from rowbank.calls import failover, methods
from rowbank.calls.methods import A, Method, Q
from rowbank.calls.servers import Server, Shard
from rowbank.calls.transport import Freshness, Metadata, Transport
from rowbank.errors import DeadlineExceeded, InvalidRequest, ReplicaTooStale
from rowbank_protos.v1 import admin_pb2

MAX_STALENESS, MIN_POSITION = "rowbank-max-staleness-ms", "rowbank-min-position"
WANT_POSITION, POSITION = "rowbank-want-position", "rowbank-position"
_MUTATIONS = {
    method.path
    for method in (
        methods.PUSH, methods.UPSERT, methods.ACCUMULATE, methods.STORE, methods.REMOVE, methods.CLEAR, methods.TOUCH,
        methods.IMPORT,
    )
}  # fmt: skip
_WANT = ((WANT_POSITION, "1"),)
_AWAY_S = 1.0  # A replica that could not be reached, or was not ready, is left alone for so long.
_MUTE_S = 5.0  # One that hangs costs more to find out.
_SLOW_S = 10.0
_STALE_S = 0.02  # One that was too old is soon young enough.


class ReplicaTransport(Transport):
    """As `Transport`, but reads may be answered by replicas.

    Args:
        max_staleness_s: how old rows may be where a read says nothing else.
    """

    reads_replicas = True

    def __init__(self, shards: Sequence[Shard], *, timeout_s: float, max_staleness_s: float) -> None:
        super().__init__(shards, timeout_s=timeout_s)
        self._max_staleness_s = max_staleness_s
        self._positions = [0] * len(shards)
        self._turns = itertools.count()
        self._again_at: dict[Server, float] = {}
        self._slow_until: dict[Server, float] = {}

    @property
    def positions(self) -> dict[int, int]:
        """By shard, the position of this client's last acknowledged mutation; shards without one are left out."""
        return {shard: position for shard, position in enumerate(self._positions) if position}

    def run(
        self,
        method: Method[Q, A],
        calls: Sequence[tuple[int, Q]],
        *,
        retry: bool = True,
        timeout_s: float | None = None,
        metadata: Callable[[int], Metadata] | None = None,
    ) -> list[A]:
        """As `Transport.run`; of mutations, the positions are noted."""
        if metadata is None and method.path in _MUTATIONS:
            metadata = _want
        return super().run(method, calls, retry=retry, timeout_s=timeout_s, metadata=metadata)

    def upload(self, method: Method[Q, A], shard: int, requests: Iterator[Q], *, timeout_s: float | None) -> A:
        """As `Transport.upload`; of mutations, the positions are noted."""
        server = self._confirmed(shard)
        try:
            answer, call = server.requests(method).with_call(requests, timeout=timeout_s, metadata=_WANT)
        except grpc.RpcError as error:
            raise self._failure(error, shard, server) from None
        self._note(shard, call)
        return answer

    def read(self, method: Method[Q, A], calls: Sequence[tuple[int, Q]], freshness: Freshness | None = None) -> list[A]:
        """The answers to (shard, request) pairs, in their order, of replicas where those are fresh enough."""
        self._check_open()
        deadline = time.monotonic() + self.timeout_s
        asked = freshness or Freshness()
        staleness_s = self._max_staleness_s if asked.max_staleness_s is None else asked.max_staleness_s

        def bounds(shard: int) -> Metadata:
            least = max(self._positions[shard], asked.at_least.get(shard, 0))
            age = (MAX_STALENESS, str(int(staleness_s * 1000.0)))
            return (age, (MIN_POSITION, str(least))) if least else (age,)

        answers = self._of_replicas(method, calls, bounds, deadline) if staleness_s > 0.0 else {}
        left = [index for index in range(len(calls)) if index not in answers]
        if left:
            timeout_s = max(0.001, deadline - time.monotonic())
            found = self.run(method, [calls[index] for index in left], timeout_s=timeout_s, metadata=bounds)
            answers |= dict(zip(left, found, strict=True))
        return [answers[index] for index in range(len(calls))]

    def _of_replicas(
        self,
        method: Method[Q, A],
        calls: Sequence[tuple[int, Q]],
        bounds: Callable[[int], Metadata],
        deadline: float,
    ) -> dict[int, A]:
        """The answers that replicas give, by index; the others are the owner's to give."""
        started: dict[int, tuple[Server, Any]] = {}
        timeout_s = max(0.001, deadline - time.monotonic())
        answers: dict[int, A] = {}
        try:
            for index, (shard, request) in enumerate(calls):
                replica = self._choose(self.shards[shard])
                if replica is not None and len(calls) == 1 and self._slow_until.get(replica, 0.0) < time.monotonic():
                    answer = self._ask_at_once(replica, method, request, bounds(shard), timeout_s)
                    if answer is not None:
                        return {index: answer}
                    replica = replica if self._slow_until.get(replica, 0.0) > time.monotonic() else None
                if replica is not None:
                    future: Any = replica.unary(method).future(request, timeout=timeout_s, metadata=bounds(shard))
                    started[index] = (replica, future)
            for index, (replica, future) in started.items():
                answer = self._wait(replica, future)
                if answer is not None:
                    answers[index] = answer
        except (ValueError, grpc.FutureCancelledError):
            self._check_open()  # A channel that was closed: by the client, or with a replica that is gone.
        except BaseException:
            for _, future in started.values():
                future.cancel()
            raise
        return answers

    def _ask_at_once(
        self, replica: Server, method: Method[Q, A], request: Q, bounds: Metadata, timeout_s: float
    ) -> A | None:
        """The answer to a call in the calling thread, which spares a hand-over to another one; None: it gives none.

        One that lives and takes long is asked in the slower way for a while.
        """
        call: Any = replica.unary(method)
        try:
            answer: A = call(request, timeout=min(failover.HANG_S, timeout_s), metadata=bounds)
        except grpc.RpcError as error:
            if not isinstance(failover.error_of(error, replica.target, replica), DeadlineExceeded):
                self._leave_alone(replica, error)
            elif _lives(replica):
                self._slow_until = {replica: time.monotonic() + _SLOW_S}
            else:
                self._leave_alone(replica, None)
            return None
        return answer

    def _choose(self, shard: Shard) -> Server | None:
        """The next replica in turn that may be asked."""
        now = time.monotonic()
        able = [one for one in shard.replicas if self._again_at.get(one, 0.0) <= now]
        return able[next(self._turns) % len(able)] if able else None

    def _wait(self, replica: Server, future: Any) -> Any:
        """The answer of a replica; None: it gives none."""
        try:
            while (answer := failover.waited(future, failover.HANG_S)) is None:
                if self._closed.is_set() or not _lives(replica):
                    future.cancel()
                    self._leave_alone(replica, None)
                    return None
            return answer
        except grpc.RpcError as error:
            self._leave_alone(replica, error)
            return None

    def _leave_alone(self, replica: Server, error: grpc.RpcError | None) -> None:
        """Does not ask it for a while, by what it said; None: it hangs."""
        if len(self._again_at) > 64:
            self._again_at = {}  # Replicas come and go.
        for_s = _MUTE_S
        if error is not None:
            stale = isinstance(failover.error_of(error, replica.target, replica), ReplicaTooStale)
            for_s = _STALE_S if stale else _AWAY_S
        self._again_at[replica] = time.monotonic() + for_s

    def _note(self, shard: int, call: Any) -> None:
        for key, value in call.trailing_metadata() or ():
            if key == POSITION and int(value) > self._positions[shard]:
                self._positions[shard] = int(value)


def _want(_shard: int) -> Metadata:
    return _WANT


def _lives(replica: Server) -> bool:
    try:
        replica.unary(methods.GET_SERVER_INFO)(admin_pb2.GetServerInfoRequest(), timeout=failover.HANG_S)
    except (grpc.RpcError, ValueError):
        return False
    return True


def positions_of(transport: Transport) -> dict[int, int]:
    """What `Client.position` gives. Raises `InvalidRequest` for a client that does not keep it."""
    if not isinstance(transport, ReplicaTransport):
        raise InvalidRequest("position: expected a client that was made with max_staleness_s; only those note it")
    return transport.positions
