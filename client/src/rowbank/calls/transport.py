"""Calls to shards: channels, deadlines, retries, and the errors that are left when those are used up."""

from __future__ import annotations

import itertools
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from rowbank.calls import failover
from rowbank.calls.forked import forks
from rowbank.calls.methods import A, Method, Q
from rowbank.calls.servers import Server, Shard
from rowbank.errors import (
    ClientClosed,
    DeadlineExceeded,
    InvalidRequest,
    Overloaded,
    RequestError,
    RowbankError,
    ShardUnavailable,
)
from rowbank_protos.memory import keep_freed_blocks
from rowbank_protos.v1 import common_pb2

_CLOSED = "the client is closed; make a new one"


Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Freshness:
    """What one read asks for.

    Attributes:
        max_staleness_s: how old the rows may be; 0: the owner's; None: what the client asks for.
        at_least: by shard, the position of a mutation that must show.
    """

    max_staleness_s: float | None = None
    at_least: Mapping[int, int] = field(default_factory=dict)


class Transport:
    """Runs calls on shards within a deadline, all shards at once. Thread-safe; another client in a forked child.

    Args:
        numbered: whether the shards are in the order of their numbers, so that errors can name them.

    Attributes:
        client_id: who the mutations are from; each shard numbers them.
        reads_replicas: whether replicas may answer reads.
    """

    reads_replicas = False

    def __init__(self, shards: Sequence[Shard], *, timeout_s: float, numbered: bool = True) -> None:
        keep_freed_blocks()
        self.shards = list(shards)
        self.timeout_s = timeout_s
        self._numbered = numbered
        self._closed = threading.Event()
        self._acquaintance = failover.Acquaintance()
        self.client_id = uuid.uuid4().hex
        forks.watch(self)

    def renew(self) -> None:
        """Begins anew in a forked child: as another client, which is closed if the parent's is."""
        was_closed = self._closed.is_set()
        self._closed = threading.Event()
        if was_closed:
            self._closed.set()
        self.client_id = uuid.uuid4().hex

    @property
    def stopping(self) -> threading.Event:
        """Set once `close` is called."""
        return self._closed

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed.is_set()

    def __reduce__(self) -> Any:
        raise InvalidRequest(
            "pickle: a connection belongs to its process; pickle the Client or a Table, which open another one where "
            "they are unpickled"
        )

    def request_id(self, shard: int) -> common_pb2.RequestId:
        """The name of the next mutation of `shard`."""
        forks.settle()
        return self.shards[shard].request_id(self.client_id)

    @property
    def present(self) -> list[int]:
        """The shards whose answers `each` gives, in their order: all of them."""
        return list(range(len(self.shards)))

    def close(self) -> None:
        """Ends all connections and wakes calls that wait for their next attempt."""
        self._closed.set()
        for shard in self.shards:
            shard.close()

    def one(self, method: Method[Q, A], shard: int, request: Q, *, retry: bool = True) -> A:
        """One answer of one shard; see `run`."""
        return self.run(method, [(shard, request)], retry=retry)[0]

    def each(self, method: Method[Q, A], request: Q, *, retry: bool = True) -> list[A]:
        """The answer of every shard to the same request, in the order of the shards; see `run`."""
        return self.run(method, [(shard, request) for shard in range(len(self.shards))], retry=retry)

    def run(
        self,
        method: Method[Q, A],
        calls: Sequence[tuple[int, Q]],
        *,
        retry: bool = True,
        timeout_s: float | None = None,
        metadata: Callable[[int], Metadata] | None = None,
    ) -> list[A]:
        """The answers to (shard, request) pairs, in their order, within one deadline.

        A call that failed because its server is away, starting or without Redis is made again after a random pause
        of at most 50 ms, 100 ms, 200 ms ... 2 s, as long as the deadline allows; one that was refused by an overloaded
        server after at least the time that the server asked for. A mutation keeps its request id, by which the server
        knows that it has applied it already. Where another process serves the shard by then, it is
        made there, at once; so is one that hangs.

        Args:
            retry: whether making the call twice does no harm.
            timeout_s: until the deadline; None: the client's.
            metadata: what goes with the request to a shard; what comes with its answer is noted.
        Raises:
            ShardUnavailable: no connection until the deadline.
            RequestError: any other, by reason; after the first that is not worth a retry, no more are made.
        """
        started = time.monotonic()
        deadline = started + (self.timeout_s if timeout_s is None else timeout_s)
        if started >= self._acquaintance.again_at:
            self._keep_up()
        answers: dict[int, A] = {}
        pending = list(range(len(calls)))
        earlier: dict[int, RequestError] = {}
        for attempt in itertools.count(1):
            try:
                failures = self._attempt(method, calls, pending, answers, deadline, retry, metadata)
            except (ValueError, grpc.FutureCancelledError):  # What gRPC raises for a channel that was closed.
                if self._closed.is_set():
                    raise ClientClosed(_CLOSED) from None
                raise
            if not failures:
                return [answers[index] for index in range(len(calls))]
            self._check_open()
            for index, error in failures.items():
                if not self._may_repeat(self.shards[calls[index][0]], error, retry=retry):
                    raise _with_earlier(error, earlier.get(index), attempt)
            pause_s = max(self._after(self.shards[calls[index][0]], failures[index], attempt) for index in failures)
            if time.monotonic() + pause_s >= deadline:
                raise _exhausted(next(iter(failures.values())), attempt, time.monotonic() - started)
            if self._closed.wait(pause_s):
                raise ClientClosed(_CLOSED)
            pending, earlier = list(failures), failures
        raise AssertionError("unreachable: the attempts above do not end by themselves")

    def _keep_up(self) -> None:
        self._check_open()
        try:
            self._acquaintance.keep_up(self.shards)
        except ValueError:  # What gRPC raises for a channel that was closed.
            self._check_open()
            raise

    def read(self, method: Method[Q, A], calls: Sequence[tuple[int, Q]], freshness: Freshness | None = None) -> list[A]:
        """The answers to reads, as `run` gives them; see `ReplicaTransport`."""
        if freshness is not None:
            raise InvalidRequest(
                "max_staleness_s, at_least: expected a client that was made with max_staleness_s; this one reads from "
                "the owners of the shards"
            )
        return self.run(method, calls)

    def _may_repeat(self, shard: Shard, error: RequestError, *, retry: bool) -> bool:
        if failover.TLS in error.metadata:  # It fails for certain, unless another process serves.
            failed = shard.active
            return not shard.alone and failover.look_for_owner(shard, self._closed, failed=failed) not in (None, failed)
        if isinstance(error, Overloaded):
            return True  # Nothing was done.
        if retry and error.retryable and error.code is grpc.StatusCode.UNAVAILABLE:
            return True
        return not shard.alone and failover.never_done(error)

    def _after(self, shard: Shard, error: RequestError, attempt: int) -> float:
        """Looks for the process that serves a shard after a call failed; seconds to wait before the next one."""
        if isinstance(error, Overloaded):
            return failover.asked_pause_s(error)
        if shard.alone and isinstance(error, ShardUnavailable):
            return failover.pause_s(shard, attempt)  # There is nobody to ask.
        failed = shard.active
        owner = failover.look_for_owner(shard, self._closed, failed=failed)
        return failover.pause_s(shard, attempt) if owner in (None, failed) else 0.0

    def stream(self, method: Method[Q, A], shard: int, request: Q, *, timeout_s: float | None) -> Iterator[A]:
        """The answers of one shard as they come; `timeout_s` covers all of them, None: no deadline. Not retried."""
        server = self._confirmed(shard)
        call: Any = server.answers(method)(request, timeout=timeout_s)
        pid = os.getpid()
        try:
            while True:
                _require_process(pid)
                try:
                    answer = next(call)
                except StopIteration:
                    return
                yield answer
        except grpc.RpcError as error:
            raise self._failure(error, shard, server) from None
        finally:
            if os.getpid() == pid:
                call.cancel()
            else:
                forks.keep_for_ever(call)

    def upload(self, method: Method[Q, A], shard: int, requests: Iterator[Q], *, timeout_s: float | None) -> A:
        """The answer of one shard to a stream of requests. Not retried."""
        server = self._confirmed(shard)
        try:
            return server.requests(method)(requests, timeout=timeout_s)
        except grpc.RpcError as error:
            raise self._failure(error, shard, server) from None

    def _confirmed(self, shard: int) -> Server:
        """Where a stream, which is not retried, goes to: the owner, which is asked for where others could be it."""
        self._check_open()
        found, started = self.shards[shard], time.monotonic()
        while not found.alone and failover.look_for_owner(found, self._closed) is None:
            if self._closed.wait(failover.pause_s(found, 1)) or time.monotonic() > started + self.timeout_s:
                break  # The call itself says what is wrong.
        return found.active

    def _attempt(
        self,
        method: Method[Q, A],
        calls: Sequence[tuple[int, Q]],
        pending: Sequence[int],
        answers: dict[int, A],
        deadline: float,
        repeatable: bool = True,
        metadata: Callable[[int], Metadata] | None = None,
    ) -> dict[int, RequestError]:
        """Makes the pending calls at once; files their answers and returns the failures, both by index."""
        self._check_open()
        timeout_s = max(0.001, deadline - time.monotonic())
        started: dict[int, Any] = {}
        for index in pending[1:]:  # The calling thread makes the first call itself, which spares a hand-over.
            number, request = calls[index]
            shard = self.shards[number]
            if shard.alone and metadata is None:
                started[index] = shard.active.unary(method).future(request, timeout=timeout_s)
            else:
                terms = failover.Terms(deadline, self._closed, repeatable, metadata and metadata(number))
                started[index] = failover.WatchedCall(shard, method, request, terms)
        failures: dict[int, RequestError] = {}
        for index in pending:
            number, request = calls[index]
            shard = self.shards[number]
            try:
                if index in started:
                    made = started[index]
                    answers[index] = made.result()
                elif shard.alone and metadata is None:
                    answers[index] = shard.active.unary(method)(request, timeout=timeout_s)
                else:
                    terms = failover.Terms(deadline, self._closed, repeatable, metadata and metadata(number))
                    answers[index], made = failover.at_once(shard, method, request, terms)
                if metadata is not None:
                    self._note(number, made)
            except grpc.RpcError as error:
                failures[index] = failover.error_of(error, self._where(number, shard.active), shard.active)
            except ShardUnavailable as error:
                failures[index] = error
            except BaseException:
                for call in started.values():
                    call.cancel()
                raise
        return failures

    def _note(self, shard: int, call: Any) -> None:
        """Takes in what came with an answer."""

    def _failure(self, error: grpc.RpcError, shard: int, server: Server) -> RowbankError:
        if self._closed.is_set():
            return ClientClosed(_CLOSED)
        return failover.error_of(error, self._where(shard, server), server)

    def _where(self, shard: int, server: Server) -> str:
        return f"shard {shard} at {server.target}" if self._numbered else server.target

    def _check_open(self) -> None:
        forks.settle()
        if self._closed.is_set():
            raise ClientClosed(_CLOSED)


def _require_process(pid: int) -> None:
    if os.getpid() != pid:
        raise InvalidRequest(
            f"the rows that are being read belong to process {pid}, which forked this one; begin to read them here"
        )


def _with_earlier(last: RequestError, earlier: RequestError | None, attempts: int) -> RequestError:
    """A deadline that ended the last of several attempts, with why that was made at all."""
    if earlier is None or not isinstance(last, DeadlineExceeded):
        return last
    return last.worded(f"{last.message}; attempt {attempts}, after: {earlier.message}", attempts=str(attempts))


def _exhausted(last: RequestError, attempts: int, elapsed_s: float) -> RequestError:
    tried = f"{attempts} attempt{'s' if attempts > 1 else ''} in {elapsed_s:.1f} s"
    if isinstance(last, ShardUnavailable):
        text = f"{tried}; last: {last.message}; is the server running, and reachable from here?"
    else:
        text = f"{tried}; last: {last.message}"
    return last.worded(text, attempts=str(attempts))
