"""Keys that towers take, against the layers that train the rows and against TensorFlow's own hash."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rowbank import siphash
from rowbank.keras import QREmbedding, UnifiedEmbeddingConfig
from rowbank.manifests import BucketKey, QuotientKey, RemainderKey, TowerInput
from rowbank.tower_keys import input_keys

INTEGERS = np.array([0, 1, -1, 7, 9, 10, 99, 12_345_678, 123_456_789, -(2**63), 2**63 - 1, -1_234_567, 2**40], np.int64)
TEXTS = ["a", "abcdefg", "abcdefgh", "abcdefghi", "é" * 9, "x" * 16, "y" * 300, "null\0", "null", " "]
SALTS = [(0, 0), (3, 1), (2**64 - 1, 0x0706050403020100)]
BUCKETS = 1_000_003


def strong(texts: list[str], salt: tuple[int, int]) -> np.ndarray:
    return tf.strings.to_hash_bucket_strong(tf.constant(texts), BUCKETS, key=list(salt)).numpy()


@pytest.mark.parametrize("salt", [salt for salt in SALTS if max(salt) < 2**63])
def test_the_hash_is_tensorflows(salt: tuple[int, int]) -> None:
    modulo = np.uint64(BUCKETS)
    ours = siphash.hash_texts([text.encode() for text in TEXTS], salt) % modulo
    assert ours.tolist() == strong(TEXTS, salt).tolist()
    digits = [str(number) for number in INTEGERS.tolist()]
    assert (siphash.hash_integers(INTEGERS, salt) % modulo).tolist() == strong(digits, salt).tolist()
    few = np.concatenate([siphash.hash_texts([text.encode()], salt) for text in TEXTS]) % modulo
    assert few.tolist() == strong(TEXTS, salt).tolist()
    few = np.concatenate([siphash.hash_integers(INTEGERS[at : at + 1], salt) for at in range(len(INTEGERS))]) % modulo
    assert few.tolist() == strong(digits, salt).tolist()


def test_the_hash_is_the_papers() -> None:
    """Appendix A of the paper: the bytes 0 to 14 under the key of the bytes 0 to 15."""
    key = (0x0706050403020100, 0x0F0E0D0C0B0A0908)
    assert siphash.hash_texts([bytes(range(15))], key).tolist() == [0xA129CA6149BE45E5]


def test_quotients_and_remainders_are_those_of_the_layer() -> None:
    layer = QREmbedding("some-table", num_buckets=10)
    expected = layer.keys(INTEGERS)
    for place, rule in enumerate((QuotientKey(10), RemainderKey(10))):
        part = TowerInput("rows", "some-table", "users:zip", 4, 0, pad_key=-5, rule=rule)
        got = input_keys(part, INTEGERS.tolist())
        assert got.keys.tolist() == expected[:, place].tolist()
        assert got.there.all()


def test_buckets_are_those_of_the_unified_layer() -> None:
    config = UnifiedEmbeddingConfig(1000, 4, 2, "unified")
    config.add_feature("first", 1)
    config.add_feature("second", 3)
    for feature, lookups in config.features.items():
        for values, kind in ((INTEGERS.tolist(), "keys"), (TEXTS, "text_keys")):
            expected = config.keys(feature, tf.constant(values)).numpy()
            for place, lookup in enumerate(lookups):
                rule = BucketKey(lookup.salt, 1000, lookup.table * 1000)
                part = TowerInput("rows", "unified", "items:brand", 4, pad_key=-5, kind=kind, rule=rule)
                assert input_keys(part, values).keys.tolist() == expected[:, place].tolist()
