"""gRPC's metadata as HTTP/2 headers carry it: values of names that end in -bin are bytes, in base64 on the wire."""

from __future__ import annotations

import base64

Pair = tuple[str, str | bytes]

_BINARY = "-bin"


def to_wire(pair: Pair) -> tuple[str, str]:
    """A name and its value as they are sent."""
    name, value = pair
    if name.endswith(_BINARY):
        data = value if isinstance(value, bytes) else value.encode()
        return name, base64.b64encode(data).rstrip(b"=").decode()
    return name, value.decode("latin-1") if isinstance(value, bytes) else value


def from_wire(pair: tuple[str, str]) -> Pair:
    """A name and its value as callers see them; what should be base64 and is none is empty."""
    name, value = pair
    if not name.endswith(_BINARY):
        return pair
    try:
        return name, base64.b64decode(value + "=" * (-len(value) % 4))
    except ValueError:
        return name, b""
