"""Tokens: who may do what with which tables and models. For callers whose own token has the role admin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rowbank.calls import methods
from rowbank.calls.verbs import Calls
from rowbank.errors import InvalidRequest
from rowbank_protos.v1 import tokens_pb2

_ROLES = {
    "read": tokens_pb2.TOKEN_ROLE_READ,
    "train": tokens_pb2.TOKEN_ROLE_TRAIN,
    "admin": tokens_pb2.TOKEN_ROLE_ADMIN,
}
ROLES = tuple(_ROLES)
_ROLE_NAMES = {number: role for role, number in _ROLES.items()}


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """What is known of a token, but not the token.

    Attributes:
        id: the public part of the token.
        role: "read", "train" or "admin"; each may do what those before it may.
        tables, models: patterns of those it is for; empty: all.
        created_at_s, expires_at_s, revoked_at_s: Unix seconds; 0: never.
        last_used_at_s: Unix seconds, to within ten minutes; 0: never.
        created_by: name of the token that made it; empty: no tokens were required then.
    """

    id: str
    name: str
    role: str
    tables: tuple[str, ...]
    models: tuple[str, ...]
    created_at_s: int
    expires_at_s: int
    revoked_at_s: int
    last_used_at_s: int
    created_by: str


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just made. `token` is what its bearer shows; nobody can be told it again."""

    info: TokenInfo
    token: str = field(repr=False)


class Tokens:
    """See `Client.tokens`. Every process of the namespace knows of a change about a second later."""

    def __init__(self, calls: Calls) -> None:
        self._transport = calls.transport

    def create(
        self,
        name: str,
        role: str,
        *,
        tables: Sequence[str] = (),
        models: Sequence[str] = (),
        expires_in_s: int = 0,
    ) -> NewToken:
        """Makes a token.

        Args:
            name: 1 to 64 of A-Z a-z 0-9 _ . -; no other valid token has it.
            role: "read", "train" or "admin".
            tables, models: patterns of those it is for, in which * stands for any characters and ? for one; empty: all.
            expires_in_s: 0: never.
        Raises:
            InvalidRequest: an argument is out of range, or the name is taken.
            PermissionDenied: this client's own token has not the role admin, or is not for everything.
        """
        if role not in _ROLES:
            raise InvalidRequest(f"role: expected one of {', '.join(ROLES)}, got {role!r}")
        for what, patterns in (("tables", tables), ("models", models)):
            if isinstance(patterns, str):
                raise InvalidRequest(f"{what}: expected a list of patterns, got one text: write [{patterns!r}]")
        if not isinstance(expires_in_s, int) or not 0 <= expires_in_s < 2**63:
            raise InvalidRequest(f"expires_in_s: expected whole seconds, 0 or more, got {expires_in_s!r}")
        request = tokens_pb2.CreateTokenRequest(
            name=name, role=_ROLES[role], tables=tables, models=models, expires_in_s=expires_in_s
        )
        answer = self._transport.one(methods.CREATE_TOKEN, 0, request, retry=False)
        return NewToken(_info(answer.info), answer.token)

    def list(self) -> list[TokenInfo]:
        """All tokens by name, also those that ended within the last 30 days."""
        answer = self._transport.one(methods.LIST_TOKENS, 0, tokens_pb2.ListTokensRequest())
        return [_info(message) for message in answer.tokens]

    def revoke(self, token: str) -> TokenInfo:
        """Ends a token by its name or id; doing it twice does no harm. Raises `TokenNotFound`."""
        answer = self._transport.one(methods.REVOKE_TOKEN, 0, tokens_pb2.RevokeTokenRequest(token=token))
        return _info(answer.info)


def _info(message: tokens_pb2.TokenInfo) -> TokenInfo:
    return TokenInfo(
        id=message.id,
        name=message.name,
        role=_ROLE_NAMES.get(message.role, ""),
        tables=tuple(message.tables),
        models=tuple(message.models),
        created_at_s=message.created_at_s,
        expires_at_s=message.expires_at_s,
        revoked_at_s=message.revoked_at_s,
        last_used_at_s=message.last_used_s,
        created_by=message.created_by,
    )
