"""TokenService: tokens are made, listed and revoked."""

from __future__ import annotations

import time

import grpc

from rowbank.errors import InvalidRequest
from rowbank.token_text import TokenText
from rowbank_protos.v1 import tokens_pb2, tokens_pb2_grpc
from rowbank_server.security.caller import Role, current
from rowbank_server.security.token_book import TokenBook
from rowbank_server.security.tokens import Token, checked_expiry, checked_name, checked_patterns

_ROLES: dict[int, Role] = {
    tokens_pb2.TOKEN_ROLE_READ: "read",
    tokens_pb2.TOKEN_ROLE_TRAIN: "train",
    tokens_pb2.TOKEN_ROLE_ADMIN: "admin",
}
_NUMBERS: dict[Role, tokens_pb2.TokenRole] = {
    "read": tokens_pb2.TOKEN_ROLE_READ,
    "train": tokens_pb2.TOKEN_ROLE_TRAIN,
    "admin": tokens_pb2.TOKEN_ROLE_ADMIN,
}


class TokenServicer(tokens_pb2_grpc.TokenServiceServicer):
    """Answers from the book of tokens, also where no tokens are asked for yet."""

    def __init__(self, book: TokenBook) -> None:
        self._book = book

    def CreateToken(  # noqa: N802
        self, request: tokens_pb2.CreateTokenRequest, context: grpc.ServicerContext
    ) -> tokens_pb2.CreateTokenResponse:
        role = _ROLES.get(request.role)
        if role is None:
            raise InvalidRequest(f"role: expected READ, TRAIN or ADMIN, got {request.role}")
        now = time.time()
        name, expires = checked_name(request.name), checked_expiry(request.expires_in_s, now)
        tables, models = checked_patterns("tables", request.tables), checked_patterns("models", request.models)

        def filled(made: TokenText) -> Token:
            return Token(made.id, name, role, tables, models, int(now), expires, made.digest, current().name)

        made, token = self._book.create(filled)
        return tokens_pb2.CreateTokenResponse(token=made.text, info=_info(token, 0))

    def ListTokens(  # noqa: N802
        self, request: tokens_pb2.ListTokensRequest, context: grpc.ServicerContext
    ) -> tokens_pb2.ListTokensResponse:
        return tokens_pb2.ListTokensResponse(tokens=[_info(token, used) for token, used in self._book.all()])

    def RevokeToken(  # noqa: N802
        self, request: tokens_pb2.RevokeTokenRequest, context: grpc.ServicerContext
    ) -> tokens_pb2.RevokeTokenResponse:
        return tokens_pb2.RevokeTokenResponse(info=_info(self._book.revoke(request.token), 0))


def _info(token: Token, used: int) -> tokens_pb2.TokenInfo:
    return tokens_pb2.TokenInfo(
        id=token.id,
        name=token.name,
        role=_NUMBERS[token.role],
        tables=token.tables or (),
        models=token.models or (),
        created_at_s=token.created_at_s,
        expires_at_s=token.expires_at_s,
        revoked_at_s=token.revoked_at_s,
        last_used_s=used,
        created_by=token.created_by,
    )
