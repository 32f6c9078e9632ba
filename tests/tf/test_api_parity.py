"""What is left of `de.Variable` and of the lookups around it, on CuckooHashTable and on Rowbank side by side."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_recommenders_addons import dynamic_embedding as de
from tensorflow_recommenders_addons.dynamic_embedding.python.ops import ragged_embedding_ops
from tests.tf.support import Sides, as_numpy, shadow_training, sorted_export

import rowbank.tfra

K = tf.int64
PAIRS = [
    *[(tf.int64, t) for t in (tf.float32, tf.float16, tf.bfloat16, tf.int32, tf.int8, tf.int64, tf.float64)],
    *[(tf.int32, t) for t in (tf.float32, tf.int32, tf.float64, tf.bfloat16)],
    *[(tf.string, t) for t in (tf.float32, tf.float16, tf.bfloat16, tf.int32, tf.int8, tf.int64, tf.float64, tf.bool)],
]


def keys(*values: int) -> tf.Tensor:
    return tf.constant(values, K)


def filled(variable: de.Variable) -> de.Variable:
    variable.upsert(tf.range(1, 7, dtype=K), tf.reshape(tf.range(12.0), [6, 2]))
    return variable


def test_every_pair_of_types_of_tfra(sides: Sides):
    """What `de.Variable` admits on a CPU, but for string values."""
    ids = {tf.int64: [7, -(2**62)], tf.int32: [7, -(2**31)], tf.string: ["a", "b"]}
    for key_dtype, value_dtype in PAIRS:
        exports = []
        for variable in sides.variables(dim=2, key_dtype=key_dtype, value_dtype=value_dtype, initializer=None):
            probe = tf.constant(ids[key_dtype], key_dtype)
            variable.upsert(probe, tf.cast([[1, 0], [0, 100]], value_dtype))
            missing = variable.lookup(
                tf.concat([probe[:1], tf.cast([], key_dtype) if key_dtype != tf.string else []], 0)
            )
            exports.append([missing.numpy(), *sorted_export(variable)])
            assert exports[-1][0].dtype == value_dtype.as_numpy_dtype
        np.testing.assert_equal(exports[1], exports[0])


@pytest.mark.parametrize("value_dtype", [tf.float64, tf.int8, tf.bool], ids=lambda dtype: dtype.name)
def test_accum_of_the_rarer_types(sides: Sides, value_dtype):
    """The truth table, and repeated keys; int8 wraps around on both sides."""
    key_dtype = tf.string if value_dtype == tf.bool else K
    ids = tf.strings.as_string(keys(1, 2, 3, 4, 1)) if value_dtype == tf.bool else keys(1, 2, 3, 4, 1)
    for values, deltas in (([[100, 0], [-100, 0]], [[100, 1], [-100, 0], [3, 0], [4, 0], [1, 1]]),):
        tables = sides.tables(dim=2, key_dtype=key_dtype, value_dtype=value_dtype)
        for table in tables:
            table.insert(ids[:2], tf.cast(values, value_dtype))
            table.accum(ids, tf.cast(deltas, value_dtype), tf.constant([True, False, False, True, True]))
        np.testing.assert_equal(sorted_export(tables[1]), sorted_export(tables[0]))


def test_numbers_of_rows(sides: Sides):
    """`size`, also of one of several tables; `init_size` and `shared_name` change nothing."""
    sizes = []
    for variable in sides.variables(dim=2, devices=["/CPU:0"] * 3, init_size=64, shared_name="shared"):
        filled(variable)
        sizes.append([int(variable.size()), *(int(variable.size(index=index)) for index in range(3))])
    assert sizes[0] == sizes[1] == [6, 2, 2, 2]


def test_size_inside_a_function_is_current(sides: Sides):
    """TFRA hands out what an eager call before it has cached; a table of ours is asked each time."""
    variable = filled(sides.variables(dim=2)[1])
    size = tf.function(lambda: variable.tables[0].size(), autograph=False)
    assert int(size()) == 6
    variable.remove(keys(1, 2))
    assert int(size()) == 4


def test_a_partitioner_of_ones_own(sides: Sides):
    exports = []
    for variable in sides.variables(
        dim=2, devices=["/CPU:0"] * 2, partitioner=lambda ids, shards: tf.cast(ids > 4, tf.int32)
    ):
        filled(variable)
        exports.append([sorted_export(table) for table in variable.tables])
        np.testing.assert_array_equal(variable.lookup(keys(5, 1)), [[8.0, 9.0], [0.0, 1.0]])
    np.testing.assert_equal(exports[1], exports[0])


def test_names_and_reuse(sides: Sides):
    """Names keep their scope; the same name under `reuse` is the same variable."""
    seen = []
    for side, creator in sides.creators.items():
        scope = sides.unique(f"scope_{side}")
        with tf.compat.v1.variable_scope(scope):
            first = de.get_variable("rows", dim=2, devices=["/CPU:0"], kv_creator=creator)
        with tf.compat.v1.variable_scope(scope, reuse=True):
            again = de.get_variable("rows", dim=2, devices=["/CPU:0"], kv_creator=creator)
        assert again is first
        seen.append([first.name.removeprefix(scope), first.tables[0]._name.removeprefix(scope)])
    assert seen[1] == seen[0]


@pytest.mark.parametrize("short", [False, True])
def test_slots_and_their_names(sides: Sides, short):
    """Slots are called alike, with `short_file_name` too; `get_slot_variables` knows no optimizer of tf_keras."""
    names = []
    for variable in sides.variables(dim=2, initializer=0.5, short_file_name=short):
        optimizer = de.DynamicEmbeddingOptimizer(tf.keras.optimizers.legacy.Adam(0.1))
        slots = shadow_training(sides, variable, optimizer, [[1, 2]])
        with pytest.raises(TypeError, match="Expect an optimizer"):
            variable.get_slot_variables(optimizer)
        names.append([slot.name.removeprefix(variable.name).split("/")[-1] for slot in slots])
        assert (f"{variable.name}/{names[-1][0]}" == slots[0].name) is short
    assert names[1] == names[0] == ["m", "v"]


def test_a_variable_that_does_not_train(sides: Sides):
    exports = []
    for variable in sides.variables(dim=2, initializer=0.5, trainable=False):
        filled(variable)
        optimizer = de.DynamicEmbeddingOptimizer(tf.keras.optimizers.legacy.Adam(0.1))
        shadow_training(sides, variable, optimizer, [[1, 2, 9]])
        exports.append(sorted_export(variable))
        assert variable.get_trainable_by_name("no such name") is None
    np.testing.assert_equal(exports[1], exports[0])


def test_files_of_several_ranks(sides: Sides, tmp_path, monkeypatch):
    """`proc_size`, `proc_rank`, `file_name_list`, `dirpath_env`, `append_to_file` and `load_entire_dir`."""
    seen = []
    for variable in sides.variables(dim=2):
        folder = tmp_path / variable.name
        for rank in range(2):
            variable.upsert(keys(10 * rank, 10 * rank + 1), tf.ones([2, 2]) * rank)
            variable.save_to_file_system(str(folder), proc_size=2, proc_rank=rank, buffer_size=1)
            variable.clear()
        variable.upsert(keys(77), tf.ones([1, 2]))
        monkeypatch.setenv("HERE", str(folder))
        variable.save_to_file_system("unused", file_name_list=["own"], dirpath_env="HERE")
        variable.save_to_file_system(str(folder), file_name_list=["own"], append_to_file=True)
        variable.clear()
        variable.load_from_file_system(str(folder), file_name_list=["own"])
        own = sorted_export(variable)
        variable.load_from_file_system(str(folder), proc_size=2, proc_rank=1)
        one = sorted_export(variable)
        variable.load_from_file_system(str(folder), load_entire_dir=True)
        files = sorted((path.name.replace(variable.name, ""), path.stat().st_size) for path in folder.iterdir())
        seen.append([own, one, sorted_export(variable), files])
    np.testing.assert_equal(seen[1], seen[0])
    assert len(seen[1][2][0]) == 5


def test_warm_start(sides: Sides, tmp_path):
    """TensorFlow 1: rows of a checkpoint under another name."""
    results = []
    for side, creator in sides.creators.items():
        path = str(tmp_path / side)
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            old = de.get_variable(f"old_{side}", dim=2, devices=["/CPU:0"], kv_creator=creator)
            session.run(old.upsert(keys(1, 2), tf.constant([[1.0, 2.0], [3.0, 4.0]])))
            saved = tf.compat.v1.train.Saver([old]).save(session, path)
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            new = de.get_variable(f"new_{side}", dim=2, devices=["/CPU:0"], kv_creator=creator)
            session.run(de.warm_start(saved, [new], {new.name: old.name}))
            ids, values = session.run(new.export())
            results.append([ids[np.argsort(ids)], values[np.argsort(ids)]])
    np.testing.assert_equal(results[1], results[0])
    np.testing.assert_array_equal(results[1][1], [[1.0, 2.0], [3.0, 4.0]])


def test_lookups_of_every_kind(sides: Sides):
    """Plain, unique, sparse with weights and combiners, safe with a default, ragged; `max_norm` too."""
    sparse = tf.SparseTensor([[0, 0], [0, 1], [2, 0], [2, 1]], keys(1, 2, 9, 1), [4, 2])
    weights = tf.SparseTensor(sparse.indices, [1.0, 0.5, 2.0, -1.0], sparse.dense_shape)
    ragged = tf.RaggedTensor.from_row_lengths(keys(1, 2, 9, 1), [2, 0, 2])
    results = []
    for variable in sides.variables(dim=2, initializer=0.5):
        filled(variable)
        shadow = de.shadow_ops.ShadowVariable(variable, name=sides.unique("shadow"))

        def named(prefix: str = "lookup") -> str:
            return sides.unique(prefix)

        seen = [
            de.embedding_lookup(variable, keys(1, 9, 1), name=named()),
            de.embedding_lookup(variable, keys(1, 9), name=named(), max_norm=0.6),
            de.embedding_lookup_unique(variable, tf.constant([[1, 9], [1, 2]], K), name=named()),
            de.shadow_ops.embedding_lookup_unique(shadow, tf.constant([[1, 9], [1, 2]], K), 2),
            de.shadow_ops.embedding_lookup_unique(shadow, ragged, 2).to_tensor(),
            ragged_embedding_ops.embedding_lookup_sparse(shadow, ragged, None, combiner="sum"),
        ]
        for combiner in ("sum", "mean", "sqrtn"):
            for given in (None, weights):
                seen.append(de.embedding_lookup_sparse(variable, sparse, given, combiner=combiner, name=named()))
                for default in (None, 2):
                    seen.append(
                        de.safe_embedding_lookup_sparse(
                            variable, sparse, given, combiner=combiner, default_id=default, name=named()
                        )
                    )
        results.append([as_numpy(tensor) for tensor in seen])
    assert len(results[1]) == 24
    for got, expected in zip(results[1], results[0], strict=True):
        np.testing.assert_array_equal(got, expected)


def test_inference_mode_reads_only(sides: Sides):
    """`enable_inference_mode`: lookups leave the shadow variable alone, from many threads at once."""
    de.enable_inference_mode()
    try:
        (variable,) = sides.variables(dim=2, initializer=0.5)[1:]
        filled(variable)
        shadow = de.shadow_ops.ShadowVariable(variable, name=sides.unique("shadow"))
        look = tf.function(lambda ids: de.shadow_ops.embedding_lookup(shadow, ids), autograph=False)

        def read(number: int) -> bool:
            ids = tf.range(1, 2 + number % 5, dtype=K)
            return bool(np.array_equal(look(ids), np.arange(2.0 * len(ids)).reshape(-1, 2)))

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read, range(200)))
        assert int(variable.size()) == 6
    finally:
        de.enable_train_mode()


def test_two_lookups_of_one_shadow_in_a_step(sides: Sides):
    """TFRA keeps one buffer per shadow, in which the second lookup replaces the first one's: an error there, and right
    here. A shadow for each lookup, over one variable, is right on both sides."""
    exports = []
    for side, variable in zip(sides.creators, sides.variables(dim=2, initializer=0.5), strict=True):
        one, two = (de.shadow_ops.ShadowVariable(variable, name=sides.unique("shadow")) for _ in range(2))
        optimizer = de.DynamicEmbeddingOptimizer(tf.keras.optimizers.legacy.SGD(0.1))

        def step(shadows, optimizer=optimizer):
            with tf.GradientTape() as tape:
                rows = [
                    de.shadow_ops.embedding_lookup(shadow, ids)
                    for shadow, ids in zip(shadows, (keys(1, 2, 3), keys(4)), strict=True)
                ]
                loss = tf.reduce_sum(tf.concat(rows, 0))
            variables = shadows[:1] if shadows[0] is shadows[1] else shadows
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

        filled(variable)
        before = sorted_export(variable)
        if side == "cuckoo":
            with pytest.raises((tf.errors.InvalidArgumentError, ValueError)):
                step([one, one])
            np.testing.assert_equal(sorted_export(variable), before)
        else:
            step([one, one])
            joined = sorted_export(variable)
            variable.upsert(*map(tf.constant, before))
        step([one, two])
        exports.append(sorted_export(variable))
    np.testing.assert_equal(exports[1], exports[0])
    np.testing.assert_equal(joined, exports[0])


def test_scores_belong_to_another_table(sides: Sides):
    """`export_keys_and_scores` is of HKV tables only, as TFRA's own other tables say too."""
    for variable in sides.variables(dim=2):
        with pytest.raises(TypeError, match="export_keys_and_scores"):
            variable.export_keys_and_scores(8)


