"""Layers whose process forks: the shared client behind them is another one in each child."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import multiprocessing
import sys

import numpy as np
import tensorflow as tf

import rowbank
from rowbank.keras import Embedding

layer = Embedding(rowbank.TableSpec(sys.argv[2], dim=2, optimizer=rowbank.SGD(1.0)), target=sys.argv[1])


def train(key):
    with tf.GradientTape() as tape:
        loss = -tf.reduce_sum(layer(tf.constant([key]), training=True))
    tape.gradient(loss, layer.trainable_variables)


def work(child):
    table = layer._opened().table
    for _ in range(5):
        table.push([7], np.full((1, 2), -1.0, np.float32))
    table.upsert(np.arange(100 + 10 * child, 110 + 10 * child), np.zeros((10, 2), np.float32))


train(7)
train(7)
context = multiprocessing.get_context("fork")
children = [context.Process(target=work, args=(child,)) for child in range(4)]
for child in children:
    child.start()
for child in children:
    child.join()
train(7)
fresh = rowbank.Client(sys.argv[1]).table(sys.argv[2])
print([child.exitcode for child in children], fresh.lookup([7]).values[0, 0], fresh.size())
"""


def test_children_push_and_store_through_an_inherited_layer(target, table_name):
    """Two steps of the parent, five pushes in each of four children, another step: 23."""
    command = [sys.executable, "-c", PROGRAM, target, table_name]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=180, env={**os.environ, "TF_USE_LEGACY_KERAS": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "[0, 0, 0, 0] 23.0 41"
