"""What a token looks like: `rbk_<id>_<secret>`. The id is public, the secret is shown to servers alone."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field

PREFIX = "rbk_"
MOST_CHARACTERS = 60
_TEXT = re.compile(r"rbk_(?P<id>[0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_ANYWHERE = re.compile(r"(rbk_[0-9a-f]{12}_)[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class TokenText:
    """A token as its bearer has it."""

    id: str
    text: str = field(repr=False)

    @property
    def digest(self) -> bytes:
        """What is stored of it. Of 256 random bits nobody finds a text again, so a slow hash would add nothing."""
        return hashlib.sha256(self.text.encode("ascii")).digest()


def new_token() -> TokenText:
    """One that nobody has: 48 random bits to call it by, and 256 that are secret."""
    number = secrets.token_hex(6)
    return TokenText(number, f"{PREFIX}{number}_{secrets.token_urlsafe(32)}")


def parse_token(text: str) -> TokenText | None:
    """None: it is none."""
    found = _TEXT.fullmatch(text)
    return None if found is None else TokenText(found["id"], text)


def without_secrets(text: str) -> str:
    """`text` as it may be shown or logged, whoever put a token into it."""
    return _ANYWHERE.sub(r"\1***", text)
