"""A process that makes the calls of a forked one: it was started afresh, so gRPC works in it.

It is given one end of a socket, over which come the lines that calls are asked for on, and it ends when the other end
closes, that is, with the process that started it.
"""

from __future__ import annotations

import base64
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from rowbank.calls.channels import open_channel
from rowbank.calls.forked import lines
from rowbank.credentials import Credentials
from rowbank.errors import InvalidRequest


class _Methods:
    """The methods of all servers, as they are asked for. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channels: dict[tuple[str, Credentials], grpc.Channel] = {}
        self._methods: dict[tuple[str, Credentials, str, str], Any] = {}

    def get(self, target: str, credentials: Credentials, path: str, kind: str) -> Any:
        with self._lock:
            found = self._methods.get((target, credentials, path, kind))
            if found is None:
                if (target, credentials) not in self._channels:
                    self._channels[target, credentials] = open_channel(target, credentials)
                channel = self._channels[target, credentials]
                builders: dict[str, Callable[..., Any]] = {
                    lines.UNARY: channel.unary_unary,
                    lines.ANSWERS: channel.unary_stream,
                    lines.REQUESTS: channel.stream_unary,
                }
                found = self._methods[target, credentials, path, kind] = builders[kind](path)
            return found


class _Uploaded:
    """The messages of a stream of requests. gRPC's thread takes them; who has the answer early drops the rest."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._lock = threading.Lock()
        self._ended = False

    def __iter__(self) -> Iterator[bytes]:
        while (message := self._next()) is not None:
            yield message

    def drop_rest(self) -> None:
        while self._next() is not None:
            pass

    def _next(self) -> bytes | None:
        with self._lock:
            if self._ended:
                return None
            header, payload = lines.receive(self._line)  # A line that breaks breaks the call: never half an upload.
            self._ended = "end" in header
            return None if self._ended else payload


def main(control_fd: int) -> None:
    """Serves lines until there will be no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    methods = _Methods()
    control = socket.socket(fileno=control_fd)
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not data:
            os._exit(0)  # Whose calls these are is gone; nobody waits for what is under way.
        for descriptor in descriptors:
            line = socket.socket(fileno=descriptor)
            threading.Thread(target=_serve, args=(line, methods), daemon=True).start()


def _serve(line: socket.socket, methods: _Methods) -> None:
    with line:
        try:
            while True:
                _call(line, methods)
        except OSError:
            pass  # The line was closed, perhaps in the middle of a call that nobody wants any more.


def _call(line: socket.socket, methods: _Methods) -> None:
    header, payload = lines.receive(line)
    try:
        method = methods.get(header["target"], Credentials(**header["credentials"]), header["path"], header["kind"])
    except InvalidRequest as error:  # Its files changed since they were looked at.
        lines.send(line, {"code": error.code.name, "details": error.message, "metadata": []})
        return
    timeout_s = header["timeout"]
    sent = [tuple(pair) for pair in header["metadata"]] if "metadata" in header else None
    try:
        if header["kind"] == lines.UNARY:
            answer, call = method.with_call(payload, timeout=timeout_s, metadata=sent)
            lines.send(line, {"data": True, "metadata": _metadata(call)}, answer)
        elif header["kind"] == lines.REQUESTS:
            uploaded = _Uploaded(line)
            try:
                answer, call = method.with_call(iter(uploaded), timeout=timeout_s, metadata=sent)
            finally:
                uploaded.drop_rest()
            lines.send(line, {"data": True, "metadata": _metadata(call)}, answer)
        else:
            _answers(line, method(payload, timeout=timeout_s, metadata=sent))
    except grpc.RpcError as error:
        lines.send(line, _status(error))


def _answers(line: socket.socket, call: Any) -> None:
    try:
        for answer in call:
            lines.send(line, {"data": True}, answer)
    finally:
        call.cancel()
    lines.send(line, {"end": True})


def _status(error: Any) -> dict[str, Any]:
    return {"code": error.code().name, "details": error.details() or "", "metadata": _metadata(error)}


def _metadata(call: Any) -> list[list[Any]]:
    return [
        [
            key,
            base64.b64encode(value if isinstance(value, bytes) else value.encode()).decode(),
            isinstance(value, bytes),
        ]
        for key, value in call.trailing_metadata() or ()
    ]


if __name__ == "__main__":
    main(int(sys.argv[1]))
