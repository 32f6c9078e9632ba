"""Recognises repeated mutations, so that a request that is sent again is answered again but not applied again.

A client numbers its mutations. Its retries carry the number of the first try, and may arrive while the first is still
being applied, after it, or never. For each client the outcomes of its newest `window` mutations are kept; of the
clients, the `max_clients` that were heard last. What lies below a client's window is refused, because nobody can tell
any more whether it had been applied. Limit: the memory is this process's, so it ends with it.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from rowbank.errors import InvalidRequest
from rowbank_protos.v1 import common_pb2

Outcome = TypeVar("Outcome")


class _InFlight(Generic[Outcome]):
    """A mutation that is being applied; `outcome` is None if it failed, so that a repeat may try again."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.outcome: Outcome | None = None


class _Client(Generic[Outcome]):
    def __init__(self) -> None:
        self.outcomes: collections.OrderedDict[int, Outcome] = collections.OrderedDict()
        self.in_flight: dict[int, _InFlight[Outcome]] = {}
        self.forgotten = 0  # The highest sequence whose outcome was dropped from the window.


class DedupWindow(Generic[Outcome]):
    """Remembers outcomes by client and sequence. Thread-safe."""

    def __init__(self, *, window: int, max_clients: int) -> None:
        self._window = window
        self._max_clients = max_clients
        self._clients: collections.OrderedDict[str, _Client[Outcome]] = collections.OrderedDict()
        self._lock = threading.Lock()

    def apply_once(self, request_id: common_pb2.RequestId, apply: Callable[[], Outcome]) -> tuple[Outcome, bool]:
        """Runs `apply` unless the same request was applied before: its outcome, and whether it is a repeat.

        A request without a client id is always applied. A repeat of a request in flight waits for it.

        Raises:
            InvalidRequest: the sequence is 0, or so old that nobody knows whether it was applied.
            Whatever `apply` raises; the request then counts as not applied.
        """
        if not request_id.client_id:
            return apply(), False
        while True:
            known, mine = self._enter(request_id)
            if known is not None:
                return known, True
            if mine is not None:
                return self._run(request_id, mine, apply), False

    def _enter(self, request_id: common_pb2.RequestId) -> tuple[Outcome | None, _InFlight[Outcome] | None]:
        """The known outcome, or a place to apply it in, or neither: what was in flight failed, look again."""
        sequence = request_id.sequence
        with self._lock:
            client = self._client(request_id.client_id)
            if sequence in client.outcomes:
                return client.outcomes[sequence], None
            if sequence <= client.forgotten:
                raise InvalidRequest(
                    f"request_id: sequence {sequence} of client {request_id.client_id!r} is older than the "
                    f"{self._window} mutations that are remembered (setting dedup_window), or 0; sequences rise from 1"
                )
            other = client.in_flight.get(sequence)
            if other is None:
                mine = client.in_flight[sequence] = _InFlight()
                return None, mine
        other.done.wait()
        return other.outcome, None

    def _run(self, request_id: common_pb2.RequestId, mine: _InFlight[Outcome], apply: Callable[[], Outcome]) -> Outcome:
        sequence = request_id.sequence
        try:
            mine.outcome = apply()
            return mine.outcome
        finally:
            with self._lock:
                client = self._client(request_id.client_id)
                client.in_flight.pop(sequence, None)
                if mine.outcome is not None:
                    client.outcomes[sequence] = mine.outcome
                while len(client.outcomes) > self._window:
                    oldest, _ = client.outcomes.popitem(last=False)
                    client.forgotten = max(client.forgotten, oldest)
            mine.done.set()

    def _client(self, client_id: str) -> _Client[Outcome]:
        client = self._clients.get(client_id)
        if client is None:
            client = self._clients[client_id] = _Client()
            while len(self._clients) > self._max_clients:
                self._clients.popitem(last=False)
        self._clients.move_to_end(client_id)
        return client
