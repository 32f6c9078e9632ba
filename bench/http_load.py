"""`python -m bench.http_load ADDRESS PATH BODIES SECONDS`: asks an HTTP server over 16 connections without a pause.

It is a loop over non-blocking sockets, so that it takes a small part of what a server in Python takes: about 10 us a
request. Each connection sends its next request when its answer is there. Prints one line of JSON.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

CONNECTIONS = 16
_HEAD_END = b"\r\n\r\n"


class _Connection:
    """One connection: sends, and knows when the answer is whole."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent_s = 0.0
        self.received_bytes = 0
        self._got = b""

    def send(self, request: bytes) -> None:
        self.sent_s = time.perf_counter()
        self.socket.sendall(request)

    def received(self) -> bool:
        """Takes what is there; whether the answer is whole. Raises RuntimeError for any other than 200."""
        piece = self.socket.recv(262_144)
        if not piece:
            raise RuntimeError("the server closed a connection")
        self.received_bytes += len(piece)
        self._got = self._got + piece if self._got else piece
        end = self._got.find(_HEAD_END)
        if end < 0:
            return False
        head = self._got[:end].lower()
        at = head.find(b"content-length: ")
        length = int(head[at + 16 :].split(b"\r", 1)[0])
        if len(self._got) < end + 4 + length:
            return False
        if not self._got.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(self._got.decode())
        self._got = b""
        return True


def load(address: str, requests: Sequence[bytes], seconds: float) -> dict[str, float]:
    """Requests per second, and the median and 99th percentile of their time, after a warm-up of a fifth.

    And bytes per request and per answer, heads included, of the whole time.
    """
    host, port = address.rsplit(":", 1)
    poll = select.epoll()
    connections = [_Connection((host, int(port))) for _ in range(CONNECTIONS)]
    by_descriptor = {connection.socket.fileno(): connection for connection in connections}
    number = answered = 0
    for descriptor, connection in by_descriptor.items():
        poll.register(descriptor, select.EPOLLIN)
        connection.send(requests[number % len(requests)])
        number += 1
    began = time.perf_counter()
    count_from, until = began + seconds / 5, began + seconds * 6 / 5
    took: list[float] = []
    now = began
    while now < until:
        for descriptor, _ in poll.poll():
            connection = by_descriptor[descriptor]
            if connection.received():
                now = time.perf_counter()
                answered += 1
                if now >= count_from:
                    took.append(now - connection.sent_s)
                connection.send(requests[number % len(requests)])
                number += 1
    for connection in connections:
        connection.socket.close()
    return {
        "rps": len(took) / (now - count_from),
        "p50_ms": float(np.quantile(took, 0.5)) * 1e3,
        "p99_ms": float(np.quantile(took, 0.99)) * 1e3,
        "sent_bytes": sum(len(requests[place % len(requests)]) for place in range(number)) / number,
        "received_bytes": sum(connection.received_bytes for connection in connections) / max(1, answered),
    }


def request(path: str, body: bytes) -> bytes:
    """A POST of JSON as it goes over the wire."""
    head = f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def main() -> int:
    """Runs one load; the exit status."""
    address, path, bodies, seconds = sys.argv[1:]
    requests = [request(path, body.encode()) for body in Path(bodies).read_text().splitlines()]
    print(json.dumps(load(address, requests, float(seconds))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
