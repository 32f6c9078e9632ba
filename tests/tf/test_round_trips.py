"""How many calls to the server one training step of one table costs."""

from __future__ import annotations

import functools
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_recommenders_addons import dynamic_embedding as de
from tests.tf.support import Sides

import rowbank.tfra
from rowbank.calls.transport import Transport


@pytest.fixture
def calls(monkeypatch) -> Counter[str]:
    """Counts requests by their method, each of which is one round trip to the one server; they still go out."""
    counter: Counter[str] = Counter()
    run = Transport.run

    @functools.wraps(run)
    def counted(transport, method, requests, **options):
        counter[method.name] += len(requests)
        return run(transport, method, requests, **options)

    monkeypatch.setattr(Transport, "run", counted)
    return counter


def steps_of(model: tf.keras.Model, calls: Counter[str], count: int) -> dict[str, float]:
    """Calls per step of `fit`, after a first step that creates slots."""
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 50, size=(8 * count, 2)), rng.random(8 * count, dtype=np.float32)
    model.fit(x[:8], y[:8], batch_size=8, verbose=0)
    calls.clear()
    model.fit(x, y, batch_size=8, verbose=0)
    return {verb: number / count for verb, number in calls.items()}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (None, {"Pull": 1, "Store": 1}),
        (rowbank.tfra.FrequencyRestrictPolicy, {"Pull": 1, "Store": 1}),
        (de.FrequencyRestrictPolicy, {"Pull": 1, "Store": 1, "Lookup": 1, "Upsert": 1}),
    ],
    ids=["no policy", "rowbank's policy", "TFRA's policy"],
)
def test_tfra_with_adam(sides: Sides, calls, policy, expected):
    """Row, m and v are read at once and written at once; TFRA's frequency policy reads and writes a fourth table."""
    layer = de.keras.layers.SquashedEmbedding(
        4, name=sides.unique("trips"), kv_creator=sides.rowbank, restrict_policy=policy, devices=["/CPU:0"]
    )
    model = tf.keras.Sequential([layer, tf.keras.layers.Dense(1)])
    model.compile(de.DynamicEmbeddingOptimizer(tf.keras.optimizers.legacy.Adam(0.1)), "mse")
    assert steps_of(model, calls, 4) == expected


def test_restriction_costs_one_call_per_table(sides: Sides, calls):
    """Beside the sizes: one restriction of the rows, and one removal per slot table."""
    layer = de.keras.layers.SquashedEmbedding(
        4, name=sides.unique("trips"), kv_creator=sides.rowbank, devices=["/CPU:0"],
        restrict_policy=rowbank.tfra.FrequencyRestrictPolicy,
    )  # fmt: skip
    model = tf.keras.Sequential([layer, tf.keras.layers.Dense(1)])
    model.compile(de.DynamicEmbeddingOptimizer(tf.keras.optimizers.Adam(0.1)), "mse")
    steps_of(model, calls, 4)
    calls.clear()
    layer.params.restrict(5)
    assert calls == {"Size": 2, "Restrict": 1, "Remove": 2}
