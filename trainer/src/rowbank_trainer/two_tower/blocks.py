"""From rows and numbers to what goes into a tower: a block for each column, after each other or averaged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras

from rowbank_trainer.two_tower.features import SideValues
from rowbank_trainer.two_tower.plan import ColumnPlan, SidePlan

TINY = 1e-6  # Far below each weight: a divisor for those of whom nothing is known.
Inputs = Mapping[str, tf.Tensor]


class TowerInput(tf_keras.layers.Layer):
    """Makes a tower's input of its columns' rows and numbers.

    How numbers are scaled is kept as weights that are not trained, so that a training that goes on keeps to it.

    Args:
        values: where the scalings come from.
    """

    def __init__(self, plan: SidePlan, values: SideValues) -> None:
        super().__init__(name=f"{plan.name}_input", trainable=True)
        self.plan = plan
        self.scalings = {one.plan.column.name: one.scaling for one in values.columns if one.scaling is not None}
        self.constants: dict[str, tf.Variable] = {}
        for name, scaling in self.scalings.items():
            initializer = tf_keras.initializers.Constant([scaling.mean, scaling.deviation, scaling.fill])
            self.constants[name] = self.add_weight(
                name=f"{name}_scaling", shape=(3,), dtype=tf.float32, initializer=initializer, trainable=False
            )

    def call(self, inputs: Inputs) -> tf.Tensor:
        """[N, width] float32.

        Args:
            inputs: by part [S, dim] rows, zeros for missing ones; by "<column>/counts" [N] int64 how many of them each
                entity has, where it is not one each; by numeric column [N] float32 numbers, NaN for missing ones.
        """
        blocks = [self._block(one, inputs) for one in self.plan.columns]
        if self.plan.combine == "concat":
            return tf.concat([block for block, _ in blocks], axis=1)
        if len(blocks) == 1:
            return blocks[0][0]
        weights = [one.column.weight * present for one, (_, present) in zip(self.plan.columns, blocks, strict=True)]
        total = tf.add_n([weight * block for weight, (block, _) in zip(weights, blocks, strict=True)])
        return total / tf.maximum(tf.add_n(weights), TINY)

    @property
    def fills(self) -> dict[str, float]:
        """What stands for missing numbers, by numeric column."""
        return {name: self.numbers(name)[2] for name in self.constants}

    def numbers(self, name: str) -> tuple[float, float, float]:
        """Mean, deviation and what stands for a missing number, of a numeric column."""
        mean, deviation, fill = self.constants[name].numpy().tolist()
        return mean, deviation, fill

    def _block(self, one: ColumnPlan, inputs: Inputs) -> tuple[tf.Tensor, tf.Tensor]:
        """[N, width], and [N, 1] whether there is something in it."""
        name = one.column.name
        if not one.parts:
            scaled = scaled_number(inputs[name], self.constants[name], log=self.scalings[name].log)[:, None]
            return scaled, tf.ones_like(scaled)
        return pooled(inputs[one.parts[0].input], inputs.get(f"{name}/counts"))


def scaled_number(numbers: tf.Tensor, constants: Any, *, log: bool) -> tf.Tensor:
    """[N] numbers less the mean, by the deviation; `constants` are those two, and what stands for NaN."""
    numbers = tf.where(tf.math.is_nan(numbers), constants[2], numbers)
    known = tf.math.log1p(tf.maximum(numbers, 0.0)) if log else numbers
    return (known - constants[0]) / constants[1]


def pooled(rows: tf.Tensor, counts: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
    """Means of [S, dim] rows, `counts` ([N] int64) of them after each other, leaving out those of zeros: [N, dim].

    Args:
        counts: None: one each.
    Returns:
        The means, zeros where there is none, and [N, 1] float32: 1, or 0 where there is none.
    """
    present = tf.cast(tf.reduce_any(tf.not_equal(rows, 0.0), axis=1), rows.dtype)[:, None]
    if counts is None:
        return rows, present
    entities = tf.shape(counts, tf.int64)[0]
    owners = tf.repeat(tf.range(entities), counts)
    total = tf.math.unsorted_segment_sum(rows, owners, entities)
    number = tf.math.unsorted_segment_sum(present, owners, entities)
    return total / tf.maximum(number, 1.0), tf.minimum(number, 1.0)
