"""Frames between a forked process and the one that makes its calls: a small header and bytes, over a local socket."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

_SIZES = struct.Struct("<IQ")

# Kinds of calls, and what the frames of each say besides: the first one has "target", "credentials", "path", "kind" and
# "timeout".
UNARY, ANSWERS, REQUESTS = "unary", "answers", "requests"


class LineClosedError(ConnectionError):
    """The other end is gone."""


def send(line: socket.socket, header: dict[str, Any], payload: bytes = b"") -> None:
    """Sends one frame. Raises `OSError`."""
    head = json.dumps(header).encode()
    line.sendall(_SIZES.pack(len(head), len(payload)) + head)
    if payload:
        line.sendall(payload)


def receive(line: socket.socket) -> tuple[dict[str, Any], bytes]:
    """The next frame. Raises `LineClosedError`, `TimeoutError`, `OSError`."""
    header_bytes, payload_bytes = _SIZES.unpack(_exactly(line, _SIZES.size))
    header: dict[str, Any] = json.loads(_exactly(line, header_bytes))
    return header, _exactly(line, payload_bytes)


def _exactly(line: socket.socket, count: int) -> bytes:
    data = bytearray(count)
    view, got = memoryview(data), 0
    while got < count:
        read = line.recv_into(view[got:])
        if not read:
            raise LineClosedError("the other end of the line is closed")
        got += read
    return bytes(data)
