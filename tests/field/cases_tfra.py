"""TFRA's models on Rowbank tables, and gradient accumulation: each a program of its own, as TensorFlow has modes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

from tests.field.case import Case, World

_BEGINNING = """
import sys, numpy as np, tensorflow as tf
from tensorflow_recommenders_addons import dynamic_embedding as de
import rowbank.tfra
target, folder, name = sys.argv[1:]
creator = rowbank.tfra.TableCreator(target, prefix=name)
v1 = tf.compat.v1
def say(values): print("=", np.asarray(values, np.float64).round(2).tolist())
"""

_TWICE = """
layer = de.keras.layers.Embedding(2, name="twice", kv_creator=creator, initializer=tf.constant_initializer(0.5),
                                  devices=["/CPU:0"])
class Model(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.layer = layer
    def call(self, inputs):
        one, two = self.layer(inputs[0]), self.layer(inputs[1])
        return tf.reduce_sum(one, [1, 2]) + tf.reduce_sum(two, [1, 2])
model = Model()
model.compile(de.DynamicEmbeddingOptimizer(tf.keras.optimizers.legacy.SGD(0.01)), "mse")
model.fit([np.array([[1, 2], [1, 5]]), np.array([[1, 3, 4], [2, 2, 9]])], np.zeros(2), batch_size=2, verbose=0)
keys, rows = (part.numpy() for part in layer.params.export())
say([[key, row[0]] for key, row in sorted(zip(keys, rows), key=lambda pair: pair[0])])
"""

_COUNTS = """
v1.disable_eager_execution()
right = 0
for run in range(60):
    with tf.Graph().as_default(), v1.Session() as session:
        ids = v1.placeholder(tf.int64, [None])
        variable = de.get_variable(f"run{run}", dim=2, initializer=-0.1, devices=["/CPU:0"], kv_creator=creator,
                                   restrict_policy=rowbank.tfra.FrequencyRestrictPolicy)
        rows, wrapper = de.embedding_lookup(variable, ids, return_trainable=True)
        optimizer = de.DynamicEmbeddingOptimizer(v1.train.AdagradOptimizer(0.1))
        train = optimizer.minimize(tf.reduce_sum(rows ** 2), var_list=[wrapper])
        session.run(v1.global_variables_initializer())
        for _ in range(2):
            session.run(train, {ids: range(6)})
        keys, counts = session.run(variable.restrict_policy.status.export())
        right += sorted(keys) == list(range(6)) and (counts == 2).all()
print("=", right, "of 60 runs")
"""

_MODULE = """
class Module(tf.Module):
    def __init__(self):
        self.variable = de.get_variable("rows", dim=1, initializer=0.5, devices=["/CPU:0"], kv_creator=creator)
    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
    def rows(self, ids):
        return self.variable.lookup(ids)
ids = tf.constant([1, 2], tf.int64)
"""

_SAVED_MODEL = (
    _MODULE
    + """
module = Module()
module.variable.upsert(ids, [[1.0], [2.0]])
tf.saved_model.save(module, folder)
module.variable.upsert(ids, [[3.0], [4.0]])
say(tf.saved_model.load(folder).rows(ids))
say(module.rows(ids))
"""
)

_SAVED_MODEL_ELSEWHERE = (
    _MODULE
    + """
import subprocess
module = Module()
module.variable.upsert(ids, [[1.0], [2.0]])
tf.saved_model.save(module, folder)
program = '''
import sys, tensorflow as tf, rowbank.tfra
print("=", tf.saved_model.load(sys.argv[1]).rows(tf.constant([1, 2], tf.int64)).numpy().tolist())
'''
subprocess.run([sys.executable, "-c", program, folder], check=True)
"""
)

_META_GRAPH = """
v1.disable_eager_execution()
with tf.Graph().as_default(), v1.Session() as session:
    ids = v1.placeholder(tf.int64, [None], name="ids")
    variable = de.get_variable("rows", dim=1, initializer=0.5, devices=["/CPU:0"], kv_creator=creator)
    tf.identity(variable.lookup(ids), name="looked")
    upsert = variable.upsert(ids, [[1.0], [2.0]])
    other = variable.upsert(ids, [[3.0], [4.0]])
    session.run(upsert, {ids: [1, 2]})
    v1.train.Saver().save(session, folder + "/model")
    session.run(other, {ids: [1, 2]})
with tf.Graph().as_default(), v1.Session() as session:
    saver = v1.train.import_meta_graph(folder + "/model.meta")
    say(session.run("looked:0", {"ids:0": [1, 2]}))
    saver.restore(session, folder + "/model")
    say(session.run("looked:0", {"ids:0": [1, 2]}))
"""

_ALIASES = """
def status(policy):
    variable = de.get_variable(policy.__name__, dim=1, initializer=0.5, devices=["/CPU:0"], kv_creator=creator,
                               restrict_policy=policy)
    return variable.restrict_policy
frequency, timestamp = status(rowbank.tfra.FrequencyRestrictPolicy), status(rowbank.tfra.TimestampRestrictPolicy)
print("=", frequency.freq_var is frequency.status, timestamp.tstp_var is timestamp.status)
"""

_ACCUMULATION = """
import rowbank.keras
spec = rowbank.TableSpec(name, dim=1, initializer=rowbank.Constant(0.0), optimizer=rowbank.Adagrad(1.0))
layer = rowbank.keras.Embedding(spec, target=target)
with rowbank.keras.accumulated_gradients():
    for ids in ([1, 2], [1, 1]):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_sum(layer(tf.constant(ids)))
        tape.gradient(loss, layer.trainable_weights)
say(layer.table.lookup([1, 2]).values)
"""


def _program(source: str) -> Callable[[World], str]:
    def run(world: World) -> str:
        command = [sys.executable, "-c", _BEGINNING + source, world.target, str(world.folder), world.name]
        environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment, check=False)
        said = [line.removeprefix("= ") for line in done.stdout.splitlines() if line.startswith("= ")]
        if done.returncode or not said:
            said.append(done.stderr.strip().splitlines()[-1])
        return "; ".join(said)

    return run


_ROWS = r"\[\[1\.0, 0\.35\], \[2\.0, 0\.35\], \[3\.0, 0\.45\], \[4\.0, 0\.45\], \[5\.0, 0\.45\], \[9\.0, 0\.45\]\]"

CASES = [
    Case("one TFRA layer called twice in a step", _ROWS, _program(_TWICE)),
    Case("uses counted in a TensorFlow 1 graph", r"60 of 60 runs", _program(_COUNTS)),
    Case("tf.saved_model.load reads the live rows and replaces none",
         r"\[\[3\.0\], \[4\.0\]\]; \[\[3\.0\], \[4\.0\]\]", _program(_SAVED_MODEL)),
    Case("tf.saved_model.load in another process", r"\[\[1\.0\], \[2\.0\]\]", _program(_SAVED_MODEL_ELSEWHERE)),
    Case("import_meta_graph, then restore", r"\[\[3\.0\], \[4\.0\]\]; \[\[1\.0\], \[2\.0\]\]", _program(_META_GRAPH)),
    Case("policy.freq_var and policy.tstp_var", r"True True", _program(_ALIASES)),
    # Adagrad from an accumulator of 0.1: 3 / sqrt(9.1) and 1 / sqrt(1.1).
    Case("gradients of two batches in one push", r"\[\[0\.99\], \[0\.95\]\]", _program(_ACCUMULATION)),
]  # fmt: skip
