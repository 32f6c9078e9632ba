"""Reads and writes of a step that travel together: the program sees what it would see if each travelled alone."""

from __future__ import annotations

import functools
import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_recommenders_addons import dynamic_embedding as de
from tests.tf.support import Sides, shadow_training, sorted_export

import rowbank.tfra
from rowbank.calls.transport import Transport
from rowbank.tfra import store

K = tf.int64


def keys(*values: int) -> tf.Tensor:
    return tf.constant(values, K)


@pytest.fixture
def sent(monkeypatch) -> list[str]:
    """The methods of the requests that go out, in order."""
    methods: list[str] = []
    run = Transport.run

    @functools.wraps(run)
    def noted(transport, method, requests, **options):
        methods.extend([method.name] * len(requests))
        return run(transport, method, requests, **options)

    monkeypatch.setattr(Transport, "run", noted)
    return methods


class Steps:
    """A variable, two shadows of it, and the steps of a `tf.function` over them."""

    def __init__(self, sides: Sides, side: str, **options) -> None:
        options.setdefault("initializer", 0.5)
        self.variable = de.get_variable(
            sides.unique(f"steps_{side}"), dim=2, devices=["/CPU:0"], kv_creator=sides.creators[side], **options
        )
        self.shadows = [de.shadow_ops.ShadowVariable(self.variable, name=sides.unique("shadow")) for _ in range(2)]
        self.optimizer = de.DynamicEmbeddingOptimizer(tf.keras.optimizers.legacy.Adam(0.1))

    def train(self, shadow: de.Variable, ids: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(de.shadow_ops.embedding_lookup(shadow, ids) ** 2)
        self.optimizer.apply_gradients(zip(tape.gradient(loss, [shadow]), [shadow], strict=True))
        return loss

    def tables(self) -> list:
        slots = [slot for shadow in self.shadows for slot in shadow._optimizer_vars.value]
        return [sorted_export(table) for table in (self.variable, *slots)]


def plain(steps: Steps, ids: tf.Tensor) -> list[tf.Tensor]:
    return [steps.train(steps.shadows[0], ids)]


def twice(steps: Steps, ids: tf.Tensor) -> list[tf.Tensor]:
    """The second step must find what the first one wrote, rows and slots."""
    return [steps.train(steps.shadows[0], ids), steps.train(steps.shadows[0], ids + 1)]


def two_shadows(steps: Steps, ids: tf.Tensor) -> list[tf.Tensor]:
    one, two = steps.shadows
    with tf.GradientTape() as tape:
        rows = [de.shadow_ops.embedding_lookup(one, ids), de.shadow_ops.embedding_lookup(two, ids + 2)]
        loss = tf.reduce_sum(tf.concat(rows, 0) ** 2)
    gradients = tape.gradient(loss, [one, two])
    steps.optimizer.apply_gradients(zip(gradients, [one, two], strict=True))
    return [loss]


def by_hand_between(steps: Steps, ids: tf.Tensor) -> list[tf.Tensor]:
    """Reads, sizes, writes and removals by hand on all sides of a step."""
    variable = steps.variable
    variable.upsert(ids[:1], tf.ones([1, 2]))
    loss = steps.train(steps.shadows[0], ids)
    seen = variable.lookup(ids)
    size = variable.tables[0].size()
    variable.remove(ids[1:2])
    again = steps.train(steps.shadows[0], ids)
    variable.upsert(ids[:1], variable.lookup(ids[:1]) * 2.0)
    return [loss, seen, size, again, variable.lookup(ids)]


def in_a_loop(steps: Steps, ids: tf.Tensor) -> list[tf.Tensor]:
    """Steps in the body of a `tf.while_loop`, and one after it."""
    steps.train(steps.shadows[0], ids)

    def body(number: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return number + 1, total + steps.train(steps.shadows[0], ids + tf.cast(number, K))

    total = tf.while_loop(lambda number, _: number < 3, body, [tf.constant(0), tf.constant(0.0)])[1]
    return [total, steps.train(steps.shadows[0], ids)]


def some_other_ids(steps: Steps, ids: tf.Tensor) -> list[tf.Tensor]:
    """The ids that a shadow holds change between its lookup and its update's."""
    shadow = steps.shadows[0]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(de.shadow_ops.embedding_lookup(shadow, ids) ** 2)
    gradient = tape.gradient(loss, [shadow])
    shadow._reset_ids(ids + 1)
    steps.optimizer.apply_gradients(zip(gradient, [shadow], strict=True))
    return [loss]


@pytest.mark.parametrize("program", [plain, twice, two_shadows, by_hand_between, in_a_loop, some_other_ids])
@pytest.mark.parametrize("bp_v2", [False, True], ids=["upsert", "bp_v2"])
def test_programs_see_the_same_tables(sides: Sides, program, bp_v2):
    seen = []
    for side in sides.creators:
        steps = Steps(sides, side, bp_v2=bp_v2)
        run = tf.function(
            functools.partial(program, steps), input_signature=[tf.TensorSpec([None], K)], autograph=False
        )
        answers = [[part.numpy() for part in run(ids)] for ids in (keys(1, 2, 3), keys(3, 2, 9), keys(1, 9))]
        seen.append((answers, steps.tables()))
    for got, expected in zip(tf.nest.flatten(seen[1]), tf.nest.flatten(seen[0]), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("policy", [None, rowbank.tfra.FrequencyRestrictPolicy])
def test_a_step_is_one_read_and_one_write(sides: Sides, sent, policy):
    """For each of two lookups of one variable, counting included."""
    steps = Steps(sides, "rowbank", restrict_policy=policy)
    run = tf.function(
        functools.partial(two_shadows, steps), input_signature=[tf.TensorSpec([None], K)], autograph=False
    )
    run(keys(1, 2))
    sent.clear()
    run(keys(2, 3))
    assert sent == ["Pull", "Pull", "Store", "Store"]


def test_eager_steps_go_table_by_table(sides: Sides, sent):
    steps = Steps(sides, "rowbank", restrict_policy=rowbank.tfra.FrequencyRestrictPolicy)
    plain(steps, keys(1, 2))
    sent.clear()
    plain(steps, keys(2, 3))
    assert sent == ["Lookup"] * 3 + ["Upsert", "Touch"] + ["Upsert"] * 2


def test_restriction_inside_the_function(sides: Sides):
    """The step before it has been written, the step after it finds the rows gone."""
    exports = []
    for side, policy in (("cuckoo", de.FrequencyRestrictPolicy), ("rowbank", rowbank.tfra.FrequencyRestrictPolicy)):
        steps = Steps(sides, side, restrict_policy=policy)
        plain(steps, keys(1, 2, 3, 4))
        plain(steps, keys(1, 2, 3))

        @tf.function(autograph=False)
        def run(steps=steps) -> tf.Tensor:
            steps.train(steps.shadows[0], keys(1, 2))
            steps.variable.restrict(2)
            return steps.train(steps.shadows[0], keys(3, 4))

        exports.append([run().numpy(), *steps.tables()])
    for got, expected in zip(tf.nest.flatten(exports[1]), tf.nest.flatten(exports[0]), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)


def test_a_step_that_fails_writes_nothing(sides: Sides):
    """TFRA writes rows one by one; here a step's rows and slots are stored whole or not at all."""
    steps = Steps(sides, "rowbank")
    run = tf.function(functools.partial(plain, steps), input_signature=[tf.TensorSpec([None], K)], autograph=False)
    run(keys(1, 2))
    before = steps.tables()
    slot = steps.shadows[0]._optimizer_vars.value[1]
    slot.upsert(keys(1), tf.constant([[3e38, 0.0]]))
    steps.variable.upsert(keys(1), tf.constant([[3e38, 0.5]]))  # Its square is infinite, and so is the second moment.
    with pytest.raises(tf.errors.InvalidArgumentError, match="NaN or infinity"):
        run(keys(1, 2))
    after = steps.tables()
    for table in (0, 1, 2):
        np.testing.assert_array_equal(after[table][1][1], before[table][1][1])


def test_batches_beyond_one_call(sides: Sides, monkeypatch):
    """Rows that do not fit one call are read and written table by table."""
    exports = []
    for side, bp_v2 in (("rowbank", False), ("rowbank", True)):
        for limit in (1 << 20, 3):
            monkeypatch.setattr(store, "_BATCH_ROWS", limit)
            steps = Steps(sides, side, bp_v2=bp_v2, restrict_policy=rowbank.tfra.FrequencyRestrictPolicy)
            run = tf.function(
                functools.partial(plain, steps), input_signature=[tf.TensorSpec([None], K)], autograph=False
            )
            for batch in (keys(1, 2, 3, 4, 5, 6, 7), keys(5), keys(7, 8, 9, 1)):
                run(batch)
            exports.append([*steps.tables(), sorted_export(steps.variable.restrict_policy.status)])
    np.testing.assert_equal(exports[1], exports[0])
    np.testing.assert_equal(exports[3], exports[2])


@pytest.mark.parametrize("value_dtype", [tf.float16, tf.bfloat16, tf.float64], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("bp_v2", [False, True], ids=["upsert", "bp_v2"])
def test_other_types_train_alike(sides: Sides, value_dtype, bp_v2):
    tolerance = {tf.float16: 1e-3, tf.bfloat16: 1e-2, tf.float64: 1e-9}[value_dtype]
    tables = []
    for variable in sides.variables(dim=2, initializer=0.5, value_dtype=value_dtype, bp_v2=bp_v2):
        optimizer = de.DynamicEmbeddingOptimizer(tf.keras.optimizers.legacy.Adagrad(0.1), bp_v2=bp_v2)
        slots = shadow_training(sides, variable, optimizer, [[1, 2, 3], [2, 9], [1, 9]])
        tables.append([sorted_export(table) for table in (variable, *slots)])
    for got, expected in zip(tables[1], tables[0], strict=True):
        np.testing.assert_array_equal(got[0], expected[0])
        assert got[1].dtype == value_dtype.as_numpy_dtype
        np.testing.assert_allclose(got[1].astype(np.float64), expected[1].astype(np.float64), rtol=tolerance)


def test_a_function_that_is_gone_leaves_nothing_behind(sides: Sides):
    """A graph's steps end with it, and so do its tensors; TFRA's shadows would keep some."""
    steps = Steps(sides, "rowbank")
    (table,), ids = steps.variable.tables, steps.shadows[0].ids
    ids.assign(keys(1, 2))

    @tf.function(autograph=False)
    def run() -> None:
        table.insert(ids, table.lookup(ids) + 1.0)

    run()
    graph = weakref.ref(run.get_concrete_function().graph)
    del run
    gc.collect()
    assert graph() is None
    np.testing.assert_array_equal(steps.tables()[0][1], np.full((2, 2), 1.5))
