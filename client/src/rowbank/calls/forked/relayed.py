"""Calls of a process in which gRPC must not run: made by a process of its own (`relay`), asked for over lines."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from rowbank.calls.call_error import CallError
from rowbank.calls.forked import forks, lines
from rowbank.credentials import Credentials
from rowbank.secure.channels import Dialing

# A relay that does not answer so long after a call's deadline has stopped answering.
_PATIENCE_S = 5.0

_Pairs = tuple[tuple[str, str], ...]

_PROGRAM = "import sys, json; sys.path[:] = json.loads(sys.argv[2]); from rowbank.calls.forked import relay; " \
    "relay.main(int(sys.argv[1]))"  # fmt: skip


class RelayedError(CallError):
    """A call that was made by the relay and failed."""


class _Relay:
    """This process's relay: started when it is needed, started again if it ended. Thread-safe."""

    def __init__(self) -> None:
        self._begin()
        self._all: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        forks.watch(self)

    def renew(self) -> None:
        """The parent's relay, and its lines, are the parent's: it ends when nobody has the other end any more."""
        for line in [*self._all, *([] if self._control is None else [self._control])]:
            line.close()
        self._begin()

    def line(self) -> socket.socket:
        """A line that nobody uses. Raises `OSError`."""
        try:
            return self._idle.pop()
        except IndexError:
            pass
        mine, theirs = socket.socketpair()
        with self._lock, theirs:
            try:
                socket.send_fds(self._running(), [b"l"], [theirs.fileno()])
            except OSError:  # It has ended; one more try with another.
                self._stop()
                socket.send_fds(self._running(), [b"l"], [theirs.fileno()])
        self._all.add(mine)
        return mine

    def give_back(self, line: socket.socket) -> None:
        """Takes a line whose call is complete."""
        self._idle.append(line)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._idle: deque[socket.socket] = deque()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def _running(self) -> socket.socket:
        if self._control is None:
            mine, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(
                    [_interpreter(), "-c", _PROGRAM, str(theirs.fileno()), json.dumps(sys.path)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # A Ctrl-C is for the process that it works for.
                )
            self._control = mine
        return self._control

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._control = self._process = None
        self._idle.clear()


def _interpreter() -> str:
    from multiprocessing import spawn  # Where a program embeds Python, it has said there what to run.

    found = spawn.get_executable() or sys.executable
    if not found:
        raise FileNotFoundError("no Python interpreter is known (sys.executable)")
    return os.fsdecode(found)


_relay = _Relay()


class RelayedChannel:
    """What `Shard` uses of a `grpc.Channel`, through the relay."""

    def __init__(self, target: str, credentials: Credentials) -> None:
        if credentials != Credentials():
            Dialing(target, credentials, ())  # What is wrong with them is said here, and not by the relay.
        self._target = target
        self._credentials = dataclasses.asdict(credentials)
        self._busy: weakref.WeakSet[_Call] = weakref.WeakSet()

    def unary_unary(self, path: str, *, request_serializer: Any, response_deserializer: Any) -> _Unary:
        """A method of one request and one answer."""
        return _Unary(self, lines.UNARY, path, request_serializer, response_deserializer)

    def unary_stream(self, path: str, *, request_serializer: Any, response_deserializer: Any) -> _Answers:
        """A method of one request and a stream of answers."""
        return _Answers(self, lines.ANSWERS, path, request_serializer, response_deserializer)

    def stream_unary(self, path: str, *, request_serializer: Any, response_deserializer: Any) -> _Requests:
        """A method of a stream of requests and one answer."""
        return _Requests(self, lines.REQUESTS, path, request_serializer, response_deserializer)

    def start(
        self, kind: str, path: str, timeout_s: float | None, payload: bytes = b"", metadata: _Pairs | None = None
    ) -> _Call:
        """Asks for a call."""
        call = _Call(self._target, self._credentials, kind, path, timeout_s, payload, metadata)
        self._busy.add(call)
        return call

    def close(self) -> None:
        """Ends the calls under way."""
        for call in list(self._busy):
            call.cancel()


class _Call:
    """One call that was asked for. Its line is given back when all of its answer was read, else it is closed."""

    def __init__(
        self,
        target: str,
        credentials: dict[str, Any],
        kind: str,
        path: str,
        timeout_s: float | None,
        payload: bytes,
        metadata: _Pairs | None,
    ) -> None:
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s + _PATIENCE_S
        header: dict[str, Any] = {"target": target, "kind": kind, "path": path, "timeout": timeout_s}
        header["credentials"] = credentials
        if metadata:
            header["metadata"] = metadata
        self.trailing: tuple[tuple[str, str | bytes], ...] = ()
        self._line: socket.socket | None = None
        with self._translated():
            self._line = _relay.line()
            self.send(header, payload)

    def send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        """Sends one frame."""
        with self._translated():
            lines.send(self._open_line(), header, payload)

    def receive(self, *, last: bool = False) -> tuple[dict[str, Any], bytes]:
        """The next frame; `last`: there are no more after one with data. Raises `RelayedError` for a failed call."""
        with self._translated():
            header, payload = lines.receive(self._open_line())
        if last or "data" not in header:
            line, self._line = self._open_line(), None
            _relay.give_back(line)
        self.trailing = tuple((key, _value(text, binary)) for key, text, binary in header.get("metadata", ()))
        if "code" in header:
            raise RelayedError(grpc.StatusCode[header["code"]], header["details"], self.trailing)
        return header, payload

    def readable(self, timeout_s: float) -> bool:
        """Whether `receive` would find something within that time, if only the end."""
        poller = select.poll()
        try:
            if self._line is not None:
                poller.register(self._line, select.POLLIN)
                return bool(poller.poll(1000.0 * timeout_s))
        except (OSError, ValueError):
            pass  # It was cancelled meanwhile, which `receive` says.
        return True

    def cancel(self) -> None:
        """Nobody wants an answer any more."""
        line, self._line = self._line, None
        if line is not None:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)  # Wakes a thread that waits for it.
            line.close()

    def _open_line(self) -> socket.socket:
        if self._line is None:
            raise RelayedError(grpc.StatusCode.CANCELLED, "the call was cancelled")
        left = None if self._deadline is None else max(0.001, self._deadline - time.monotonic())
        self._line.settimeout(left)
        return self._line

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            self.cancel()
            raise RelayedError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded") from None
        except OSError as error:
            self.cancel()
            raise RelayedError(
                grpc.StatusCode.UNAVAILABLE,
                f"the process that makes this forked process's calls cannot be reached ({error}); start workers with "
                "the method 'spawn' or 'forkserver' to have none",
            ) from None
        except BaseException:  # Whoever interrupts a call leaves its line in the middle of a frame.
            self.cancel()
            raise


