"""The hash is splitmix64's: its published sequence, plain arithmetic on Python integers, and the server's own."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from rowbank import hashing

MASK = 2**64 - 1


def by_hand(key: int) -> int:
    z = (key + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def test_key_zero_hashes_to_the_generator_s_first_number():
    """splitmix64 seeded with 0 starts with 0xE220A8397B1DCDAF; seeded with its increment, the second follows."""
    golden = 0x9E3779B97F4A7C15 - 2**64  # As int64.
    assert hashing.hash_keys(np.array([0, golden])).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


def test_hash_equals_integer_arithmetic():
    keys = [0, 1, -1, 2**63 - 1, -(2**63), 943, *np.random.default_rng(3).integers(-(2**62), 2**62, 200).tolist()]
    assert hashing.hash_keys(np.array(keys)).tolist() == [by_hand(key) for key in keys]


def test_bucket_and_shard_equal_integer_arithmetic():
    keys = np.random.default_rng(4).integers(-(2**62), 2**62, 500)
    buckets = [((by_hand(key) >> 32) * 256) >> 32 for key in keys.tolist()]
    assert hashing.bucket_of(keys, 256).tolist() == buckets
    assert hashing.shard_of(keys, shard_count=3).tolist() == [bucket * 3 // 256 for bucket in buckets]


def test_shape_is_kept_and_single_keys_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert hashing.hash_keys(np.zeros((2, 3), np.int64)).shape == (2, 3)
        assert int(hashing.hash_keys(np.array(1))) == by_hand(1)


def test_keys_are_spread_evenly():
    """10000 consecutive keys over 4 shards: each share is within 5 standard deviations (43) of 2500."""
    shares = np.bincount(hashing.shard_of(np.arange(10_000), shard_count=4))
    assert (np.abs(shares - 2500) < 5 * 43).all()


def test_hash_equals_the_server_core_s():
    core = pytest.importorskip("rowbank_server._core")
    keys = np.random.default_rng(5).integers(-(2**63), 2**63 - 1, 10_000)
    assert (core.hash_keys(keys) == hashing.hash_keys(keys)).all()
    assert (core.bucket_of(keys, 256) == hashing.bucket_of(keys, 256)).all()
