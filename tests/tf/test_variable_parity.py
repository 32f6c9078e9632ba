"""`de.Variable` and its lookups on CuckooHashTable and on Rowbank side by side, eager, in functions and in graphs."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_recommenders_addons import dynamic_embedding as de
from tests.tf.support import Sides, sorted_export

from rowbank.errors import ShardUnavailable
from rowbank.tfra import TableCreator

K = tf.int64


def keys(*values: int) -> tf.Tensor:
    return tf.constant(values, K)


def test_upsert_lookup_accum_remove_clear_size(sides: Sides):
    seen = []
    for variable in sides.variables(dim=2, initializer=0.5):
        variable.upsert(keys(1, 2, 3), tf.reshape(tf.range(6.0), [3, 2]))
        values, exists = variable.lookup(keys(3, 9), return_exists=True)
        old = variable.lookup(keys(1, 9))
        variable.accum(keys(1, 9), old, old + 2.0, tf.constant([True, False]))
        variable.remove(keys(2, 50))
        trace = [values.numpy(), exists.numpy(), int(variable.size()), *sorted_export(variable)]
        variable.clear()
        seen.append([*trace, int(variable.size())])
    np.testing.assert_equal(seen[1], seen[0])
    np.testing.assert_array_equal(seen[1][4], [[2.0, 3.0], [4.0, 5.0], [2.5, 2.5]])


@pytest.mark.parametrize(
    "initializer", [None, 0.25, [1.0, 2.0], tf.constant_initializer(3.0)], ids=["none", "number", "row", "keras"]
)
def test_initializers_give_the_same_defaults(sides: Sides, initializer):
    cuckoo, rowbank = (v.lookup(keys(4, 5)).numpy() for v in sides.variables(dim=2, initializer=initializer))
    np.testing.assert_array_equal(rowbank, cuckoo)


def test_random_initializers_draw_for_unseen_keys(sides: Sides):
    variable = sides.variables(dim=4, initializer=tf.random_normal_initializer(seed=1))[1]
    variable.upsert(keys(7), tf.ones([1, 4]))
    values = variable.lookup(keys(6, 7)).numpy()
    assert np.abs(values[0]).max() > 0
    np.testing.assert_array_equal(values[1], np.ones(4))


def test_several_devices_split_the_keys(sides: Sides):
    """Each entry of `devices` is a table of its own, empty parts included."""
    exports = []
    for variable in sides.variables(dim=2, devices=["/CPU:0", "/CPU:0"]):
        variable.upsert(keys(2, 4, 6), tf.ones([3, 2]))
        assert [int(variable.size(index=index)) for index in (0, 1)] == [3, 0]
        variable.upsert(keys(1, 2), 2 * tf.ones([2, 2]))
        np.testing.assert_array_equal(variable.lookup(keys(2, 1, 5, 4)), [[2, 2], [2, 2], [0, 0], [1, 1]])
        exports.append(sorted_export(variable))
    np.testing.assert_equal(exports[1], exports[0])


def test_file_system_of_a_variable(sides: Sides, tmp_path):
    """Saved by one side, loaded by the other, under TFRA's own file names; also into another number of tables."""
    cuckoo, rowbank = sides.variables(dim=3)
    for variable in (cuckoo, rowbank):
        variable.upsert(tf.range(100, dtype=K), tf.reshape(tf.range(300.0), [100, 3]))
    expected = sorted_export(cuckoo)
    rowbank.save_to_file_system(str(tmp_path))
    (table,) = rowbank.tables
    base = table._name.replace("_mht_1of1", "_mht_1of1_rank0_size1")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{base}-keys", f"{base}-values"]
    cuckoo.clear()
    cuckoo.load_from_file_system(str(tmp_path), file_name_list=[base])
    np.testing.assert_equal(sorted_export(cuckoo), expected)
    rowbank.clear()
    rowbank.load_from_file_system(str(tmp_path))
    np.testing.assert_equal(sorted_export(rowbank), expected)


def test_files_load_into_another_number_of_tables(sides: Sides, tmp_path, prefix):
    """TFRA's restore function deals the keys out anew."""
    name = sides.unique("resharded")
    two = de.get_variable(name, dim=1, devices=["/CPU:0"] * 2, kv_creator=sides.rowbank)
    two.upsert(tf.range(20, dtype=K), tf.reshape(tf.range(20.0), [20, 1]))
    two.save_to_file_system(str(tmp_path))
    one = de.Variable(
        name=name, dim=1, devices=["/CPU:0"], kv_creator=TableCreator(sides.rowbank.client, prefix=f"{prefix}-one")
    )
    one.load_from_file_system_with_restore_function(str(tmp_path))
    np.testing.assert_equal(sorted_export(one), sorted_export(two))


def test_embedding_lookup_sparse_agrees(sides: Sides):
    sparse = tf.SparseTensor([[0, 0], [0, 1], [2, 0]], tf.constant([1, 2, 3], K), [3, 2])
    results = []
    for index, variable in enumerate(sides.variables(dim=2, initializer=1.0)):
        variable.upsert(keys(1, 2), tf.constant([[1.0, 2.0], [3.0, 5.0]]))
        name = sides.unique(f"sparse{index}_")
        results.append(de.safe_embedding_lookup_sparse(variable, sparse, None, combiner="mean", name=name).numpy())
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[1], [[2.0, 3.5], [0.0, 0.0], [1.0, 1.0]])


