"""Who a request is from, as far as this process knows."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

Role = Literal["read", "train", "admin"]
ROLES: tuple[Role, ...] = ("read", "train", "admin")  # Each may do what those before it may.


@dataclass(frozen=True, slots=True)
class Caller:
    """One token's bearer, or anybody where no tokens are asked for.

    Attributes:
        name: the token's name; empty: anybody.
        role: what it may do.
        tables, models: patterns such as `user*`; None: all.
        token_id: the public part of the token; empty: none.
    """

    name: str = ""
    role: Role = "admin"
    tables: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    token_id: str = ""

    def may_use_table(self, table: str) -> bool:
        """Whether its scope has `table`."""
        return self.tables is None or any(fnmatchcase(table, pattern) for pattern in self.tables)

    def may_use_model(self, model: str) -> bool:
        """Whether its scope has `model`."""
        return self.models is None or any(fnmatchcase(model, pattern) for pattern in self.models)


ANYBODY = Caller()
_current: contextvars.ContextVar[Caller] = contextvars.ContextVar("caller", default=ANYBODY)


def current() -> Caller:
    """Who the request that this thread or task works on is from."""
    return _current.get()


@contextlib.contextmanager
def as_caller(caller: Caller) -> Iterator[None]:
    """What runs inside is for `caller`."""
    token = _current.set(caller)
    try:
        yield
    finally:
        _current.reset(token)
