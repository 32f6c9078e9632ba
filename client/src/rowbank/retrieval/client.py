"""The client of online callers that block."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

import grpc

from rowbank._checks import seconds
from rowbank.calls import failover
from rowbank.calls.forked import forks
from rowbank.calls.servers import Server
from rowbank.credentials import Credentials
from rowbank.errors import ClientClosed, RequestError
from rowbank.retrieval import operating, queries, stored
from rowbank.retrieval.attempts import Attempts, Call, Places
from rowbank.retrieval.connecting import CLOSED, DEFAULT_TIMEOUT_S, after, described_by, parse_targets, timeout_of
from rowbank.tracing import span

P = ParamSpec("P")
R = TypeVar("R")


def _blocking(ask: Callable[P, Call[R]]) -> Callable[Concatenate[RetrievalClient, P], R]:
    """The method that makes the calls which `ask` describes."""

    def method(self: RetrievalClient, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._run(ask(*args, **kwargs))

    made: Callable[Concatenate[RetrievalClient, P], R] = described_by(ask, method)
    return made


class RetrievalClient:
    """Asks a retrieval service over gRPC. Thread-safe; use it in a `with`, or call `close`.

    It connects when it is first used. In a forked child it goes on with connections of its own; pickled, it is its
    addresses and options.

    Args:
        targets: addresses of services that answer the same: "127.0.0.1:7781", "a:7781,b:7781" or a list. The first that
            works is asked. None: the variable ROWBANK_RETRIEVAL, else 127.0.0.1:7781.
        timeout_s: deadline of every request, retries included; each call may say another one.
        wait_for_ready: False: where none of the services is there now, that is an error at once.
        credentials: whom to trust and which token to show; None: what the variables ROWBANK_TLS_CA, ROWBANK_TOKEN_FILE
            and the like say.
    Raises:
        InvalidRequest: an argument is wrong.
    """

    def __init__(
        self,
        targets: str | Sequence[str] | None = None,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        wait_for_ready: bool = True,
        credentials: Credentials | None = None,
    ) -> None:
        self._timeout_s = seconds("timeout_s", timeout_s)
        self._wait = wait_for_ready
        self._places = Places(parse_targets(targets))
        self._credentials = credentials
        used = Credentials.from_environment() if credentials is None else credentials
        self._servers = [Server(target, used) for target in self._places.targets]
        self._closed = threading.Event()
        forks.watch(self)

    recommend = _blocking(queries.recommend)
    recommend_batch = _blocking(queries.recommend_batch)
    similar = _blocking(queries.similar)
    score = _blocking(queries.score)
    embed = _blocking(queries.embed)
    popular = _blocking(queries.popular)

    get_item = _blocking(stored.get_item)
    put_items = _blocking(stored.put_items)
    delete_item = _blocking(stored.delete_item)
    get_user = _blocking(stored.get_user)
    put_users = _blocking(stored.put_users)
    record_events = _blocking(stored.record_events)

    models = _blocking(operating.models)
    activate = _blocking(operating.activate)
    roll_back = _blocking(operating.roll_back)
    traffic = _blocking(operating.traffic)
    set_traffic = _blocking(operating.set_traffic)
    filters = _blocking(operating.filters)
    put_filter = _blocking(operating.put_filter)
    delete_filter = _blocking(operating.delete_filter)
    probe_index = _blocking(operating.probe_index)

    @property
    def targets(self) -> list[str]:
        """The addresses, in full."""
        return list(self._places.targets)

    def close(self) -> None:
        """Ends all connections. Calls under way fail; calling it twice does no harm."""
        self._closed.set()
        for server in self._servers:
            server.close()

    def renew(self) -> None:
        """Begins anew in a forked child: closed if the parent's is."""
        was_closed = self._closed.is_set()
        self._closed = threading.Event()
        if was_closed:
            self._closed.set()

    def __enter__(self) -> RetrievalClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> Any:
        return _reopened, (self.targets, self._timeout_s, self._wait, self._credentials)

    def _run(self, call: Call[R]) -> R:
        got: list[Any] = []
        with span(f"rowbank.{call.method.name}", kind="client"):
            try:
                for request in call.requests:
                    got.append(self._one(call, request))  # noqa: PERF401 - the error says how many there are.
            except RequestError as error:
                raise after(error, len(got)) from None
            return call.decode(got)

    def _one(self, call: Call[Any], request: Any) -> Any:
        forks.settle()
        timeout_s = timeout_of(call, self._timeout_s)
        attempts = Attempts(self._places, timeout_s, repeatable=call.repeatable, wait=self._wait)
        while True:
            if self._closed.wait(attempts.pause_s) if attempts.pause_s else self._closed.is_set():
                raise ClientClosed(CLOSED)
            try:
                method = self._servers[attempts.place].unary(call.method)
                answer = method(request, timeout=attempts.timeout_s)
            except grpc.RpcError as error:
                if self._closed.is_set():
                    raise ClientClosed(CLOSED) from None
                attempts.failed(error, failover.finding_of(error, self._servers[attempts.place]))
            except (ValueError, grpc.FutureCancelledError):  # What gRPC raises for a channel that was closed.
                if self._closed.is_set():
                    raise ClientClosed(CLOSED) from None
                raise
            else:
                attempts.worked()
                return answer


def _reopened(
    targets: list[str], timeout_s: float, wait_for_ready: bool, credentials: Credentials | None
) -> RetrievalClient:
    return RetrievalClient(targets, timeout_s=timeout_s, wait_for_ready=wait_for_ready, credentials=credentials)
