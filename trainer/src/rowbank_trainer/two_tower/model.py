"""The two-tower model and the data it is fitted on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras

from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.problem import Problem
from rowbank_trainer.two_tower.tables.base import RowTables
from rowbank_trainer.two_tower.towers import build_tower

Vectors = npt.NDArray[np.float32]
_BLOCK = 4096


class TwoTower(tfrs.Model):
    """Users and titles meet in one vector space: trained with softmax over the titles of the batch.

    Popular titles turn up in a batch in proportion to their popularity and would be pushed away in that proportion,
    which costs more accuracy than personalisation gains. So the logarithm of each title's probability is taken off its
    logit, and copies of the right title are masked out among the wrong ones.
    """

    def __init__(self, tables: RowTables, config: TwoTowerConfig) -> None:
        super().__init__()
        self.user_rows = tables.user_layer
        self.title_rows = tables.title_layer
        self.user_tower = build_tower("user", config, seed=config.seed * 1000)
        self.title_tower = build_tower("title", config, seed=config.seed * 1000 + 500)
        self.task = tfrs.tasks.Retrieval(
            loss=tf_keras.losses.CategoricalCrossentropy(
                from_logits=True, reduction=tf_keras.losses.Reduction.SUM_OVER_BATCH_SIZE
            ),
            metrics=[],
            temperature=config.temperature,
            remove_accidental_hits=True,
        )

    def compute_loss(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """The mean loss of a batch.

        Args:
            inputs: `user` [batch] and `title` [batch, max_tokens] int64 as the tables' layers take them, `item` [batch]
                int64 catalogue positions, `probability` [batch] float32.
            training: whether dropout is on.
        """
        users = self.user_tower(self.user_rows(inputs["user"]), training=training)
        titles = self.title_tower(self.title_rows(inputs["title"]), training=training)
        return self.task(
            users,
            titles,
            candidate_sampling_probability=inputs["probability"],
            candidate_ids=inputs["item"],
            compute_metrics=False,
            compute_batch_metrics=False,
        )

    def user_vectors(self, tables: RowTables, keys: Ids) -> Vectors:
        """Vectors of users ([N] int64 keys): [N, vector_dim] float32."""
        return _in_blocks(self.user_tower, tables.rows("user", keys))

    def title_vectors(self, tables: RowTables, keys: Ids) -> Vectors:
        """Vectors of titles ([N, max_tokens] int64 keys): [N, vector_dim] float32."""
        rows = tables.rows("title", keys.reshape(-1)).reshape(*keys.shape, -1)
        return _in_blocks(self.title_tower, rows.mean(axis=1))


def training_batches(problem: Problem, tables: RowTables, config: TwoTowerConfig) -> tf.data.Dataset:
    """Batches of the inputs of `compute_loss`, in a new order every epoch; what is left of an epoch is dropped."""
    users = tf.constant(tables.encode("user", problem.train.user_ids))
    titles = tf.constant(tables.encode("title", problem.title_keys.reshape(-1)).reshape(problem.title_keys.shape))
    items = tf.constant(problem.train_positions)
    probability = tf.constant(problem.item_probability)

    def gather(rows: tf.Tensor) -> dict[str, tf.Tensor]:
        item = tf.gather(items, rows)
        return {
            "user": tf.gather(users, rows),
            "title": tf.gather(titles, item),
            "item": item,
            "probability": tf.gather(probability, item),
        }

    count = len(problem.train)
    order = tf.data.Dataset.range(count).shuffle(count, seed=config.seed, reshuffle_each_iteration=True)
    return order.batch(config.batch_size, drop_remainder=True).map(gather).prefetch(2)


def _in_blocks(tower: tf_keras.Model, rows: Vectors) -> Vectors:
    blocks = [tower(rows[first : first + _BLOCK], training=False).numpy() for first in range(0, len(rows), _BLOCK)]
    return np.concatenate(blocks)
