"""The client of online callers that await."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import grpc
import grpc.aio

from rowbank._checks import seconds
from rowbank.calls.channels import CHANNEL_OPTIONS
from rowbank.calls.forked import forks
from rowbank.calls.methods import Method
from rowbank.credentials import Credentials
from rowbank.errors import ClientClosed, InvalidRequest, RequestError
from rowbank.retrieval import operating, queries, stored
from rowbank.retrieval.attempts import Attempts, Call, Places
from rowbank.retrieval.connecting import CLOSED, DEFAULT_TIMEOUT_S, after, described_by, parse_targets, timeout_of
from rowbank.secure import diagnosis
from rowbank.secure.channels import Dialing
from rowbank.tracing import Carrying, span

P = ParamSpec("P")
R = TypeVar("R")

_serialize = operator.methodcaller("SerializeToString")


def _awaited(
    ask: Callable[P, Call[R]],
) -> Callable[Concatenate[AsyncRetrievalClient, P], Coroutine[Any, Any, R]]:
    """The coroutine method that makes the calls which `ask` describes."""

    async def method(self: AsyncRetrievalClient, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._run(ask(*args, **kwargs))

    made: Callable[Concatenate[AsyncRetrievalClient, P], Coroutine[Any, Any, R]] = described_by(ask, method)
    return made


class AsyncRetrievalClient:
    """`RetrievalClient` for asyncio: the same methods with the same answers, to be awaited; use it in an `async with`.

    Any number of tasks of one event loop may share it. gRPC cannot be used in a child that was forked after it ran, so
    calls are refused there; a RetrievalClient works in one.
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
        used = Credentials.from_environment() if credentials is None else credentials
        self._dialing = [Dialing(target, used, CHANNEL_OPTIONS) for target in self._places.targets]
        self._channels: list[grpc.aio.Channel] = []
        self._old: list[grpc.aio.Channel] = []
        self._callables: dict[tuple[int, str], Any] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    recommend = _awaited(queries.recommend)
    recommend_batch = _awaited(queries.recommend_batch)
    similar = _awaited(queries.similar)
    score = _awaited(queries.score)
    embed = _awaited(queries.embed)
    popular = _awaited(queries.popular)

    get_item = _awaited(stored.get_item)
    put_items = _awaited(stored.put_items)
    delete_item = _awaited(stored.delete_item)
    get_user = _awaited(stored.get_user)
    put_users = _awaited(stored.put_users)
    record_events = _awaited(stored.record_events)

    models = _awaited(operating.models)
    activate = _awaited(operating.activate)
    roll_back = _awaited(operating.roll_back)
    traffic = _awaited(operating.traffic)
    set_traffic = _awaited(operating.set_traffic)
    filters = _awaited(operating.filters)
    put_filter = _awaited(operating.put_filter)
    delete_filter = _awaited(operating.delete_filter)
    probe_index = _awaited(operating.probe_index)

    @property
    def targets(self) -> list[str]:
        """The addresses, in full."""
        return list(self._places.targets)

    async def close(self) -> None:
        """Ends all connections. Calls under way fail; calling it twice does no harm."""
        self._closed = True
        channels, self._channels, self._old = [*self._channels, *self._old], [], []
        for channel in channels:
            await channel.close(None)

    async def __aenter__(self) -> AsyncRetrievalClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, call: Call[R]) -> R:
        got: list[Any] = []
        with span(f"rowbank.{call.method.name}", kind="client"):
            try:
                for request in call.requests:
                    got.append(await self._one(call, request))  # noqa: PERF401 - the error says how many there are.
            except RequestError as error:
                raise after(error, len(got)) from None
            return call.decode(got)

    async def _one(self, call: Call[Any], request: Any) -> Any:
        timeout_s = timeout_of(call, self._timeout_s)
        attempts = Attempts(self._places, timeout_s, repeatable=call.repeatable, wait=self._wait)
        while True:
            if attempts.pause_s:
                await asyncio.sleep(attempts.pause_s)
            try:
                method = self._callable(attempts.place, call.method)
                tokens = self._dialing[attempts.place].tokens
                shown = tokens.metadata()
                answer = await method(request, timeout=attempts.timeout_s, metadata=shown or None)
            except grpc.RpcError as error:
                if self._closed:
                    raise ClientClosed(CLOSED) from None
                if error.code() is grpc.StatusCode.UNAUTHENTICATED and tokens.changed(shown):
                    continue  # It was refused for a token that has been replaced since.
                attempts.failed(error, await self._finding(attempts.place, error))
            except asyncio.CancelledError:
                if self._closed:  # By `close`, which cancels what is under way.
                    raise ClientClosed(CLOSED) from None
                raise
            else:
                attempts.worked()
                return answer

    async def _finding(self, place: int, error: grpc.RpcError) -> diagnosis.Finding | None:
        """What is wrong with TLS there, where a connection failed for that and the files did not change meanwhile."""
        if not diagnosis.may_be_tls(str(cast(grpc.Call, error).details() or "")):
            return None
        dialing = self._dialing[place]
        if dialing.changed(at_once=True):
            self._reopen(place)
            return None
        return await asyncio.to_thread(diagnosis.explain, self._places.targets[place], dialing.credentials)

    def _reopen(self, place: int) -> None:
        """Makes another channel by files that changed; calls under way go on over the one before."""
        self._old.append(self._channels[place])
        self._channels[place] = self._dialing[place].aio_channel()
        self._callables = {key: method for key, method in self._callables.items() if key[0] != place}

    def _callable(self, place: int, method: Method[Any, Any]) -> Any:
        if self._closed:
            raise ClientClosed(CLOSED)
        self._open()
        if self._dialing[place].changed():
            self._reopen(place)
        found = self._callables.get((place, method.path))
        if found is None:
            made = self._channels[place].unary_unary(
                method.path, request_serializer=_serialize, response_deserializer=method.answer.FromString
            )
            found = self._callables[place, method.path] = Carrying(made)
        return found

    def _open(self) -> None:
        """Opens channels on the running loop, anew where the one before was closed."""
        loop = asyncio.get_running_loop()
        forks.settle()
        if not forks.may_run_grpc():
            raise InvalidRequest(
                "this process was forked from one that ran gRPC, where gRPC for asyncio cannot be used; ask by a "
                "RetrievalClient in a thread (asyncio.to_thread), or start processes by spawn"
            )
        if self._loop is loop:
            return
        if self._loop is not None and not self._loop.is_closed():
            raise InvalidRequest("the client belongs to another event loop, which still runs; make one for each loop")
        self._loop, self._callables = loop, {}
        self._channels = [dialing.aio_channel() for dialing in self._dialing]
