"""Cases from the field: the smallest form of what users reported, with the right outcome written beside it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class World:
    """What a case may use: real servers, and an empty folder of its own.

    Attributes:
        target: HOST:PORT of a parameter server with an embedded Redis behind it.
        http_url: of the retrieval service beside it.
        folder: empty.
        name: a prefix that no other case uses for tables, views and models.
    """

    target: str
    http_url: str
    folder: Path
    name: str


@dataclass(frozen=True, slots=True)
class Case:
    """One input and what comes of it.

    Attributes:
        name: what a user did.
        right: a regular expression that the whole outcome must match.
        run: does it and says in one line what came of it; an exception's class and text are an outcome, too.
    """

    name: str
    right: str
    run: Callable[[World], str]

    def outcome(self, world: World) -> str:
        """What came of it, in one line."""
        try:
            said = self.run(world)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        return " ".join(said.split())

    def holds(self, outcome: str) -> bool:
        """Whether that was right."""
        return re.fullmatch(self.right, outcome) is not None
