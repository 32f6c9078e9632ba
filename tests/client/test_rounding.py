"""Gradients rounded at random: no bias, nothing infinite, one seed one result, and on their way to a server."""

from __future__ import annotations

import numpy as np
import pytest

from rowbank import Client, TableSpec, _kernels, _without_native, errors
from rowbank.calls.rounding import rounding_of
from rowbank.optimizers import SGD
from rowbank_protos import columns

TYPES = {"float16": columns.FLOAT16, "bfloat16": columns.BFLOAT16}
# Normal in both types, subnormal in float16, below its smallest number, and what both types hold exactly.
VALUES = [1.0003, -3.1416, 0.1, 1234.567, 5e-5, -3.3e-6, 2e-8, -7e-9, 0.5, -2.0, 0.0]
DRAWS = 200_000


def widened(stored: np.ndarray, dtype: str) -> np.ndarray:
    return columns.to_float32(stored, TYPES[dtype]).astype(np.float64)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("value", VALUES)
def test_the_mean_of_many_roundings_is_the_value(dtype, value):
    seed = 5
    print(f"seed {seed}")
    exact = float(np.float32(value))
    got = widened(rounding_of("stochastic", seed).narrow(np.full(DRAWS, value, np.float32), TYPES[dtype]), dtype)
    low, high = got.min(), got.max()
    assert low <= exact <= high
    gap = high - low
    assert len(np.unique(got)) == (1 if gap == 0.0 else 2)
    # Of a coin that falls up with probability p, the mean of n is off by sqrt(p (1 - p) / n); six times that, and the
    # 1 in 2^17 to which the coin of a subnormal is known.
    p = (exact - low) / gap if gap else 0.0
    assert abs(got.mean() - exact) <= gap * (6.0 * np.sqrt(p * (1.0 - p) / DRAWS) + 2.0**-16)


@pytest.mark.parametrize("dtype", TYPES)
def test_either_neighbour_is_what_comes_out(dtype):
    seed = 9
    print(f"seed {seed}")
    random = np.random.default_rng(seed)
    values = (random.standard_normal(50_000) * 10.0 ** random.uniform(-9, 4, 50_000)).astype(np.float32)
    got = rounding_of("stochastic", seed).narrow(values, TYPES[dtype])
    nearest = columns.to_storage(values, TYPES[dtype])
    # Bits of one sign are in the order of magnitudes: the other neighbour is one more or one less than the nearest.
    far = got.view(np.uint16).astype(np.int32) - nearest.view(np.uint16).astype(np.int32)
    assert set(np.unique(far)) <= {-1, 0, 1}
    held = widened(nearest, dtype) == values
    assert (far[held] == 0).all()


@pytest.mark.parametrize("dtype", TYPES)
def test_what_a_type_holds_stays_and_nothing_becomes_infinite(dtype):
    every = np.arange(2**16, dtype=np.uint16)
    held = columns.to_float32(every.view(np.float16) if dtype == "float16" else every, TYPES[dtype])
    finite = np.isfinite(held)
    got = rounding_of("stochastic", 1).narrow(held[finite], TYPES[dtype])
    assert np.array_equal(got.view(np.uint16), every[finite])
    largest = np.full(1000, 65519.0 if dtype == "float16" else np.finfo(np.float32).max, np.float32)
    for sign in (1.0, -1.0):
        rounded = widened(rounding_of("stochastic", 2).narrow(np.float32(sign) * largest, TYPES[dtype]), dtype)
        assert np.isfinite(rounded).all()


def test_float32_is_not_touched():
    values = np.ones((3, 2), np.float32)
    assert rounding_of("stochastic", 1).narrow(values, columns.FLOAT32) is values


@pytest.mark.parametrize("half", [True, False])
def test_the_seed_decides_with_and_without_the_native_part(half):
    values = np.random.default_rng(3).standard_normal((37, 5)).astype(np.float32) * np.float32(1e-4)
    results = []
    for seed in (0, 7, 2**64 - 1):
        for rounded in (_kernels.round_at_random, _without_native.round_at_random):
            results.append(np.empty(values.shape, np.uint16))
            rounded(values, results[-1], half, seed)
        assert np.array_equal(results[-1], results[-2])
    assert not np.array_equal(results[0], results[2])


def test_calls_differ_and_repeat_with_the_seed():
    values = np.full(1000, 0.1, np.float32)
    first, again = rounding_of("stochastic", 4), rounding_of("stochastic", 4)
    one, two = (first.narrow(values, columns.BFLOAT16) for _ in range(2))
    assert not np.array_equal(one, two)
    assert np.array_equal(again.narrow(values, columns.BFLOAT16), one)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"gradient_rounding": "up"}, "gradient_rounding: expected one of nearest, stochastic, got 'up'"),
        ({"rounding_seed": -1}, "rounding_seed: expected an integer of at least 0"),
        ({"rounding_seed": 2**63}, "rounding_seed: expected an integer of at most"),
    ],
)
def test_arguments_are_checked(target, arguments, text):
    with pytest.raises(errors.InvalidRequest, match=text):
        Client(target, **arguments)


def test_the_native_part_checks_sizes():
    with pytest.raises(ValueError, match="one size"):
        _kernels.round_at_random(np.ones(3, np.float32), np.empty(2, np.uint16), True, 0)


@pytest.mark.parametrize("dtype", TYPES)
def test_small_gradients_are_not_lost_on_their_way(target, table_name, dtype):
    # To nearest, 1 + 2^-12 is 1 in both types, so that the rows would never show the rest.
    gradients, rounds = np.full((64, 8), 1.0 + 2.0**-12, np.float32), 60
    keys = np.arange(64)
    with Client(target, wire_dtype=dtype, gradient_rounding="stochastic", rounding_seed=3) as client:
        table = client.create_table(TableSpec(table_name, dim=8, optimizer=SGD(learning_rate=1.0)))
        for _ in range(rounds):
            table.push(keys, gradients)
        rest = -table.lookup(keys).values.astype(np.float64) / rounds - 1.0
    step = 2.0**-10 if dtype == "float16" else 2.0**-7
    p = 2.0**-12 / step
    assert abs(rest.mean() - 2.0**-12) <= 6.0 * step * np.sqrt(p * (1.0 - p) / (rounds * rest.size))
    assert rest.mean() > 0.0
