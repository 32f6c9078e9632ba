"""Which request this thread or task works on, and what of that goes with the calls it makes."""

from __future__ import annotations

import contextlib
import contextvars
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

from rowbank.errors import REQUEST_ID_KEY, InvalidRequest
from rowbank.tracing.setup import api

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_MOST_STATE = 512  # Characters of a tracestate that is passed on unread.

Pairs = tuple[tuple[str, str], ...]


class Request:
    """A request as logs and other servers know it.

    Attributes:
        given: the id that came with it; empty: none did.
        traceparent, tracestate: the W3C trace context that came with it; empty: none did.
    """

    __slots__ = ("_id", "given", "traceparent", "tracestate")

    def __init__(self, given: str = "", traceparent: str = "", tracestate: str = "") -> None:
        self.given = self._id = given
        self.traceparent = traceparent
        self.tracestate = tracestate

    @property
    def id(self) -> str:
        """1 to 128 characters of A-Z a-z 0-9 . _ : / + = @ -; one that no other request has where none was given,
        made when somebody asks for it."""
        if not self._id:
            self._id = os.urandom(16).hex()
        return self._id


_current: contextvars.ContextVar[Request | None] = contextvars.ContextVar("rowbank_request", default=None)


def arrived(headers: Iterable[tuple[Any, Any]]) -> Request:
    """The request that came with these headers or metadata, with lower-case names; what is not sound is left out."""
    found: dict[str, str] = {}
    for name, value in headers:
        if name in _READ:
            found[_READ[name]] = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    if not found:
        return Request()
    given = found.get(REQUEST_ID_KEY, "")
    traceparent = found.get("traceparent", "")
    state = found.get("tracestate", "")
    if not _TRACEPARENT.fullmatch(traceparent):
        traceparent = state = ""
    return Request(
        given if _REQUEST_ID.fullmatch(given) else "",
        traceparent,
        state if len(state) <= _MOST_STATE and state.isascii() and state.isprintable() else "",
    )


# gRPC's names are text, ASGI's are bytes.
_READ = {key: name for name in (REQUEST_ID_KEY, "traceparent", "tracestate") for key in (name, name.encode())}


def working_on_now() -> Request | None:
    """The request that this thread or task works on; None: none is known."""
    return _current.get()


def request_id() -> str:
    """The id of the request that this thread or task works on; empty: none is known."""
    request = _current.get()
    return "" if request is None else request.id


def trace_id() -> str:
    """The id of the trace that this thread or task works for, 32 hex digits; empty: none."""
    found = api()
    if found is not None:
        context = found.get_current_span().get_span_context()
        if context.is_valid:
            return f"{context.trace_id:032x}"
    request = _current.get()
    return "" if request is None or not request.traceparent else request.traceparent[3:35]


class working_on:  # noqa: N801 - a function to those who use it, and a class because each request pays for it.
    """What runs inside is for `request`."""

    __slots__ = ("_request", "_token")

    def __init__(self, request: Request | None) -> None:
        self._request = request

    def __enter__(self) -> None:
        self._token = _current.set(self._request)

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)


@contextlib.contextmanager
def as_request(request_id: str) -> Iterator[None]:
    """Calls that are made inside carry `request_id`, which the logs of all servers that they reach then have.

    Raises:
        InvalidRequest: it is none.
    """
    if not isinstance(request_id, str) or not _REQUEST_ID.fullmatch(request_id):
        raise InvalidRequest(
            f"request_id: expected 1 to 128 characters of A-Z a-z 0-9 . _ : / + = @ -, got {request_id!r:.150}"
        )
    outer = _current.get() or Request()
    with working_on(Request(request_id, outer.traceparent, outer.tracestate)):
        yield


def outgoing() -> Pairs | None:
    """What goes with a call to another server, as headers or metadata; None: nothing."""
    request = _current.get()
    headers: dict[str, str] = {}
    found = api()
    if found is not None:
        from opentelemetry import propagate

        propagate.inject(headers)
        headers = {name.lower(): value for name, value in headers.items()}
    if request is not None:
        headers[REQUEST_ID_KEY] = request.id
        if request.traceparent and "traceparent" not in headers:
            headers["traceparent"] = request.traceparent
            if request.tracestate:
                headers["tracestate"] = request.tracestate
    return tuple(headers.items()) or None


class Carrying:
    """A gRPC method whose calls carry `outgoing`, beside the metadata that they have themselves."""

    __slots__ = ("_method",)

    def __init__(self, method: Any) -> None:
        self._method = method

    def __call__(self, request: Any, **options: Any) -> Any:
        return self._method(request, **_with(options))

    def with_call(self, request: Any, **options: Any) -> Any:
        """As gRPC's."""
        return self._method.with_call(request, **_with(options))

    def future(self, request: Any, **options: Any) -> Any:
        """As gRPC's."""
        return self._method.future(request, **_with(options))


def _with(options: dict[str, Any]) -> dict[str, Any]:
    carried = outgoing()
    if carried is not None:
        options["metadata"] = (*(options.get("metadata") or ()), *carried)
    return options
