"""What the native endpoint takes in, and whether there is one."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from rowbank_server.settings import PsSettings
from rowbank_server.settings.ps import OFF

try:
    from rowbank_server._http2 import Endpoint as _Endpoint
except ImportError:  # Built where nghttp2 is not.
    _Endpoint = None  # type: ignore[assignment, misc]

_log = logging.getLogger("rowbank.ps")
_MORE_THREADS = 32  # Beyond as many calls as there may be, some are needed to refuse more.
_MOST_CONNECTIONS = 16384
_RECORD_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class NativeLimits:
    """What an endpoint takes in.

    Attributes:
        max_calls: threads that may work at the same time, about.
        max_arriving, max_arriving_a_place: requests that may have begun and not arrived, of all and of one machine.
        message_timeout_s: how long one may take to arrive.
        plain_calls: whether calls may be answered without a look at who asks.
        most_at_once: so many at the same time; beyond that the fair line of the handlers decides.
        max_keys: the limit `max_keys_per_request`.
    """

    max_message_bytes: int
    max_answer_bytes: int
    max_streams: int
    max_connections: int
    max_calls: int
    max_arriving: int
    max_arriving_a_place: int
    message_timeout_s: float
    plain_calls: bool
    most_at_once: int
    max_keys: int


def max_answer_bytes(max_message_bytes: int) -> int:
    """What an answer may have: that of a follower is a record, which has something beside the request that it holds."""
    return max_message_bytes + min(_RECORD_BYTES, max_message_bytes // 16)


def limits_of(settings: PsSettings, *, speaks_tls: bool, asks_for_tokens: bool) -> NativeLimits | None:
    """As the settings have it; None: there is no native endpoint."""
    if settings.native_bind == OFF:
        return None
    if speaks_tls or _Endpoint is None:
        why = "it does not speak TLS" if speaks_tls else "the server was built where nghttp2 is not"
        _log.info("no native endpoint: %s; gRPC's own server answers all requests", why)
        return None
    return NativeLimits(
        max_message_bytes=settings.max_message_bytes,
        max_answer_bytes=max_answer_bytes(settings.max_message_bytes),
        max_streams=settings.max_streams_per_connection,
        max_connections=_MOST_CONNECTIONS,
        max_calls=settings.max_calls + _MORE_THREADS,
        max_arriving=settings.max_calls // 2,
        max_arriving_a_place=settings.max_calls_per_caller,
        message_timeout_s=settings.message_timeout_s,
        plain_calls=not asks_for_tokens,
        most_at_once=settings.worker_threads,
        max_keys=settings.max_keys_per_request,
    )