def test_without_a_policy_nothing_is_restricted(sides: Sides):
    for variable in sides.variables(dim=2):
        filled(variable)
        assert variable.restrict(2) is None
        assert int(variable.size()) == 6


def test_a_variable_without_checkpoint(sides: Sides, tmp_path):
    """`checkpoint=False`: restoring leaves the rows alone."""
    sizes = []
    for side, variable in zip(sides.creators, sides.variables(dim=2, checkpoint=False), strict=True):
        filled(variable)
        checkpoint = tf.train.Checkpoint(variable=variable)
        path = checkpoint.save(str(tmp_path / side))
        variable.remove(keys(1))
        checkpoint.restore(path)
        sizes.append(int(variable.size()))
    assert sizes == [5, 5]


def test_a_table_of_a_policy_is_checkpointed(sides: Sides, tmp_path):
    """The counts of TFRA's policy come back with the rows; ours are in the rows on the server."""
    for side, policy in (("cuckoo", de.FrequencyRestrictPolicy), ("rowbank", de.FrequencyRestrictPolicy)):
        variable = de.get_variable(
            sides.unique(f"counted_{side}"), dim=2, devices=["/CPU:0"], restrict_policy=policy,
            kv_creator=sides.creators[side],
        )  # fmt: skip
        variable.restrict_policy.apply_update(keys(1, 2, 1))
        checkpoint = tf.train.Checkpoint(variable=variable)
        path = checkpoint.save(str(tmp_path / side))
        before = sorted_export(variable.restrict_policy.status)
        variable.restrict_policy.status.clear()
        checkpoint.restore(path)
        np.testing.assert_equal(sorted_export(variable.restrict_policy.status), before)


def test_rowbank_creators_are_restored_from_their_configuration(target):
    creator = rowbank.tfra.TableCreator(target, prefix="run", durability="journaled", timeout_s=3.0)
    assert rowbank.tfra.TableCreator.from_config(creator.get_config()).get_config() == creator.get_config()
