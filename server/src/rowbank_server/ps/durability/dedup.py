"""Recognises repeated mutations, so that a request that is sent again is answered again but not applied again.

A client numbers its mutations. Its retries carry the number of the first try, and may arrive while the first is still
under way, after it, or never. For each client the answers of its newest `window` mutations are kept; of the clients,
the `max_clients` that were heard last. What lies below a client's window is refused, because nobody can tell any more
whether it had been applied. A mutation under way has no answer until it is as durable as its table asks for; a repeat
waits for that.

Windows outlive the process: what changed is taken with every write-back and stored (`take_changes`), and the journal
has the rest. A window is packed as u32 CRC-32C of what follows | u64 highest sequence forgotten | per answer: u64
sequence, u8 kind of request, u16 length, the serialized answer.
"""

from __future__ import annotations

import collections
import struct
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rowbank.errors import InvalidRequest
from rowbank_protos.v1 import common_pb2
from rowbank_server import _core

MAX_CLIENT_ID_CHARACTERS = 256
_ANSWER = struct.Struct("<QBH")
_HEAD = struct.Struct("<IQ")
_CRC_BYTES = 4


class InFlight:
    """A mutation under way. `answer` is None until it is done, and stays so if it failed."""

    __slots__ = ("_window", "answer", "client_id", "done", "kind", "sequence")

    def __init__(self, window: DedupWindow, client_id: str, sequence: int, kind: int) -> None:
        self._window = window
        self.client_id = client_id
        self.sequence = sequence
        self.kind = kind
        self.done = threading.Event()
        self.answer: bytes | None = None

    def complete(self, answer: bytes) -> None:
        """The mutation is done; repeats get `answer`."""
        self.answer = answer
        self._window.leave(self)

    def fail(self) -> None:
        """The mutation was not applied; a repeat may try again."""
        self._window.leave(self)


@dataclass(frozen=True, slots=True)
class Entered:
    """What is known of a request: its `answer`, or who works on it: this caller (`mine`) or another."""

    answer: bytes | None = None
    in_flight: InFlight | None = None
    mine: bool = False


@dataclass(frozen=True, slots=True)
class WindowChanges:
    """Windows to store, packed, and clients to forget."""

    windows: dict[str, bytes]
    gone: list[str]


class _Client:
    __slots__ = ("answers", "forgotten", "in_flight")

    def __init__(self) -> None:
        self.answers: collections.OrderedDict[int, bytes] = collections.OrderedDict()  # Packed, kind and all.
        self.in_flight: dict[int, InFlight] = {}
        self.forgotten = 0  # The highest sequence whose answer was dropped from the window.


