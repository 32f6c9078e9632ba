"""Titles become keys: which words, in which order, and the same key for ever."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from rowbank import text


def test_words_are_lower_case_without_punctuation():
    assert text.tokens("One Flew Over the Cuckoo's Nest (1975)") == [
        "one",
        "flew",
        "over",
        "the",
        "cuckoos",
        "nest",
        "1975",
    ]
    assert text.tokens("  Amélie\t-- Poulain ") == ["amélie", "poulain"]


def test_key_is_63_bits_of_blake2b():
    digest = hashlib.blake2b(b"toy", digest_size=8).digest()
    assert text.token_key("toy") == int.from_bytes(digest, "little") % 2**63
    assert text.token_key("toy") == 5303824068045839501  # Models in use depend on it.


def test_titles_are_cut_and_padded():
    keys = text.title_keys(["Toy Story", "", "a b c d e f g"], max_tokens=4)
    toy, story = text.token_key("toy"), text.token_key("story")
    assert keys.dtype == np.int64
    assert keys.tolist() == [[toy, story, 0, 0], [0, 0, 0, 0], [text.token_key(letter) for letter in "abcd"]]


def test_no_titles():
    assert text.title_keys([]).shape == (0, 6)


def test_one_string_is_refused():
    with pytest.raises(TypeError, match="wrap it in a list"):
        text.title_keys("Toy Story")


def test_width_must_be_positive():
    with pytest.raises(ValueError, match="max_tokens: expected at least 1, got 0"):
        text.title_keys(["a"], max_tokens=0)
