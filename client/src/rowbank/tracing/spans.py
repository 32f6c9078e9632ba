"""Spans of OpenTelemetry, which are nothing where it is not set up."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import grpc
import numpy as np

from rowbank.errors import RequestError
from rowbank.tracing.requests import Request, working_on, working_on_now
from rowbank.tracing.setup import api, is_set_up, tracer_of

_MOST_NAMES, _MOST_NAME = 32, 128  # Names of tables in an attribute, and characters of each.
# Statuses that are for somebody to look at, and not the caller's own doing.
FAULTS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}

Attributes = Mapping[str, Any]


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
    found = api()
    if found is None or not found.get_current_span().is_recording():
        return NO_SPAN
    tracer = tracer_of(found)
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
    found = api()
    tracer = None if found is None else tracer_of(found)
    if tracer is None or found is None:
        return NO_SPAN
    linked = [found.Link(context) for context in links]
    made = tracer.start_span(name, parent, found.SpanKind[kind.upper()], links=linked, start_time=started_ns)
    return Span(made, kind, parent)


def past(name: str, origin: Origin, started_ns: int, ended_ns: int) -> None:
    """Records what the request of `origin` went through before anybody worked on it."""
    found = api()
    tracer = None if found is None else tracer_of(found)
    if tracer is None or found is None or not origin.recording:
        return
    made = tracer.start_span(name, found.set_span_in_context(origin.span), start_time=started_ns)
    made.end(ended_ns)


def current() -> Span:
    """The current span, to add to."""
    found = api()
    if found is None:
        return NO_SPAN
    return Span(found.get_current_span())


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
    request, found = working_on_now(), api()
    if found is None:
        return _NOBODY if request is None else Origin(request)
    return Origin(request, found.get_current_span())


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
