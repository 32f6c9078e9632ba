"""The host part of a step: no framework is needed, and what does not fit is named."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

import rowbank
from rowbank.remote import FeatureConfig, Ragged, RemoteTables, Sparse, TableConfig
from rowbank.remote.configs import flatten, match, pack_like
from rowbank.remote.pipeline import Lookahead, Pipeline

TABLE = TableConfig("t", 2)


def test_a_loop_in_numpy_alone(target, table_name):
    """Mean of two rows, squared loss to 1, SGD(1.0): by hand; TensorFlow is not imported."""
    program = f"""
        import sys
        import numpy as np
        import rowbank
        from rowbank.remote import FeatureConfig, Ragged, RemoteTables, TableConfig

        table = TableConfig({table_name!r}, dim=1, initializer=rowbank.Zeros())
        tables = RemoteTables({{"ids": FeatureConfig(table)}}, optimizer=rowbank.SGD(1.0), target={target!r})
        data = [{{"ids": Ragged([5, 6, 5], [0, 2, 2, 3])}}]
        for features, batch in tables.batches(data):
            rows, arrays = batch.rows[table.name], batch.indices["ids"]
            total = np.zeros((3, 1), np.float32)
            np.add.at(total, arrays["example"], rows[arrays["row"]] * arrays["weight"][:, None])
            means = total / arrays["divisor"][:, None]
            upstream = (2.0 * (means - 1.0) / arrays["divisor"][:, None])[arrays["example"]]
            gradients = np.zeros_like(rows)
            np.add.at(gradients, arrays["row"], upstream * arrays["weight"][:, None])
            tables.apply_gradients(batch, {{table.name: gradients}})
        print(tables.client.pull({{table.name: [5, 6]}})[table.name].tolist(), "tensorflow" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[[3.0], [1.0]] False", done.stderr


def test_a_batch_is_static_arrays(target, table_name):
    """7 ids of 3 distinct keys over two features: 4 rows; 3 combined ids: 4 places."""
    table = TableConfig(table_name, 2, initializer=rowbank.Constant(0.5))
    tables = RemoteTables([FeatureConfig(table), FeatureConfig(table)], optimizer=rowbank.SGD(1.0), target=target)
    batch = tables.enqueue([np.array([[7, 8], [9, 7]]), Ragged([8, 8, 7], [0, 1, 1, 3])])
    np.testing.assert_array_equal(batch.keys[table_name], [7, 8, 9])
    np.testing.assert_array_equal(batch.rows[table_name], [[0.5, 0.5]] * 3 + [[0.0, 0.0]])
    assert list(batch.indices) == ["0", "1"]
    np.testing.assert_array_equal(batch.indices["0"]["row"], [[0, 1], [2, 0]])
    expected = {"row": [1, 1, 0, 0], "example": [0, 2, 2, 0], "weight": [1, 1, 1, 0], "divisor": [1, np.inf, 2]}
    for name, values in batch.indices["1"].items():
        np.testing.assert_array_equal(values, expected[name])
    assert tables.client.table(table_name).size() == 0, "a lookup creates no row"


def test_gradients_of_some_tables_only(target, table_name):
    names = [f"{table_name}/{side}" for side in "ab"]
    tables = RemoteTables(
        [FeatureConfig(TableConfig(name, 1)) for name in names], optimizer=rowbank.SGD(1.0), target=target
    )
    batch = tables.enqueue([[1], np.zeros(0, np.int64)])
    tables.apply_gradients(batch, {names[0]: np.ones((1, 1), np.float32), names[1]: None})
    tables.close()
    assert [tables.client.table(name).size() for name in names] == [1, 0]


def test_learning_rate_of_one_push(target, table_name):
    table = TableConfig(table_name, 1, initializer=rowbank.Zeros())
    tables = RemoteTables(FeatureConfig(table), optimizer=rowbank.SGD(1.0), target=target)
    batch = tables.enqueue([1])
    tables.apply_gradients(batch, {table_name: np.ones((1, 1), np.float32)}, learning_rate=0.25)
    tables.flush()
    assert float(tables.client.pull({table_name: [1]})[table_name][0, 0]) == -0.25


def test_negative_ids_are_keys(target, table_name):
    """Unless `validate_weights_and_indices` says otherwise: half of all hashes are negative."""
    table = TableConfig(table_name, 1)
    tables = RemoteTables(
        {"all": FeatureConfig(table), "some": FeatureConfig(table, validate_weights_and_indices=True)},
        optimizer=rowbank.SGD(1.0),
        target=target,
    )
    batch = tables.enqueue({"all": Ragged([-5], [0, 1]), "some": Ragged([-6, 7], [0, 2])})
    np.testing.assert_array_equal(batch.keys[table_name], [-5, 7])


RAGGED = Ragged([1, 2, 3], [0, 2, 3])
WRONG = {
    "floats": ([1.5], None, {}, TypeError, "feature 't': expected integer ids, got float64"),
    "dense weights": ([1], [1.0], {}, ValueError, "dense ids take no weights"),
    "dense sequence": ([[1]], None, {"max_sequence_length": 2}, ValueError, "a sequence is ragged or sparse"),
    "sequence weights": (RAGGED, Ragged([1.0] * 3, [0, 2, 3]), {"max_sequence_length": 2}, ValueError, "no weights"),
    "other splits": (RAGGED, Ragged([1.0] * 3, [0, 1, 3]), {}, ValueError, "ids and weights differ in row_splits"),
    "other form": (RAGGED, Sparse([[0, 0]], [1.0], [1, 1]), {}, ValueError, "weights of the same form as the ids"),
    "infinite": (RAGGED, Ragged([1.0, np.inf, 1.0], [0, 2, 3]), {}, ValueError, "finite weights"),
    "dense shape": ([[1, 2]], None, {"output_shape": [None, 3]}, ValueError, r"output_shape \(1, 3\), got \(1, 2\)"),
    "ragged shape": (RAGGED, None, {"output_shape": [3]}, ValueError, r"\(3,\) does not fit examples of shape \(2,\)"),
    "sparse rank": (Sparse([[0]], [1], [1]), None, {}, ValueError, "sparse ids of rank 2 or more"),
}


@pytest.mark.parametrize("case", WRONG)
def test_inputs_that_do_not_fit_are_named(target, case):
    ids, weights, options, error, message = WRONG[case]
    tables = RemoteTables(FeatureConfig(TABLE, **options), optimizer=rowbank.SGD(1.0), target=target)
    with pytest.raises(error, match=message):
        _ = tables.enqueue(ids, weights).rows


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TableConfig("t", 2, combiner="max"), "combiner: expected one of mean, sum, sqrtn, got 'max'"),
        (lambda: TableConfig("t", 0), "table 't': dim: expected an integer from 1 to 4096, got 0"),
        (lambda: TableConfig("t", 2, optimizer="adam"), "table 't': optimizer: expected one of SGD, .* got 'adam'"),
        (lambda: TableConfig("t", 2, initializer="zeros"), "table 't': initializer: expected one of .* got 'zeros'"),
        (lambda: TableConfig("t", 2, eviction="lfu"), "table 't': eviction: expected an Eviction, got 'lfu'"),
        (lambda: FeatureConfig(TABLE, output_shape=5), "output_shape: expected a list of sizes, got 5"),
        (lambda: TableConfig("t", 2, vocabulary_size=0), "vocabulary_size: expected an integer of at least 1, got 0"),
        (lambda: FeatureConfig("t"), "table: expected a TableConfig, got str"),
        (lambda: FeatureConfig(TABLE, max_sequence_length=-1), "max_sequence_length: .* got -1"),
        (lambda: FeatureConfig(TABLE, output_shape=[2, None]), "output_shape: expected sizes, None at most in front"),
        (lambda: RemoteTables({"a": 1}, optimizer=rowbank.SGD()), "at 'a': expected a FeatureConfig, got int"),
        (lambda: RemoteTables({}, optimizer=rowbank.SGD()), "at least one feature"),
        (
            lambda: RemoteTables([FeatureConfig(TABLE, name="x")] * 2, optimizer=rowbank.SGD()),
            "two features are named 'x'",
        ),
        (
            lambda: RemoteTables([FeatureConfig(TABLE), FeatureConfig(TableConfig("t", 3))], optimizer=rowbank.SGD()),
            "two different tables are named 't'",
        ),
    ],
)
def test_configurations_that_cannot_be_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_wrong_gradients_are_named(target, table_name):
    tables = RemoteTables(FeatureConfig(TableConfig(table_name, 2)), optimizer=rowbank.SGD(1.0), target=target)
    batch = tables.enqueue([1, 2, 3])
    with pytest.raises(ValueError, match=r"expected shape \(4, 2\), got \(3, 2\)"):
        tables.apply_gradients(batch, {table_name: np.ones((3, 2), np.float32)})
    with pytest.raises(ValueError, match=f"expected tables of {table_name}, got 'other'"):
        tables.apply_gradients(batch, {"other": np.ones((4, 2), np.float32)})


