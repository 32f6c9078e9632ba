"""A method of one request and one answer over the native endpoint, as gRPC's callables are used here.

Where the endpoint cannot be reached, or has surely not worked on a request, gRPC's client makes the call.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc

from rowbank.calls.call_error import CallError, Metadata
from rowbank.calls.native.lines import Lines
from rowbank.errors import NotReady, from_rpc_error
from rowbank_protos.metadata import from_wire, to_wire

_SERVER_ID = "rowbank-server-id"
_FOR_EVER_S = 1e9
_MOST_MICROSECONDS = 99_999_999  # Eight digits are what gRPC's header has.
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class NativeError(CallError):
    """A call over the native endpoint that failed."""


class NativeUnary:
    """A method of a server.

    Args:
        lines: the connections to its native endpoint.
        path: the method's.
        read: parses an answer.
        other: gRPC's callable for the method.
    """

    def __init__(self, lines: Lines, target: str, path: str, read: Callable[[bytes], Any], other: Any) -> None:
        self._lines, self._target, self._path = lines, target, path
        self._read, self._other = read, other

    def __call__(self, request: Any, timeout: float | None = None, metadata: Metadata | None = None) -> Any:
        return self.with_call(request, timeout, metadata)[0]

    def with_call(
        self, request: Any, timeout: float | None = None, metadata: Metadata | None = None
    ) -> tuple[Any, Any]:
        """The answer, and what says what came with it."""
        deadline = _deadline(timeout)
        tokens = self._lines.tokens
        shown = () if tokens is None else tokens.metadata()
        made = self._begin(request, timeout, deadline, metadata, shown)
        if made is not None:
            try:
                return made.result(), made
            except NativeError as error:
                refused = error.code() is grpc.StatusCode.UNAUTHENTICATED
                if not refused or tokens is None or not tokens.changed(shown):
                    raise
        left_s = _left(timeout, deadline)
        return self._other.with_call(request, timeout=left_s, metadata=metadata)  # type: ignore[no-any-return]

    def future(self, request: Any, timeout: float | None = None, metadata: Metadata | None = None) -> Any:
        """Sends the request and does not wait for the answer."""
        deadline = _deadline(timeout)
        tokens = self._lines.tokens
        made = self._begin(request, timeout, deadline, metadata, () if tokens is None else tokens.metadata())
        if made is not None:
            return made
        return self._other.future(request, timeout=_left(timeout, deadline), metadata=metadata)

    def _begin(
        self, request: Any, timeout: float | None, deadline: float, metadata: Metadata | None, shown: Metadata
    ) -> _NativeCall | None:
        lines = self._lines
        server_id = lines.server_id  # Before a connection is taken: one that is newer than it is refused.
        line = lines.take(deadline - time.monotonic())
        if line is None:
            return None

        def again() -> Any:
            return self._other.future(request, timeout=_left(timeout, deadline), metadata=metadata)

        call = _NativeCall(lines, line, server_id, self._read, deadline, again)
        try:
            sent = [*map(to_wire, (*(metadata or ()), *shown)), (_SERVER_ID, server_id)]
            limit = "" if timeout is None else _header_of(deadline - time.monotonic())
            call.start(self._path, self._target, sent, limit, _pieces(request))
        except BaseException:  # A signal's, too.
            call.cancel()
            raise
        return call


class _NativeCall:
    """One call: read by whoever asks for the result. Of one thread."""

    def __init__(
        self,
        lines: Lines,
        line: Any,
        server_id: str,
        read: Callable[[bytes], Any],
        deadline: float,
        again: Callable[[], Any],
    ) -> None:
        self._lines, self._line, self._server_id, self._read = lines, line, server_id, read
        self._deadline, self._again = deadline, again
        self._other: Any = None
        self._error: NativeError | None = None
        self._answer: Any = None
        self._trailers: tuple[tuple[str, str | bytes], ...] = ()

    def __del__(self) -> None:
        if self._line is not None:  # Nobody waited for it to the end.
            self._discard()

    def start(
        self, path: str, authority: str, metadata: list[tuple[str, str]], timeout: str, pieces: Sequence[Any]
    ) -> None:
        """Writes the request."""
        left_s = max(0.0, self._deadline - time.monotonic())
        if not self._line.start(path, authority, metadata, timeout, pieces, left_s):
            self._give_up()

    def result(self, timeout: float | None = None) -> Any:
        """Waits for the answer. Raises `grpc.FutureTimeoutError`, `grpc.RpcError`."""
        if self._line is not None:
            self._finish(timeout)
        if self._other is not None:
            return self._other.result(timeout=timeout)
        if self._error is not None:
            raise self._error
        return self._answer

    def done(self) -> bool:
        """Whether there is an answer, or a failure."""
        if self._line is not None and self._line.finish(0.0):
            self._settle()
        if self._other is not None:
            return bool(self._other.done())
        return self._line is None

    def trailing_metadata(self) -> Any:
        """What came with the answer."""
        return self._trailers if self._other is None else self._other.trailing_metadata()

    def cancel(self) -> None:
        """Gives the call up."""
        if self._other is not None:
            self._other.cancel()
        if self._line is not None:
            self._discard()
            self._error = NativeError(grpc.StatusCode.CANCELLED, "the call was cancelled")

    def _finish(self, timeout: float | None) -> None:
        left_s = max(0.0, self._deadline - time.monotonic())
        try:
            ended = self._line.finish(left_s if timeout is None else min(left_s, timeout))
        except BaseException:
            self._discard()
            raise
        if ended:
            self._settle()
        elif not self._lines.closed and time.monotonic() < self._deadline:
            if timeout is None:  # Stopped by nobody, and there is time: only rounding can do that.
                self._finish(None)
            else:
                raise grpc.FutureTimeoutError
        else:
            self._give_up()

    def _settle(self) -> None:
        ending, status, text, trailers, message = self._line.take()
        self._lines.give_back(self._line)
        self._line = None
        if ending == "unsent":
            self._other = self._again()
            return
        if ending == "lost":
            self._error = NativeError(grpc.StatusCode.UNAVAILABLE, f"the connection was lost during the call: {text}")
            return
        self._trailers = tuple(map(from_wire, trailers))
        if status != 0:
            code = _CODES.get(status, grpc.StatusCode.UNKNOWN)
            self._error = NativeError(code, text, self._trailers)
            if code is grpc.StatusCode.UNAVAILABLE and _is_anothers(self._error):
                self._lines.forget(self._server_id)
                self._other = self._again()
            return
        try:
            self._answer = self._read(message)
        except Exception:  # As gRPC has it.
            self._error = NativeError(grpc.StatusCode.INTERNAL, "Exception deserializing response!")

    def _give_up(self) -> None:
        self._discard()
        if self._lines.closed:
            self._error = NativeError(grpc.StatusCode.CANCELLED, "Channel closed!")
        else:
            self._error = NativeError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")

    def _discard(self) -> None:
        line, self._line = self._line, None
        self._lines.discard(line)


def _is_anothers(error: NativeError) -> bool:
    """Whether it says that nothing was done, because the call is for another process or its server has just begun."""
    told = from_rpc_error(error)
    return isinstance(told, NotReady) and not told.metadata.get("role")


def _deadline(timeout: float | None) -> float:
    return time.monotonic() + (_FOR_EVER_S if timeout is None else timeout)


def _left(timeout: float | None, deadline: float) -> float | None:
    return None if timeout is None else max(0.001, deadline - time.monotonic())


def _pieces(request: Any) -> Sequence[Any]:
    """A message in its serialized form, without a copy where it can be had so."""
    pieces = getattr(request, "pieces", None)
    return (request.SerializeToString(),) if pieces is None else pieces()


def _header_of(timeout_s: float) -> str:
    microseconds = max(1, math.ceil(timeout_s * 1e6))
    return f"{microseconds}u" if microseconds <= _MOST_MICROSECONDS else f"{math.ceil(timeout_s)}S"
