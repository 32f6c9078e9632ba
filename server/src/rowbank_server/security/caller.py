"""Who a request is from, as far as this process knows."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from rowbank.errors import PermissionDenied

Role = Literal["read", "train", "admin"]
ROLES: tuple[Role, ...] = ("read", "train", "admin")  # Each may do what those before it may.
_RANK = {role: rank for rank, role in enumerate(ROLES)}


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

    @property
    def is_scoped(self) -> bool:
        """Whether there is anything that it may not use, whatever its role."""
        return self.tables is not None or self.models is not None

    def has_role(self, role: Role) -> bool:
        """Whether it may do what `role` may."""
        return _RANK[self.role] >= _RANK[role]

    def may_use_table(self, table: str) -> bool:
        """Whether its scope has `table`. A model's frozen copies, `<model>/...`, go with the model if that is named."""
        if self.tables is None or any(fnmatchcase(table, pattern) for pattern in self.tables):
            return True
        model, slash, _ = table.rpartition("/")
        return bool(slash) and self.models is not None and self.may_use_model(model)

    def may_use_model(self, model: str) -> bool:
        """Whether its scope has `model`."""
        return self.models is None or any(fnmatchcase(model, pattern) for pattern in self.models)


ANYBODY = Caller()
# Who shows no token where tokens are asked for, and asks what everybody may.
NOBODY = Caller(role="read", tables=(), models=())
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


class Noted:
    """What a request turned out to be about, for those who keep an account of it.

    Attributes:
        denied: what its answer says it must not.
    """

    __slots__ = ("denied", "models")

    def __init__(self) -> None:
        self.models: set[str] = set()
        self.denied: PermissionDenied | None = None


_noted: contextvars.ContextVar[Noted | None] = contextvars.ContextVar("noted", default=None)


@contextlib.contextmanager
def noting() -> Iterator[Noted]:
    """What is noted inside, by this task and those that it begins."""
    noted = Noted()
    token = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(token)


def note_denied(error: Exception) -> None:
    """Notes an error that becomes an answer, if it is a refusal."""
    noted = _noted.get()
    if noted is not None and isinstance(error, PermissionDenied):
        noted.denied = error


def require_tables(tables: Iterable[str]) -> None:
    """Refuses unless the caller's scope has all of them. Raises PermissionDenied."""
    caller = _current.get()
    if caller.tables is not None:
        for table in tables:
            if not caller.may_use_table(table):
                raise out_of_scope(caller, "table", table, caller.tables)


def require_model(model: str) -> None:
    """Refuses unless the caller's scope has it. Raises PermissionDenied."""
    caller, noted = _current.get(), _noted.get()
    if noted is not None:
        noted.models.add(model)
    if caller.models is not None and not caller.may_use_model(model):
        raise out_of_scope(caller, "model", model, caller.models)


def out_of_scope(caller: Caller, kind: str, name: str, patterns: Iterable[str]) -> PermissionDenied:
    """The refusal of a table, a model or a view, also of one that does not exist."""
    of = ", ".join(patterns) or "none"
    return PermissionDenied(
        f"token {caller.name!r} ({caller.token_id}) is for {kind}s {of}, not for {kind} {name[:128]!r}; "
        "use a token whose scope has it",
        metadata={"cause": "scope", kind: name[:128], "token": caller.token_id},
    )
