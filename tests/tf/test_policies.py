"""Restrict policies: TFRA's own on Rowbank tables, and Rowbank's, which count and evict on the server."""

from __future__ import annotations

import time

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_recommenders_addons import dynamic_embedding as de
from tests.tf.support import Sides, sorted_export

import rowbank.tfra
from rowbank.tfra import store

POLICIES = {
    "tfra on cuckoo": ("cuckoo", de.FrequencyRestrictPolicy, de.TimestampRestrictPolicy),
    "tfra on rowbank": ("rowbank", de.FrequencyRestrictPolicy, de.TimestampRestrictPolicy),
    "rowbank": ("rowbank", rowbank.tfra.FrequencyRestrictPolicy, rowbank.tfra.TimestampRestrictPolicy),
}


def variable_with(sides: Sides, side: str, policy, **kwargs) -> de.Variable:
    kwargs.setdefault("devices", ["/CPU:0"])
    return de.get_variable(
        sides.unique(f"restricted_{side}"), dim=2, initializer=0.5, restrict_policy=policy,
        kv_creator=sides.creators[side], **kwargs,
    )  # fmt: skip


def train(sides: Sides, variable: de.Variable, batches: list[list[int]], pause_s: float = 0.0) -> list[de.Variable]:
    """Steps of legacy Adam over a shadow variable; answers the slots."""
    shadow = de.shadow_ops.ShadowVariable(variable, name=sides.unique("shadow"))
    optimizer = de.DynamicEmbeddingOptimizer(tf.keras.optimizers.legacy.Adam(0.1))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
    def step(ids):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(de.shadow_ops.embedding_lookup(shadow, ids) ** 2)
        optimizer.apply_gradients(zip(tape.gradient(loss, [shadow]), [shadow], strict=True))

    for batch in batches:
        step(tf.constant(batch, tf.int64))
        if pause_s:
            time.sleep(pause_s)  # The clock of these policies ticks in seconds.
    return shadow._optimizer_vars.value