def test_nested_structures():
    structure = {"b": [1, {"y": 2, "x": 3}], "a": (4,)}
    assert flatten(structure) == [("a/0", 4), ("b/0", 1), ("b/1/x", 3), ("b/1/y", 2)]
    assert pack_like(structure, [10, 20, 30, 40]) == {"b": [20, {"y": 40, "x": 30}], "a": (10,)}
    assert match(structure, {"a": ["four"], "b": ("one", {"x": "three", "y": "two"})}, "features") == [
        "four", "one", "three", "two",
    ]  # fmt: skip
    for given, message in [
        ({"a": [1]}, "features: expected a dict of a, b, got"),
        ({"a": [1, 2], "b": []}, "features at 'a': expected a list or tuple of 1, got 2 of them"),
        ({"a": [1], "b": [1, 2]}, "features at 'b/1': expected a dict of x, y, got int"),
    ]:
        with pytest.raises(ValueError, match=message):
            match(structure, given, "features")


@pytest.mark.parametrize("background", [False, True])
def test_a_pipeline_keeps_the_order_and_tells_a_failure_once(background):
    calls: list[str] = []
    pipeline = Pipeline(background=background)

    def fail() -> None:
        raise RuntimeError("write 2")

    reads = [pipeline.read(lambda: calls.append("read 1"))]
    pipeline.write(lambda: calls.append("write 1"))
    reads.append(pipeline.read(lambda: calls.append("read 2")))
    if background:
        pipeline.write(fail)
        with pytest.raises(RuntimeError, match="write 2"):
            pipeline.write(lambda: calls.append("write 3"))
    else:
        with pytest.raises(RuntimeError, match="write 2"):
            pipeline.write(fail)
    pipeline.flush()
    pipeline.write(lambda: calls.append("write 4"))
    pipeline.close()
    assert calls == ["read 1", "write 1", "read 2", "write 4"]


def test_looking_ahead_tells_failures_in_their_turn():
    taken: list[int] = []

    def prepare(element: int) -> int:
        taken.append(element)
        if element == 3:
            raise RuntimeError("three")
        return -element

    lookahead, elements = Lookahead(prepare, ahead=True), iter([1, 2, 3, 4])
    assert lookahead.take(elements) == -1
    assert taken == [1, 2]
    assert lookahead.take(elements) == -2
    with pytest.raises(RuntimeError, match="three"):
        lookahead.take(elements)
    assert lookahead.take(elements) == -4
    with pytest.raises(StopIteration):
        lookahead.take(elements)
    assert lookahead.take(iter([9])) == -9


def test_an_interrupted_wait_hides_no_failure():
    """A write that fails after Ctrl-C is reported by the next flush, and only by that."""
    pipeline, go_on = Pipeline(background=True), threading.Event()

    def fail():
        go_on.wait(30)
        raise OSError("refused")

    def flush_until_interrupted():
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        pipeline.flush()

    pipeline.write(fail)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            flush_until_interrupted()
    finally:
        signal.signal(signal.SIGALRM, before)
    go_on.set()
    with pytest.raises(OSError, match="refused"):
        pipeline.flush()
    pipeline.close()
