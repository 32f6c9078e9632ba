"""Holds mutations back for a moment, so that a picture of all tables shows each of them wholly or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rowbank_server import _core


class MutationGate:
    """Many mutations pass at once while it is open. Thread-safe.

    Attributes:
        native: what mutations pass that are applied without the interpreter.
    """

    def __init__(self) -> None:
        self.native = _core.MutationGate()

    @contextlib.contextmanager
    def passing(self) -> Iterator[None]:
        """Around the application of a mutation; waits while the gate is closed."""
        self.native.enter()
        try:
            yield
        finally:
            self.native.leave()

    def note_unfollowed(self) -> None:
        """Nobody follows, so mutations of relaxed tables leave nothing behind; until the gate is closed again.

        REQUIRES: the caller is inside, and whoever begins to follow closes the gate first.
        """
        self.native.note_unfollowed()

    def close(self, *, timeout_s: float) -> bool:
        """Lets nobody in any more and waits until nobody is inside; opens again and returns False if that takes long.

        Whoever closed it must open it; a second one waits until then.
        """
        return self.native.close(timeout_s)

    def open(self) -> bool:
        """Lets mutations pass again; False if they did already."""
        return self.native.open()
