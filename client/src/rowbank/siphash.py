"""SipHash-2-4 of many texts at once: the hash of TensorFlow's `tf.strings.to_hash_bucket_strong`.

Texts of one number of 8-byte words are hashed together, a word at a time, so that the work in Python does not grow
with their number. A few texts, as one query has them, are faster one by one, and mostly met before.
Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012, section 2.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_START = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
_DIGITS = 20  # Of the longest int64, with its sign.
_WORD = 8
_FEW = 8
_LONGEST_KEPT = 64  # Bytes of a text that is worth remembering.
_KEPT = 1 << 15
_MASK = 0xFFFFFFFFFFFFFFFF

U64 = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]


def hash_texts(texts: Sequence[bytes], salt: tuple[int, int]) -> U64:
    """[N] uint64: the hashes of N texts under the key `salt`."""
    if len(texts) <= _FEW and all(len(text) <= _LONGEST_KEPT for text in texts):
        return np.fromiter((_hash_one(text, salt) for text in texts), np.uint64, len(texts))
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    hashes = np.empty(len(texts), np.uint64)
    for words in np.unique(lengths // _WORD).tolist():
        at = np.flatnonzero(lengths // _WORD == words)
        width = _WORD * (words + 1)
        padded = np.frombuffer(b"".join(texts[i].ljust(width, b"\0") for i in at.tolist()), np.uint8)
        hashes[at] = _hash(padded.reshape(len(at), width), lengths[at], salt)
    return hashes


def hash_integers(values: npt.NDArray[np.int64], salt: tuple[int, int]) -> U64:
    """[N] uint64: the hashes of the decimal digits of [N] int64."""
    if len(values) <= _FEW:
        return hash_texts([str(value).encode() for value in values.tolist()], salt)
    digits = values.astype(f"S{_DIGITS}")
    lengths = np.char.str_len(digits).astype(np.int64)
    padded = np.zeros((len(values), 3 * _WORD), np.uint8)
    padded[:, :_DIGITS] = digits.view(np.uint8).reshape(len(values), _DIGITS)
    hashes = np.empty(len(values), np.uint64)
    for words in np.unique(lengths // _WORD).tolist():
        at = np.flatnonzero(lengths // _WORD == words)
        hashes[at] = _hash(padded[at, : _WORD * (words + 1)], lengths[at], salt)
    return hashes


@functools.lru_cache(maxsize=_KEPT)
def _hash_one(text: bytes, salt: tuple[int, int]) -> int:
    """The same in Python's integers."""
    end = len(text) - len(text) % _WORD
    words = [int.from_bytes(text[at : at + _WORD], "little") for at in range(0, end, _WORD)]
    words.append(int.from_bytes(text[end:], "little") | (len(text) & 0xFF) << 56)
    v0, v1, v2, v3 = (start ^ key for start, key in zip(_START, (*salt, *salt), strict=True))
    # Two rounds a word, and four after the last, which go with no word.
    for word, rounds in (*((word, 2) for word in words), (0, 4)):
        v3 ^= word
        v2 ^= 0xFF if rounds == 4 else 0
        for _ in range(rounds):
            v0 = (v0 + v1) & _MASK
            v2 = (v2 + v3) & _MASK
            v1 = ((v1 << 13 | v1 >> 51) & _MASK) ^ v0
            v3 = ((v3 << 16 | v3 >> 48) & _MASK) ^ v2
            v0 = (v0 << 32 | v0 >> 32) & _MASK
            v2 = (v2 + v1) & _MASK
            v0 = (v0 + v3) & _MASK
            v1 = ((v1 << 17 | v1 >> 47) & _MASK) ^ v2
            v3 = ((v3 << 21 | v3 >> 43) & _MASK) ^ v0
            v2 = (v2 << 32 | v2 >> 32) & _MASK
        v0 ^= word
    return v0 ^ v1 ^ v2 ^ v3


def _hash(padded: Bytes, lengths: npt.NDArray[np.int64], salt: tuple[int, int]) -> U64:
    """Hashes of [N, 8 x words] bytes; each text ends in the last word, which is padded with zeros."""
    blocks = np.ascontiguousarray(padded).view("<u8").astype(np.uint64)
    blocks[:, -1] |= (lengths.astype(np.uint64) & np.uint64(0xFF)) << np.uint64(56)
    k0, k1 = (np.uint64(part) for part in salt)
    state = [
        np.full(len(blocks), np.uint64(start) ^ key, np.uint64)
        for start, key in zip(_START, (k0, k1, k0, k1), strict=True)
    ]
    for word in range(blocks.shape[1]):
        state[3] ^= blocks[:, word]
        _rounds(state, 2)
        state[0] ^= blocks[:, word]
    state[2] ^= np.uint64(0xFF)
    _rounds(state, 4)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _rounds(v: list[U64], count: int) -> None:
    for _ in range(count):
        v[0] += v[1]
        v[2] += v[3]
        v[1] = _rotated(v[1], 13) ^ v[0]
        v[3] = _rotated(v[3], 16) ^ v[2]
        v[0] = _rotated(v[0], 32)
        v[2] += v[1]
        v[0] += v[3]
        v[1] = _rotated(v[1], 17) ^ v[2]
        v[3] = _rotated(v[3], 21) ^ v[0]
        v[2] = _rotated(v[2], 32)


def _rotated(word: U64, bits: int) -> U64:
    return (word << np.uint64(bits)) | (word >> np.uint64(64 - bits))
