"""The span of a request that arrives, and the ids by which logs and other servers know it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rowbank import tracing
from rowbank.tracing import Request, Span


@contextlib.contextmanager
def served(
    headers: Iterable[tuple[Any, Any]],
    name: str,
    attributes: Mapping[str, Any],
    *,
    recorded: bool = True,
    arrived_ns: int | None = None,
) -> Iterator[tuple[Request, Span]]:
    """What runs inside is for the request that came with `headers`; it, and its span.

    Args:
        headers: or metadata, names in lower case; text or bytes.
        name: of the span.
        recorded: False: it gets ids, and no span.
        arrived_ns: when it came, since the epoch; None: now.
    """
    headers = list(headers)
    request = tracing.arrived(headers)
    with tracing.working_on(request):
        if not recorded or not tracing.is_set_up():
            yield request, tracing.NO_SPAN
            return
        parent = tracing.extracted({_text(name): _text(value) for name, value in headers})
        with tracing.span(name, kind="server", parent=parent, started_ns=arrived_ns) as span:
            span.note(attributes)
            span.note({"rowbank.request_id": request.id})
            yield request, span


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
