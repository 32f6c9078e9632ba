"""One Follow stream of an owner: read ahead by a thread of its own, and ended when the owner falls silent."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc

from rowbank.credentials import Credentials
from rowbank.errors import from_rpc_error
from rowbank_protos.v1 import deltas_pb2, deltas_pb2_grpc
from rowbank_server.ps.following.channels import open_channel

_READ_AHEAD = 4  # Messages, of a few megabytes at most.
_LOOK_S = 0.1


class StreamEndedError(Exception):
    """The stream ended; the text says why."""


class OwnerStream:
    """The messages of one owner, from where `request` says. For one thread; `cancel` from any.

    Attributes:
        asked: monotonic seconds before the owner was asked.
        heard: monotonic seconds at which its last message came.

    Args:
        silence_s: an owner that says nothing for so long is given up.
        credentials: what it is connected to with.
    Raises:
        InvalidRequest: they cannot be used.
    """

    def __init__(
        self, address: str, request: deltas_pb2.FollowRequest, *, silence_s: float, credentials: Credentials
    ) -> None:
        self._silence_s = silence_s
        self._messages: queue.Queue[tuple[deltas_pb2.FollowResponse, float] | Exception] = queue.Queue(_READ_AHEAD)
        self._ended = threading.Event()
        self._channel = open_channel(address, credentials)
        self.asked = self.heard = time.monotonic()
        self._call: Any = deltas_pb2_grpc.DeltaServiceStub(self._channel).Follow(request)
        threading.Thread(target=self._read, name="follow-read", daemon=True).start()

    def messages(self) -> Iterator[tuple[deltas_pb2.FollowResponse, float]]:
        """Each message with the monotonic time at which it came. Raises StreamEndedError, sooner or later."""
        while True:
            try:
                found = self._messages.get(timeout=_LOOK_S)
            except queue.Empty:
                if self._ended.is_set():
                    raise StreamEndedError("it was given up") from None
                if time.monotonic() - self.heard > self._silence_s:
                    raise StreamEndedError(f"the owner said nothing for {self._silence_s:g} s") from None
                continue
            if isinstance(found, Exception):
                raise StreamEndedError(_reason(found)) from found
            yield found

    def cancel(self) -> None:
        """Ends the stream."""
        self._ended.set()
        with contextlib.suppress(queue.Full):  # Then nobody waits for a message.
            self._messages.put_nowait(StreamEndedError("it was given up"))
        self._call.cancel()

    def close(self) -> None:
        """Ends the stream and closes the connection."""
        self.cancel()
        self._channel.close()

    def _read(self) -> None:
        try:
            for message in self._call:
                self.heard = time.monotonic()
                self._put((message, self.heard))
                if self._ended.is_set():
                    return
            self._put(StreamEndedError("the owner ended it"))
        except Exception as error:
            self._put(error)

    def _put(self, found: tuple[deltas_pb2.FollowResponse, float] | Exception) -> None:
        """Waits for room: an owner that is ahead of this process is not silent."""
        while not self._ended.is_set():
            with contextlib.suppress(queue.Full):
                self._messages.put(found, timeout=_LOOK_S)
                return
            self.heard = time.monotonic()


def _reason(error: Exception) -> str:
    return str(from_rpc_error(error)) if isinstance(error, grpc.RpcError) else str(error)