@pytest.mark.parametrize("bp_v2", [False, True])
def test_function_training_with_tf_variables(sides: Sides, bp_v2):
    """A training step in a tf.function over a shadow variable, by upsert and by accum."""
    results = []
    for index, variable in enumerate(sides.variables(dim=2, initializer=0.5, bp_v2=bp_v2)):
        shadow = de.shadow_ops.ShadowVariable(variable, name=sides.unique(f"shadow{index}_"))
        optimizer = de.DynamicEmbeddingOptimizer(tf.keras.optimizers.legacy.Adagrad(0.1), bp_v2=bp_v2)

        @tf.function
        def step(ids, shadow=shadow, optimizer=optimizer):
            with tf.GradientTape() as tape:
                rows = de.shadow_ops.embedding_lookup(shadow, ids)
                loss = tf.reduce_sum(rows * rows)
            optimizer.apply_gradients(zip(tape.gradient(loss, [shadow]), [shadow], strict=True))
            return loss

        losses = [float(step(ids)) for ids in (keys(1, 2), keys(2, 3, 4), keys(1, 4))]
        results.append((losses, *sorted_export(variable)))
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-6)
    np.testing.assert_array_equal(results[1][1], results[0][1])
    np.testing.assert_allclose(results[1][2], results[0][2], rtol=1e-6)


def test_graph_mode_with_a_session(sides: Sides, tmp_path):
    """Graphs of TensorFlow 1: train, save, clear, restore."""
    results = []
    for side, creator in sides.creators.items():
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            variable = de.get_variable(f"graph_{side}", dim=2, initializer=0.5, devices=["/CPU:0"], kv_creator=creator)
            ids = tf.compat.v1.placeholder(K, [None])
            rows, trainable = de.embedding_lookup(variable, ids, return_trainable=True, name="lookup")
            optimizer = de.DynamicEmbeddingOptimizer(tf.compat.v1.train.AdamOptimizer(0.1))
            train = optimizer.minimize(tf.reduce_sum(rows * rows), var_list=[trainable])
            saver = tf.compat.v1.train.Saver()
            size, export, clear = variable.size(), variable.export(), variable.clear()
            session.run(tf.compat.v1.global_variables_initializer())
            for batch in ([1, 2], [2, 3], [1, 4]):
                session.run(train, {ids: batch})
            path = saver.save(session, str(tmp_path / side))
            before = session.run(export)
            session.run(clear)
            assert session.run(size) == 0
            saver.restore(session, path)
            after = session.run(export)
            order, again = np.argsort(before[0]), np.argsort(after[0])
            np.testing.assert_array_equal(after[1][again], before[1][order])
            results.append((before[0][order], before[1][order]))
    np.testing.assert_array_equal(results[1][0], results[0][0])
    np.testing.assert_allclose(results[1][1], results[0][1], rtol=1e-6)


def test_a_rerun_finds_the_rows(sides: Sides, prefix):
    name = sides.unique("kept")
    first = de.Variable(name=name, dim=2, devices=["/CPU:0"], kv_creator=sides.rowbank)
    first.upsert(keys(5), tf.ones([1, 2]))
    again = de.Variable(
        name=name, dim=2, devices=["/CPU:0"], kv_creator=TableCreator(sides.rowbank.client, prefix=prefix)
    )
    np.testing.assert_array_equal(again.lookup(keys(5)), [[1.0, 1.0]])


def test_another_dim_under_the_same_name_is_refused(sides: Sides):
    name = sides.unique("width")
    de.Variable(name=name, dim=2, devices=["/CPU:0"], kv_creator=sides.rowbank)
    with pytest.raises(ValueError, match=r"exists with rows of 2 float32; the variable needs rows of 3 float32"):
        de.Variable(name=name, dim=3, devices=["/CPU:0"], kv_creator=sides.rowbank)
    with pytest.raises(ValueError, match=r"2 float16 \(2 float16 values\)"):
        de.Variable(name=name, dim=2, value_dtype=tf.float16, devices=["/CPU:0"], kv_creator=sides.rowbank)


def test_unsupported_types_are_named(sides: Sides):
    with pytest.raises(TypeError, match="no values of type string"):
        de.Variable(
            name=sides.unique("v"), value_dtype=tf.string, devices=["/CPU:0"], kv_creator=sides.rowbank, initializer=""
        )
    with pytest.raises(TypeError, match="keys are int64, int32 or string, got int8"):
        sides.rowbank.create(key_dtype=tf.int8, value_dtype=tf.float32, default_value=[0.0], name="bytes")


def test_an_unreachable_server_is_an_error_and_no_default_rows(unused_port):
    creator = TableCreator(f"127.0.0.1:{unused_port}", timeout_s=1.0)
    with pytest.raises(ShardUnavailable, match=str(unused_port)):
        de.Variable(name="nowhere", dim=2, devices=["/CPU:0"], kv_creator=creator)
