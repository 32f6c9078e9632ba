"""Ids of requests, and spans of what they go through: the same for clients and servers.

Spans are OpenTelemetry's, where the process has set it up. Where it has not, nothing of OpenTelemetry is imported and
a span costs a look into a dictionary. A trace's context that came with a request goes on with what the request asks of
others all the same, unchanged.

Spans carry names of tables and models, counts and versions; never ids of users, items or rows, and no secrets. So they
say by which class an exception was raised, and not what it said.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import grpc
import numpy as np

from rowbank._version import __version__
from rowbank.errors import REQUEST_ID_KEY, InvalidRequest, RequestError

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_MOST_STATE = 512  # Characters of a tracestate that is passed on unread.
_SCOPE = "rowbank"
_MOST_NAMES, _MOST_NAME = 32, 128  # Names of tables in an attribute, and characters of each.
# Statuses that are for somebody to look at, and not the caller's own doing.
FAULTS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}

Pairs = tuple[tuple[str, str], ...]
Attributes = Mapping[str, Any]


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


def request_id() -> str:
    """The id of the request that this thread or task works on; empty: none is known."""
    request = _current.get()
    return "" if request is None else request.id


def trace_id() -> str:
    """The id of the trace that this thread or task works for, 32 hex digits; empty: none."""
    api = _api()
    if api is not None:
        context = api.get_current_span().get_span_context()
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
        with contextlib.suppress(ValueError):  # Of a generator that was given up, and is closed by another thread.
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
    api = _api()
    if api is not None:
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


class Span:
    """A part of a trace, in a `with`: it is the current one inside. Not recorded where nobody wants it."""

    __slots__ = ("_kind", "_parent", "_span", "_token")

    def __init__(self, span: Any = None, kind: str = "", parent: Any = None) -> None:
        self._span = span
        self._kind = kind
        self._parent = parent
        self._token: Any = None

    @property
    def recording(self) -> bool:
        """Whether anybody will see it, so that what it costs to describe it is worth while."""
        return self._span is not None and bool(self._span.is_recording())

    def note(self, attributes: Attributes) -> None:
        """Adds attributes; those that are None are left out."""
        if self.recording:
            self._span.set_attributes({name: value for name, value in attributes.items() if value is not None})

    def name(self, name: str) -> None:
        """Gives it another name."""
        if self.recording:
            self._span.update_name(name)

    def fail(self, reason: str, *, fault: bool = True) -> None:
        """Says why it failed, if nobody has; `fault`: whether that is for somebody to look at."""
        if self.recording and "error.type" not in (getattr(self._span, "attributes", None) or {}):
            from opentelemetry.trace import Status, StatusCode

            self._span.set_attribute("error.type", reason)
            if fault:
                self._span.set_status(Status(StatusCode.ERROR, reason))

    def refuse(self, error: RequestError) -> None:
        """Says with which error its request is answered."""
        self.fail(error.reason, fault=error.code.name in FAULTS)

    def link(self, context: Any) -> None:
        """Refers to a span of another trace, by its context."""
        if self.recording and context is not None:
            self._span.add_link(context)

    @property
    def context(self) -> Any:
        """What other spans refer to it by; None: it has none."""
        return None if self._span is None else self._span.get_span_context()

    def __enter__(self) -> Span:
        if self._span is not None:
            from opentelemetry import context, trace

            self._token = context.attach(trace.set_span_in_context(self._span, self._parent))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._span is None:
            return
        if error is not None and not isinstance(error, GeneratorExit):
            code = getattr(error, "code", None)
            name = code.name if isinstance(code, grpc.StatusCode) else "UNKNOWN"
            reason = getattr(error, "reason", type(error).__name__)
            self.fail(str(reason), fault=self._kind != "server" or name in FAULTS)
        from opentelemetry import context

        if self._token is not None:
            context.detach(self._token)
        self._span.end()


NO_SPAN = Span()


def stage(name: str) -> Span:
    """A part of the current span; nothing where that is not recorded."""
    api = _api()
    if api is None or not api.get_current_span().is_recording():
        return NO_SPAN
    tracer = _tracer(api)
    return NO_SPAN if tracer is None else Span(tracer.start_span(name))


def span(
    name: str,
    *,
    kind: str = "internal",
    parent: Any = None,
    links: Sequence[Any] = (),
    started_ns: int | None = None,
) -> Span:
    """A span of the current trace, or the first one of a new trace.

    Args:
        kind: OpenTelemetry's: "internal", "server", "client".
        parent: OpenTelemetry's context that it belongs to; None: the current one.
        links: contexts of spans of other traces that it belongs to as well.
        started_ns: when it began, since the epoch; None: now.
    """
    api = _api()
    tracer = None if api is None else _tracer(api)
    if tracer is None or api is None:
        return NO_SPAN
    linked = [api.Link(context) for context in links]
    made = tracer.start_span(name, parent, api.SpanKind[kind.upper()], links=linked, start_time=started_ns)
    return Span(made, kind, parent)


def past(name: str, origin: Origin, started_ns: int, ended_ns: int) -> None:
    """Records what the request of `origin` went through before anybody worked on it."""
    api = _api()
    tracer = None if api is None else _tracer(api)
    if tracer is None or api is None or not origin.recording:
        return
    made = tracer.start_span(name, api.set_span_in_context(origin.span), start_time=started_ns)
    made.end(ended_ns)


def current() -> Span:
    """The current span, to add to."""
    api = _api()
    if api is None:
        return NO_SPAN
    return Span(api.get_current_span())


def extracted(headers: Mapping[str, str]) -> Any:
    """OpenTelemetry's context that came with these headers; None: it is not set up."""
    if not is_set_up():
        return None
    from opentelemetry import propagate

    return propagate.extract(headers)


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose work is handed to another thread.

    Attributes:
        request: the request; None: none is known.
        span: OpenTelemetry's current span; None: it is not set up.
    """

    request: Request | None = None
    span: Any = None

    @property
    def recording(self) -> bool:
        """Whether its span is recorded."""
        return self.span is not None and bool(self.span.is_recording())


_NOBODY = Origin()


def origin() -> Origin:
    """For whom this thread or task works."""
    request, api = _current.get(), _api()
    if api is None:
        return _NOBODY if request is None else Origin(request)
    return Origin(request, api.get_current_span())


@contextlib.contextmanager
def joined(name: str, origins: Sequence[Origin]) -> Iterator[Span]:
    """What runs inside is for all of `origins`, of which the first that is recorded gets the span `name` as its own.

    The others' spans and this one refer to each other. Work for several requests has an id of its own.
    """
    distinct = list({id(one.request): one.request for one in origins if one.request is not None}.values())
    request = distinct[0] if distinct else None
    if request is not None and len(distinct) > 1:
        request = Request("", request.traceparent, request.tracestate)
    spans = [one.span for one in origins if one.span is not None and one.span.get_span_context().is_valid]
    recorded = [one for one in spans if one.is_recording()]
    with working_on(request):
        if not spans:
            yield NO_SPAN
            return
        from opentelemetry import trace

        if not recorded:  # Whom it calls shall not begin a trace that nobody wanted here.
            with trace.use_span(spans[0], record_exception=False, set_status_on_exception=False):
                yield NO_SPAN
            return

        links = [one.get_span_context() for one in recorded[1:]]
        with span(name, parent=trace.set_span_in_context(recorded[0]), links=links) as made:
            for one in recorded[1:]:
                Span(one).link(made.context)
            yield made


def of_tables(names: Iterable[Any], keys: int | None) -> dict[str, Any]:
    """Attributes of work on so many keys of tables."""
    shown = sorted({str(name)[:_MOST_NAME] for name in names})
    return {"rowbank.tables": shown[:_MOST_NAMES], "rowbank.keys": keys}


def rows_span(verb: str, keys: Collection[tuple[str, Any]]) -> Span:
    """A client's span of work on rows: of tables, by their names, and keys as the caller gave them."""
    made = span(f"rowbank.{verb}", kind="client")
    if made.recording:
        made.note(of_tables([table for table, _ in keys], _given(part for _, part in keys)))
    return made


def _given(parts: Iterable[Any]) -> int | None:
    """How many keys callers gave; None: some of it is no array, which is refused later."""
    try:
        return sum(int(np.size(part)) for part in parts)
    except (TypeError, ValueError):
        return None


def is_set_up() -> bool:
    """Whether spans go anywhere."""
    api = _api()
    return api is not None and _tracer(api) is not None


def _api() -> Any:
    """OpenTelemetry's `trace`, if this process has imported it: nobody has set it up else."""
    api = sys.modules.get("opentelemetry.trace")
    return api if api is not None and hasattr(api, "use_span") else None  # It has all of it once it has its last.


_known: tuple[Any, Any] = (None, None)  # A provider and its tracer.


def _tracer(api: Any) -> Any:
    global _known
    provider = api.get_tracer_provider()
    known, tracer = _known
    if provider is not known:
        off = isinstance(provider, api.ProxyTracerProvider | api.NoOpTracerProvider)
        tracer = None if off else provider.get_tracer(_SCOPE, __version__)
        _known = provider, tracer
    return tracer
