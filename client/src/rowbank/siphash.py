"""SipHash-2-4 of many texts at once: the hash of TensorFlow's `tf.strings.to_hash_bucket_strong`.

Texts of one number of 8-byte words are hashed together, a word at a time, so that the work in Python does not grow
with their number.
Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_START = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
_DIGITS = 20  # Of the longest int64, with its sign.
_WORD = 8

U64 = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]


def hash_texts(texts: Sequence[bytes], salt: tuple[int, int]) -> U64:
    """[N] uint64: the hashes of N texts under the key `salt`."""
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
    digits = values.astype(f"S{_DIGITS}")
    lengths = np.char.str_len(digits).astype(np.int64)
    padded = np.zeros((len(values), 3 * _WORD), np.uint8)
    padded[:, :_DIGITS] = digits.view(np.uint8).reshape(len(values), _DIGITS)
    hashes = np.empty(len(values), np.uint64)
    for words in np.unique(lengths // _WORD).tolist():
        at = np.flatnonzero(lengths // _WORD == words)
        hashes[at] = _hash(padded[at, : _WORD * (words + 1)], lengths[at], salt)
    return hashes


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
