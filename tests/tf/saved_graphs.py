"""Programs of `test_saved_graphs`: `python saved_graphs.py WHAT TARGET FOLDER NAME`, each in a process of its own.

Each prints lines that begin with "=". Without rowbank.tfra, "bare-..." loads what another program saved.
"""

from __future__ import annotations

import os
import sys

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from tensorflow_recommenders_addons import dynamic_embedding as de

v1 = tf.compat.v1
IDS = [1, 2, 3, 4]


def say(what: str, values: object) -> None:
    numbers = np.asarray(values)
    numbers = numbers.astype(np.float64).round(4) if numbers.dtype.kind == "f" else numbers
    print("=", what, numbers.tolist(), flush=True)


def creator(target: str):
    from rowbank.tfra import TableCreator

    return TableCreator(target, prefix="saved")


def policy():
    from rowbank.tfra import FrequencyRestrictPolicy

    return FrequencyRestrictPolicy


class Module(tf.Module):
    """A layer with a policy, its optimizer, and functions that read and train it."""

    def __init__(self, target: str, name: str) -> None:
        super().__init__()
        self.layer = de.keras.layers.Embedding(
            2, name=name, kv_creator=creator(target), initializer=tf.constant_initializer(0.5), devices=["/CPU:0"],
            restrict_policy=policy(),
        )  # fmt: skip
        self.optimizer = de.DynamicEmbeddingOptimizer(tf.keras.optimizers.legacy.Adam(0.1))
        self.variable = self.layer.params

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
    def rows(self, ids):
        return self.variable.lookup(ids)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
    def looked(self, ids):
        return self.layer(ids)

    @tf.function(input_signature=[])
    def size(self):
        return self.variable.tables[0].size()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
    def train(self, ids):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(self.layer(ids) ** 2)
        variables = self.layer.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))


def ids(*keys: int) -> tf.Tensor:
    return tf.constant(keys, tf.int64)


def save_model(target: str, folder: str, name: str) -> None:
    module = Module(target, name)
    module.train(ids(1, 2))
    module.variable.upsert(ids(1, 2, 3), tf.constant([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]))
    tf.saved_model.save(module, folder, options=tf.saved_model.SaveOptions(namespace_whitelist=["TFRA"]))
    module.variable.upsert(ids(1), tf.constant([[9.0, 9.0]]))
    loaded = tf.saved_model.load(folder)
    say("live", module.rows(ids(*IDS)))
    say("loaded", loaded.rows(ids(*IDS)))
    say("looked", loaded.looked(ids(*IDS)))
    loaded.train(ids(7))
    say("size", loaded.size())
    tf.train.Checkpoint(layer=module.layer, variable=module.variable, optimizer=module.optimizer).read(
        os.path.join(folder, "variables", "variables")
    ).expect_partial()
    say("restored", module.rows(ids(*IDS)))


def load_model(target: str, folder: str, name: str) -> None:
    import rowbank.tfra  # noqa: F401

    bare_load_model(target, folder, name)


def bare_load_model(target: str, folder: str, name: str) -> None:
    del target, name
    loaded = tf.saved_model.load(folder)
    say("loaded", loaded.rows(ids(*IDS)))
    say("looked", loaded.looked(ids(*IDS)))
    say("size", loaded.size())
    try:
        loaded.train(ids(1))
    except tf.errors.InvalidArgumentError as error:
        print("=", "refused", "build the model anew" in str(error))
    say("loaded", loaded.rows(ids(*IDS)))


def save_keras(target: str, folder: str, name: str) -> None:
    """As TFRA's own way: a subclassed model with a signature."""

    class Model(tf.keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.layer = Module(target, name).layer
            self.dense = tf.keras.layers.Dense(1, kernel_initializer="ones")

        def call(self, inputs):
            return self.dense(self.layer(inputs))

    model = Model()
    model.compile(de.DynamicEmbeddingOptimizer(tf.keras.optimizers.Adam(0.1)), "mse")
    model.fit(np.arange(8), np.zeros(8), batch_size=4, verbose=0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
    def serve(keys):
        return model(keys)

    model.save(folder, signatures=serve, options=tf.saved_model.SaveOptions(namespace_whitelist=["TFRA"]))
    loaded = tf.saved_model.load(folder)
    say("difference", loaded.signatures["serving_default"](ids(*IDS))["output_0"] - model(ids(*IDS)))


def load_keras(target: str, folder: str, name: str) -> None:
    import rowbank.tfra

    loaded = tf.saved_model.load(folder)
    answer = loaded.signatures["serving_default"](ids(*IDS))["output_0"]
    store = rowbank.tfra.TableCreator(target, prefix="saved").open_store(
        f"saved/{name}-parameter", dim=2, key_dtype="int64", value_dtype="float32"
    )
    rows, _ = store.lookup(np.array(IDS), np.zeros(2, np.float32))
    kernel, bias = loaded.dense.kernel.numpy(), loaded.dense.bias.numpy()
    say("difference", answer - (rows @ kernel + bias))


def save_graph(target: str, folder: str, name: str) -> None:
    v1.disable_eager_execution()
    with tf.Graph().as_default(), v1.Session() as session:
        keys = v1.placeholder(tf.int64, [None], name="ids")
        with v1.variable_scope("scope"):
            variable = de.get_variable(name, dim=2, initializer=0.5, devices=["/CPU:0"], kv_creator=creator(target),
                                       restrict_policy=policy())  # fmt: skip
            rows, wrapper = de.embedding_lookup(variable, keys, return_trainable=True)
        tf.identity(variable.lookup(keys), name="rows")
        tf.identity(variable.size(), name="size")
        tf.identity(variable.restrict_policy.status.export()[1], name="counts")
        optimizer = de.DynamicEmbeddingOptimizer(v1.train.AdagradOptimizer(0.1))
        train = optimizer.minimize(tf.reduce_sum(rows**2), var_list=[wrapper], name="train")
        upsert = variable.upsert(keys, tf.cast(tf.stack([keys, keys], 1), tf.float32))
        saver = v1.train.Saver()
        session.run(v1.global_variables_initializer())
        session.run(upsert, {keys: [1, 2, 3]})
        saver.save(session, os.path.join(folder, "model"))
        session.run(train, {keys: [1, 2]})
    _import(folder)


def load_graph(target: str, folder: str, name: str) -> None:
    import rowbank.tfra  # noqa: F401

    del target, name
    v1.disable_eager_execution()
    _import(folder)


def _import(folder: str) -> None:
    feed = {"ids:0": IDS}
    with tf.Graph().as_default(), v1.Session() as session:
        saver = v1.train.import_meta_graph(os.path.join(folder, "model.meta"))
        say("imported", session.run("rows:0", feed))
        saver.restore(session, os.path.join(folder, "model"))
        say("restored", session.run("rows:0", feed))
        session.run("train", {"ids:0": [1, 2]})
        say("trained", session.run("rows:0", feed))
        say("counts", sorted(session.run("counts:0").ravel()))
        say("size", session.run("size:0"))


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    {function.__name__.replace("_", "-"): function for function in (
        save_model, load_model, bare_load_model, save_keras, load_keras, save_graph, load_graph
    )}[what](*arguments)  # fmt: skip
