"""How long a replay of the journal would take, guessed from how long its mutations took the first time."""

from __future__ import annotations

_READ_S_PER_BYTE = 1 / 400e6  # Redis, the socket, checksums. Less than any machine was seen to do.
_S_PER_RECORD = 200e-6  # Reading its head, finding its tables; the interpreter's part.
_FIRST_S_PER_BYTE = 1 / 400e6  # Before anything was learnt.
_KEPT = 1 - 1 / 256  # How much of what was learnt a mutation leaves.


class ReplayRate:
    """Callers hold the journal's lock.

    What counts is processor time: a replay is alone, and waits for no other's locks and turns. Beside others the caches
    are colder, so that the guess is rather too long.
    """

    def __init__(self) -> None:
        self._bytes = 1e6  # So much is believed of the first guess.
        self._seconds = 1e6 * _FIRST_S_PER_BYTE

    def learn(self, size: int, seconds: float) -> None:
        """A mutation whose record has `size` bytes was applied in `seconds` of processor time."""
        self._bytes = self._bytes * _KEPT + size
        self._seconds = self._seconds * _KEPT + seconds

    def seconds(self, records: int, size: int) -> float:
        """Of a replay of so many records, which have `size` bytes together."""
        return records * _S_PER_RECORD + size * (_READ_S_PER_BYTE + self._seconds / self._bytes)