@pytest.mark.parametrize("kind", POLICIES)
def test_the_least_frequent_rows_go_with_their_slots(sides: Sides, kind):
    side, policy, _ = POLICIES[kind]
    variable = variable_with(sides, side, policy)
    slots = train(sides, variable, [[1, 2, 3, 4, 5, 6], [1, 2, 3, 4], [1, 2, 3], [1, 2]])
    ids, counts = sorted_export(variable.restrict_policy.status)
    np.testing.assert_array_equal(ids, [1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(counts[:, 0], [4, 4, 3, 2, 1, 1])
    kept = {int(key): row for key, row in zip(*sorted_export(variable), strict=True)}

    variable.restrict(3, trigger=6)
    assert int(variable.size()) == 6, "six rows are not more than six"
    variable.restrict(3, trigger=5)
    for table in (variable, *slots, variable.restrict_policy.status):
        np.testing.assert_array_equal(sorted_export(table)[0], [1, 2, 3])
    assert int(variable.restrict_policy.status.size()) == 3
    for key, row in zip(*sorted_export(variable), strict=True):
        np.testing.assert_array_equal(row, kept[int(key)])


@pytest.mark.slow
@pytest.mark.parametrize("kind", POLICIES)
def test_the_oldest_rows_go_with_their_slots(sides: Sides, kind):
    side, _, policy = POLICIES[kind]
    variable = variable_with(sides, side, policy)
    slots = train(sides, variable, [[1, 2, 3, 4], [2, 3, 5], [3, 5, 6]], pause_s=1.1)
    variable.restrict(3)
    for table in (variable, *slots, variable.restrict_policy.status):
        np.testing.assert_array_equal(sorted_export(table)[0], [3, 5, 6])


def test_restriction_inside_fit_callbacks(sides: Sides):
    """The usual place: a callback that restricts every few batches; training goes on afterwards."""
    layer = de.keras.layers.Embedding(
        4, name=sides.unique("fit"), kv_creator=sides.rowbank, restrict_policy=rowbank.tfra.FrequencyRestrictPolicy,
        initializer=tf.constant_initializer(0.5), devices=["/CPU:0"],
    )  # fmt: skip
    model = tf.keras.Sequential([layer, tf.keras.layers.Flatten(), tf.keras.layers.Dense(1)])
    model.compile(de.DynamicEmbeddingOptimizer(tf.keras.optimizers.Adam(0.05)), "mse")
    sizes = []

    class Restrict(tf.keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            layer.params.restrict(20, trigger=25)
            sizes.append(int(layer.params.size()))

    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 60, size=(128, 2)), rng.random(128, dtype=np.float32)
    losses = model.fit(x, y, batch_size=8, epochs=2, verbose=0, callbacks=[Restrict()]).history["loss"]
    assert all(size <= 25 for size in sizes)
    assert sizes[-1] >= 20
    assert losses[1] < losses[0]
    slots = layer.shadow._optimizer_vars.value
    for slot in slots:
        np.testing.assert_array_equal(sorted_export(slot)[0], sorted_export(layer.params)[0])


def test_restriction_of_several_tables_keeps_an_equal_share_of_each(sides: Sides):
    variable = variable_with(sides, "rowbank", rowbank.tfra.FrequencyRestrictPolicy, devices=["/CPU:0", "/CPU:0"])
    train(sides, variable, [list(range(12)), [0, 1, 2, 3]])
    variable.restrict(4)
    np.testing.assert_array_equal(sorted_export(variable)[0], [0, 1, 2, 3])


def test_rows_set_by_hand_go_first(sides: Sides):
    """TFRA never evicts rows that its policy did not see; the server ranks every row."""
    variable = variable_with(sides, "rowbank", rowbank.tfra.FrequencyRestrictPolicy)
    variable.upsert(tf.constant([9], tf.int64), tf.ones([1, 2]))
    train(sides, variable, [[1, 2]])
    variable.restrict(2)
    np.testing.assert_array_equal(sorted_export(variable)[0], [1, 2])


def test_another_variable_keeps_its_slots(sides: Sides):
    """The optimizer of tf_keras tracks the slots of every variable for each of them."""
    first, second = (variable_with(sides, "rowbank", rowbank.tfra.FrequencyRestrictPolicy) for _ in range(2))
    slots = [train(sides, variable, [[1, 2, 3], [1]]) for variable in (first, second)]
    first.restrict_policy._track_params_from_optimizer_slots(slots[1])
    first.restrict(1)
    assert [int(slot.size()) for slot in slots[0]] == [1, 1]
    assert [int(slot.size()) for slot in slots[1]] == [3, 3]


def test_wrong_use_is_refused(sides: Sides):
    with pytest.raises(TypeError, match=r"kv_creator is rowbank\.tfra\.TableCreator, got CuckooHashTableCreator"):
        variable_with(sides, "cuckoo", rowbank.tfra.FrequencyRestrictPolicy)
    variable = variable_with(sides, "rowbank", rowbank.tfra.FrequencyRestrictPolicy)
    with pytest.raises(TypeError, match=r"num_reserved should be integer, got 1\.5"):
        variable.restrict(1.5)
    with pytest.raises(ValueError, match="trigger should be non-negative, got -1"):
        variable.restrict(1, trigger=-1)


def test_many_rows_go_in_rounds(sides: Sides, monkeypatch):
    monkeypatch.setattr(store, "_ROUND_ROWS", 4)
    variable = variable_with(sides, "rowbank", rowbank.tfra.FrequencyRestrictPolicy)
    slots = train(sides, variable, [list(range(20)), [3, 5]])
    variable.restrict(2)
    for table in (variable, *slots):
        np.testing.assert_array_equal(sorted_export(table)[0], [3, 5])


def test_two_shards_keep_the_best(start_ps, redis_url, prefix):
    """Counted and evicted on both shards of a cluster; slots follow."""
    servers = [start_ps("--shard", f"{shard}/2", wait=False) for shard in range(2)]
    targets = [server.wait_ready().target for server in servers]
    sides = Sides(targets, prefix)
    variable = variable_with(sides, "rowbank", rowbank.tfra.FrequencyRestrictPolicy)
    slots = train(sides, variable, [list(range(200)), list(range(0, 200, 2))])
    variable.restrict(100)
    ids = sorted_export(variable)[0]
    assert len(ids) == 100
    assert np.mean(ids % 2 == 0) > 0.9, "each shard keeps its best; the shares follow the shards' sizes"
    for slot in slots:
        np.testing.assert_array_equal(sorted_export(slot)[0], ids)


@pytest.mark.parametrize("policy", [rowbank.tfra.FrequencyRestrictPolicy, rowbank.tfra.TimestampRestrictPolicy])
@pytest.mark.parametrize(("devices", "bp_v2"), [(1, False), (2, True)])
def test_uses_are_counted_in_graphs_of_tensorflow_1(sides: Sides, policy, devices, bp_v2):
    """Nothing but a dependency orders a step's write and its count: two steps are two uses, in each of many graphs."""
    v1 = tf.compat.v1
    for _ in range(15):
        with tf.Graph().as_default(), v1.Session() as session:
            ids = v1.placeholder(tf.int64, [None])
            variable = variable_with(sides, "rowbank", policy, devices=["/CPU:0"] * devices, bp_v2=bp_v2)
            rows, wrapper = de.embedding_lookup(variable, ids, return_trainable=True)
            optimizer = de.DynamicEmbeddingOptimizer(v1.train.AdagradOptimizer(0.1), bp_v2=bp_v2)
            train = optimizer.minimize(tf.reduce_sum(rows**2), var_list=[wrapper])
            session.run(v1.global_variables_initializer())
            before = time.time()
            for _ in range(2):
                session.run(train, {ids: np.arange(6)})
            keys, status = session.run(variable.restrict_policy.status.export())
        np.testing.assert_array_equal(np.sort(keys), np.arange(6))
        if policy is rowbank.tfra.FrequencyRestrictPolicy:
            np.testing.assert_array_equal(status[:, 0], 2)
        else:
            assert (status[:, 0] >= int(before)).all()


def test_a_count_by_hand_writes_nothing(sides: Sides):
    """In a graph of TensorFlow 1 `apply_update` runs no write that happens to have the same keys."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        ids = v1.placeholder(tf.int64, [None])
        variable = variable_with(sides, "rowbank", rowbank.tfra.FrequencyRestrictPolicy)
        variable.upsert(ids, tf.zeros([tf.size(ids), 2]))
        count = variable.restrict_policy.apply_update(ids)
        session.run(count, {ids: [1, 2]})
        assert session.run(variable.size()) == 0


@pytest.mark.parametrize("devices", [1, 2])
def test_status_under_the_names_of_tfra(sides: Sides, devices):
    frequency, timestamp = (
        variable_with(sides, "rowbank", policy, devices=["/CPU:0"] * devices)
        for policy in (rowbank.tfra.FrequencyRestrictPolicy, rowbank.tfra.TimestampRestrictPolicy)
    )
    before = int(time.time())
    for variable in (frequency, timestamp):
        train(sides, variable, [[1, 2, 3], [1, 2]])
    status = frequency.restrict_policy.freq_var
    assert status is frequency.restrict_policy.status
    assert (status.key_dtype, status.value_dtype, status.dim) == (tf.int64, tf.int32, 1)
    counts, exists = status.lookup(tf.constant([[3, 9], [1, 2]], tf.int64), return_exists=True)
    np.testing.assert_array_equal(counts, [[[1], [0]], [[2], [2]]])
    np.testing.assert_array_equal(exists, [[True, False], [True, True]])
    times = timestamp.restrict_policy.tstp_var.lookup(tf.constant([1, 3, 9], tf.int64)).numpy()[:, 0]
    assert times[0] >= times[1] >= before
    assert times[2] == 0


def test_uses_of_ids_without_rows(sides: Sides):
    """TFRA counts each of them; here only rows have counts."""
    counted = {}
    for kind, (side, policy, _) in POLICIES.items():
        status = variable_with(sides, side, policy).restrict_policy
        status.apply_update(tf.constant([1, 2, 3], tf.int64))
        counted[kind] = int(status.status.size())
    assert counted == {"tfra on cuckoo": 3, "tfra on rowbank": 3, "rowbank": 0}
