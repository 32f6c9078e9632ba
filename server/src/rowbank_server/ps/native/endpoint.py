"""Serves RowService's unary methods beside gRPC's own server, from the same handlers behind the same interceptors."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from rowbank import tracing
from rowbank.errors import DeadlineExceeded, InvalidRequest, MemoryLimit, NotReady, Overloaded, RequestError, to_status
from rowbank_server import _core
from rowbank_server.journal.records import Kind
from rowbank_server.ps.durability.authors import Authors
from rowbank_server.ps.durability.dedup import DedupWindow
from rowbank_server.ps.durability.gate import MutationGate
from rowbank_server.ps.native.context import Aborted, NativeContext, on_wire
from rowbank_server.ps.native.limits import NativeLimits
from rowbank_server.ps.services.metrics import LATENCY_BUCKETS_S
from rowbank_server.ps.tables.growth import budget_of
from rowbank_server.ps.tables.table import ShardTable

if TYPE_CHECKING:
    from rowbank_server._http2 import Call

_log = logging.getLogger("rowbank.ps")

Handlers = Mapping[str, "grpc.RpcMethodHandler[Any, Any]"]
_Answer = tuple[int, str, list[tuple[str, str]], bytes]
_FIRST_THREADS = 4
_SWEEP_S = 0.5
_LOOK_S = 0.005
_MOST_ROOM = 1 << 62
_LEAVE_S = 2.0  # For threads that have answered their last call.


@dataclass(frozen=True, slots=True)
class Passes:
    """What every push passes, whoever answers it.

    Attributes:
        confirm: raises, given a push and for how many seconds to wait, why it is not known whether it will last.
    """

    window: DedupWindow
    gate: MutationGate
    journal: _core.JournalQueue
    authors: Authors
    confirm: Callable[[_core.JournalEntry, float], None]


class NativeEndpoint:
    """One listening socket and its threads. Thread-safe.

    Args:
        handlers: of unary methods, by path.
        interceptors: what wraps them, the outermost first.
        doorkeepers: interceptors that refuse by a call's headers alone, before its request is read.
        server_id: of this process; calls that name another one are refused.
        on_refused: told why, in a word: "receiving" or "slow".
        passes: what pushes pass that are applied without the interpreter,
        errors: and the interceptors that say why one of them failed.
    """

    def __init__(
        self,
        handlers: Handlers,
        interceptors: Sequence[grpc.ServerInterceptor[Any, Any]],
        limits: NativeLimits,
        *,
        doorkeepers: Sequence[grpc.ServerInterceptor[Any, Any]],
        server_id: str,
        on_refused: Callable[[str], None],
        passes: Passes,
        errors: Sequence[grpc.ServerInterceptor[Any, Any]],
    ) -> None:
        self._paths = list(handlers)
        self._find = _chained(interceptors, handlers)
        self._let_in = _chained(doorkeepers, dict.fromkeys(self._paths, _LET_IN))
        self._passes = passes
        confirm = grpc.unary_unary_rpc_method_handler(self._confirm)
        self._find_unconfirmed = _chained(errors, dict.fromkeys(self._paths, confirm))
        self._limits = limits
        self._on_refused = on_refused
        self._counted = [0] * len(_REFUSALS)
        self._redis_away = False
        self._room = -1
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._stopped = threading.Event()
        from rowbank_server._http2 import Endpoint

        self._endpoint = Endpoint(
            methods=self._paths,
            unknown_method="this endpoint answers the unary methods of rowbank.v1.RowService alone; the server's main "
            "address has all others",
            server_id=server_id,
            max_message_bytes=limits.max_message_bytes,
            max_answer_bytes=limits.max_answer_bytes,
            max_streams=limits.max_streams,
            max_connections=limits.max_connections,
            max_arriving=limits.max_arriving,
            max_arriving_a_place=limits.max_arriving_a_place,
            message_timeout_s=limits.message_timeout_s,
            handle=self._answer,
            look=self._look if doorkeepers else None,
            starved=self._add_thread,
            unconfirmed=self._unconfirmed,
            refusals=[_refusal(error) for error in _REFUSALS],
            bounds_s=LATENCY_BUCKETS_S,
            max_keys=limits.max_keys,
            most_at_once=limits.most_at_once,
            passes=(
                passes.window.native,
                passes.gate.native,
                passes.journal,
                passes.authors.native,
                int(Kind.PUSH),
            ),
        )

    def start(self, host: str, port: int) -> str:
        """Listens on a numeric address; returns it with its port. Raises OSError."""
        address: str = self._endpoint.listen(host, port)
        return self._started(address)

    def start_unix(self, path: str) -> str:
        """Listens on a unix socket; returns its address. Raises OSError."""
        return self._started(self._endpoint.listen_unix(path))

    def set_tables(self, tables: Iterable[ShardTable]) -> None:
        """Says which tables there are.

        Those whose evicted rows may come back are read and pushed by handlers alone, and pushed by them are those that
        are synced, read-only, or bounded without a policy, and those of which a record says what was admitted.
        """
        told = []
        for table in tables:
            if not table.second_chance.on:
                owns_all = len(table.buckets) == table.entry.bucket_count
                plain = not (table.synced or table.frozen or budget_of(table.spec, 1))
                steps = table.steps if plain and not (table.journaled and table.admits_by_count) else None
                buckets = owns_all, table.buckets.start, table.buckets.stop
                record = table.mutation_lock, table.entry.table_id, table.journaled
                told.append((table.name, table.rows, steps, *buckets, *record))
        self._endpoint.set_tables(told)

    def set_room(self, room: int) -> None:
        """Says how many bytes new rows may take; negative: there are to be none."""
        with self._lock:
            self._room = min(room, _MOST_ROOM)
            self._tell_room()

    def set_redis_away(self, away: bool) -> None:
        """Says whether rows cannot be written back: how many may wait is for the handlers to say."""
        with self._lock:
            self._redis_away = away
            self._tell_room()

    def _tell_room(self) -> None:
        self._endpoint.set_room(-1 if self._redis_away else self._room)

    def open_plain(self) -> None:
        """Lets plain reads and pushes be answered without the interpreter, where nobody is to look at each."""
        if self._limits.plain_calls and not tracing.is_set_up() and not _log.isEnabledFor(logging.DEBUG):
            self._endpoint.open_plain()

    def close_plain(self) -> None:
        """Lets handlers answer all calls from now on."""
        self._endpoint.close_plain()

    def plain_times(self) -> dict[str, tuple[list[int], float]]:
        """By method, of calls that were answered without the interpreter: how many took up to each bound of the
        histogram of requests, and longer; seconds of all."""
        return dict(zip(("Pull", "Lookup", "Push"), self._endpoint.plain_times(), strict=True))

    def stop(self, *, grace_s: float) -> None:
        """Takes in nothing new, waits up to `grace_s` for what is in flight, and ends all connections."""
        self._endpoint.close_plain()
        self._endpoint.say_goodbye()
        deadline = time.monotonic() + grace_s
        while self._endpoint.unfinished and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        with self._lock:
            self._stopped.set()
        self._endpoint.stop()
        # The interpreter must not end under a thread that is on its way back to it.
        deadline = time.monotonic() + _LEAVE_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _started(self, address: str) -> str:
        for _ in range(_FIRST_THREADS):
            self._add_thread()
        threading.Thread(target=self._sweep, name="native-sweep", daemon=True).start()
        return address

    def _add_thread(self) -> None:
        """Starts one more, as all are busy and may wait for Redis, or for their turns."""
        with self._lock:
            if len(self._threads) >= self._limits.max_calls or self._stopped.is_set():
                return
            thread = threading.Thread(target=self._endpoint.serve, name=f"native-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _sweep(self) -> None:
        while not self._stopped.wait(_SWEEP_S):
            self._endpoint.sweep()
            counted = list(self._endpoint.refused)
            for place, word in ((1, "receiving"), (2, "slow")):
                for _ in range(counted[place] - self._counted[place]):
                    self._on_refused(word)
            self._counted = counted

    def _look(self, path: str, call: Call) -> tuple[int, str, list[tuple[str, str]]] | None:
        """The refusal of a call by its headers; None: its request may be read."""
        context = NativeContext(call)
        handler: Any = self._let_in(_Details(path, context.invocation_metadata()))
        if handler is _LET_IN or handler is None:  # A method that does not exist is refused natively.
            return None
        try:
            for _ in handler.stream_stream(iter(()), context):
                pass
        except Aborted:
            return on_wire(*context.outcome())
        finally:
            context.end()
        raise AssertionError("a refusal gives no answers")

    def _unconfirmed(self, call: Call, entry: _core.JournalEntry) -> _Answer:
        """Why it is not known whether a push will last; or that it is known by now, as a status of 0."""
        context = NativeContext(call)
        try:
            handler: Any = self._find_unconfirmed(_Details(self._paths[call.method], context.invocation_metadata()))
            handler.unary_unary(entry, context)
            return *on_wire(grpc.StatusCode.OK, "", ()), b""
        except Aborted:
            return *on_wire(*context.outcome()), b""
        finally:
            context.end()

    def _confirm(self, entry: _core.JournalEntry, context: grpc.ServicerContext) -> None:
        self._passes.confirm(entry, 0.0)

    def _answer(self, call: Call) -> _Answer:
        """The answer to a call, as it goes on the wire."""
        context = NativeContext(call)
        try:
            return self._answered(self._paths[call.method], call, context)
        except Aborted:
            return *on_wire(*context.outcome()), b""
        except Exception as error:  # As gRPC does.
            _log.exception("a call of the native endpoint failed for a reason that is a defect")
            text = f"Exception calling application: {error}"
            return *on_wire(grpc.StatusCode.UNKNOWN, text, context.trailing_metadata()), b""
        finally:
            context.end()

    def _answered(self, path: str, call: Call, context: NativeContext) -> _Answer:
        left_s = context.time_remaining()
        if left_s is not None and left_s <= 0:
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed before anybody worked on the call")
        handler: Any = self._find(_Details(path, context.invocation_metadata()))
        if handler is None:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        answer = handler.unary_unary(call.body, context)
        if handler.response_serializer is not None:
            answer = handler.response_serializer(answer)
        if context.code() not in (None, grpc.StatusCode.OK):
            raise Aborted
        return *on_wire(grpc.StatusCode.OK, "", context.trailing_metadata()), answer


# Stands for the handlers where only those at the door are asked.
_LET_IN: Any = object()


class _Details:
    """As `grpc.HandlerCallDetails`."""

    __slots__ = ("invocation_metadata", "method")

    def __init__(self, method: str, invocation_metadata: Any) -> None:
        self.method = method
        self.invocation_metadata = invocation_metadata


# In the order of the native side's reasons.
_REFUSALS: tuple[RequestError, ...] = (
    NotReady(
        "another process answers at this address than the one that the call is for; ask the shard's main address",
        metadata={"role": "", "owner": ""},
    ),
    Overloaded(
        "too many requests have begun and not arrived; nothing was done, try again in a moment",
        metadata={"retry_after_s": "0.1"},
    ),
    DeadlineExceeded("the request did not arrive in time, or its caller went away; nothing was done"),
    InvalidRequest("expected one request message, got none, a part of one, or more"),
    MemoryLimit(
        "/rowbank.v1.RowService/Push: the server could not get memory for this; remove rows, or give it more memory"
    ),
)


def _refusal(error: RequestError) -> tuple[int, str, list[tuple[str, str]]]:
    code, text, trailers = to_status(error)
    return on_wire(code, text, tuple(trailers))


def _chained(
    interceptors: Sequence[grpc.ServerInterceptor[Any, Any]], handlers: Handlers
) -> Callable[[Any], grpc.RpcMethodHandler[Any, Any] | None]:
    """Finds a call's handler as gRPC's server does: the first interceptor is asked first."""
    find: Callable[[Any], Any] = lambda details: handlers.get(details.method)  # noqa: E731
    for interceptor in reversed(interceptors):
        find = functools.partial(interceptor.intercept_service, find)
    return find
