"""Turns titles, words and ids that are texts into keys, the same way in training and in serving."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

PAD_KEY = 0
MAX_ID_BYTES = 1024  # Of an id that is a text, as UTF-8.

# ASCII punctuation becomes nothing, as tf_keras' "lower_and_strip_punctuation" has it.
_STRIP = str.maketrans("", "", "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'")


def tokens(title: str) -> list[str]:
    """Lower-case words of `title`, without punctuation, in order."""
    return title.lower().translate(_STRIP).split()


def token_key(token: str) -> int:
    """The key of a token, or of an id that is a text: 63 bits of BLAKE2b of its UTF-8 bytes, never the pad key 0.

    Among ten million texts, two have the same key with a probability of 5e-6.
    """
    digest = hashlib.blake2b(token.encode("utf-8"), digest_size=8).digest()
    return (int.from_bytes(digest, "little") & 0x7FFFFFFFFFFFFFFF) or 1


def id_fault(text: str) -> str:
    """Why a text cannot be an id, as in "is empty"; empty if it can."""
    if not text:
        return "is empty"
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        return "is no Unicode text: it has half of a surrogate pair"
    return f"has {size} bytes as UTF-8, and ids have at most {MAX_ID_BYTES}" if size > MAX_ID_BYTES else ""


def title_keys(titles: Iterable[str], max_tokens: int = 6) -> npt.NDArray[np.int64]:
    """Keys of the first `max_tokens` words of each title.

    Args:
        titles: N titles; an empty one is all padding.
        max_tokens: words kept per title, at least 1.
    Returns:
        [N, max_tokens] int64, padded at the end with 0.
    """
    if isinstance(titles, str):
        raise TypeError("titles: expected an iterable of titles, got one string; wrap it in a list")
    if max_tokens < 1:
        raise ValueError(f"max_tokens: expected at least 1, got {max_tokens}")
    known: dict[str, int] = {}
    rows = []
    for title in titles:
        words = tokens(title)[:max_tokens]
        row = [known[word] if word in known else known.setdefault(word, token_key(word)) for word in words]
        rows.append(row + [PAD_KEY] * (max_tokens - len(row)))
    return np.array(rows, dtype=np.int64).reshape(len(rows), max_tokens)
