"""Calls to shards: channels, deadlines, retries, and the errors that are left when those are used up."""

from __future__ import annotations

import itertools
import operator
import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc

from rowbank.calls.channels import open_channel
from rowbank.calls.forked import forks
from rowbank.calls.forked.relayed import RelayedChannel
from rowbank.calls.methods import A, Method, Q
from rowbank.errors import (
    ClientClosed,
    InvalidRequest,
    RequestError,
    RowbankError,
    ShardUnavailable,
    from_rpc_error,
)
from rowbank_protos.memory import keep_freed_blocks
from rowbank_protos.v1 import common_pb2

_serialize = operator.methodcaller("SerializeToString")

_CLOSED = "the client is closed; make a new one"
_FIRST_BACKOFF_S = 0.05
_LONGEST_BACKOFF_S = 2.0


class Shard:
    """One server: its channel, its methods, and the numbers of the mutations sent to it."""

    def __init__(self, target: str) -> None:
        self.target = target
        self._begin()
        forks.watch(self)

    def renew(self) -> None:
        """Begins anew in a forked child; the parent's channel is left as it is."""
        forks.keep_for_ever(self._channel, self._callables)
        self._begin()

    def _begin(self) -> None:
        self._channel = open_channel(self.target) if forks.may_run_grpc() else RelayedChannel(self.target)
        self._callables: dict[str, Any] = {}
        self._sequence = itertools.count(1)

    def unary(self, method: Method[Q, A]) -> grpc.UnaryUnaryMultiCallable[Q, A]:
        """The method of one request and one answer."""
        found: grpc.UnaryUnaryMultiCallable[Q, A] = self._callable(method, self._channel.unary_unary)
        return found

    def answers(self, method: Method[Q, A]) -> grpc.UnaryStreamMultiCallable[Q, A]:
        """The method of one request and a stream of answers."""
        found: grpc.UnaryStreamMultiCallable[Q, A] = self._callable(method, self._channel.unary_stream)
        return found

    def requests(self, method: Method[Q, A]) -> grpc.StreamUnaryMultiCallable[Q, A]:
        """The method of a stream of requests and one answer."""
        found: grpc.StreamUnaryMultiCallable[Q, A] = self._callable(method, self._channel.stream_unary)
        return found

    def request_id(self, client_id: str) -> common_pb2.RequestId:
        """The name of the next mutation; `next` on a counter is atomic, so threads may share a shard."""
        return common_pb2.RequestId(client_id=client_id, sequence=next(self._sequence))

    def close(self) -> None:
        """Ends the connection; calls under way are cancelled."""
        self._channel.close()

    def _callable(self, method: Method[Any, Any], build: Callable[..., Any]) -> Any:
        found = self._callables.get(method.path)
        if found is None:
            found = self._callables[method.path] = build(
                method.path,
                request_serializer=_serialize,
                response_deserializer=method.answer.FromString,
            )
        return found


