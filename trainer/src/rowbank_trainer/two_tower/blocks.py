"""From rows and numbers to what goes into a tower: a block for each column, after each other or averaged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras

from rowbank_trainer.schema.spec import QuotientRemainder
from rowbank_trainer.two_tower.features import SideValues
from rowbank_trainer.two_tower.plan import ColumnPlan, ModelPlan, SidePlan

TINY = 1e-6  # Far below each weight: a divisor for those of whom nothing is known.
Inputs = Mapping[str, tf.Tensor]


class Projections(tf_keras.layers.Layer):
    """What brings narrow rows of mixed-dimension tables to the width of their column's vectors.

    There is no bias, so that what is missing, which is zeros, adds nothing.
    """

    def __init__(self, plan: ModelPlan, *, seed: int) -> None:
        super().__init__(name="projections")
        self.kernels: dict[str, tf.Variable] = {}
        for side in plan.sides:
            for one in side.columns:
                for part in one.parts if one.mixed else ():
                    table = part.table
                    if table.dim != one.width and table.name not in self.kernels:
                        initializer = tf_keras.initializers.GlorotUniform(seed=seed + len(self.kernels))
                        self.kernels[table.name] = self.add_weight(
                            name=f"{table.name}_kernel", shape=(table.dim, one.width), dtype=tf.float32,
                            initializer=initializer, trainable=True,
                        )  # fmt: skip

    def call(self, rows: tf.Tensor, table: str) -> tf.Tensor:
        """[S, dim] rows of a table as [S, width]."""
        kernel = self.kernels.get(table)
        return rows if kernel is None else tf.linalg.matmul(rows, kernel)


class TowerInput(tf_keras.layers.Layer):
    """Makes a tower's input of its columns' rows and numbers.

    How numbers are scaled is kept as weights that are not trained, so that a training that goes on keeps to it.

    Args:
        values: where the scalings come from.
        projections: of both sides.
    """

    def __init__(self, plan: SidePlan, values: SideValues, projections: Projections) -> None:
        super().__init__(name=f"{plan.name}_input")
        self.plan, self.projections = plan, projections
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
            inputs: by part [U, dim] rows, zeros for missing ones; by "<part>/taken" [S] int32 which of them are taken,
                value by value, where it is not each once; by "<part>/places" [S] int64 which of a column's values they
                are of, where it is not each; by "<column>/counts" [N] int64 how many values each entity has, where it
                is not one each; by numeric column [N] float32 numbers, NaN for missing ones.
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
        counts = inputs.get(f"{name}/counts")
        if len(one.parts) > 1 or one.mixed:
            return pooled(self._vectors(one, inputs), None, counts)
        part = one.parts[0].input
        return pooled(inputs[part], inputs.get(f"{part}/taken"), counts)

    def _vectors(self, one: ColumnPlan, inputs: Inputs) -> tf.Tensor:
        """[S, width] vectors of a column's values, of the rows of its parts."""
        rows = [_taken(part.input, inputs) for part in one.parts]
        if isinstance(one.embedding, QuotientRemainder):
            return rows[0] * rows[1] if one.embedding.combiner == "multiply" else rows[0] + rows[1]
        if not one.mixed:
            return tf.concat(rows, axis=1)
        wide = [self.projections(part_rows, part.table.name) for part, part_rows in zip(one.parts, rows, strict=True)]
        if f"{one.parts[0].input}/places" not in inputs:
            return tf.add_n(wide)
        total = tf.reduce_sum(inputs[f"{one.column.name}/counts"])
        shape = tf.stack([total, tf.constant(one.width, tf.int64)])
        return tf.add_n([
            tf.scatter_nd(inputs[f"{part.input}/places"][:, None], vectors, shape)
            for part, vectors in zip(one.parts, wide, strict=True)
        ])  # fmt: skip


def _taken(part: str, inputs: Inputs) -> tf.Tensor:
    """[S, dim] rows of a part, one for each value."""
    taken = inputs.get(f"{part}/taken")
    return inputs[part] if taken is None else tf.gather(inputs[part], taken)


def scaled_number(numbers: tf.Tensor, constants: Any, *, log: bool) -> tf.Tensor:
    """[N] numbers less the mean, by the deviation; `constants` are those two, and what stands for NaN."""
    numbers = tf.where(tf.math.is_nan(numbers), constants[2], numbers)
    known = tf.math.log1p(tf.maximum(numbers, 0.0)) if log else numbers
    return (known - constants[0]) / constants[1]


def pooled(rows: tf.Tensor, taken: tf.Tensor | None, counts: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
    """Means of [U, dim] rows that each of N entities takes, leaving out those of zeros: [N, dim].

    Args:
        taken: [S] int32, which rows are taken, entity by entity; None: each once.
        counts: [N] int64, how many each entity takes; None: one each.
    Returns:
        The means, zeros where there is none, and [N, 1] float32: 1, or 0 where there is none.
    """
    present = tf.cast(tf.reduce_any(tf.not_equal(rows, 0.0), axis=1), rows.dtype)[:, None]
    if counts is None:
        return (rows, present) if taken is None else (tf.gather(rows, taken), tf.gather(present, taken))
    if taken is None:
        taken = tf.range(tf.shape(rows)[0])
    entities = tf.shape(counts)[0]
    owners = tf.repeat(tf.range(entities), counts)
    # TensorFlow leaves the gradient of rows of which none is taken as the memory was; through this it is zeros.
    rows = tf.where(tf.size(taken) > 0, rows, tf.zeros_like(rows))
    # Rows are added where they are: of a batch of long lists there are a few rows, each taken many times.
    total = tf.sparse.segment_sum(rows, taken, owners, num_segments=entities)
    number = tf.sparse.segment_sum(present, taken, owners, num_segments=entities)
    return total / tf.maximum(number, 1.0), tf.minimum(number, 1.0)
