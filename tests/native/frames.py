"""HTTP/2 frames by hand, for what no client would send. RFC 9113 and RFC 7541 have the forms."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, END_HEADERS = 1, 4
# The name "grpc-status" in Huffman's code (RFC 7541, appendix B), which is shorter and so what servers write.
_STATUS = bytes.fromhex("889acac8b21234da8f")
PULL = "/rowbank.v1.RowService/Pull"


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def fields(**names: str) -> bytes:
    """A block of literal fields without indexing and without Huffman; `__` stands for a colon, `_` for a dash."""
    block = b""
    for name, value in names.items():
        written = name.replace("__", ":").replace("_", "-").encode()
        block += b"\x00" + _text(written) + _text(value.encode())
    return block


def _text(data: bytes) -> bytes:
    """A string with its length, an integer of a prefix of seven bits."""
    if len(data) < 127:
        return bytes((len(data),)) + data
    rest, out = len(data) - 127, b"\x7f"
    while rest >= 128:
        out += bytes((rest % 128 + 128,))
        rest //= 128
    return out + bytes((rest,)) + data


def request(path: str = PULL, **more: str) -> bytes:
    """The fields of a call."""
    plain = {"__method": "POST", "__scheme": "http", "__path": path, "__authority": "a", "te": "trailers"}
    return fields(**plain, **{"content_type": "application/grpc", **more})


def message(body: bytes, *, compressed: int = 0, length: int | None = None) -> bytes:
    return struct.pack(">BI", compressed, len(body) if length is None else length) + body


def connect(address: str, *, settings: bool = True) -> socket.socket:
    """A connection that has said who it is."""
    host, _, port = address.rpartition(":")
    opened = socket.create_connection((host, int(port)), timeout=10)
    opened.sendall(PREFACE + (frame(SETTINGS) if settings else b""))
    return opened


def greet(peer: socket.socket) -> None:
    """What a server says to a client that has connected."""
    peer.settimeout(20)
    begun = b""
    while len(begun) < len(PREFACE):
        begun += peer.recv(len(PREFACE) - len(begun)) or bytes(len(PREFACE))
    assert begun == PREFACE
    peer.sendall(frame(SETTINGS))


def received(opened: socket.socket) -> Iterator[tuple[int, int, int, bytes]]:
    """Frames as they come, as (kind, flags, stream, payload), until the connection ends."""
    data = b""
    while True:
        while len(data) >= 9:
            size = int.from_bytes(data[:3], "big")
            if len(data) < 9 + size:
                break
            yield data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + size]
            data = data[9 + size :]
        try:
            more = opened.recv(1 << 16)
        except (ConnectionError, TimeoutError):
            return
        if not more:
            return
        data += more


def ended(opened: socket.socket, stream: int) -> bool:
    """Whether the server ends that stream, with an answer or a reset, before it ends the connection."""
    for kind, flags, at, _ in received(opened):
        if at == stream and (kind == RST_STREAM or (kind in (HEADERS, DATA) and flags & END_STREAM)):
            return True
    return False


def status(opened: socket.socket, stream: int) -> int | None:
    """The status that the stream ends with, None where it is reset.

    REQUIRES: the connection's first answer, for a second one may refer to what the first said.
    """
    for kind, flags, at, payload in received(opened):
        if at != stream or kind not in (HEADERS, RST_STREAM):
            continue
        if kind == RST_STREAM:
            return None
        if flags & END_STREAM:
            _, _, rest = payload.partition(_STATUS)
            return int(rest[1 : 1 + rest[0]])
    return None
