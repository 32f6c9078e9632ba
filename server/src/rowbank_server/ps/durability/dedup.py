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

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rowbank.errors import InvalidRequest
from rowbank_protos.v1 import common_pb2
from rowbank_server import _core

MAX_CLIENT_ID_CHARACTERS = 256


class InFlight:
    """A mutation under way. Thread-safe.

    Attributes:
        native: what the window itself has of it.
    """

    __slots__ = ("_window", "client_id", "native", "sequence")

    def __init__(self, window: _core.DedupWindow, mutation: _core.UnderWay) -> None:
        self._window = window
        self.native = mutation
        self.client_id = mutation.client_id
        self.sequence = mutation.sequence

    @property
    def done(self) -> bool:
        """Whether it is under way no more."""
        return self._window.done(self.native)

    def wait(self, timeout_s: float) -> bool:
        """Waits until it is under way no more; False: it still is."""
        return self._window.wait(self.native, timeout_s)

    def complete(self, answer: bytes) -> None:
        """The mutation is done; repeats get `answer`."""
        self._window.complete(self.native, answer)

    def fail(self) -> None:
        """The mutation was not applied; a repeat may try again."""
        self._window.fail(self.native)


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


class DedupWindow:
    """Remembers answers by client and sequence. Thread-safe.

    Attributes:
        native: what the native endpoint looks requests up in.
    """

    def __init__(self, *, window: int, max_clients: int) -> None:
        self._size = window
        self.native = _core.DedupWindow(window=window, max_clients=max_clients)

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
        known, under_way, answer = self.native.enter(client_id, sequence, int(kind))
        if known == _core.KNOWN_ANSWERED:
            return Entered(answer=answer)
        if known == _core.KNOWN_OTHER_KIND:
            raise InvalidRequest(
                f"request_id: sequence {sequence} of client {client_id!r} was another kind of mutation before; each "
                "mutation needs a sequence of its own"
            )
        if known == _core.KNOWN_TOO_OLD:
            raise InvalidRequest(
                f"request_id: sequence {sequence} of client {client_id!r} is older than the "
                f"{self._size} mutations that are remembered (setting dedup_window), or 0; sequences rise from 1"
            )
        assert under_way is not None
        return Entered(in_flight=InFlight(self.native, under_way), mine=known == _core.KNOWN_NEW)

    def replay(self, client_id: str, sequence: int, kind: int, answer: bytes) -> None:
        """Remembers the answer of a mutation that was read from a journal."""
        self.native.replay(client_id, sequence, int(kind), answer)

    def restore(self, windows: Mapping[str, bytes]) -> list[str]:
        """Puts back what `take_changes` packed; returns the clients whose windows are corrupt and were left out."""
        return [client_id for client_id, data in windows.items() if not self.native.restore(client_id, data)]

    def merge(self, windows: Mapping[str, bytes]) -> list[str]:
        """Adds what another process answered to what is known here, packed as `take_changes` does.

        Returns the clients whose windows are corrupt and were left out.
        """
        return [client_id for client_id, data in windows.items() if not self.native.merge(client_id, data)]

    def take_changes(self) -> WindowChanges:
        """What changed since the last call; `give_back` if it could not be stored."""
        return WindowChanges(*self.native.take_changes())

    def packed(self) -> Iterator[tuple[str, bytes]]:
        """Every client and its window, packed, one after the other: mutations wait for one at most."""
        for name in self.native.clients():
            data = self.native.packed(name)
            if data is not None:
                yield name, data

    def give_back(self, changes: WindowChanges) -> None:
        """Lists `changes` as changed again."""
        self.native.give_back(list(changes.windows), changes.gone)

    def mark_all_changed(self) -> None:
        """Lists every window as changed: Redis lost them."""
        self.native.mark_all_changed()
