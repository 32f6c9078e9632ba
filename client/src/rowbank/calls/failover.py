"""Finding a shard's owner again: who is asked, when, and what becomes of a call whose server says nothing.

Problem: a shard's owner may die, stop, or be cut off, and another process take over, which the client learns from
nobody. Idea: when a call fails or hangs, all known processes of the shard are asked at once who they are, with a short
deadline; calls go on at the one that owns the shard, with the request ids that they have. Who may acknowledge is
decided by the servers, so a wrong guess costs time and nothing else.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from typing import Any, Generic, cast

import grpc

from rowbank.calls.channels import never_sent
from rowbank.calls.forked import forks
from rowbank.calls.methods import GET_SERVER_INFO, A, Method, Q
from rowbank.calls.servers import REPLICA, STANDBY, Server, Shard, best_owner, serves
from rowbank.errors import (
    NotOwner,
    NotReady,
    Overloaded,
    ReplicaTooStale,
    RequestError,
    ShardUnavailable,
    from_rpc_error,
)
from rowbank.secure import diagnosis
from rowbank_protos.v1 import admin_pb2

HANG_S = 0.25  # A call without an answer for so long, where another process could serve, is looked after.
_LOOK_AGAIN_S = 0.05
_ASK_S = 0.25  # A process that takes longer to say who it is does not count.
_SLOW_S = 10.0
_POLL_S = 0.002
_FIRST_BACKOFF_S = 0.05
_LONGEST_BACKOFF_S = 2.0
_LONGEST_WITH_ALTERNATIVES_S = 0.1
_LONGEST_ASKED_S = 3600.0
_UNSENT = "unsent"  # Among an error's facts: the request never left.
TLS = "tls"  # The two ends disagree about TLS, so that trying again is of no use; the cause.


def look_for_owner(
    shard: Shard, stop: threading.Event, *, failed: Server | None = None, thorough: bool = False
) -> Server | None:
    """Asks the processes of a shard who owns it, and lets calls go there; takes at most a quarter of a second.

    Args:
        stop: ends the search early.
        failed: a server that was tried in vain: it is asked as well, but does not end the search.
        thorough: whether everybody is heard, so that what all of them are is known.
    Returns:
        The owner, as far as one was found.
    """
    request = admin_pb2.GetServerInfoRequest()
    try:
        asked = {server: server.unary(GET_SERVER_INFO).future(request, timeout=_ASK_S) for server in shard.servers}
    except ValueError:  # What gRPC raises for a channel that was closed.
        if stop.is_set():
            return None
        raise
    answers: list[tuple[Server, admin_pb2.GetServerInfoResponse]] = []
    deadline = time.monotonic() + _ASK_S
    try:
        # One that failed, or only reads, is worth waiting for where there is no other.
        awaited = {one for one in asked if one is not failed and one.role != REPLICA} or set(asked)
        if thorough:
            awaited = set(asked)
        while awaited & asked.keys() and time.monotonic() < deadline and not stop.wait(_POLL_S):
            for server in [one for one, future in asked.items() if future.done()]:
                info = _answer(asked.pop(server))
                if info is not None:
                    shard.learn(server, info)
                    answers.append((server, info))
            if not thorough and any(
                serves(info) and one is not failed and info.epoch >= shard.epoch for one, info in answers
            ):
                break
    finally:
        for future in asked.values():
            future.cancel()
    found = best_owner(shard, answers)
    if found is None:
        return None
    shard.move(*found)
    return found[0]


def _answer(future: Any) -> admin_pb2.GetServerInfoResponse | None:
    try:
        answer: admin_pb2.GetServerInfoResponse = future.result()
    except (grpc.RpcError, grpc.FutureCancelledError, ValueError):
        return None
    return answer


@dataclass(frozen=True, slots=True)
class Terms:
    """How a call is made.

    Attributes:
        deadline: by the monotonic clock.
        stop: set when the client is closed.
        repeatable: whether making the call twice does no harm.
        metadata: what goes with it.
    """

    deadline: float
    stop: threading.Event
    repeatable: bool
    metadata: tuple[tuple[str, str], ...] | None


def at_once(shard: Shard, method: Method[Q, A], request: Q, terms: Terms) -> tuple[A, Any]:
    """Makes a call in the calling thread, which spares a hand-over to another one and back.

    A repeatable one of rows that hangs, where another process could serve, is made anew as a `WatchedCall`; for a while
    after that, such calls are from the beginning.

    Returns:
        The answer, and what says what came with it.
    """
    now = time.monotonic()
    left_s = max(0.001, terms.deadline - now)
    quick = terms.repeatable and method.service == "RowService" and left_s > HANG_S and now > shard.slow_until
    if shard.alone or quick:
        call: Any = shard.active.unary(method)
        try:
            answer, made = call.with_call(request, timeout=left_s if shard.alone else HANG_S, metadata=terms.metadata)
        except grpc.RpcError as error:
            if shard.alone or cast(grpc.Call, error).code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                raise
            shard.slow_until = time.monotonic() + _SLOW_S
        else:
            return answer, made
    watched = WatchedCall(shard, method, request, terms, hangs=quick)
    return watched.result(), watched


class WatchedCall(Generic[Q, A]):
    """A call to a shard that has other processes: where its server says nothing, it is made at the one that owns it.

    Args:
        hangs: whether it did so already, and is made again.
    """

    def __init__(self, shard: Shard, method: Method[Q, A], request: Q, terms: Terms, *, hangs: bool = False) -> None:
        self._shard, self._method, self._request, self._terms = shard, method, request, terms
        if hangs:
            look_for_owner(shard, terms.stop, failed=shard.active)
        self._look_at = time.monotonic() + (_LOOK_AGAIN_S if hangs else HANG_S)
        self._start()

    def _start(self) -> None:
        self._server = self._shard.active
        timeout_s = max(0.001, self._terms.deadline - time.monotonic())
        method: Any = self._server.unary(self._method)
        self._future = method.future(self._request, timeout=timeout_s, metadata=self._terms.metadata)

    def trailing_metadata(self) -> Any:
        """What came with the answer."""
        return self._future.trailing_metadata()

    def result(self) -> A:
        """Waits for the answer. Raises what gRPC raises, and `ShardUnavailable` where nobody will know its fate."""
        while (answer := waited(self._future, self._look_at - time.monotonic())) is None:
            self._look_after()
        result: A = answer
        return result

    def cancel(self) -> None:
        """Gives it up."""
        self._future.cancel()

    def _look_after(self) -> None:
        if self._shard.active is self._server:
            look_for_owner(self._shard, self._terms.stop, failed=self._server)
        self._look_at = time.monotonic() + _LOOK_AGAIN_S
        if self._shard.active is self._server or self._terms.stop.is_set():
            return
        self._future.cancel()
        if not self._terms.repeatable:
            raise ShardUnavailable(
                f"{self._server.target} gave no answer before {self._shard.target} took over the shard; what it did of "
                "this call is not known",
                metadata={"target": self._server.target},
            )
        self._start()
        self._look_at = time.monotonic() + HANG_S


def waited(future: Any, timeout_s: float) -> Any:
    """The answer to a call; None: there is none within that time. Raises `grpc.RpcError`."""
    try:
        return future.result(timeout=max(0.0, timeout_s))
    except grpc.FutureTimeoutError:
        return None


def error_of(error: grpc.RpcError, where: str, server: Server) -> RequestError:
    """The error that a failed call stands for, with what `never_done` goes by; `where` says which server it was."""
    result = from_rpc_error(error, target=where)
    if isinstance(result, ShardUnavailable) and never_sent(error):
        finding = finding_of(error, server)
        if finding is not None:
            said = f"{where}: {finding.text}" if where else finding.text
            result = ShardUnavailable(said, metadata={**result.metadata, TLS: finding.cause})
        result.metadata[_UNSENT] = "yes"
    return result


def finding_of(error: grpc.RpcError, server: Server) -> diagnosis.Finding | None:
    """What is wrong with TLS, where a connection failed for that and the files did not change meanwhile."""
    details = str(cast(grpc.Call, error).details() or "")
    if not diagnosis.may_be_tls(details) or server.reopened():
        return None
    return diagnosis.explain(server.target, server.credentials)


def never_done(error: RequestError) -> bool:
    """Whether a call that failed so changed nothing and may succeed elsewhere, whatever it was."""
    elsewhere = isinstance(error, NotReady) and error.metadata.get("role") in (STANDBY, REPLICA)
    return elsewhere or isinstance(error, NotOwner | ReplicaTooStale) or _UNSENT in error.metadata


def pause_s(shard: Shard, attempt: int) -> float:
    """A random time to wait after the `attempt`-th try in vain: up to 50 ms, 100 ms, 200 ms ... 2 s, or, where another
    process may take over any moment, up to 100 ms."""
    longest = _LONGEST_BACKOFF_S if shard.alone else _LONGEST_WITH_ALTERNATIVES_S
    return random.uniform(0.0, min(longest, _FIRST_BACKOFF_S * 2.0 ** min(attempt - 1, 16)))


def asked_pause_s(error: Overloaded) -> float:
    """A random time to wait that is at least what an overloaded server asked for, and at most half as much again."""
    try:
        asked_s = float(error.metadata["retry_after_s"])
    except (KeyError, ValueError):
        asked_s = 1.0
    if not 0.0 <= asked_s <= _LONGEST_ASKED_S:  # Also where it is no number.
        asked_s = 1.0
    return max(_FIRST_BACKOFF_S, asked_s) * random.uniform(1.0, 1.5)


class Acquaintance:
    """Keeps up with who the processes of shards are, by a question every few seconds that no call waits for."""

    EVERY_S = 5.0

    def __init__(self) -> None:
        self._begin()
        forks.watch(self)

    def renew(self) -> None:
        """Begins anew in a forked child; the parent's questions are left as they are."""
        forks.keep_for_ever(self._asked)
        self._begin()

    def _begin(self) -> None:
        self._asked: list[tuple[Shard, Server, Any]] = []
        self.again_at = time.monotonic() + self.EVERY_S

    def keep_up(self, shards: list[Shard]) -> None:
        """Called when `again_at` is over: asks, or takes in what was answered."""
        asked, self._asked = self._asked, []
        now = time.monotonic()
        if asked:
            self.again_at = now + self.EVERY_S
            for shard, server, future in asked:
                _take_in(shard, server, future)
            return
        self.again_at = now + _ASK_S
        request = admin_pb2.GetServerInfoRequest()
        self._asked = [
            (shard, server, server.unary(GET_SERVER_INFO).future(request, timeout=self.EVERY_S))
            for shard in shards
            for server in shard.servers
        ]


def _take_in(shard: Shard, server: Server, future: Any) -> None:
    info = _answer(future) if future.done() else None
    if info is not None:
        shard.learn(server, info)
        # An owner that is cut off from Redis answers reads, with old rows, however long ago it was replaced.
        if serves(info) and (server is shard.active or 0 < shard.epoch < info.epoch or shard.active.role == REPLICA):
            shard.move(server, info.epoch)
