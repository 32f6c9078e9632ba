"""Update rules against tf_keras itself, with repeats, absent rows and zero gradients.

The core is lazy: a row moves only when it is pushed. Keras's sparse path also decays the state of rows that were not in
the gradient, so after every Keras step those rows are put back.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from tests.core.support import make_table, pull, push

from rowbank_server._core import Optimizer

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf = pytest.importorskip("tensorflow")
keras_optimizers = pytest.importorskip("tf_keras.optimizers")

VOCABULARY, DIM, STEPS = 12, 5, 14

CASES: list[tuple[str, dict[str, float], str, dict[str, Any]]] = [
    ("sgd", {"learning_rate": 0.1}, "SGD", {"learning_rate": 0.1}),
    ("momentum", {"learning_rate": 0.1, "momentum": 0.9}, "SGD", {"learning_rate": 0.1, "momentum": 0.9}),
    (
        "momentum",
        {"learning_rate": 0.1, "momentum": 0.8, "nesterov": True},
        "SGD",
        {"learning_rate": 0.1, "momentum": 0.8, "nesterov": True},
    ),
    ("adagrad", {"learning_rate": 0.1}, "Adagrad", {"learning_rate": 0.1}),
    (
        "adagrad",
        {"learning_rate": 0.3, "initial_accumulator": 0.0, "epsilon": 1e-3},
        "Adagrad",
        {"learning_rate": 0.3, "initial_accumulator_value": 0.0, "epsilon": 1e-3},
    ),
    ("adam", {"learning_rate": 0.01}, "Adam", {"learning_rate": 0.01}),
    (
        "adam",
        {"learning_rate": 0.05, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "amsgrad": 1},
        "Adam",
        {"learning_rate": 0.05, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "amsgrad": True},
    ),
    (
        "adamw",
        {"learning_rate": 0.01, "weight_decay": 0.1},
        "AdamW",
        {"learning_rate": 0.01, "weight_decay": 0.1},
    ),
    ("rmsprop", {"learning_rate": 0.01}, "RMSprop", {"learning_rate": 0.01}),
    (
        "rmsprop",
        {"learning_rate": 0.01, "rho": 0.8, "momentum": 0.5, "centered": 1},
        "RMSprop",
        {"learning_rate": 0.01, "rho": 0.8, "momentum": 0.5, "centered": True},
    ),
    ("rmsprop", {"learning_rate": 0.01, "centered": 1}, "RMSprop", {"learning_rate": 0.01, "centered": True}),
    ("rmsprop", {"learning_rate": 0.01, "momentum": 0.5}, "RMSprop", {"learning_rate": 0.01, "momentum": 0.5}),
    ("ftrl", {"learning_rate": 0.1}, "Ftrl", {"learning_rate": 0.1}),
    (
        "ftrl",
        {"learning_rate": 0.1, "l1": 0.05, "l2": 0.02, "l2_shrinkage": 0.01, "beta": 0.3, "initial_accumulator": 0.2},
        "Ftrl",
        {
            "learning_rate": 0.1,
            "l1_regularization_strength": 0.05,
            "l2_regularization_strength": 0.02,
            "l2_shrinkage_regularization_strength": 0.01,
            "beta": 0.3,
            "initial_accumulator_value": 0.2,
        },
    ),
    (
        "ftrl",
        {"learning_rate": 0.1, "learning_rate_power": -0.7},
        "Ftrl",
        {"learning_rate": 0.1, "learning_rate_power": -0.7},
    ),
]


class LazyKeras:
    """A Keras optimizer on a full variable, made lazy by putting back the rows that were not pushed."""

    def __init__(self, name: str, options: dict[str, Any], start: np.ndarray) -> None:
        self.variable = tf.Variable(start)
        self.optimizer = getattr(keras_optimizers, name)(jit_compile=False, **options)
        self.optimizer.build([self.variable])

    def tensors(self) -> list[Any]:
        slots = [v for v in self.optimizer.variables if tuple(v.shape) == tuple(self.variable.shape)]
        return [self.variable, *slots]

    def apply(self, ids: np.ndarray, gradients: np.ndarray) -> None:
        before = [t.numpy() for t in self.tensors()]
        slices = tf.IndexedSlices(tf.constant(gradients), tf.constant(ids), dense_shape=self.variable.shape)
        self.optimizer.apply_gradients([(slices, self.variable)])
        pushed = np.isin(np.arange(len(before[0])), ids)[:, None]
        for tensor, old in zip(self.tensors(), before, strict=True):
            tensor.assign(np.where(pushed, tensor.numpy(), old))


@pytest.mark.parametrize(("kind", "numbers", "keras_name", "keras_options"), CASES)
def test_follows_keras(kind, numbers, keras_name, keras_options):
    random = np.random.default_rng(sum(map(ord, kind)) + len(numbers))
    table = make_table(dim=DIM, optimizer=Optimizer(kind, **numbers))
    keys = np.arange(VOCABULARY, dtype=np.int64) * 2**40 - 5
    keras = LazyKeras(keras_name, keras_options, pull(table, keys)[0])
    for step in range(1, STEPS + 1):
        ids = random.integers(0, VOCABULARY, 9 if step > 3 else 3)  # Some rows are first pushed late.
        gradients = random.normal(size=(len(ids), DIM)).astype(np.float32)
        gradients[random.random(len(ids)) < 0.2] = 0.0
        keras.apply(ids, gradients)
        table.push(keys[ids], gradients, None, step=step, now=step)
        np.testing.assert_allclose(pull(table, keys)[0], keras.variable.numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_values_with_float32_state(dtype):
    """State is kept in full precision: only the values are rounded, once per push."""
    table = make_table(dim=3, value_dtype=dtype, optimizer=Optimizer("adagrad", learning_rate=0.5))
    accumulator = np.full(3, 0.1, np.float32)
    gradient = np.array([1e-3, 0.3, -2.0], np.float32)
    key = np.array([5], np.int64)
    for step in range(1, 12):
        before = pull(table, key)[0][0]
        push(table, key, gradient, step=step)
        accumulator += gradient * gradient
        row = table.describe(5)
        assert row is not None
        np.testing.assert_allclose(row.slots, accumulator, rtol=1e-6)
        ulp = {"float16": 2.0**-10, "bfloat16": 2.0**-7}[dtype]
        np.testing.assert_allclose(row.values, before - 0.5 * gradient / np.sqrt(accumulator + 1e-7), rtol=ulp)


def test_rowwise_adagrad_keeps_one_accumulator():
    table = make_table(dim=2, optimizer=Optimizer("rowwise_adagrad", learning_rate=0.1, initial_accumulator=0.5))
    assert table.slot_names == ["accumulator_mean"]
    assert table.slot_width == 1
    start = pull(table, np.array([1], np.int64))[0][0]
    push(table, np.array([1], np.int64), [3.0, 4.0])
    row = table.describe(1)
    assert row is not None
    assert row.slots[0] == 0.5 + (9 + 16) / 2  # 13.0
    np.testing.assert_allclose(row.values, start - 0.1 * np.array([3.0, 4.0]) / np.sqrt(13.0), rtol=1e-6)


def test_overrides_hold_for_one_push_only():
    table = make_table(dim=2, optimizer=Optimizer("sgd", learning_rate=1.0, clip_value=5.0))
    key = np.array([1], np.int64)
    start = table.initial_value(1)
    push(table, key, [30.0, 4.0])  # Clipped by the table: (5, 4).
    push(table, key, [30.0, 40.0], clip_value=0.0, max_norm=1.0, learning_rate=10.0)  # Norm 50 to 1: (0.6, 0.8).
    push(table, key, [1.0, 1.0])
    np.testing.assert_allclose(pull(table, key)[0][0], start - [5.0 + 6.0 + 1.0, 4.0 + 8.0 + 1.0], rtol=1e-6)


def test_max_norm_looks_at_the_summed_gradient():
    table = make_table(dim=2, optimizer=Optimizer("sgd", learning_rate=1.0, max_norm=1.0))
    push(table, np.array([1, 1], np.int64), [[3.0, 0.0], [0.0, 4.0]])
    expected = table.initial_value(1) - np.array([0.6, 0.8])
    np.testing.assert_allclose(pull(table, np.array([1], np.int64))[0][0], expected, rtol=1e-6)


def test_new_numbers_take_effect_and_state_stays():
    table = make_table(dim=1, optimizer=Optimizer("adagrad", learning_rate=1.0, initial_accumulator=0.0))
    key = np.array([1], np.int64)
    push(table, key, 3.0)
    table.set_hyperparameters(Optimizer("adagrad", learning_rate=2.0, initial_accumulator=0.0))
    push(table, key, 4.0)
    # First step: 1 * 3 / sqrt(9); second: 2 * 4 / sqrt(9 + 16).
    np.testing.assert_allclose(pull(table, key)[0][0, 0], table.initial_value(1)[0] - 1.0 - 1.6, rtol=1e-6)
    with pytest.raises(ValueError, match="it has adagrad, got sgd"):
        table.set_hyperparameters(Optimizer("sgd"))


def test_wire_types_of_gradients():
    values = np.array([[1.5, -0.25]], np.float32)
    results = []
    for gradients in (values, values.astype(np.float16), (values.view(np.uint32) >> 16).astype(np.uint16)):
        table = make_table(dim=2)
        table.push(np.array([1], np.int64), gradients, None, step=1, now=1)
        results.append(pull(table, np.array([1], np.int64))[0])
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
