"""One mutation's way through the journal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Entry:
    """Made by `Journal.begin`; only the journal changes it.

    Attributes:
        pieces: the record, from its submission until it is appended and released to followers.
        size: bytes of the record.
        appended: False: the record is for followers alone, and never appended.
        halves: what is still to come, of applied and appended (for a synced table: on disk).
        owed: what is still to come before followers may see it, of applied and appended.
        woken: set when the entry is done, or when waiting for it makes no sense any more.
        begun: monotonic seconds.
    """

    __slots__ = (
        "_pieces",
        "appended",
        "begun",
        "done",
        "halves",
        "on_done",
        "owed",
        "position",
        "size",
        "synced",
        "woken",
    )

    def __init__(
        self, position: int, on_done: Callable[[Entry], None], *, synced: bool = False, appended: bool = True
    ) -> None:
        self.position = position
        self.on_done = on_done
        self.synced = synced
        self.appended = appended
        self.begun = time.monotonic()
        self.halves = self.owed = 2 if appended else 1
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
