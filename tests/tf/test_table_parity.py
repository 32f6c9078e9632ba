"""Every operation of a table, run on TFRA's CuckooHashTable and on Rowbank side by side."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from tests.tf.support import Sides, answers, as_numpy, in_function, sorted_export

from rowbank.tfra import store

K = tf.int64


def keys(*values: int) -> tf.Tensor:
    return tf.constant(values, K)


@pytest.fixture(params=["eager", "function"])
def mode(request):
    """Runs a table operation as it is or traced in a tf.function."""
    return (lambda operation: operation()) if request.param == "eager" else in_function


def filled(tables, dim=2):
    for table in tables:
        table.insert(keys(1, 2, 3), tf.reshape(tf.range(3 * dim, dtype=tf.float32), [3, dim]))


def test_lookup_of_present_and_missing_keys(sides: Sides, mode):
    tables = sides.tables(dim=2, default=[7.0, 8.0])
    filled(tables)
    for probe in (keys(2, 9, 1, 2), keys(), tf.constant(3, K), tf.constant(9, K), tf.constant([[1, 9], [9, 3]], K)):
        cuckoo, rowbank = answers(tables, mode, lambda table, ids: table.lookup(ids, return_exists=True), probe)
        np.testing.assert_array_equal(rowbank[0], cuckoo[0])
        np.testing.assert_array_equal(rowbank[1], cuckoo[1])
        assert rowbank[0].shape == (*probe.shape, 2)


def test_lookup_defaults_of_every_shape(sides: Sides, mode):
    """Full, one row, one row per [1, dim], and a scalar for a table of dim 1, as the frequency policy passes it."""
    tables = sides.tables(dim=2)
    filled(tables)
    probe = keys(1, 8, 9)
    full = tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    for defaults in (full, tf.constant([5.0, 6.0]), tf.constant([[5.0, 6.0]]), None):
        cuckoo, rowbank = answers(
            tables, mode, lambda table, d: table.lookup(probe, dynamic_default_values=d), defaults
        )
        np.testing.assert_array_equal(rowbank, cuckoo)
    narrow = sides.tables(dim=1, value_dtype=tf.int32, default=[0])
    cuckoo, rowbank = answers(narrow, mode, lambda table: table.lookup(probe, dynamic_default_values=tf.constant(4)))
    np.testing.assert_array_equal(rowbank, cuckoo)


def test_a_scalar_default_fills_wide_rows(sides: Sides):
    """CuckooHashTable reads past the scalar there, so the expected values are by hand."""
    table = sides.tables(dim=3)[1]
    np.testing.assert_array_equal(table.lookup(keys(5), dynamic_default_values=tf.constant(4.0)), [[4.0, 4.0, 4.0]])


def test_lookup_never_inserts(sides: Sides, mode):
    tables = sides.tables(dim=2)
    filled(tables)
    answers(tables, mode, lambda table: table.lookup(keys(50, 51)))
    assert [int(table.size()) for table in tables] == [3, 3]


def test_insert_overwrites_in_any_shape_of_keys(sides: Sides, mode):
    tables = sides.tables(dim=2)
    filled(tables)
    for ids, values in (
        (keys(2, 4), tf.constant([[9.0, 9.0], [4.0, 4.0]])),
        (tf.constant(5, K), tf.constant([1.0, 2.0])),
        (tf.constant([[6, 7], [8, 1]], K), tf.ones([2, 2, 2])),
        (keys(), tf.zeros([0, 2])),
    ):
        answers(tables, mode, lambda table, i, v: table.insert(i, v), ids, values)
    np.testing.assert_equal(sorted_export(tables[1]), sorted_export(tables[0]))


def test_accum_truth_table(sides: Sides, mode):
    """Present and seen adds; absent and unseen inserts; present but unseen, and absent but seen, are ignored."""
    tables = sides.tables(dim=2)
    filled(tables)
    ids, deltas = keys(1, 2, 20, 21), tf.constant([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0]])
    for exists in (tf.constant([True, False, False, True]), tf.constant([[True], [False], [False], [True]])):
        answers(tables, mode, lambda table, e: table.accum(ids, deltas, e), exists)
    np.testing.assert_equal(sorted_export(tables[1]), sorted_export(tables[0]))
    np.testing.assert_array_equal(
        tables[1].lookup(keys(1, 2, 20, 21)), [[2.0, 3.0], [2.0, 3.0], [3.0, 3.0], [0.0, 0.0]]
    )


def test_accum_of_repeated_keys(sides: Sides):
    tables = sides.tables(dim=1)
    filled(tables, dim=1)
    for table in tables:
        table.accum(
            keys(1, 1, 30, 30), tf.constant([[1.0], [2.0], [5.0], [6.0]]), tf.constant([True, True, False, False])
        )
    np.testing.assert_array_equal(tables[1].lookup(keys(1, 30)), tables[0].lookup(keys(1, 30)))


def test_remove_ignores_missing_keys(sides: Sides, mode):
    tables = sides.tables(dim=2)
    filled(tables)
    for gone in (keys(2, 99), tf.constant([[1]], K), keys()):
        answers(tables, mode, lambda table, ids: table.remove(ids), gone)
    np.testing.assert_equal(sorted_export(tables[1]), sorted_export(tables[0]))


def test_size_clear_and_export_of_empty(sides: Sides, mode):
    tables = sides.tables(dim=2)
    filled(tables)
    sizes = answers(tables, mode, lambda table: table.size())
    assert sizes[0].dtype == sizes[1].dtype == np.int64
    assert sizes[0] == sizes[1] == 3
    answers(tables, mode, lambda table: table.clear())
    for exported in (sorted_export(table) for table in tables):
        assert exported[0].shape == (0,)
        assert exported[1].shape == (0, 2)


@pytest.mark.parametrize(
    "value_dtype",
    [tf.float32, tf.float16, tf.bfloat16, tf.float64, tf.int8, tf.int32, tf.int64],
    ids=lambda dtype: dtype.name,
)
def test_value_types(sides: Sides, mode, value_dtype):
    tables = sides.tables(dim=3, value_dtype=value_dtype, default=[1, 2, 3])
    values = tf.cast(tf.constant([[1.5, -2.25, 100.0], [-128.0, 127.0, 0.0]]), value_dtype)
    answers(tables, mode, lambda table: table.insert(keys(-5, 2**62), values))
    cuckoo, rowbank = answers(tables, mode, lambda table: table.lookup(keys(2**62, 3, -5)))
    assert rowbank.dtype == cuckoo.dtype == value_dtype.as_numpy_dtype
    np.testing.assert_array_equal(rowbank, cuckoo)
    np.testing.assert_equal(sorted_export(tables[1]), sorted_export(tables[0]))


@pytest.mark.parametrize("value_dtype", [tf.float16, tf.bfloat16, tf.int32, tf.int64], ids=lambda dtype: dtype.name)
def test_accum_of_other_types(sides: Sides, value_dtype):
    tables = sides.tables(dim=2, value_dtype=value_dtype)
    start = tf.cast(tf.constant([[100, -100]]), value_dtype)
    delta = tf.cast(tf.constant([[-101, 28]]), value_dtype)
    for table in tables:
        table.insert(keys(1), start)
        table.accum(keys(1), delta, tf.constant([True]))
    np.testing.assert_array_equal(tables[1].lookup(keys(1)), tables[0].lookup(keys(1)))


def test_int32_values_over_their_whole_range(sides: Sides):
    """Stored as floats, read back as the same integers."""
    table = sides.tables(dim=1, value_dtype=tf.int32)[1]
    rng = np.random.default_rng(11)
    values = np.r_[-(2**31), 2**31 - 1, 2**24 + 1, -1, 0, rng.integers(-(2**31), 2**31, 5000)].astype(np.int32)
    ids = tf.range(len(values), dtype=K)
    table.insert(ids, values[:, None])
    np.testing.assert_array_equal(table.lookup(ids).numpy()[:, 0], values)


def test_int32_keys(sides: Sides, mode):
    tables = sides.tables(dim=2, key_dtype=tf.int32)
    ids = tf.constant([-(2**31), 2**31 - 1], tf.int32)
    answers(tables, mode, lambda table: table.insert(ids, tf.ones([2, 2])))
    np.testing.assert_equal(sorted_export(tables[1]), sorted_export(tables[0]))
    assert tables[1].export()[0].dtype == tf.int32


def test_keys_of_unknown_rank(sides: Sides):
    """A shadow variable hands its ids over as a variable of unknown shape."""
    tables = sides.tables(dim=2)
    filled(tables)
    ids = tf.Variable(keys(1, 9), shape=tf.TensorShape(None), trainable=False)
    for assigned in (keys(1, 9), tf.constant([[3], [2]], K), keys()):
        ids.assign(assigned)
        cuckoo, rowbank = answers(tables, in_function, lambda table: table.lookup(ids, return_exists=True))
        np.testing.assert_array_equal(rowbank[0], cuckoo[0])
        np.testing.assert_array_equal(rowbank[1], cuckoo[1])


def test_static_shapes_in_a_graph(sides: Sides):
    """What can be known is known; CuckooHashTable says less."""
    table = sides.tables(dim=2)[1]
    shapes: list[list[int | None]] = []

    @tf.function(input_signature=[tf.TensorSpec([None, 3], K)])
    def trace(ids):
        tensors = (*table.lookup(ids, return_exists=True), *table.export(), table.size())
        shapes.extend(tensor.shape.as_list() for tensor in tensors)
        return tensors[0]

    trace(tf.zeros([2, 3], K))
    assert shapes == [[None, 3, 2], [None, 3], [None], [None, 2], []]


def test_operations_of_a_function_run_in_program_order(sides: Sides):
    for table in sides.tables(dim=1):

        @tf.function
        def sequence(table=table):
            table.insert(keys(1), tf.constant([[1.0]]))
            first = table.lookup(keys(1))
            table.insert(keys(1), tf.constant([[2.0]]))
            second = table.lookup(keys(1))
            table.remove(keys(1))
            return first, second, table.size()

        assert [tensor.numpy().item() for tensor in sequence()] == [1.0, 2.0, 0]


def test_wrong_shapes_are_refused_alike(sides: Sides, mode):
    tables = sides.tables(dim=2)
    for table in tables:
        for values in (tf.ones([2, 3]), tf.ones([4]), tf.ones([3, 2])):
            with pytest.raises(tf.errors.InvalidArgumentError, match="Expected shape"):
                mode(lambda t=table, v=values: t.insert(keys(1, 2), v))
        assert int(table.size()) == 0


def test_wrong_types_are_refused_alike(sides: Sides):
    for table in sides.tables(dim=2):
        wrong = tf.constant([1], tf.int32)
        with pytest.raises(ValueError, match="int64"):
            table.lookup(wrong)
        with pytest.raises(ValueError, match="int64"):
            table.insert(wrong, tf.ones([1, 2]))
        with pytest.raises(ValueError, match="float32"):
            table.insert(keys(1), tf.ones([1, 2], tf.float64))
        with pytest.raises(TypeError, match="Signature mismatch"):
            table.remove(wrong)


def test_wrong_sizes_of_defaults_and_flags_are_refused(sides: Sides, mode):
    """CuckooHashTable reads past the end of both; Rowbank says what it expected."""
    table = sides.tables(dim=2)[1]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Expected shape \[3, 2\], \[2\] or \[\]"):
        mode(lambda: table.lookup(keys(1, 2, 3), dynamic_default_values=tf.ones([4])))
    with pytest.raises(tf.errors.InvalidArgumentError, match="Expected shape"):
        mode(lambda: table.accum(keys(1, 2), tf.ones([2, 2]), tf.constant([True])))


def test_saved_files_are_the_same_and_load_into_the_other(sides: Sides, mode, tmp_path):
    tables = sides.tables(dim=2)
    filled(tables)
    folders = [tmp_path / "cuckoo", tmp_path / "rowbank"]
    for table, folder in zip(tables, folders, strict=True):
        mode(lambda t=table, f=folder: t.save_to_file_system(str(f), file_name="saved"))
    assert sorted(path.name for path in folders[1].iterdir()) == ["saved-keys", "saved-values"]
    for ending in ("keys", "values"):
        sizes = [(folder / f"saved-{ending}").stat().st_size for folder in folders]
        assert sizes[0] == sizes[1]
    for table, folder in zip(tables, reversed(folders), strict=True):
        before = sorted_export(table)
        table.clear()
        table.insert(keys(77), tf.ones([1, 2]))
        mode(lambda t=table, f=folder: t.load_from_file_system(str(f), file_name="saved"))
        assert int(table.size()) == 4, "loading adds to what is there"
        table.remove(keys(77))
        np.testing.assert_equal(sorted_export(table), before)


def test_file_options(sides: Sides, tmp_path, monkeypatch):
    """Append, small buffers, the environment's folder, all shards in a folder, and a missing file."""
    results = []
    for table in sides.tables(dim=2):
        folder = tmp_path / type(table).__name__
        filled([table])
        table.save_to_file_system(str(folder), file_name="a_mht_1of2", buffer_size=2)
        table.clear()
        table.insert(keys(9), tf.ones([1, 2]))
        table.save_to_file_system(str(folder), file_name="a_mht_1of2", append_to_file=True)
        table.insert(keys(10), tf.ones([1, 2]))
        monkeypatch.setenv("ELSEWHERE", str(folder))
        table.save_to_file_system("unused", file_name="a_mht_2of2", dirpath_env="ELSEWHERE")
        table.insert(keys(11), tf.ones([1, 2]))
        table.save_to_file_system(str(folder), file_name="other_mht_1of1")
        table.clear()
        table.load_from_file_system(str(folder), file_name="a_mht_1of1", load_entire_dir=True, buffer_size=2)
        with pytest.raises(tf.errors.NotFoundError, match="none-keys not found"):
            table.load_from_file_system(str(folder), file_name="none")
        results.append((sorted_export(table), sorted(path.name for path in folder.iterdir())))
    np.testing.assert_equal(results[1], results[0])


