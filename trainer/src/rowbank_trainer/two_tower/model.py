"""The two-tower model and the data it is fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_recommenders as tfrs

from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.loss import (
    alignment_and_uniformity,
    cosine_contrastive,
    in_batch_softmax,
    mean_loss,
    mixed_log_q,
    pairwise,
    sampled_softmax,
)
from rowbank_trainer.two_tower.objective import Objective
from rowbank_trainer.two_tower.problem import Problem
from rowbank_trainer.two_tower.shared_dense import SharedDense
from rowbank_trainer.two_tower.tables.base import RowTables
from rowbank_trainer.two_tower.towers import build_tower
from rowbank_trainer.two_tower.user_history import UserHistories, blend, mean_rows

Vectors = npt.NDArray[np.float32]
_BLOCK = 4096
CCL_MARGIN, CCL_WEIGHT = 0.4, 10.0  # Neither is an option yet; nor is the next.
UNIFORMITY_WEIGHT = 2.0


class TwoTower(tfrs.Model):
    """Users and items meet in one vector space: trained with softmax over the items of the batch.

    Args:
        tables: layers for the rows.
        config: what the towers and the loss are like.
        log_q: [M] float32 logarithms of the items' probabilities, which may be assigned anew while the model trains.
        shared: dense weights that other workers train too; None: they are this model's own.
        histories: what the user tower takes beside the user's row; None: nothing.
    """

    def __init__(
        self,
        tables: RowTables,
        config: TwoTowerConfig,
        log_q: Vectors,
        shared: SharedDense | None = None,
        histories: UserHistories | None = None,
    ) -> None:
        super().__init__()
        self.user_rows = tables.user_layer
        self.item_rows = tables.item_layer
        self.user_tower = build_tower("user", config, seed=config.seed * 1000)
        self.item_tower = build_tower("item", config, seed=config.seed * 1000 + 500)
        self.log_q = tf.Variable(log_q, trainable=False, name="log_q")
        self._config = config
        self._objective = Objective.parse(config.loss)
        self._corrects_positive = config.logq_positive == "corrected"
        self._shared = shared
        self._histories = histories

    def compute_loss(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """The mean loss of a batch.

        Args:
            inputs: `user` [batch] and `item_keys` [batch, L] int64 as the tables' layers take them, `item` [batch]
                int64 catalogue positions; where interactions have weights `weight` [batch] float32; where users have
                histories `history` [S, L] int64, the keys of all their items, and `history_counts` [batch] int64;
                where the objective needs them `drawn` [N] and `drawn_keys` [N, L] int64, as `item` and `item_keys`.
            training: whether dropout is on.
        """
        user_rows, item_rows = self._rows(inputs)
        users = self.user_tower(user_rows, training=training)
        vectors = self.item_tower(item_rows, training=training)
        log_q = tf.gather(self.log_q, inputs["item"])
        if self._objective.name == "softmax":
            return in_batch_softmax(
                users,
                vectors,
                inputs["item"],
                log_q,
                temperature=self._config.temperature,
                remove_accidental_hits=self._config.remove_accidental_hits,
                correct_positive=self._corrects_positive,
                weights=inputs.get("weight"),
            )
        size = tf.shape(users)[0]
        losses = self._pair_losses(users, vectors[:size], vectors[size:], inputs)
        return mean_loss(losses, inputs.get("weight"))

    def _pair_losses(
        self, users: tf.Tensor, items: tf.Tensor, drawn: tf.Tensor, inputs: Mapping[str, tf.Tensor]
    ) -> tf.Tensor:
        """[B] losses of the objectives other than softmax over the batch alone; `drawn` [N, D] are further items."""
        objective, temperature, ids = self._objective, self._config.temperature, inputs["item"]
        if objective.name == "directau":
            return alignment_and_uniformity(users, items, gamma=UNIFORMITY_WEIGHT)
        drawn_ids = inputs["drawn"]
        if objective.name == "bpr":
            return pairwise(users, items, drawn, temperature=temperature)
        if objective.name == "ccl":
            return cosine_contrastive(users, items, drawn, ids, drawn_ids, margin=CCL_MARGIN, weight=CCL_WEIGHT)
        if objective.name == "sampled":
            return sampled_softmax(users, items, drawn, ids, drawn_ids, temperature=temperature)
        all_ids = tf.concat([ids, drawn_ids], axis=0)
        log_q = item_log_q = None
        if self._config.logq != "none":
            log_q = mixed_log_q(
                tf.gather(self.log_q, all_ids),
                in_batch=self._config.batch_size,
                drawn=objective.drawn,
                catalogue=self.log_q.shape[0],
            )
            if self._corrects_positive:
                item_log_q = log_q[: tf.shape(ids)[0]]
            else:  # Of N candidates: an item is expected N times its chance among them.
                log_q += tf.math.log(tf.cast(tf.size(log_q), log_q.dtype))
        return sampled_softmax(
            users, items, tf.concat([items, drawn], axis=0), ids, all_ids, temperature=temperature,
            item_log_q=item_log_q, candidate_log_q=log_q,
        )  # fmt: skip

    def _rows(self, inputs: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """What goes into the two towers; drawn items come after those of the batch."""
        own, keys = self.user_rows(inputs["user"]), inputs["item_keys"]
        # One look-up for all: two would be two steps of the table's optimizer for an item that is in both.
        if "drawn_keys" in inputs:
            keys = tf.concat([keys, inputs["drawn_keys"]], axis=0)
        if "history" not in inputs:
            return own, self.item_rows(keys)
        counts = inputs["history_counts"]
        rows = self.item_rows(tf.concat([keys, inputs["history"]], axis=0))
        size = tf.shape(keys)[0]
        has_history = tf.cast(counts > 0, rows.dtype)[:, None]
        means = mean_rows(rows[size:], counts)
        return blend(own, means, tf.ones_like(has_history), has_history, self._config.history_weight), rows[:size]

    # Nothing below a step branches on a tensor in Python, so there is nothing for AutoGraph to convert; it would
    # rewrite a hundred functions of Keras and TFRA all the same, which takes ten seconds.
    @tf.autograph.experimental.do_not_convert
    def train_step(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, Any]:
        """One step; with shared weights these are read before it, and their gradients sent after it."""
        if self._shared is None:
            step: dict[str, Any] = super().train_step(inputs)
            return step
        with tf.control_dependencies(self._shared.read()), tf.GradientTape() as tape:
            loss = self.compute_loss(inputs, training=True)
        # The layers of the rows push when somebody takes gradients for their own weights.
        gradients = tape.gradient(loss, self.trainable_variables)
        by_name = {id(variable): value for variable, value in zip(self.trainable_variables, gradients, strict=True)}
        with tf.control_dependencies([value for value in gradients if value is not None]):
            sent = self._shared.send([by_name[id(variable)] for variable in self._shared.variables])
        with tf.control_dependencies([sent]):
            return {"loss": tf.identity(loss)}

    @property
    def dense_variables(self) -> list[tf.Variable]:
        """Trainable weights of the towers."""
        return [*self.user_tower.trainable_variables, *self.item_tower.trainable_variables]

    def user_vectors(self, tables: RowTables, keys: Ids) -> Vectors:
        """Vectors of users ([N] int64 keys): [N, vector_dim] float32."""
        blocks = [keys[first : first + _BLOCK] for first in range(0, len(keys), _BLOCK)]
        return np.concatenate([self.user_tower(self._user_inputs(tables, block), training=False) for block in blocks])

    def _user_inputs(self, tables: RowTables, keys: Ids) -> tf.Tensor:
        own = tf.constant(tables.rows("user", keys))
        if self._histories is None:
            return own
        positions, counts = self._histories.taken(keys)
        distinct, places = np.unique(positions, return_inverse=True)
        rows = tables.rows("item", self._histories.item_keys[distinct])[places]
        has_history = tf.constant((counts > 0).astype(np.float32)[:, None])
        means = mean_rows(tf.constant(rows.reshape(-1, own.shape[1])), tf.constant(counts))
        return blend(own, means, tf.ones_like(has_history), has_history, self._config.history_weight)

    def item_vectors(self, tables: RowTables, keys: Ids) -> Vectors:
        """Vectors of items ([N, L] int64 keys): [N, vector_dim] float32."""
        vectors = []
        for first in range(0, len(keys), _BLOCK):
            block = keys[first : first + _BLOCK]
            rows = tables.rows("item", block.reshape(-1)).reshape(*block.shape, -1)
            vectors.append(self.item_tower(rows.mean(axis=1), training=False).numpy())
        return np.concatenate(vectors)


class BatchSource:
    """Training interactions as batches of the inputs of `TwoTower.compute_loss`."""

    def __init__(
        self,
        problem: Problem,
        tables: RowTables,
        config: TwoTowerConfig,
        histories: UserHistories | None = None,
    ) -> None:
        self._users = tf.constant(tables.encode("user", problem.train.user_ids))
        keys = tables.encode("item", problem.item_keys.reshape(-1)).reshape(problem.item_keys.shape)
        self._item_keys = tf.constant(keys)
        self._items = tf.constant(problem.train_positions)
        self._weights = None if problem.train.weights is None else tf.constant(problem.train.weights)
        self._batch_size, self._seed = config.batch_size, config.seed
        self._drawn = Objective.parse(config.loss).negatives(config.batch_size)
        self._histories = None if histories is None else histories.ragged()
        self._places = tf.constant(np.searchsorted(problem.user_keys, problem.train.user_ids))

    def batches(self, order: Ids, *, drop_remainder: bool) -> tf.data.Dataset:
        """The interactions at `order` ([N] int64 rows), in that order."""
        rows = tf.data.Dataset.from_tensor_slices(order)
        return rows.batch(self._batch_size, drop_remainder=drop_remainder).map(self._gather).prefetch(2)

    def _gather(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        item = tf.gather(self._items, rows)
        inputs = {
            "user": tf.gather(self._users, rows),
            "item_keys": tf.gather(self._item_keys, item),
            "item": item,
        }
        if self._drawn:
            # A function of the order, and so of seed and epoch: a training that is resumed draws the same.
            draw = tf.random.stateless_uniform(
                [self._drawn], seed=tf.stack([rows[0] ^ self._seed, rows[1]]), maxval=len(self._item_keys),
                dtype=tf.int64,
            )  # fmt: skip
            inputs["drawn"], inputs["drawn_keys"] = draw, tf.gather(self._item_keys, draw)
        if self._weights is not None:
            inputs["weight"] = tf.gather(self._weights, rows)
        if self._histories is not None:
            met = tf.gather(self._histories, tf.gather(self._places, rows))
            inputs["history"] = tf.gather(self._item_keys, met.values)
            inputs["history_counts"] = met.row_lengths()
        return inputs


def epoch_order(count: int, *, seed: int, epoch: int, worker: int = 0, workers: int = 1) -> Ids:
    """The order in which an epoch (from 1) goes through `count` interactions: a worker's part of one permutation."""
    order = np.random.default_rng((seed, epoch)).permutation(count).astype(np.int64)
    return order[: count // workers * workers][worker::workers]
