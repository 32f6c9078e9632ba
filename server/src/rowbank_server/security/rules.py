"""What a rule of the policy says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from rowbank_server.security.caller import Caller, Role

Names = Callable[[Any], Iterable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Who may make a call.

    Attributes:
        role: the least that it takes; None: none, and no token either.
        tables, models: which ones a request is about, which the caller's scope must all have. A method whose requests
            are bytes is checked where they are read, before anything is done.
        check: refuses a request for more than its names.
        scope: in words, what the scope is checked against.
        whole: it concerns everything, so a token for some tables or models is not enough.
        narrow: leaves out of an answer what is not in the caller's scope.
        audited: whether each call is written into the audit log; those of role admin always are.
    """

    role: Role | None
    scope: str = "-"
    tables: Names | None = None
    models: Names | None = None
    check: Callable[[Any], None] | None = None
    whole: bool = False
    narrow: Callable[[Any, Caller], None] | None = None
    audited: bool = False

    @property
    def is_audited(self) -> bool:
        """Whether each call leaves a line, also one that went well."""
        return self.audited or self.role == "admin"
