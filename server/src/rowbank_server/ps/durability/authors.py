"""Who made which of the latest mutations, by their positions: a few megabytes of RAM, forgotten with the process."""

from __future__ import annotations

import array
import threading
from dataclasses import dataclass

import numpy as np

_KEPT = 131_072
_MOST_AUTHORS = 4096


@dataclass(frozen=True, slots=True)
class Author:
    """A client's id, and the name of the token that it came with; empty: none."""

    client_id: str
    caller: str


class Authors:
    """Thread-safe."""

    def __init__(self) -> None:
        self._positions = array.array("Q", bytes(8 * _KEPT))
        self._numbers = array.array("I", bytes(4 * _KEPT))
        self._authors: dict[Author, int] = {}
        self._next = 0
        self._lock = threading.Lock()

    def note(self, position: int, author: Author) -> None:
        """The mutation at `position` is by `author`."""
        with self._lock:
            number = self._authors.get(author)
            if number is None:
                if len(self._authors) >= _MOST_AUTHORS:
                    self._authors.clear()
                    self._positions = array.array("Q", bytes(8 * _KEPT))
                number = self._authors[author] = len(self._authors)
            self._positions[self._next] = position
            self._numbers[self._next] = number
            self._next = (self._next + 1) % _KEPT

    def of(self, position: int) -> Author | None:
        """Who made the mutation at `position`; None: not known any more."""
        if not position:
            return None
        with self._lock:
            places = np.flatnonzero(np.frombuffer(self._positions, np.uint64) == np.uint64(position))
            number = self._numbers[int(places[0])] if len(places) else None
            return next((author for author, known in self._authors.items() if known == number), None)
