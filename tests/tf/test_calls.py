"""One TFRA layer called several times in a step: right, or refused before anything is applied. Values by hand.

The loss is the square of the sum of all looked-up numbers, meant over two examples. With rows of one number that start
at 0.5, an id's gradient is the score of its example for each of its occurrences there.
"""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_recommenders_addons import dynamic_embedding as de
from tests.tf.support import Sides, sorted_export

import rowbank.tfra

ONE = [[1, 2], [1, 5]]
TWO = [[1, 3, 4], [2, 2, 9]]
THREE = [[2, 7], [8, 9]]
OPTIMIZERS = {"legacy": lambda: tf.keras.optimizers.legacy.SGD(0.01), "keras": lambda: tf.keras.optimizers.SGD(0.01)}


def layer_of(sides: Sides, **kwargs) -> de.keras.layers.Embedding:
    return de.keras.layers.Embedding(
        1, name=sides.unique("twice"), kv_creator=sides.rowbank, initializer=tf.constant_initializer(0.5),
        devices=["/CPU:0"], **kwargs,
    )  # fmt: skip


def trained(*calls: list[list[int]]) -> dict[int, float]:
    """Rows after one step of SGD(0.01) in which the layer was called for all of these."""
    rows: dict[int, float] = {}
    for examples in zip(*calls, strict=True):
        ids = [one for part in examples for one in part]
        for one in ids:
            rows[one] = rows.get(one, 0.5) - 0.01 * 0.5 * len(ids)
    return rows


def check(layer, expected: dict[int, float]) -> None:
    ids, values = sorted_export(layer.params)
    np.testing.assert_array_equal(ids, sorted(expected))
    np.testing.assert_allclose(values[:, 0], [expected[one] for one in sorted(expected)], rtol=1e-6)


def score(layer, ids) -> tf.Tensor:
    return tf.reduce_sum(layer(tf.constant(ids, tf.int64)), axis=[1, 2])