def test_files_that_do_not_fit_are_refused(sides: Sides, tmp_path):
    tables = sides.tables(dim=2)
    (tmp_path / "cut-keys").write_bytes(bytes(24))
    (tmp_path / "cut-values").write_bytes(bytes(20))
    with pytest.raises(tf.errors.InvalidArgumentError, match="24 bytes of keys and 20 of values"):
        tables[1].load_from_file_system(str(tmp_path), file_name="cut")
    assert int(tables[1].size()) == 0


def test_more_rows_than_one_batch(sides: Sides, monkeypatch):
    monkeypatch.setattr(store, "_BATCH_ROWS", 3)
    tables = sides.tables(dim=2, default=[7.0, 8.0])
    ids = tf.range(10, dtype=K)
    for table in tables:
        table.insert(ids, tf.reshape(tf.range(20.0), [10, 2]))
        table.accum(ids, tf.ones([10, 2]), tf.ones([10], tf.bool))
        table.remove(ids[::2])
    np.testing.assert_equal(sorted_export(tables[1]), sorted_export(tables[0]))
    cuckoo, rowbank = (as_numpy(table.lookup(ids, return_exists=True)) for table in tables)
    np.testing.assert_equal(rowbank, cuckoo)


def test_rows_that_are_not_finite_are_refused(sides: Sides, mode):
    """TFRA stores them; here a step that went wrong leaves no trace."""
    table = sides.tables(dim=2)[1]
    with pytest.raises(tf.errors.InvalidArgumentError, match="NaN or infinity in row 1"):
        mode(lambda: table.insert(keys(1, 2), tf.constant([[1.0, 2.0], [np.nan, 1.0]])))
    assert int(table.size()) == 0


def test_threads_share_a_table(sides: Sides):
    """Each thread works on keys of its own; every value is the number of its steps."""
    table = sides.tables(dim=2)[1]

    @tf.function
    def step(ids):
        table.insert(ids, table.lookup(ids) + 1.0)

    def work(first: int) -> None:
        for _ in range(20):
            step(tf.range(first, first + 50, dtype=K))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(0, 200, 50)))
    ids, values = sorted_export(table)
    np.testing.assert_array_equal(ids, np.arange(200))
    np.testing.assert_array_equal(values, np.full((200, 2), 20.0))
