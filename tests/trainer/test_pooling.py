"""Means of the rows that entities take, and their gradients."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from rowbank_trainer.two_tower.blocks import pooled


def gradient_of(rows: tf.Variable, taken: list[int], counts: list[int]) -> np.ndarray:
    with tf.GradientTape() as tape:
        total, _ = pooled(rows, tf.constant(taken, tf.int32), tf.constant(counts, tf.int64))
        loss = tf.reduce_sum(total)
    return tf.convert_to_tensor(tape.gradient(loss, rows)).numpy()


def test_rows_that_nobody_takes_have_no_gradient() -> None:
    """As those of a table that items and histories share, in a batch of users who have met nothing yet."""
    rows = tf.Variable(np.ones((3, 64), np.float32))
    for _ in range(10):
        left_in_memory = [np.full((3, 64), 1e30, np.float32) + tf.random.normal((3, 64)) for _ in range(8)]
        del left_in_memory
        assert not gradient_of(rows, [], [0, 0]).any()
    wanted = np.repeat(np.array([[0.5], [0.0], [1.5]], np.float32), 64, axis=1)
    assert np.array_equal(gradient_of(rows, [0, 2, 2], [2, 1]), wanted)