class DedupWindow:
    """Remembers answers by client and sequence. Thread-safe."""

    def __init__(self, *, window: int, max_clients: int) -> None:
        self._window = window
        self._max_clients = max_clients
        self._clients: collections.OrderedDict[str, _Client] = collections.OrderedDict()
        self._changed: set[str] = set()
        self._gone: set[str] = set()
        self._lock = threading.Lock()

    def enter(self, request_id: common_pb2.RequestId, kind: int) -> Entered:
        """Looks a request up; if it is new, the caller owns it and must `complete` or `fail` it.

        Raises:
            InvalidRequest: the id is malformed, was another request's, or so old that nobody knows what became of it.
        """
        sequence, client_id = request_id.sequence, request_id.client_id
        if len(client_id) > MAX_CLIENT_ID_CHARACTERS:
            raise InvalidRequest(
                f"request_id: client_id may have {MAX_CLIENT_ID_CHARACTERS} characters, got {len(client_id)}"
            )
        with self._lock:
            client = self._client(client_id)
            packed = client.answers.get(sequence)
            if packed is not None:
                _, known_kind, _ = _ANSWER.unpack_from(packed)
                _require_kind(request_id, known_kind, kind)
                return Entered(answer=packed[_ANSWER.size :])
            other = client.in_flight.get(sequence)
            if other is not None:  # However many later ones were faster.
                _require_kind(request_id, other.kind, kind)
                return Entered(in_flight=other)
            if sequence <= client.forgotten:
                raise InvalidRequest(
                    f"request_id: sequence {sequence} of client {client_id!r} is older than the "
                    f"{self._window} mutations that are remembered (setting dedup_window), or 0; sequences rise from 1"
                )
            mine = client.in_flight[sequence] = InFlight(self, client_id, sequence, kind)
            return Entered(in_flight=mine, mine=True)

    def leave(self, mutation: InFlight) -> None:
        """Ends a mutation under way, with its answer or without."""
        with self._lock:
            client = self._client(mutation.client_id)
            client.in_flight.pop(mutation.sequence, None)
            if mutation.answer is not None:
                self._remember(mutation.client_id, mutation.sequence, mutation.kind, mutation.answer)
        mutation.done.set()

    def replay(self, client_id: str, sequence: int, kind: int, answer: bytes) -> None:
        """Remembers the answer of a mutation that was read from a journal."""
        with self._lock:
            if sequence > self._client(client_id).forgotten:
                self._remember(client_id, sequence, kind, answer)

    def restore(self, windows: Mapping[str, bytes]) -> list[str]:
        """Puts back what `take_changes` packed; returns the clients whose windows are corrupt and were left out."""
        corrupt = []
        for client_id, data in windows.items():
            try:
                client = _unpack(data)
            except (ValueError, struct.error):
                corrupt.append(client_id)
                continue
            with self._lock:
                self._clients[client_id] = client
        return corrupt

    def merge(self, windows: Mapping[str, bytes]) -> list[str]:
        """Adds what another process answered to what is known here, packed as `take_changes` does.

        Returns the clients whose windows are corrupt and were left out.
        """
        corrupt = []
        for client_id, data in windows.items():
            try:
                other = _unpack(data)
            except (ValueError, struct.error):
                corrupt.append(client_id)
                continue
            with self._lock:
                client = self._client(client_id)
                client.forgotten = max(client.forgotten, other.forgotten)
                answers = sorted({**client.answers, **other.answers}.items())
                client.answers = collections.OrderedDict(item for item in answers if item[0] > client.forgotten)
                self._changed.add(client_id)
        return corrupt

    def take_changes(self) -> WindowChanges:
        """What changed since the last call; `give_back` if it could not be stored."""
        with self._lock:
            windows = {name: _pack(self._clients[name]) for name in self._changed if name in self._clients}
            changes = WindowChanges(windows, list(self._gone))
            self._changed.clear()
            self._gone.clear()
            return changes

    def packed(self) -> Iterator[tuple[str, bytes]]:
        """Every client and its window, packed, one after the other: mutations wait for one at most."""
        with self._lock:
            names = list(self._clients)
        for name in names:
            with self._lock:
                client = self._clients.get(name)
                data = None if client is None else _pack(client)
            if data is not None:
                yield name, data

    def give_back(self, changes: WindowChanges) -> None:
        """Lists `changes` as changed again."""
        with self._lock:
            self._changed.update(changes.windows)
            self._gone.update(name for name in changes.gone if name not in self._clients)

    def mark_all_changed(self) -> None:
        """Lists every window as changed: Redis lost them."""
        with self._lock:
            self._changed.update(self._clients)

    def _remember(self, client_id: str, sequence: int, kind: int, answer: bytes) -> None:
        client = self._client(client_id)
        client.answers[sequence] = _ANSWER.pack(sequence, kind, len(answer)) + answer
        while len(client.answers) > self._window:
            oldest, _ = client.answers.popitem(last=False)
            client.forgotten = max(client.forgotten, oldest)
        self._changed.add(client_id)

    def _client(self, client_id: str) -> _Client:
        client = self._clients.get(client_id)
        if client is None:
            client = self._clients[client_id] = _Client()
            self._gone.discard(client_id)
            while len(self._clients) > self._max_clients:
                oldest = next((name for name, other in self._clients.items() if not other.in_flight), None)
                if oldest is None or oldest == client_id:
                    break
                del self._clients[oldest]
                self._changed.discard(oldest)
                self._gone.add(oldest)
        self._clients.move_to_end(client_id)
        return client


def _require_kind(request_id: common_pb2.RequestId, known: int, got: int) -> None:
    if known != got:
        raise InvalidRequest(
            f"request_id: sequence {request_id.sequence} of client {request_id.client_id!r} was another kind of "
            "mutation before; each mutation needs a sequence of its own"
        )


def _pack(client: _Client) -> bytes:
    rest = _HEAD.pack(0, client.forgotten)[_CRC_BYTES:] + b"".join(client.answers.values())
    return _core.crc32c(rest).to_bytes(_CRC_BYTES, "little") + rest


def _unpack(data: bytes) -> _Client:
    """Raises ValueError or struct.error if `data` is not what `_pack` made."""
    crc, forgotten = _HEAD.unpack_from(data)
    if _core.crc32c(data[_CRC_BYTES:]) != crc:
        raise ValueError("wrong checksum")
    client, at = _Client(), _HEAD.size
    client.forgotten = forgotten
    while at < len(data):
        sequence, _, length = _ANSWER.unpack_from(data, at)
        end = at + _ANSWER.size + length
        client.answers[sequence] = data[at:end]
        at = end
    return client
