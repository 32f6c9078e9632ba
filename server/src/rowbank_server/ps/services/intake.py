"""Takes requests in: who sends one slowly, or not at all, keeps no thread for long, and few threads at a time.

gRPC's own handlers of unary methods wait for the request before anything of ours runs, as long as the caller likes. So
all methods are handled as ones that get a stream of requests, and the one is read from it here.
"""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import grpc

from rowbank.errors import DeadlineExceeded, InvalidRequest, Overloaded, RequestError, to_status
from rowbank_server.ps.services.parsing import Parse, parsed
from rowbank_server.ps.services.wrapping import Interceptor
from rowbank_server.settings import PsSettings
from rowbank_server.tenancy import place_of

_LOOK_EVERY_S = 0.5
_QUICK_S = 0.25  # What takes longer to arrive gives way to others.
_OURS = "/rowbank."


class _Arriving(NamedTuple):
    place: str
    began_s: float
    context: grpc.ServicerContext


class Intake(Interceptor):
    """Reads the requests of unary methods within `timeout_s`, from each machine at most `most` at the same time.

    Of this machine, each connection counts for itself. All together are at most `total`.

    Args:
        on_refused: told why, in a word: "receiving" or "slow".
    """

    def __init__(self, *, timeout_s: float, most: int, total: int, on_refused: Callable[[str], None]) -> None:
        self._timeout_s = timeout_s
        self._most = most
        self._total = total
        self._on_refused = on_refused
        self._lock = threading.Lock()
        self._places: Counter[str] = Counter()
        self._receiving: dict[int, _Arriving] = {}
        self._ids = itertools.count()
        self._watched = False

    @classmethod
    def of(cls, settings: PsSettings, on_refused: Callable[[str], None]) -> Intake:
        """As the settings have it."""
        return cls(
            timeout_s=settings.message_timeout_s,
            most=settings.max_calls_per_caller,
            total=settings.max_calls // 2,
            on_refused=on_refused,
        )

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler: Any = continuation(handler_call_details)
        if handler is None or handler.request_streaming:
            return handler  # type: ignore[no-any-return]
        ours = str(handler_call_details.method).startswith(_OURS)
        if handler.response_streaming:
            make, behavior, wrap = grpc.stream_stream_rpc_method_handler, handler.unary_stream, self._streaming
        else:
            make, behavior, wrap = grpc.stream_unary_rpc_method_handler, handler.unary_unary, self._unary
        read = functools.partial(self._read, parse=handler.request_deserializer, ours=ours)
        return make(wrap(behavior, read), None, handler.response_serializer)

    def _unary(self, behavior: Callable[..., Any], read: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(behavior)  # With gRPC's attributes: which threads run it.
        def answer(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
            return behavior(read(requests, context), context)

        return answer

    def _streaming(self, behavior: Callable[..., Any], read: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(behavior)
        def answer(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
            yield from behavior(read(requests, context), context)

        return answer

    def _read(self, requests: Iterator[Any], context: grpc.ServicerContext, *, parse: Parse | None, ours: bool) -> Any:
        """The request. Raises RequestError, or ends the call where nobody turns that into a status."""
        try:
            with self._taken_in(context):
                data = next(requests)
            return parsed(parse, data)
        except StopIteration:
            error: RequestError = InvalidRequest("expected one request message, got none")
        except grpc.RpcError:  # What gRPC raises where the call was ended.
            error = DeadlineExceeded("the request did not arrive in time, or its caller went away; nothing was done")
        except (Overloaded, InvalidRequest) as refusal:
            error = refusal
        if ours:
            try:
                raise error
            finally:
                del error  # It knows this frame: in a circle with it, the call would be kept, and its stream with it.
        code, message, trailers = to_status(error)
        context.set_trailing_metadata(trailers)
        return context.abort(code, message)

    @contextmanager
    def _taken_in(self, context: grpc.ServicerContext) -> Iterator[None]:
        place = place_of(context.peer())
        with self._lock:
            too_many = self._places[place] >= self._most or not self._made_room(place)
            if not too_many:
                self._places[place] += 1
                name = next(self._ids)
                self._receiving[name] = _Arriving(place, time.monotonic(), context)
                watch, self._watched = not self._watched, True
        if too_many:
            self._on_refused("receiving")
            raise Overloaded(
                "too many requests have begun and not arrived; nothing was done, try again in a moment",
                metadata={"retry_after_s": "0.1"},
            )
        if watch:
            threading.Thread(target=self._watch, name="intake", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                if self._receiving.pop(name, None) is not None:
                    self._left(place)

    def _made_room(self, place: str) -> bool:
        """Whether one more of `place` may begin to arrive.

        Where there are as many as may be, the one that takes longest goes, or one of the place that has most.
        """
        if len(self._receiving) < self._total:
            return True
        heaviest, most = self._places.most_common(1)[0]
        name, one = next(iter(self._receiving.items()))
        if time.monotonic() - one.began_s < _QUICK_S:
            if self._places[place] + 1 >= most:
                return False
            name, one = next((name, one) for name, one in self._receiving.items() if one.place == heaviest)
        del self._receiving[name]
        self._left(one.place)
        self._on_refused("slow")
        one.context.cancel()
        return True

    def _left(self, place: str) -> None:
        self._places[place] -= 1
        if not self._places[place]:
            del self._places[place]

    def _watch(self) -> None:
        """Ends calls whose request does not come."""
        while True:
            time.sleep(_LOOK_EVERY_S)
            now = time.monotonic()
            with self._lock:
                late = [one.context for one in self._receiving.values() if now - one.began_s > self._timeout_s]
            for context in late:
                self._on_refused("slow")
                context.cancel()
