"""What a handler is told of its call, where the native endpoint took that in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote

import grpc

from rowbank_protos.metadata import from_wire, to_wire

if TYPE_CHECKING:
    from rowbank_server._http2 import Call

_AS_THEY_ARE = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"  # And letters and digits: what gRPC does not encode in a message.
_ON_THE_WAY_S = 0.05  # A reason that leaves with the deadline comes too late: callers wait no longer than that.
Trailers = tuple[tuple[str, str | bytes], ...]


class Aborted(Exception):  # noqa: N818 - it ends a call, whatever its status.
    """Raised by `abort`, as gRPC's own."""


class NativeContext(grpc.ServicerContext):
    """A call's context, as gRPC's handlers know it. Of one thread.

    What is asked for once the call is over (`add_callback`) runs when its handler has answered: the endpoint's threads
    write to their own connections, so no answer waits for those of others.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._metadata: Trailers | None = None
        self._trailers: Trailers = ()
        self._code: grpc.StatusCode | None = None
        self._details = ""
        self._callbacks: list[Callable[[], None]] = []

    def invocation_metadata(self) -> Any:
        """Names and values; those of names that end in -bin are bytes."""
        if self._metadata is None:
            self._metadata = tuple(map(from_wire, self._call.metadata))
        return self._metadata

    def peer(self) -> str:
        """Where the call comes from: "ipv4:10.0.0.7:5012", "unix:7"."""
        return self._call.peer

    def peer_identities(self) -> None:
        """Nobody is known by a certificate here."""

    def peer_identity_key(self) -> None:
        """As `peer_identities`."""

    def auth_context(self) -> Mapping[str, Any]:
        """As `peer_identities`."""
        return {}

    def time_remaining(self) -> Any:
        """Seconds until an answer has to leave to reach its caller by the deadline; None: there is none."""
        left_s = self._call.remaining_s
        return None if left_s is None else max(left_s - min(_ON_THE_WAY_S, left_s / 10), 0.0)

    def is_active(self) -> bool:
        """Whether the caller waits for the answer."""
        return self._call.active and self._code is None

    def cancel(self) -> None:
        """Gives the call up."""
        self._code = grpc.StatusCode.CANCELLED

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Calls `callback` once the handler has answered."""
        self._callbacks.append(callback)
        return True

    def end(self) -> None:
        """Calls what was asked for."""
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def send_initial_metadata(self, initial_metadata: Any) -> None:
        """Nothing is sent before the answer."""
        raise NotImplementedError("the native endpoint sends no initial metadata")

    def set_compression(self, compression: grpc.Compression) -> None:
        """Answers are sent as they are."""

    def disable_next_message_compression(self) -> None:
        """Answers are sent as they are."""

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        """What goes with the end of the answer."""
        self._trailers = tuple((pair[0], pair[1]) for pair in trailing_metadata)

    def trailing_metadata(self) -> Trailers:
        """What was set."""
        return self._trailers

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """Ends the call with a status."""
        self._code, self._details = code, details
        raise Aborted

    def abort_with_status(self, status: Any) -> NoReturn:
        """The same, with trailing metadata."""
        self.set_trailing_metadata(status.trailing_metadata or ())
        self.abort(status.code, status.details)

    def set_code(self, code: grpc.StatusCode) -> None:
        """The status that the answer has."""
        self._code = code

    def set_details(self, details: str) -> None:
        """The text of the status."""
        self._details = details

    def code(self) -> grpc.StatusCode | None:
        """What was set."""
        return self._code

    def details(self) -> str:
        """What was set."""
        return self._details

    def outcome(self) -> tuple[grpc.StatusCode, str, Trailers]:
        """Of a call that was aborted: its status, its text and its trailing metadata."""
        return self._code or grpc.StatusCode.UNKNOWN, self._details, self._trailers


def on_wire(code: grpc.StatusCode, details: str, trailers: Trailers) -> tuple[int, str, list[tuple[str, str]]]:
    """A status as it is sent: its number, its text percent-encoded, its metadata with bytes in base64."""
    return code.value[0], quote(details, safe=_AS_THEY_ARE), [to_wire(pair) for pair in trailers]
