"""Whose limits a request counts against: its token's, or without one those of where it comes from."""

from __future__ import annotations

import contextvars
import functools

from rowbank_server.security import caller

_peer: contextvars.ContextVar[str] = contextvars.ContextVar("peer", default="")


@functools.lru_cache(maxsize=4096)
def place_of(peer: str) -> str:
    """The machine that a connection comes from, or the connection itself if that is this machine.

    Of this machine, each connection counts for itself: they are processes that have nothing else in common.

    Args:
        peer: as gRPC says it: "ipv4:10.0.0.7:5012", "ipv6:[::1]:5012", "unix:".
    """
    kind, _, rest = peer.partition(":")
    host = rest.rpartition(":")[0]
    if kind not in ("ipv4", "ipv6") or host.startswith("127.") or host in ("[::1]", "%5B::1%5D", "::1"):
        return peer
    return host


@functools.lru_cache(maxsize=4096)
def peer_of(host: str, port: int) -> str:
    """An address as gRPC says it."""
    return f"ipv{6 if ':' in host else 4}:{host}:{port}"


def tenant_of(peer: str) -> str:
    """Who is behind the request that this thread or task works on, and that came from `peer`."""
    name = caller.current().name
    return f"token {name}" if name else place_of(peer)


def note_peer(peer: str) -> None:
    """Says where the request comes from that this task works on."""
    _peer.set(peer)


def tenant() -> str:
    """Who is behind the request that this task works on; empty: nobody said."""
    return tenant_of(_peer.get())
