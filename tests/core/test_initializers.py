"""Initial values: a function of (seed, table, key, element), equal to the twin, distributed as named."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.core import twins
from tests.core.support import make_table, pull, push

from rowbank_server._core import Initializer

KINDS = [
    ("zeros", 0.0, 0.0),
    ("constant", 0.25, 0.0),
    ("uniform", -0.05, 0.05),
    ("normal", 0.5, 2.0),
    ("truncated_normal", -1.0, 0.1),
]
KEYS = np.concatenate([np.array([-(2**63), -1, 0, 1, 2**63 - 1], np.int64), np.arange(100, 400, dtype=np.int64)])


@pytest.mark.parametrize(("kind", "a", "b"), KINDS)
def test_equal_to_the_twin(kind, a, b):
    table = make_table(dim=9, name="ünï/tower.1", initializer=Initializer(kind, a, b, seed=2**64 - 3))
    values, status = pull(table, KEYS)
    expected = twins.initial_values(kind, a, b, 2**64 - 3, "ünï/tower.1", KEYS, 9)
    if "normal" in kind:  # Logarithms may differ in their last bit.
        np.testing.assert_allclose(values, expected, rtol=2e-7, atol=1e-7)
    else:
        np.testing.assert_array_equal(values, expected)
    assert (status == 2).all()


def test_same_before_and_after_it_is_stored_and_in_any_layout():
    first = make_table(dim=6, initializer=Initializer("normal", 0, 1, seed=3))
    other = make_table(dim=6, initializer=Initializer("normal", 0, 1, seed=3), bucket_count=3)
    before, _ = pull(first, KEYS)
    push(first, KEYS, 0.0)
    after, status = pull(first, KEYS)
    np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(before, pull(other, KEYS[::-1].copy())[0][::-1])
    np.testing.assert_array_equal(before[7], first.initial_value(int(KEYS[7])))
    assert (status == 1).all()


@pytest.mark.parametrize("change", [{"name": "u"}, {"initializer": Initializer("uniform", -1.0, 1.0, seed=8)}])
def test_another_table_or_seed_gives_other_values(change):
    assert not np.isclose(pull(make_table(), KEYS)[0], pull(make_table(**change), KEYS)[0]).any()


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x.ravel(), y.ravel())[0, 1])


@pytest.mark.parametrize(
    ("kind", "a", "b", "mean", "deviation"),
    [
        ("uniform", -3.0, 1.0, -1.0, 4.0 / math.sqrt(12.0)),
        ("normal", 0.5, 2.0, 0.5, 2.0),
        # Variance of a standard normal cut at +-2: 1 - 4 phi(2) / (2 Phi(2) - 1) = 0.77374.
        ("truncated_normal", 0.5, 2.0, 0.5, 2.0 * math.sqrt(0.7737413)),
    ],
)
def test_distribution_and_independence(kind, a, b, mean, deviation):
    n, dim = 20000, 16
    table = make_table(dim=dim, initializer=Initializer(kind, a, b, seed=11))
    values, _ = pull(table, np.arange(n, dtype=np.int64))
    count = n * dim
    assert abs(values.mean() - mean) < 5 * deviation / math.sqrt(count)
    assert abs(values.std() - deviation) < 5 * deviation / math.sqrt(count)
    assert np.abs(values.mean(axis=0) - mean).max() < 5 * deviation / math.sqrt(n)
    limit = 5 / math.sqrt(count)
    assert abs(correlation(values[:-1], values[1:])) < limit  # Neighbouring keys.
    assert abs(correlation(values[:, :-1], values[:, 1:])) < limit  # Neighbouring elements.
    assert abs(correlation(values[::2], values[1::2])) < 2 * limit
    if kind == "truncated_normal":
        assert np.abs(values - a).max() <= 2.0 * b
        assert np.abs(values - a).max() > 1.99 * b
    if kind == "uniform":
        assert values.min() >= a
        assert values.max() < b
        parts = np.histogram(values, bins=32, range=(a, b))[0]
        chi_square = ((parts - count / 32) ** 2 / (count / 32)).sum()
        assert chi_square < 31 + 5 * math.sqrt(2 * 31)


def test_normal_reaches_far_tails():
    table = make_table(dim=64, initializer=Initializer("normal", 0, 1, seed=1))
    values, _ = pull(table, np.arange(20000, dtype=np.int64))
    assert 4.5 < np.abs(values).max() < 6.5  # The expected maximum of 1.28 million draws is 5.0.
