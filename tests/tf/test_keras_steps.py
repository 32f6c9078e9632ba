"""What a training step of `rowbank.keras` layers sends, and what its uses of one table add up to."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

import rowbank
import rowbank.keras
from rowbank.calls.transport import Transport
from rowbank.keras import Embedding, SquashedEmbedding
from rowbank.keras.gateway import RowGateway

VOCABULARY = 12
OPTIMIZERS = {
    "sgd": (rowbank.SGD(0.1), lambda: tf.keras.optimizers.SGD(0.1)),
    "adagrad": (rowbank.Adagrad(0.1), lambda: tf.keras.optimizers.Adagrad(0.1)),
    "adam": (rowbank.Adam(0.01), lambda: tf.keras.optimizers.Adam(0.01)),
}
MODES = {"eager": lambda step: step, "function": lambda step: tf.function(step)}


@pytest.fixture
def sent(monkeypatch) -> Counter[str]:
    """Counts requests to shards by method; they still go out."""
    counter: Counter[str] = Counter()
    run = Transport.run

    def counted(self, method, requests, **kwargs):
        counter[method.path.rsplit("/")[-1]] += len(requests)
        return run(self, method, requests, **kwargs)

    monkeypatch.setattr(Transport, "run", counted)
    return counter


def spec(name: str, optimizer=None, dim: int = 4) -> rowbank.TableSpec:
    return rowbank.TableSpec(name, dim=dim, initializer=rowbank.Constant(0.5), optimizer=optimizer or rowbank.SGD(0.1))


def ids_and_labels(steps: int) -> list[tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    """Per step: [8, 3] and [8] ids, every one of the vocabulary among the first, and [8] labels."""
    rng = np.random.default_rng(5)
    return [
        (
            tf.constant(rng.permutation(np.arange(24) % VOCABULARY).reshape(8, 3)),
            tf.constant(rng.integers(0, VOCABULARY, 8)),
            tf.constant(rng.random(8), tf.float32),
        )
        for _ in range(steps)
    ]


def loss_of(first, second, history, item, label):
    """First and second are layers, or one layer used twice."""
    score = tf.reduce_sum(tf.reduce_sum(first(history), axis=1) * second(item), axis=1)
    return tf.reduce_mean(tf.square(score - label))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_one_layer_used_twice_trains_as_keras_does(target, table_name, optimizer, mode):
    """Ten steps; both gradients of a row are one step of its optimizer."""
    ours, theirs = OPTIMIZERS[optimizer]
    layer = Embedding(spec(table_name, ours), target=target)
    reference = tf.keras.layers.Embedding(VOCABULARY, 4, embeddings_initializer=tf.keras.initializers.Constant(0.5))
    keras_optimizer = theirs()

    def step(history, item, label):
        with tf.GradientTape() as tape:
            loss = loss_of(layer, layer, history, item, label)
        tape.gradient(loss, layer.trainable_variables)
        return loss

    layer.build((None,))
    stepped = MODES[mode](step)
    for history, item, label in ids_and_labels(10):
        with tf.GradientTape() as tape:
            expected = loss_of(reference, reference, history, item, label)
        keras_optimizer.apply_gradients(
            zip(tape.gradient(expected, reference.trainable_variables), reference.trainable_variables, strict=True)
        )
        np.testing.assert_allclose(stepped(history, item, label), expected, rtol=5e-5)
    rows = layer.table.lookup(np.arange(VOCABULARY))
    assert rows.found.all()
    np.testing.assert_allclose(rows.values, reference.get_weights()[0], atol=1e-6)
    assert layer.table.stats().step == 10


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_two_layers_on_one_table_are_one_step_of_fit(target, table_name, optimizer, sent):
    ours, theirs = OPTIMIZERS[optimizer]
    layers = [Embedding(spec(table_name, ours), target=target) for _ in range(2)]
    reference = [
        tf.keras.layers.Embedding(VOCABULARY, 4, embeddings_initializer=tf.keras.initializers.Constant(0.5))
    ] * 2
    batches = ids_and_labels(10)
    data = [np.concatenate([batch[part] for batch in batches]) for part in range(3)]
    for pair in (layers, reference):
        history, item = tf.keras.Input([3], dtype=tf.int64), tf.keras.Input([], dtype=tf.int64)
        score = tf.keras.layers.Dot(axes=1)([tf.reduce_sum(pair[0](history), axis=1), pair[1](item)])
        model = tf.keras.Model([history, item], score)
        model.compile(theirs(), "mse")
        sent.clear()
        model.fit(data[:2], data[2], batch_size=8, shuffle=False, verbose=0)
        if pair is layers:
            assert sent == {"Pull": 10, "Push": 10}
    rows = layers[0].table.lookup(np.arange(VOCABULARY)).values
    np.testing.assert_allclose(rows, reference[0].get_weights()[0], atol=1e-6)
    assert layers[0].table.stats().step == 10


def test_all_tables_of_a_step_are_one_pull_and_one_push(target, table_name, sent):
    """Five layers on four tables of two widths; `predict` pulls once per batch and pushes nothing."""
    tables = [spec(f"{table_name}-{number}", dim=4 + number % 2) for number in range(4)]
    inputs = [tf.keras.Input([3], dtype=tf.int64) for _ in range(5)]
    outputs = [
        SquashedEmbedding(table, target=target)(ids) for table, ids in zip([*tables, tables[0]], inputs, strict=True)
    ]
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(1)(tf.concat(outputs, axis=1)))
    model.compile("sgd", "mse")
    rng = np.random.default_rng(1)
    x, y = [rng.integers(0, 50, (32, 3)) for _ in inputs], rng.random(32)
    sent.clear()
    model.fit(x, y, batch_size=8, epochs=2, verbose=0)
    assert sent == {"Pull": 8, "Push": 8}
    client = rowbank.Client(target)
    for table, seen in zip(tables, [x[0], *x[1:4]], strict=True):
        (stats,) = client.stats(table.name)
        assert stats.step == 8
        assert client.table(table.name).size() == len(np.unique([seen, x[4]] if table is tables[0] else seen))
    sent.clear()
    model.predict(x, batch_size=8, verbose=0)
    assert sent == {"Pull": 4}


def test_steps_per_execution_are_steps(target, table_name, sent):
    """Keras loops over the steps inside one graph: each still pulls what the one before has pushed."""
    rows = []
    for steps in (1, 4):
        layer = Embedding(spec(f"{table_name}-{steps}", rowbank.Adam(0.05)), target=target)
        tf.keras.utils.set_random_seed(4)
        model = tf.keras.Sequential([layer, tf.keras.layers.Flatten(), tf.keras.layers.Dense(1)])
        model.compile("sgd", "mse", steps_per_execution=steps)
        model(tf.zeros([1, 3], tf.int64))
        x = np.random.default_rng(2).integers(0, VOCABULARY, (64, 3))
        sent.clear()
        model.fit(x, np.ones(64), batch_size=8, shuffle=False, verbose=0)
        assert sent == {"Pull": 8, "Push": 8}
        rows.append(layer.table.lookup(np.arange(VOCABULARY)).values)
    np.testing.assert_allclose(rows[1], rows[0], atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_two_steps_of_one_function_are_two_pushes(target, table_name, mode, sent):
    """By hand: gradient 1, then 2 x row, of SGD(0.1) from 0.5: 0.4, then 0.32."""
    layer = Embedding(spec(table_name), target=target)

    def steps(ids):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(ids))
        tape.gradient(loss, layer.trainable_variables)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(ids) ** 2)
        tape.gradient(loss, layer.trainable_variables)
        return layer(ids)

    layer.build((None,))
    rows = MODES[mode](steps)(tf.constant([7]))
    assert sent == {"CreateTable": sent["CreateTable"], "Pull": 3, "Push": 2}
    np.testing.assert_allclose(rows, [[0.32] * 4], rtol=1e-6)
    np.testing.assert_allclose(layer.table.lookup([7]).values, [[0.32] * 4], rtol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_uses_that_do_not_count_do_not_push(target, table_name, mode, sent):
    """Of five uses, one is unused, one stopped, one in inference, one without ids: key 1 alone is pushed."""
    layer = Embedding(spec(table_name), target=target)

    def step(empty):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(tf.constant([1])))
            layer(tf.constant([2]))
            loss += tf.reduce_sum(tf.stop_gradient(layer(tf.constant([3]))))
            loss += tf.reduce_sum(layer(tf.constant([4]), training=False)) + tf.reduce_sum(layer(empty))
        return tape.gradient(loss, layer.trainable_variables)

    layer.build((None,))
    gradients = MODES[mode](step)(tf.zeros([0], tf.int64))
    assert [float(gradient) for gradient in gradients] == [0.0]
    assert sent["Push"] == 1
    np.testing.assert_array_equal(layer.table.lookup([1, 2, 3, 4]).found, [True, False, False, False])
    assert layer.table.lookup([1], with_metadata=True).frequency == 1


@pytest.mark.parametrize("mode", MODES)
def test_what_a_tape_does_not_watch_does_not_push(target, table_name, mode):
    """A tape differentiates all that it watched, whatever it is asked for; here it watches the second of two layers."""
    layers = [Embedding(spec(f"{table_name}-{number}"), target=target) for number in range(2)]

    def step(ids):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(layers[1].trainable_variables)
            loss = tf.reduce_sum(layers[0](ids) + layers[1](ids))
        return tape.gradient(loss, layers[1].trainable_variables)

    for layer in layers:
        layer.build((None,))
    MODES[mode](step)(tf.constant([7]))
    assert [layer.table.size() for layer in layers] == [0, 1]


@pytest.mark.parametrize("mode", MODES)
def test_layers_on_two_tables_in_one_tape_are_one_push(target, table_name, mode, sent):
    """Three layers, two on one table; the gradient of every anchor is zero, the rows are summed."""
    layers = [Embedding(spec(f"{table_name}-{number}"), target=target) for number in (0, 1, 0)]

    def step(ids):
        with tf.GradientTape() as tape:
            loss = tf.add_n([tf.reduce_sum(layer(ids)) for layer in layers])
        return tape.gradient(loss, [layer.trainable_variables for layer in layers])

    for layer in layers:
        layer.build((None,))
    gradients = MODES[mode](step)(tf.constant([7]))
    assert [float(gradient) for (gradient,) in gradients] == [0.0, 0.0, 0.0]
    assert sent["Push"] == 1
    for layer, row in ((layers[0], 0.3), (layers[1], 0.4)):
        np.testing.assert_allclose(layer.table.lookup([7]).values, [[row] * 4], rtol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_a_persistent_tape_pushes_as_often_as_it_is_asked(target, table_name, mode):
    """By hand, SGD(0.1) from 0.5 with gradients 1 and 2: 0.2; in a graph both are one step of the optimizer."""
    layer = Embedding(spec(table_name), target=target)

    def step(ids):
        with tf.GradientTape(persistent=True) as tape:
            rows = layer(ids)
            once, twice = tf.reduce_sum(rows), 2.0 * tf.reduce_sum(rows)
        return tape.gradient(once, layer.trainable_variables), tape.gradient(twice, layer.trainable_variables)

    layer.build((None,))
    MODES[mode](step)(tf.constant([7]))
    np.testing.assert_allclose(layer.table.lookup([7]).values, [[0.2] * 4], rtol=1e-6)
    assert layer.table.stats().step == {"eager": 2, "function": 1}[mode]


def test_retracing_and_executions_of_several_graphs(target, table_name, sent):
    """One function, three shapes of ids, in turns: every call is one pull and one push."""
    layer = Embedding(spec(table_name), target=target)
    layer.build((None,))

    @tf.function
    def step(ids):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(ids)) + tf.reduce_sum(layer(tf.reverse(ids, [0])))
        return tape.gradient(loss, layer.trainable_variables)

    sent.clear()
    for ids in ([1], [1, 2], [[1]], [1, 2], [1]):
        step(tf.constant(ids))
    assert step.experimental_get_tracing_count() == 3
    assert sent == {"Pull": 5, "Push": 5}
    np.testing.assert_allclose(layer.table.lookup([1, 2]).values, [[-0.5] * 4, [0.1] * 4], atol=1e-6)


def test_branches_and_nested_functions(target, table_name, sent):
    """A layer used in a branch, in a nested function and outside: gradients 1, 2 and 4 arrive."""
    layer = Embedding(spec(table_name), target=target)
    layer.build((None,))
    nested = tf.function(lambda ids: 2.0 * (tf.reduce_sum(layer(ids)) + tf.reduce_sum(layer(ids + 1))))

    @tf.function
    def step(ids, taken):
        with tf.GradientTape() as tape:
            loss = tf.cond(taken, lambda: tf.reduce_sum(layer(ids)), lambda: 0.0)
            loss += nested(ids) + 4.0 * tf.reduce_sum(layer(ids))
        return tape.gradient(loss, layer.trainable_variables)

    step(tf.constant([7]), tf.constant(True))
    np.testing.assert_allclose(layer.table.lookup([7, 8]).values, [[-0.2] * 4, [0.3] * 4], atol=1e-6)
    step(tf.constant([7]), tf.constant(False))
    np.testing.assert_allclose(layer.table.lookup([7, 8]).values, [[-0.8] * 4, [0.1] * 4], atol=1e-6)


def test_ids_that_cannot_be_asked_for_in_time_are_pulled_on_their_own(target, table_name, sent):
    """From rows, and from an operation with side effects that runs after the first lookup."""
    layer = Embedding(spec(table_name), target=target)
    layer.table.upsert([1, 2], np.array([[2.0] * 4, [3.0] * 4], np.float32))

    @tf.function
    def chained(ids):
        follower = tf.cast(layer(ids)[:, 0], tf.int64)
        drawn = tf.numpy_function(lambda: np.int64([1]), [], tf.int64)
        return layer(follower), layer(tf.ensure_shape(drawn, [1])), layer(ids + 1)

    sent.clear()
    follower, drawn, beside = chained(tf.constant([1], tf.int64))
    np.testing.assert_array_equal(tf.concat([follower, drawn, beside], 0), [[3.0] * 4, [2.0] * 4, [3.0] * 4])
    assert sent["Pull"] == 2


@pytest.mark.parametrize("mode", MODES)
def test_a_step_that_fails_leaves_nothing_behind(target, table_name, mode):
    """The first call fails between the gradients of two uses; the second pushes what is its own."""
    layer = Embedding(spec(table_name), target=target)
    layer.build((None,))

    @tf.custom_gradient
    def fuse(rows, blown):
        def gradient(upstream):
            with tf.control_dependencies([tf.debugging.assert_equal(blown, False)]):
                return tf.identity(upstream), None

        return tf.identity(rows), gradient

    def step(ids, blown):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(fuse(layer(ids), blown)) + tf.reduce_sum(layer(ids + 1))
        return tape.gradient(loss, layer.trainable_variables)

    stepped = MODES[mode](step)
    with pytest.raises(tf.errors.InvalidArgumentError):
        stepped(tf.constant([10]), tf.constant(True))
    assert layer.table.size() == 0
    stepped(tf.constant([20]), tf.constant(False))
    assert layer.table.size() == 2
    np.testing.assert_allclose(layer.table.lookup([20, 21]).values, [[0.4] * 4] * 2, rtol=1e-6)


def test_gradients_that_are_refused_change_no_table(target, table_name):
    """One NaN among the gradients of two tables: neither moves, and the next step is whole."""
    layers = [Embedding(spec(f"{table_name}-{number}"), target=target) for number in range(2)]
    for layer in layers:
        layer.build((None,))

    @tf.function
    def step(factor):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layers[0](tf.constant([1]))) + factor * tf.reduce_sum(layers[1](tf.constant([1])))
        return tape.gradient(loss, [layer.trainable_variables for layer in layers])

    with pytest.raises(tf.errors.InvalidArgumentError, match="NaN"):
        step(tf.constant(np.nan))
    assert [layer.table.size() for layer in layers] == [0, 0]
    step(tf.constant(2.0))
    np.testing.assert_allclose(layers[0].table.lookup([1]).values, [[0.4] * 4], rtol=1e-6)
    np.testing.assert_allclose(layers[1].table.lookup([1]).values, [[0.3] * 4], rtol=1e-6)


def test_a_push_too_large_for_one_request_goes_table_by_table(start_ps, table_name, sent):
    server = start_ps("--max-keys-per-request", "100")
    layers = [Embedding(spec(f"{table_name}-{number}"), target=server.target) for number in range(2)]
    for layer in layers:
        layer.build((None,))

    @tf.function
    def step(ids):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layers[0](ids)) + tf.reduce_sum(layers[1](ids))
        return tape.gradient(loss, [layer.trainable_variables for layer in layers])

    step(tf.range(80, dtype=tf.int64))
    assert sent["Push"] == 2
    assert [layer.table.size() for layer in layers] == [80, 80]
    with pytest.raises(tf.errors.OpError, match="expected at most 100"):
        step(tf.range(101, dtype=tf.int64))


def test_steps_of_several_threads_do_not_mix(target, table_name):
    """One graph, run from four threads: every push is that of its own execution."""
    layer = Embedding(spec(table_name), target=target)
    layer.build((None,))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
    def step(ids):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(ids)) + tf.reduce_sum(layer(ids + 1000))
        return tape.gradient(loss, layer.trainable_variables)

    step.get_concrete_function()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: step(tf.constant([key], tf.int64)), range(200)))
    keys = np.concatenate([np.arange(200), 1000 + np.arange(200)])
    rows = layer.table.lookup(keys, with_metadata=True)
    np.testing.assert_allclose(rows.values, np.full((400, 4), 0.4), rtol=1e-6)
    np.testing.assert_array_equal(rows.frequency, 1)
    assert layer.table.stats().step == 200


def test_a_graph_that_reads_ends_with_its_function(target, table_name):
    """TensorFlow keeps the Python functions of graphs for as long as the process lives."""
    traced = []
    with rowbank.Client(target) as client:
        gateway = RowGateway(client.create_table(spec(table_name)))

        @tf.function
        def read(ids):
            traced.append(weakref.ref(tf.compat.v1.get_default_graph()))
            return gateway.read(ids)

        read(tf.constant([1, 2], tf.int64))
        assert traced[0]() is not None
        del read
        gc.collect()
        assert traced[0]() is None
