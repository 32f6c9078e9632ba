"""A token as it is stored: who it is for, until when, and a hash of its text."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rowbank.errors import InvalidRequest
from rowbank.token_text import TokenText
from rowbank_server.security.caller import ROLES, Caller, Role

FORGOTTEN_AFTER_S = 30 * 86_400.0  # After its end; until then nobody can bring a revoked one back.
MOST_TOKENS = 10_000
_MOST_PATTERNS = 64
_LONGEST_S = 100 * 366 * 86_400
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ID = re.compile(r"[0-9a-f]{12}")
_PATTERN = re.compile(r"[A-Za-z0-9_.\-/:*?]{1,128}")


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token. But for its revocation nothing of it ever changes.

    Attributes:
        tables, models: patterns; None: all.
        expires_at_s: Unix seconds; 0: never.
        digest: SHA-256 of its text.
        revoked_at_s: Unix seconds; 0: it is not.
        created_by: name of the token that made it.
    """

    id: str
    name: str
    role: Role
    tables: tuple[str, ...] | None
    models: tuple[str, ...] | None
    created_at_s: int
    expires_at_s: int
    digest: bytes = field(repr=False)
    created_by: str = ""
    revoked_at_s: int = 0

    @property
    def caller(self) -> Caller:
        """Its bearer."""
        return Caller(self.name, self.role, self.tables, self.models, self.id)

    @property
    def ended_at_s(self) -> int:
        """When it was revoked or expires, whichever is first; 0: it does not end."""
        return min((moment for moment in (self.revoked_at_s, self.expires_at_s) if moment), default=0)

    def is_of(self, text: TokenText) -> bool:
        """Whether that is its text, in a time that does not depend on how much of it is right."""
        return hmac.compare_digest(self.digest, text.digest)

    def is_valid(self, now_s: float) -> bool:
        """Whether it lets anybody in. A revoked one never does: the clock that revoked it may be ahead of this one."""
        return not self.revoked_at_s and (not self.expires_at_s or now_s < self.expires_at_s)

    def is_forgotten(self, now_s: float) -> bool:
        """Whether it ended so long ago that nothing of it is kept."""
        return bool(self.ended_at_s) and now_s > self.ended_at_s + FORGOTTEN_AFTER_S


def stored_form(token: Token) -> bytes:
    """As Redis keeps it, without its revocation."""
    said = {
        "name": token.name,
        "role": token.role,
        "tables": token.tables,
        "models": token.models,
        "created_at_s": token.created_at_s,
        "expires_at_s": token.expires_at_s,
        "created_by": token.created_by,
        "sha256": token.digest.hex(),
    }
    return json.dumps(said, separators=(",", ":")).encode()


def from_stored(number: str, data: bytes, revoked_at_s: int) -> Token:
    """The token in what Redis keeps. Raises ValueError, KeyError, TypeError: it is none."""
    said: dict[str, Any] = json.loads(data)
    if said["role"] not in ROLES or not _ID.fullmatch(number):
        raise ValueError("unknown role or id")
    digest = bytes.fromhex(said["sha256"])
    if len(digest) != 32:
        raise ValueError("no SHA-256")
    return Token(
        id=number,
        name=str(said["name"]),
        role=said["role"],
        tables=_stored_patterns(said["tables"]),
        models=_stored_patterns(said["models"]),
        created_at_s=int(said["created_at_s"]),
        expires_at_s=int(said["expires_at_s"]),
        digest=digest,
        created_by=str(said.get("created_by", "")),
        revoked_at_s=revoked_at_s,
    )


def _stored_patterns(said: Any) -> tuple[str, ...] | None:
    if said is None:
        return None
    if not isinstance(said, list) or not all(isinstance(one, str) for one in said):
        raise ValueError("patterns are no list of texts")  # Never taken for "all".
    return tuple(said)


def checked_name(name: str) -> str:
    """Raises InvalidRequest: it is no name, or looks like an id."""
    if not _NAME.fullmatch(name) or _ID.fullmatch(name):
        raise InvalidRequest(
            f"name: expected 1 to 64 of A-Z a-z 0-9 _ . - that are not 12 hexadecimal digits, got {name[:80]!r}"
        )
    return name


def checked_patterns(what: str, patterns: Sequence[str]) -> tuple[str, ...] | None:
    """Patterns as they are stored; None: all. Raises InvalidRequest."""
    if len(patterns) > _MOST_PATTERNS:
        raise InvalidRequest(f"{what}: expected at most {_MOST_PATTERNS} patterns, got {len(patterns)}")
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            raise InvalidRequest(
                f"{what}: expected 1 to 128 of A-Z a-z 0-9 _ . - / : and the wildcards * and ?, got {pattern[:140]!r}"
            )
    return tuple(patterns) or None


def checked_expiry(expires_in_s: int, now_s: float) -> int:
    """Unix seconds; 0: never. Raises InvalidRequest."""
    if expires_in_s > _LONGEST_S:
        raise InvalidRequest(f"expires_in_s: expected at most {_LONGEST_S} seconds, or 0 for never, got {expires_in_s}")
    return int(now_s) + expires_in_s if expires_in_s else 0