def _value(text: str, binary: bool) -> str | bytes:
    data = base64.b64decode(text)
    return data if binary else data.decode()


class _Method:
    """A method of a server; `timeout` is in seconds, None: no deadline."""

    def __init__(
        self,
        channel: RelayedChannel,
        kind: str,
        path: str,
        serialize: Callable[[Any], bytes],
        read: Callable[[bytes], Any],
    ) -> None:
        self._channel, self._kind, self._path = channel, kind, path
        self._serialize, self._read = serialize, read

    def _start(self, timeout: float | None, payload: bytes = b"", metadata: _Pairs | None = None) -> _Call:
        return self._channel.start(self._kind, self._path, timeout, payload, metadata)


class _Unary(_Method):
    def __call__(self, request: Any, timeout: float | None = None, metadata: _Pairs | None = None) -> Any:
        return self.future(request, timeout, metadata).result()

    def with_call(
        self, request: Any, timeout: float | None = None, metadata: _Pairs | None = None
    ) -> tuple[Any, _Future]:
        """The answer, and what says what came with it."""
        made = self.future(request, timeout, metadata)
        return made.result(), made

    def future(self, request: Any, timeout: float | None = None, metadata: _Pairs | None = None) -> _Future:
        """Asks for a call and does not wait for the answer."""
        return _Future(self._start(timeout, self._serialize(request), metadata), self._read)


class _Future:
    """The answer to a call, read by whoever asks for the result."""

    def __init__(self, call: _Call, read: Callable[[bytes], Any]) -> None:
        self._call, self._read = call, read

    def result(self, timeout: float | None = None) -> Any:
        """Waits for it, `timeout` seconds at most. Raises `grpc.FutureTimeoutError`, `RelayedError`."""
        if timeout is not None and not self._call.readable(timeout):
            raise grpc.FutureTimeoutError
        return self._read(self._call.receive(last=True)[1])

    def done(self) -> bool:
        """Whether there is something to read."""
        return self._call.readable(0.0)

    def trailing_metadata(self) -> Any:
        """What came with the answer that was read."""
        return self._call.trailing

    def cancel(self) -> None:
        """Gives it up."""
        self._call.cancel()


class _Answers(_Method):
    def __call__(self, request: Any, timeout: float | None = None, metadata: _Pairs | None = None) -> _Stream:
        return _Stream(self._start(timeout, self._serialize(request), metadata), self._read)


class _Stream:
    """Answers as they come."""

    def __init__(self, call: _Call, read: Callable[[bytes], Any]) -> None:
        self._call, self._read = call, read
        self._ended = False

    def __iter__(self) -> _Stream:
        return self

    def __next__(self) -> Any:
        if self._ended:
            raise StopIteration
        header, payload = self._call.receive()
        self._ended = "end" in header
        if self._ended:
            raise StopIteration
        return self._read(payload)

    def cancel(self) -> None:
        """Ends it early."""
        self._ended = True
        self._call.cancel()


class _Requests(_Method):
    def __call__(self, requests: Iterator[Any], timeout: float | None = None, metadata: _Pairs | None = None) -> Any:
        return self.with_call(requests, timeout, metadata)[0]

    def with_call(
        self, requests: Iterator[Any], timeout: float | None = None, metadata: _Pairs | None = None
    ) -> tuple[Any, _Future]:
        """The answer, and what says what came with it."""
        call = self._start(timeout, metadata=metadata)
        try:
            for request in requests:
                call.send({"data": True}, self._serialize(request))
            call.send({"end": True})
            return self._read(call.receive(last=True)[1]), _Future(call, self._read)
        finally:
            call.cancel()