class Transport:
    """Runs calls on shards within a deadline, all shards at once. Thread-safe; another client in a forked child.

    Args:
        numbered: whether the shards are in the order of their numbers, so that errors can name them.

    Attributes:
        client_id: who the mutations are from; each shard numbers them.
    """

    def __init__(self, shards: Sequence[Shard], *, timeout_s: float, numbered: bool = True) -> None:
        keep_freed_blocks()
        self.shards = list(shards)
        self.timeout_s = timeout_s
        self._numbered = numbered
        self._closed = threading.Event()
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
    ) -> list[A]:
        """The answers to (shard, request) pairs, in their order, within one deadline.

        A call that failed because its server is away, starting or without Redis is made again after a random pause
        of at most 50 ms, 100 ms, 200 ms ... 2 s, as long as the deadline allows; a mutation keeps its request id, by
        which the server knows that it has applied it already.

        Args:
            retry: whether making the call twice does no harm.
            timeout_s: until the deadline; None: the client's.
        Raises:
            ShardUnavailable: no connection until the deadline.
            RequestError: any other, by reason; after the first that is not worth a retry, no more are made.
        """
        started = time.monotonic()
        deadline = started + (self.timeout_s if timeout_s is None else timeout_s)
        answers: dict[int, A] = {}
        pending = list(range(len(calls)))
        for attempt in itertools.count(1):
            try:
                failures = self._attempt(method, calls, pending, answers, deadline)
            except (ValueError, grpc.FutureCancelledError):  # What gRPC raises for a channel that was closed.
                if self._closed.is_set():
                    raise ClientClosed(_CLOSED) from None
                raise
            if not failures:
                return [answers[index] for index in range(len(calls))]
            self._check_open()
            for error in failures.values():
                if not (retry and error.retryable and error.code is grpc.StatusCode.UNAVAILABLE):
                    raise error
            pause_s = random.uniform(0.0, min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2.0 ** min(attempt - 1, 16)))
            if time.monotonic() + pause_s >= deadline:
                raise _exhausted(next(iter(failures.values())), attempt, time.monotonic() - started)
            if self._closed.wait(pause_s):
                raise ClientClosed(_CLOSED)
            pending = list(failures)
        raise AssertionError("unreachable: the attempts above do not end by themselves")

    def stream(self, method: Method[Q, A], shard: int, request: Q, *, timeout_s: float | None) -> Iterator[A]:
        """The answers of one shard as they come; `timeout_s` covers all of them, None: no deadline. Not retried."""
        self._check_open()
        call: Any = self.shards[shard].answers(method)(request, timeout=timeout_s)
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
            raise self._failure(error, shard) from None
        finally:
            if os.getpid() == pid:
                call.cancel()
            else:
                forks.keep_for_ever(call)

    def upload(self, method: Method[Q, A], shard: int, requests: Iterator[Q], *, timeout_s: float | None) -> A:
        """The answer of one shard to a stream of requests. Not retried."""
        self._check_open()
        try:
            return self.shards[shard].requests(method)(requests, timeout=timeout_s)
        except grpc.RpcError as error:
            raise self._failure(error, shard) from None

    def _attempt(
        self,
        method: Method[Q, A],
        calls: Sequence[tuple[int, Q]],
        pending: Sequence[int],
        answers: dict[int, A],
        deadline: float,
    ) -> dict[int, RequestError]:
        """Makes the pending calls at once; files their answers and returns the failures, both by index."""
        self._check_open()
        timeout_s = max(0.001, deadline - time.monotonic())
        futures = {}
        for index in pending[1:]:
            shard, request = calls[index]
            futures[index] = self.shards[shard].unary(method).future(request, timeout=timeout_s)
        failures: dict[int, RequestError] = {}
        for index in pending:
            shard, request = calls[index]
            try:
                if index in futures:
                    answers[index] = futures[index].result()
                else:  # The calling thread makes the first call itself, which spares a hand-over.
                    answers[index] = self.shards[shard].unary(method)(request, timeout=timeout_s)
            except grpc.RpcError as error:
                failures[index] = from_rpc_error(error, target=self._where(shard))
            except BaseException:
                for future in futures.values():
                    future.cancel()
                raise
        return failures

    def _failure(self, error: grpc.RpcError, shard: int) -> RowbankError:
        return ClientClosed(_CLOSED) if self._closed.is_set() else from_rpc_error(error, target=self._where(shard))

    def _where(self, shard: int) -> str:
        target = self.shards[shard].target
        return f"shard {shard} at {target}" if self._numbered else target

    def _check_open(self) -> None:
        forks.settle()
        if self._closed.is_set():
            raise ClientClosed(_CLOSED)


def _require_process(pid: int) -> None:
    if os.getpid() != pid:
        raise InvalidRequest(
            f"the rows that are being read belong to process {pid}, which forked this one; begin to read them here"
        )


def _exhausted(last: RequestError, attempts: int, elapsed_s: float) -> RequestError:
    tried = f"{attempts} attempt{'s' if attempts > 1 else ''} in {elapsed_s:.1f} s"
    if isinstance(last, ShardUnavailable):
        text = f"{tried}; last: {last.message}; is the server running, and reachable from here?"
    else:
        text = f"{tried}; last: {last.message}"
    return type(last)(text, metadata={**last.metadata, "attempts": str(attempts)})
