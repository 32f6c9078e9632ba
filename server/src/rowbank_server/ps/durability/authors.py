"""Who made which of the latest mutations, by their positions: a few megabytes of RAM, forgotten with the process."""

from __future__ import annotations

from dataclasses import dataclass

from rowbank_server import _core


@dataclass(frozen=True, slots=True)
class Author:
    """A client's id, and the name of the token that it came with; empty: none."""

    client_id: str
    caller: str


class Authors:
    """Thread-safe.

    Attributes:
        native: what is told of mutations that are made without the interpreter.
    """

    def __init__(self) -> None:
        self.native = _core.Authors()

    def note(self, position: int, author: Author) -> None:
        """The mutation at `position` is by `author`."""
        self.native.note(position, author.client_id, author.caller)

    def of(self, position: int) -> Author | None:
        """Who made the mutation at `position`; None: not known any more."""
        found = self.native.of(position)
        return None if found is None else Author(*found)
