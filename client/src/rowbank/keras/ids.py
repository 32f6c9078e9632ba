"""Ids as the int64 keys of the server, or an error: TensorFlow's cast would make large unsigned ids negative."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from rowbank.calls import arrays


def as_int64(ids: tf.Tensor) -> tf.Tensor:
    """Integers of any shape as int64.

    Raises:
        InvalidRequest: an unsigned id is 2**63 or more; in a graph it arrives as TensorFlow's `InvalidArgumentError`.
    """
    if ids.dtype != tf.uint64:
        return tf.cast(ids, tf.int64)
    if tf.executing_eagerly():
        return tf.constant(_checked(ids.numpy()))
    with tf.device("/CPU:0"):
        checked = tf.numpy_function(_checked, [ids], tf.int64, stateful=False)
    checked.set_shape(ids.shape)
    return checked


def as_int64_in_graph(ids: tf.Tensor) -> tf.Tensor:
    """As `as_int64`, by TensorFlow's operations alone, for models that are saved without Python."""
    keys = tf.cast(ids, tf.int64)
    if ids.dtype != tf.uint64:
        return keys
    fits = tf.debugging.Assert(
        tf.reduce_all(keys >= 0), ["ids: expected at most 2**63 - 1 (keys are int64), got more in", ids], summarize=8
    )
    with tf.control_dependencies([] if fits is None else [fits]):
        return tf.identity(keys)


def _checked(ids: Any) -> Any:
    arrays.require_int64("ids", ids)
    return ids.astype(np.int64)
