"""One shard's stream of changes: opened at its owner, read by a thread, and opened again whenever it is cut."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import grpc

from rowbank.calls import failover
from rowbank.calls.following.inbox import Inbox
from rowbank.calls.following.messages import Reader
from rowbank.calls.methods import FOLLOW
from rowbank.calls.servers import Shard
from rowbank.calls.transport import Transport
from rowbank.errors import ClientClosed, NotOwner, RequestError, RowbankError, ShardUnavailable
from rowbank_protos.v1 import deltas_pb2

# Signs of life come every 200 ms. A stream without one for so long is given up, sooner where another process may serve.
_SILENT_S = 5.0
_SILENT_WITH_ALTERNATIVES_S = 0.75

Request = Callable[[deltas_pb2.StreamPosition | None], deltas_pb2.FollowRequest]


class ShardStream:
    """Reads what changes on one shard into an inbox until it is told to stop.

    Args:
        request: from the last position, or None, to what is asked for.
        place: where it begins; None: where `request` says.
    """

    def __init__(
        self,
        transport: Transport,
        shard: int,
        inbox: Inbox,
        request: Request,
        place: deltas_pb2.StreamPosition | None,
        *,
        rows: bool,
    ) -> None:
        self._transport, self._number, self._inbox, self._request = transport, shard, inbox, request
        self._place = place
        self._reader = Reader(shard, len(transport.shards), rows=rows)
        self._stop = threading.Event()
        self._call: Any = None
        self._waiting_since = 0.0  # When it began to wait for the next message; 0: it does not wait.
        self.connected = threading.Event()  # Set for good by the first greeting.
        self.last_error: RowbankError | None = None
        self._thread = threading.Thread(target=self._run, name=f"rowbank-follow-{shard}", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the stream; does not wait."""
        self._stop.set()
        self._cancel()

    def join(self) -> None:
        """Waits for the thread, which does not wait for anybody once it was stopped and the inbox closed."""
        if self._thread is not threading.current_thread():
            self._thread.join()

    @property
    def runs(self) -> bool:
        """Whether its thread has not ended."""
        return self._thread.is_alive()

    def look_after(self) -> None:
        """Cuts a stream that is silent, or that nobody waits for any more; called now and then by another thread."""
        if self._ended():
            self._cancel()
        since, alone = self._waiting_since, self._shard.alone
        if since and time.monotonic() - since > (_SILENT_S if alone else _SILENT_WITH_ALTERNATIVES_S):
            self._waiting_since = 0.0
            self._cancel()

    @property
    def _shard(self) -> Shard:
        return self._transport.shards[self._number]

    def _cancel(self) -> None:
        call = self._call
        if call is not None:
            call.cancel()

    def _run(self) -> None:
        failures = 0
        while not self._ended():
            self._reader.begin()
            try:
                self._read()
            except RowbankError as error:
                self.last_error = error
                failures = 1 if self._reader.hello is not None else failures + 1
                if not self._again(error, failures):
                    break
            except BaseException as error:  # A defect must not look like a table where nothing happens.
                self._inbox.fail(error)
                break

    def _again(self, error: RowbankError, failures: int) -> bool:
        """Whether to open the stream again; waits until then."""
        if self._ended():
            return False
        if not isinstance(error, RequestError) or not (error.retryable or isinstance(error, NotOwner)):
            self._inbox.fail(error)
            return False
        failed = self._shard.active
        owner = failover.look_for_owner(self._shard, self._stop, failed=failed)
        if owner in (None, failed):
            self._stop.wait(failover.pause_s(self._shard, failures))
        return True

    def _read(self) -> None:
        """Reads one stream to its end. Raises `RowbankError`."""
        server = self._shard.active
        where = f"shard {self._number} at {server.target}"
        try:
            self._call = server.answers(FOLLOW)(self._request(self._place))
            while not self._ended():
                self._waiting_since = time.monotonic()
                message = next(self._call)
                self._waiting_since = 0.0
                if not self._take(message):
                    return
        except StopIteration:
            raise ShardUnavailable(f"{where}: the server ended the stream") from None
        except grpc.RpcError as error:
            raise failover.error_of(error, where, server) from None
        except ValueError:  # What gRPC raises for a channel that was closed.
            raise ClientClosed("the client is closed; make a new one") from None
        finally:
            self._waiting_since = 0.0
            self._cancel()

    def _take(self, message: deltas_pb2.FollowResponse) -> bool:
        for news in self._reader.read(message):
            if not self._inbox.put(news):
                return False
        if message.HasField("position"):
            self._place = message.position
        if self._reader.hello is not None:
            self.connected.set()
        return True

    def _ended(self) -> bool:
        if self._transport.closed:
            self._inbox.fail(ClientClosed("the client is closed; make a new one"))
        return self._stop.is_set() or self._inbox.over
