"""The tokens as this process knows them: read from Redis about each second, and kept in RAM while that is away."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Mapping

from rowbank.errors import InvalidRequest, NotReady, RequestError, TokenNotFound, Unauthenticated
from rowbank.token_text import TokenText, new_token, parse_token
from rowbank_server.security.admin_file import AdminFile
from rowbank_server.security.caller import Caller
from rowbank_server.security.token_store import Stored, TokenStore
from rowbank_server.security.tokens import MOST_TOKENS, Token

_log = logging.getLogger("rowbank.security")
LOOK_S = 1.0
USED_STEP_S = 600.0  # When a token was last used is kept to within this.
_UNKNOWN = "the token is not known here; `rowbank tokens list` shows those that are, `rowbank tokens create` makes one"


class TokenBook:
    """Who a token is. Thread-safe.

    Args:
        admin_file: one token more, which Redis does not know.
        clock: Unix seconds.
    """

    def __init__(
        self, store: TokenStore, admin_file: AdminFile | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._admin_file = admin_file
        self._clock = clock
        self._tokens: Mapping[str, Token] = {}  # Replaced as a whole, so that it may be read without a lock.
        self._change: str | None = None  # None: the list was never read.
        self._lock = threading.Lock()
        self._failure = ""
        self._used: dict[str, float] = {}
        self._written: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tokens", daemon=True)

    def start(self) -> None:
        """Reads the list, and goes on reading it in a thread."""
        self._look()
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2 * LOOK_S)

    def caller(self, text: str) -> Caller:
        """The bearer of a token.

        Raises:
            Unauthenticated: it is no token, or one that lets nobody in; the metadata say the `cause`.
            NotReady: the list was never read.
        """
        shown = parse_token(text)
        if shown is None:
            raise Unauthenticated(
                "authorization: expected `Bearer rbk_...`, a token as `rowbank tokens create` prints it",
                metadata={"cause": "malformed"},
            )
        if self._admin_file is not None:
            caller = self._admin_file.caller(shown)
            if caller is not None:
                return caller
        token = self._tokens.get(shown.id)
        if token is None or not token.is_of(shown):
            if self._change is None:
                raise NotReady("the list of tokens was not read yet, for Redis does not answer; try again in a moment")
            raise Unauthenticated(_UNKNOWN, metadata={"cause": "unknown", "token": shown.id})
        now = self._clock()
        if not token.is_valid(now):  # Said to those alone who have the secret.
            cause = "revoked" if token.revoked_at_s else "expired"
            raise Unauthenticated(
                f"the token {token.name!r} ({token.id}) {'was revoked' if cause == 'revoked' else 'has expired'}; "
                "use another one",
                metadata={"cause": cause, "token": token.id},
            )
        self._used[token.id] = now
        return token.caller

    def create(self, token: Callable[[TokenText], Token]) -> tuple[TokenText, Token]:
        """Makes and stores a token. Raises InvalidRequest, RedisUnavailable."""
        made = new_token()
        new = token(made)
        with self._lock:
            self._refresh(force=True)
            if len(self._tokens) >= MOST_TOKENS:
                raise InvalidRequest(f"there are {len(self._tokens)} tokens, the most that are kept; revoke some")
            if any(one.name == new.name and one.is_valid(self._clock()) for one in self._tokens.values()):
                raise InvalidRequest(
                    f"name: a valid token is called {new.name!r} already; choose another name, or revoke that one first"
                )
            self._change = self._store.add([new])
            self._tokens = {**self._tokens, new.id: new}
        return made, new

    def revoke(self, name: str) -> Token:
        """Ends a token by its name or id. Raises TokenNotFound, RedisUnavailable."""
        with self._lock:
            self._refresh(force=True)
            token = self._tokens.get(name)
            if token is None:
                named = [one for one in self._tokens.values() if one.name == name]
                token = max(named, key=lambda one: (one.is_valid(self._clock()), one.created_at_s), default=None)
            if token is None:
                raise TokenNotFound(
                    f"there is no token of name or id {name[:80]!r}; `rowbank tokens list` shows those that there are"
                )
            if not token.revoked_at_s:
                token = dataclasses.replace(token, revoked_at_s=int(self._clock()))
                # In RAM first: whatever Redis does, it is over here, and is written as soon as that is possible.
                self._tokens = {**self._tokens, token.id: token}
                self._change = ""
                self._change = self._store.add([token])
        return token

    def all(self) -> list[tuple[Token, int]]:
        """Tokens by name, each with when it was last used, in Unix seconds. Raises RedisUnavailable."""
        with self._lock:
            stored = self._refresh(force=True)
        assert stored is not None
        moments = {number: max(stored.used.get(number, 0), int(self._used.get(number, 0))) for number in self._tokens}
        ordered = sorted(self._tokens.values(), key=lambda token: (token.name, token.created_at_s))
        return [(token, moments[token.id]) for token in ordered]

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            self._look()

    def _look(self) -> None:
        try:
            if self._admin_file is not None:
                self._admin_file.look()
            with self._lock:
                self._refresh()
            self._note_used()
            self._failure = ""
        except RequestError as error:
            if error.message != self._failure:
                _log.warning("tokens cannot be read: %s; those that are known go on", error.message)
            self._failure = error.message
        except Exception:
            _log.exception("reading tokens failed for a reason that is a defect")

    def _refresh(self, *, force: bool = False) -> Stored | None:
        """Takes in what Redis has, and adds what it lacks; under the lock. None: nothing has changed."""
        if not force and self._change and self._store.change() == self._change:
            return None
        stored = self._store.read()
        now = self._clock()
        known = {number: token for number, token in self._tokens.items() if not token.is_forgotten(now)}
        merged = {number: _merged(known.get(number), token) for number, token in stored.tokens.items()}
        merged |= {number: token for number, token in known.items() if number not in merged}
        self._tokens = {number: token for number, token in merged.items() if not token.is_forgotten(now)}
        lacking = [token for number, token in self._tokens.items() if stored.tokens.get(number) != token]
        self._change = self._store.add(lacking) if lacking else stored.change
        if lacking and stored.change:
            _log.warning("Redis lacked %d tokens or revocations, and was told again", len(lacking))
        self._store.forget(number for number in merged if number not in self._tokens)
        return stored

    def _note_used(self) -> None:
        due = {
            number: moment
            for number, moment in list(self._used.items())
            if moment - self._written.get(number, 0.0) >= USED_STEP_S
        }
        self._store.note_used({number: int(moment) for number, moment in due.items()})
        self._written.update(due)


def _merged(known: Token | None, stored: Token) -> Token:
    if known is None or not known.revoked_at_s or stored.revoked_at_s:
        return stored
    return dataclasses.replace(stored, revoked_at_s=known.revoked_at_s)
