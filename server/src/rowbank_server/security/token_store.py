"""Tokens in Redis: one hash to which facts are only ever added, so that processes may write them in any order.

That a token exists, and that it was revoked, never becomes untrue: whoever knows a fact that Redis lacks, because it
came back empty or from an older copy, adds it again, and nothing that was revoked comes back to life.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rowbank_server.security.tokens import Token, from_stored, stored_form
from rowbank_server.storage.connection import Redis, translated
from rowbank_server.storage.layout import Layout

_log = logging.getLogger("rowbank.security")
_WHAT = "tokens"
_CHANGE = "#change"
_REVOKED, _USED = ":revoked", ":used"
# KEYS: the hash. ARGV: the name of this change, then fields and their values. What is there already stays.
_ADD = """
for i = 2, #ARGV, 2 do
  redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1])
end
redis.call('HSET', KEYS[1], '#change', ARGV[1])
return ARGV[1]
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """What Redis has.

    Attributes:
        change: the name of the last change; empty: there was none.
        used: by id, when a token was last used, in Unix seconds.
    """

    change: str
    tokens: Mapping[str, Token]
    used: Mapping[str, int]


class TokenStore:
    """Thread-safe. Every method raises RedisUnavailable when Redis cannot be used."""

    def __init__(self, redis: Redis, layout: Layout) -> None:
        self._redis = redis
        self._key = layout.tokens
        self._add = redis.register_script(_ADD)

    def change(self) -> str:
        """The name of the last change; empty: there was none."""
        with translated(_WHAT):
            found: bytes | None = self._redis.hget(self._key, _CHANGE)
        return (found or b"").decode("ascii", "replace")

    def read(self) -> Stored:
        """Everything."""
        with translated(_WHAT):
            fields: dict[bytes, bytes] = self._redis.hgetall(self._key)
        texts = {name.decode("ascii", "replace"): value for name, value in fields.items()}
        change = texts.pop(_CHANGE, b"").decode("ascii", "replace")
        used = {name.removesuffix(_USED): _seconds(text) for name, text in texts.items() if name.endswith(_USED)}
        tokens = {}
        for name, text in texts.items():
            if ":" in name:
                continue
            revoked = texts.get(name + _REVOKED)
            try:
                # A revocation that cannot be read is one all the same.
                tokens[name] = from_stored(name, text, 0 if revoked is None else max(_seconds(revoked), 1))
            except (ValueError, KeyError, TypeError):
                _log.warning("token %.20r in Redis cannot be read, and lets nobody in", name)
        return Stored(change, tokens, used)

    def add(self, tokens: Iterable[Token]) -> str:
        """Adds what of these is not there: tokens and revocations. Returns the name of the change."""
        arguments: list[str | bytes] = [uuid.uuid4().hex]
        for token in tokens:
            arguments += [token.id, stored_form(token)]
            if token.revoked_at_s:
                arguments += [token.id + _REVOKED, str(token.revoked_at_s)]
        with translated(_WHAT):
            self._add(keys=[self._key], args=arguments)
        return str(arguments[0])

    def note_used(self, used: Mapping[str, int]) -> None:
        """Keeps when tokens were last used."""
        if used:
            with translated(_WHAT):
                self._redis.hset(self._key, mapping={number + _USED: str(moment) for number, moment in used.items()})

    def forget(self, ids: Iterable[str]) -> None:
        """Removes what is known of tokens."""
        fields = [field for number in ids for field in (number, number + _REVOKED, number + _USED)]
        if fields:
            with translated(_WHAT):
                self._redis.hdel(self._key, *fields)


def _seconds(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        return 0