def step(layer, forward, *, traced: bool, optimizer=None) -> None:
    optimizer = optimizer or de.DynamicEmbeddingOptimizer(OPTIMIZERS["legacy"]())

    def train():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(forward() ** 2)
        variables = layer.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    (tf.function(train) if traced else train)()


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("bp_v2", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_twice_in_fit(sides: Sides, optimizer, bp_v2, eager):
    layer = layer_of(sides, bp_v2=bp_v2, restrict_policy=rowbank.tfra.FrequencyRestrictPolicy)
    one, two = tf.keras.Input([2], dtype=tf.int64), tf.keras.Input([3], dtype=tf.int64)
    total = tf.reduce_sum(layer(one), [1, 2]) + tf.reduce_sum(layer(two), [1, 2])
    model = tf.keras.Model([one, two], total)
    wrapped = de.DynamicEmbeddingOptimizer(OPTIMIZERS[optimizer](), bp_v2=bp_v2)
    model.compile(wrapped, "mse", run_eagerly=eager)
    model.evaluate([np.array(TWO)[:, :2], np.array(TWO)], np.zeros(2), batch_size=1, verbose=0)
    model.fit([np.array(ONE), np.array(TWO)], np.zeros(2), batch_size=2, verbose=0)
    check(layer, trained(ONE, TWO))
    ids, counts = (part.numpy() for part in layer.params.restrict_policy.freq_var.export())
    assert dict(zip(ids.tolist(), counts[:, 0].tolist(), strict=True)) == dict.fromkeys([1, 2, 3, 4, 5, 9], 1)


@pytest.mark.parametrize("traced", [True, False])
@pytest.mark.parametrize("calls", [(ONE, TWO), (TWO, ONE), (ONE, ONE), (ONE, TWO, THREE), (ONE, THREE, ONE)])
def test_any_number_of_calls(sides: Sides, calls, traced):
    layer = layer_of(sides)
    step(layer, lambda: tf.add_n([score(layer, ids) for ids in calls]), traced=traced)
    check(layer, trained(*calls))


@pytest.mark.parametrize("traced", [True, False])
def test_rows_without_unique_ids(sides: Sides, traced):
    """Such a layer's gradient is dense as long as there is one call."""
    layer = layer_of(sides, with_unique=False)
    one, two = [[1, 2], [3, 5]], [[1, 6, 4], [2, 7, 9]]
    step(layer, lambda: score(layer, one) + score(layer, two), traced=traced)
    check(layer, trained(one, two))


@pytest.mark.parametrize("traced", [True, False])
def test_two_models_share_a_layer(sides: Sides, traced):
    layer = layer_of(sides)
    models = []
    for width in (2, 3):
        ids = tf.keras.Input([width], dtype=tf.int64)
        models.append(tf.keras.Model(ids, tf.reduce_sum(layer(ids), [1, 2])))
    step(layer, lambda: models[0](tf.constant(ONE, tf.int64)) + models[1](tf.constant(TWO, tf.int64)), traced=traced)
    check(layer, trained(ONE, TWO))


@pytest.mark.parametrize("traced", [True, False])
def test_steps_after_each_other_do_not_mix(sides: Sides, traced):
    """The second step uses, and counts, its own ids only; also within one function."""
    layer = layer_of(sides, restrict_policy=rowbank.tfra.FrequencyRestrictPolicy)
    optimizer = de.DynamicEmbeddingOptimizer(tf.keras.optimizers.legacy.SGD(0.01))

    def train():
        for ids in (ONE, THREE):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(score(layer, ids) ** 2)
            variables = layer.trainable_variables
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    (tf.function(train) if traced else train)()
    ids, counts = sorted_export(layer.params.restrict_policy.status)
    assert dict(zip(ids.tolist(), counts[:, 0].tolist(), strict=True)) == {1: 1, 2: 2, 5: 1, 7: 1, 8: 1, 9: 1}


def test_lookups_without_gradients_do_not_mix(sides: Sides):
    layer = layer_of(sides)
    for ids in (TWO, THREE):
        layer(tf.constant(ids, tf.int64))
    step(layer, lambda: score(layer, ONE), traced=False)
    check(layer, trained(ONE))


@pytest.mark.parametrize("taken", [True, False])
def test_a_call_in_each_branch(sides: Sides, taken):
    """A branch may have other ids than a call before it; refused if it is taken, right if not."""
    layer = layer_of(sides)
    condition = tf.Variable(taken)
    branches = (lambda: score(layer, TWO)), (lambda: score(layer, ONE))

    def forward():
        return score(layer, ONE) + tf.cond(condition, *branches)

    if taken:
        with pytest.raises(tf.errors.InvalidArgumentError, match="several times in this step"):
            step(layer, forward, traced=True)
        assert int(layer.params.size()) == 0
    else:
        step(layer, forward, traced=True)
        check(layer, trained(ONE, ONE))


def test_a_branch_without_a_call_is_refused(sides: Sides):
    """TensorFlow makes no gradient of a variable of unknown shape for the other branch, whatever the table."""
    layer = layer_of(sides)
    with pytest.raises(ValueError, match="partially known TensorShape"):
        step(layer, lambda: tf.cond(tf.constant(1.0) > tf.random.uniform([]), lambda: score(layer, ONE),
                                    lambda: tf.zeros([2])), traced=True)  # fmt: skip
    assert int(layer.params.size()) == 0


@pytest.mark.parametrize("traced", [True, False])
def test_a_function_called_twice_is_refused(sides: Sides, traced):
    layer = layer_of(sides)
    encode = tf.function(
        lambda ids: tf.reduce_sum(layer(ids), [1, 2]), input_signature=[tf.TensorSpec([2, None], tf.int64)]
    )
    step(layer, lambda: encode(tf.constant(ONE, tf.int64)), traced=traced)
    check(layer, trained(ONE))
    before = sorted_export(layer.params)
    dense = tf.Variable(1.0)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"tf\.concat"):
        step(layer, lambda: dense * (encode(tf.constant(ONE, tf.int64)) + encode(tf.constant(TWO, tf.int64))),
             traced=traced)  # fmt: skip
    np.testing.assert_equal(sorted_export(layer.params), before)


def test_two_tapes_are_refused_in_eager_mode(sides: Sides):
    layer = layer_of(sides)
    with tf.GradientTape() as first:
        one = score(layer, ONE)
    with tf.GradientTape() as second:
        two = score(layer, TWO)
    second.gradient(two, layer.trainable_variables)
    with pytest.raises(tf.errors.InvalidArgumentError, match="nothing was applied"):
        first.gradient(one, layer.trainable_variables)


def test_a_loop_of_calls_is_refused(sides: Sides):
    layer = layer_of(sides)

    def forward():
        def body(turn, total):
            ids = tf.constant(ONE, tf.int64) + tf.cast(turn, tf.int64)
            return turn + 1, total + tf.reduce_sum(layer(ids), [1, 2])

        return tf.while_loop(lambda turn, total: turn < 2, body, (0, tf.zeros([2])))[1]

    with pytest.raises(tf.errors.InvalidArgumentError):
        step(layer, forward, traced=True)
    assert int(layer.params.size()) == 0
