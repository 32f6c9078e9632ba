"""Specs check themselves, survive the wire, and have Keras's defaults."""

# mypy: disable-error-code="arg-type"
# Wrong types are what these tests are about.

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tests.client.specs import INITIALIZERS, OPTIMIZERS

import rowbank
from rowbank import (
    FTRL,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Admission,
    Constant,
    Eviction,
    Normal,
    RMSprop,
    TableSpec,
    Uniform,
    Zeros,
)
from rowbank.errors import InvalidSpec
from rowbank_protos.v1 import tables_pb2


@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_initializer_survives_the_wire(initializer):
    spec = TableSpec("t", dim=3, initializer=initializer)
    assert TableSpec.from_proto(spec.to_proto()) == spec


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizer_survives_the_wire(optimizer):
    spec = TableSpec("t", dim=3, optimizer=optimizer)
    assert TableSpec.from_proto(spec.to_proto()) == spec


@pytest.mark.parametrize("value_dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("durability", [None, "relaxed", "journaled", "synced"])
def test_whole_spec_survives_the_wire(value_dtype, durability):
    spec = TableSpec(
        "a/b:c.d-e_f",
        dim=4096,
        value_dtype=value_dtype,
        admission=Admission(min_count=5),
        eviction=Eviction("lru", max_rows=10, max_bytes=2**40, low_watermark=0.8, ttl_s=3600.5),
        durability=durability,
        frequency_half_life_s=86400.0,
        track_reads=True,
    )
    assert TableSpec.from_proto(spec.to_proto()) == spec


def test_message_with_only_name_and_dim_means_the_defaults():
    spec = TableSpec.from_proto(tables_pb2.TableSpec(name="t", dim=2))
    assert spec == TableSpec("t", dim=2)
    assert spec.optimizer == SGD(0.01)
    assert spec.initializer == Zeros()
    assert spec.durability is None


def test_numbers_are_the_float32_that_travel():
    """0.1 reads 0.1 and not 0.10000000149; a number with more digits than float32 has is rounded at once."""
    assert Adagrad(0.1).learning_rate == 0.1
    assert Adagrad(0.123456789012).learning_rate == 0.12345679
    assert Adagrad(np.float32(0.3)) == Adagrad(0.3)


def test_every_message_field_is_a_field_of_the_class():
    for optimizer in OPTIMIZERS:
        message = getattr(tables_pb2.Optimizer(), optimizer.kind)
        own = {field.name for field in dataclasses.fields(optimizer)} - {"clip_value", "max_norm"}
        assert own == {field.name for field in message.DESCRIPTOR.fields}
    kinds = {field.name for field in tables_pb2.Optimizer.DESCRIPTOR.oneofs_by_name["kind"].fields}
    assert kinds == {optimizer.kind for optimizer in OPTIMIZERS}


@pytest.mark.parametrize(
    ("ours", "theirs", "renamed"),
    [
        (SGD(), "SGD", {}),
        (Adagrad(), "Adagrad", {"initial_accumulator": "initial_accumulator_value"}),
        (Adam(), "Adam", {}),
        (AdamW(), "AdamW", {}),
        (RMSprop(), "RMSprop", {}),
        (
            FTRL(),
            "Ftrl",
            {
                "initial_accumulator": "initial_accumulator_value",
                "l1": "l1_regularization_strength",
                "l2": "l2_regularization_strength",
                "l2_shrinkage": "l2_shrinkage_regularization_strength",
            },
        ),
    ],
)
def test_defaults_are_keras_s(ours, theirs, renamed):
    keras = pytest.importorskip("tf_keras")
    config = getattr(keras.optimizers, theirs)().get_config()
    own = {name: value for name, value in ours.hyperparameters().items() if name not in ("clip_value", "max_norm")}
    assert own == pytest.approx({name: float(config[renamed.get(name, name)]) for name in own}, rel=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TableSpec("", 1), "name: expected 1 to 128 of [A-Za-z0-9_.-/:], got ''"),
        (lambda: TableSpec("a b", 1), "name: expected 1 to 128 of [A-Za-z0-9_.-/:], got 'a b'"),
        (lambda: TableSpec("a" * 129, 1), "name: expected 1 to 128"),
        (lambda: TableSpec("t\n", 1), "name: expected 1 to 128"),
        (lambda: TableSpec("t", 0), "dim: expected an integer from 1 to 4096, got 0"),
        (lambda: TableSpec("t", 4097), "dim: expected an integer from 1 to 4096, got 4097"),
        (lambda: TableSpec("t", 2.0), "dim: expected an integer from 1 to 4096, got 2.0"),
        (lambda: TableSpec("t", True), "dim: expected an integer from 1 to 4096, got True"),
        (lambda: TableSpec("t", 1, value_dtype="int8"), "value_dtype: expected 'float32', 'float16' or 'bfloat16'"),
        (lambda: TableSpec("t", 1, durability="fast"), "durability: expected one of 'relaxed', 'journaled'"),
        (lambda: TableSpec("t", 1, optimizer="adam"), "optimizer: expected one of SGD, Momentum, Adagrad"),
        (lambda: TableSpec("t", 1, initializer=0.0), "initializer: expected one of Zeros, Constant, Uniform"),
        (lambda: TableSpec("t", 1, eviction="lfu"), "eviction: expected an Eviction, got 'lfu'"),
        (lambda: TableSpec("t", 1, frequency_half_life_s=-1), "frequency_half_life_s: expected seconds of at least 0"),
        (lambda: Adagrad(-0.1), "Adagrad.learning_rate: expected a number of at least 0, got -0.1"),
        (lambda: Adagrad(float("nan")), "Adagrad.learning_rate: expected a number of at least 0, got nan"),
        (lambda: Adagrad("0.1"), "Adagrad.learning_rate: expected a number of at least 0, got '0.1'"),
        (lambda: Adagrad(1e39), "Adagrad.learning_rate: expected a number of at least 0, within float32, got 1e+39"),
        (lambda: Adagrad(epsilon=0), "Adagrad.epsilon: expected a number above 0, got 0"),
        (lambda: Adam(beta_1=1.0), "Adam.beta_1: expected a number in [0, 1), got 1.0"),
        (lambda: Adam(epsilon=0.0), "Adam.epsilon: expected a number above 0, got 0.0"),
        (lambda: Adam(amsgrad=1), "Adam.amsgrad: expected True or False, got 1"),
        (lambda: SGD(clip_value=-1.0), "SGD.clip_value: expected a number of at least 0, got -1.0"),
        (lambda: FTRL(learning_rate_power=0.5), "FTRL.learning_rate_power: expected a number of at most 0, got 0.5"),
        (lambda: Uniform(1.0, 0.0), "Uniform: expected low to be at most high, got low = 1.0, high = 0.0"),
        (lambda: Uniform(seed=-1), "Uniform.seed: expected an integer from 0 to 18446744073709551615, got -1"),
        (lambda: Normal(stddev=-0.1), "Normal.stddev: expected a finite number of at least 0, got -0.1"),
        (lambda: Constant(float("inf")), "Constant.value: expected a finite number, got inf"),
        (lambda: Admission(0), "Admission.min_count: expected an integer from 1 to 4294967295, got 0"),
        (lambda: Eviction("fifo"), "Eviction.policy: expected one of none, lfu, lru, got 'fifo'"),
        (lambda: Eviction(max_rows=5), "Eviction: max_rows = 5 needs a policy"),
        (lambda: Eviction("lfu", low_watermark=0.0), "Eviction.low_watermark: expected a fraction in (0, 1], got 0.0"),
        (lambda: Eviction(ttl_s=float("inf")), "Eviction.ttl_s: expected seconds of at least 0, got inf"),
        (
            lambda: TableSpec.from_proto(tables_pb2.TableSpec(name="t", dim=1, value_dtype=9)),
            "value_dtype: data type: expected one of [1, 2, 3] (float32, float16, bfloat16), got 9",
        ),
        (
            lambda: TableSpec.from_proto(tables_pb2.TableSpec(name="t", dim=1, durability=9)),
            "durability: expected one of [0, 1, 2, 3], got 9",
        ),
    ],
)
def test_bad_spec_says_what_was_expected_and_got(make, message):
    with pytest.raises(InvalidSpec) as raised:
        make()
    assert message in str(raised.value)
    assert isinstance(raised.value, ValueError)


def test_specs_are_frozen_and_hashable():
    spec = TableSpec("t", 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.dim = 2  # type: ignore[misc]
    assert len({spec, TableSpec("t", 1)}) == 1


def test_everything_a_spec_is_made_of_is_importable_from_rowbank():
    assert all(getattr(rowbank, name) is not None for name in rowbank.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = rowbank.Nothing
