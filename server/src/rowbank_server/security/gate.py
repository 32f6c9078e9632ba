"""Who a call is from, and whether it may be made: the same for gRPC and HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rowbank.errors import PermissionDenied, RequestError, Unauthenticated
from rowbank_server.security.audit import Audit
from rowbank_server.security.caller import Caller, out_of_scope
from rowbank_server.security.failures import Failures
from rowbank_server.security.rules import Rule
from rowbank_server.security.token_book import TokenBook

_MOST_HEADER = 256
_HINT = "show one: ROWBANK_TOKEN_FILE, ROWBANK_TOKEN, or the header `authorization: Bearer TOKEN`"


@dataclass(frozen=True, slots=True)
class Gate:
    """Asks the book of tokens. Thread-safe."""

    book: TokenBook
    failures: Failures
    audit: Audit

    def admit(self, values: Sequence[str | bytes]) -> Caller:
        """The caller who shows these values of `authorization`. Raises Unauthenticated, NotReady."""
        if not values:
            raise Unauthenticated(f"this server answers callers with a token; {_HINT}", metadata={"cause": "missing"})
        if len(values) > 1:
            raise _malformed("one value, got several")
        value = values[0]
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        if len(text) > _MOST_HEADER:
            raise _malformed(f"`Bearer TOKEN`, got {len(text)} characters")
        scheme, _, token = text.strip().partition(" ")
        if scheme.lower() != "bearer" or not token.isascii():
            raise _malformed("`Bearer TOKEN`, got something else")
        return self.book.caller(token.strip())

    def refused(self, caller: Caller | None, error: RequestError, peer: str, method: str) -> None:
        """Counts a refusal, and writes it into the audit log."""
        self.failures.note(error, peer, method)
        subjects = {f"{kind}s": [error.metadata[kind]] for kind in ("table", "model", "view") if kind in error.metadata}
        outcome, shown = error.metadata.get("cause", error.reason), error.metadata.get("token", "")
        self.audit.note(caller, peer, method, subjects, outcome, shown)


def require_role(caller: Caller, rule: Rule, what: str) -> None:
    """Refuses a role, or a scope, that is not enough for any request of the kind. Raises PermissionDenied."""
    if rule.role is not None and not caller.has_role(rule.role):
        raise PermissionDenied(
            f"{what}: token {caller.name!r} ({caller.token_id}) has the role {caller.role}, this takes {rule.role}",
            metadata={"cause": "role", "role": rule.role, "token": caller.token_id},
        )
    if rule.whole and caller.is_scoped:
        kind = "table" if caller.tables is not None else "model"
        patterns = caller.tables if caller.tables is not None else caller.models
        raise out_of_scope(caller, kind, "* (this concerns all)", patterns or ())


def _malformed(expected: str) -> Unauthenticated:
    return Unauthenticated(f"authorization: expected {expected}", metadata={"cause": "malformed"})
