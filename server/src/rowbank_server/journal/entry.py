"""One mutation's way through the journal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Entry:
    """Made by `Journal.begin`; only the journal changes it.

    Attributes:
        pieces: the record, from its submission until it is appended.
        size: bytes of the record.
        halves: what is still to come, of applied and appended.
        woken: set when the entry is done, or when waiting for it makes no sense any more.
        begun: monotonic seconds.
    """

    __slots__ = ("_pieces", "begun", "done", "halves", "on_done", "position", "size", "synced", "woken")

    def __init__(self, position: int, on_done: Callable[[Entry], None], *, synced: bool) -> None:
        self.position = position
        self.on_done = on_done
        self.synced = synced
        self.begun = time.monotonic()
        self.halves = 2
        self.done = False
        self.size = 0
        self.woken = threading.Event()
        self._pieces: tuple[bytes, ...] = ()

    @property
    def pieces(self) -> tuple[bytes, ...]:
        return self._pieces

    @pieces.setter
    def pieces(self, pieces: tuple[bytes, ...]) -> None:
        self._pieces = pieces
        if pieces:
            self.size = sum(map(len, pieces))
