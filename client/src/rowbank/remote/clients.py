"""One open client per target and process, for callers that name a target rather than hold a client.

A forked child goes on with its parent's clients, each of which is another one there (see `calls.forks`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rowbank.calls.connect import parse_targets
from rowbank.calls.forked import forks
from rowbank.client import Client
from rowbank.credentials import Credentials
from rowbank.errors import InvalidRequest

OPTIONS = ("near_cache_bytes", "max_staleness_steps", "gradient_rounding", "rounding_seed", "max_staleness_s")

_lock = forks.Lock()
_clients: dict[tuple[Any, ...], Client] = {}


def shared_client(
    target: str | Sequence[str] | Client | None,
    *,
    timeout_s: float | None = None,
    wire_dtype: str | None = None,
    client_options: Mapping[str, Any] | None = None,
    credentials: Credentials | None = None,
) -> Client:
    """Returns `target` itself if it is a client, else this process's client for it, which is opened at first use.

    Args:
        target: a client, "host:port" or several joined with commas, a sequence of them, or None for ROWBANK_TARGETS.
        timeout_s: deadline of one call, in seconds; None: the client's default.
        wire_dtype: as for `Client`; None: the client's default.
        client_options: of OPTIONS, further arguments of `Client`; None: its defaults.
        credentials: as for `Client`; None: those that the environment names.
    Raises:
        InvalidRequest: options are given with an open client, which has its own; or one of `client_options` is unknown.
    """
    given = {"timeout_s": timeout_s, "wire_dtype": wire_dtype, "credentials": credentials}
    further = dict(client_options or {})
    if unknown := sorted(set(further) - set(OPTIONS)):
        raise InvalidRequest(f"client_options: expected some of {', '.join(OPTIONS)}, got {', '.join(unknown)}")
    options: dict[str, Any] = {name: value for name, value in (given | further).items() if value is not None}
    if isinstance(target, Client):
        if options:
            raise InvalidRequest(f"expected {', '.join(options)} to be set on the open client; got both")
        return target
    addresses = parse_targets(target)
    name = (*addresses, *sorted(options.items()))
    with _lock:
        client = _clients.get(name)
        if client is None:
            client = _clients[name] = Client(addresses, **options)
        return client


def targets_of(target: str | Sequence[str] | Client | None) -> str | list[str] | None:
    """What names `target` in a saved configuration: itself, or the addresses of an open client."""
    if isinstance(target, Client):
        return target.targets
    return target if target is None or isinstance(target, str) else list(target)
