"""Ids of requests, and spans of what they go through: the same for clients and servers.

Spans are OpenTelemetry's, where the process has set it up. Where it has not, nothing of OpenTelemetry is imported and
a span costs a look into a dictionary. A trace's context that came with a request goes on with what the request asks of
others all the same, unchanged.

Spans carry names of tables and models, counts and versions; never ids of users, items or rows, and no secrets. So they
say by which class an exception was raised, and not what it said.
"""

from rowbank.tracing.requests import (
    Carrying,
    Request,
    arrived,
    as_request,
    outgoing,
    request_id,
    trace_id,
    working_on,
)
from rowbank.tracing.setup import is_set_up
from rowbank.tracing.spans import (
    FAULTS,
    NO_SPAN,
    Origin,
    Span,
    current,
    extracted,
    joined,
    of_tables,
    origin,
    past,
    rows_span,
    span,
    stage,
)

__all__ = [
    "FAULTS",
    "NO_SPAN",
    "Carrying",
    "Origin",
    "Request",
    "Span",
    "arrived",
    "as_request",
    "current",
    "extracted",
    "is_set_up",
    "joined",
    "of_tables",
    "origin",
    "outgoing",
    "past",
    "request_id",
    "rows_span",
    "span",
    "stage",
    "trace_id",
    "working_on",
]
