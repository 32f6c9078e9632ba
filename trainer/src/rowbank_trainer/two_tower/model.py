"""The two-tower model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_recommenders as tfrs

from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.two_tower import key_lists
from rowbank_trainer.two_tower.blocks import Projections, TowerInput
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.features import Features, SideValues
from rowbank_trainer.two_tower.loss import (
    alignment_and_uniformity,
    cosine_contrastive,
    drawn_log_q,
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

Vectors = npt.NDArray[np.float32]
_BLOCK = 4096
CCL_MARGIN, CCL_WEIGHT = 0.4, 10.0  # Neither is an option yet; nor is the next.
UNIFORMITY_WEIGHT = 2.0


class TwoTower(tfrs.Model):
    """Users and items meet in one vector space: trained with softmax over the items of the batch.

    Args:
        problem: columns and scalings.
        tables: layers for the rows.
        config: what the towers and the loss are like.
        log_q: [M] float32 logarithms of the items' probabilities, which may be assigned anew while the model trains.
        shared: dense weights that other workers train too; None: they are this model's own.
    """

    def __init__(
        self,
        problem: Problem,
        tables: RowTables,
        config: TwoTowerConfig,
        log_q: Vectors,
        shared: SharedDense | None = None,
    ) -> None:
        super().__init__()
        plan = problem.plan
        self._plan, self._tables = plan, tables
        self.row_layers = [tables.layers[name] for name in plan.table_names]
        projections = Projections(plan, seed=config.seed * 1000 + 900)
        self.user_input = TowerInput(plan.user, problem.features.user, projections)
        self.item_input = TowerInput(plan.item, problem.features.item, projections)
        self.user_tower = build_tower("user", config, seed=config.seed * 1000, width=plan.user.width)
        self.item_tower = build_tower("item", config, seed=config.seed * 1000 + 500, width=plan.item.width)
        self.log_q = tf.Variable(log_q, trainable=False, name="log_q")
        self._config = config
        self._objective = Objective.parse(config.loss)
        self._corrects_positive = config.logq_positive == "corrected"
        self._shared = shared

    def compute_loss(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """The mean loss of a batch.

        Args:
            inputs: `item` [batch] int64 catalogue positions; where the objective needs them `drawn` [N], more of them;
                where interactions have weights `weight` [batch] float32; and by "user/<name>" of the users, and by
                "item/<name>" of the items and then the drawn ones, what `TowerInput` takes, keys instead of rows.
            training: whether dropout is on.
        """
        rows = self._rows(inputs)
        users = self.user_tower(self.user_input(_of("user", rows)), training=training)
        vectors = self.item_tower(self.item_input(_of("item", rows)), training=training)
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
                hardest=self._config.hard_negatives,
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
        candidates, candidate_ids = drawn, drawn_ids
        if objective.name == "mixed":
            candidates, candidate_ids = tf.concat([items, drawn], axis=0), tf.concat([ids, drawn_ids], axis=0)
        item_log_q, log_q = self._candidate_log_q(ids, candidate_ids)
        return sampled_softmax(
            users, items, candidates, ids, candidate_ids, temperature=temperature, item_log_q=item_log_q,
            candidate_log_q=log_q, hardest=self._config.hard_negatives,
        )  # fmt: skip

    def _candidate_log_q(self, ids: tf.Tensor, candidate_ids: tf.Tensor) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        """Logarithms of the chances to be a candidate, of right items and of candidates; None: nothing is corrected."""
        config, objective = self._config, self._objective
        if config.logq == "none" or (objective.name == "sampled" and not config.negative_power):
            return None, None  # What is drawn evenly is corrected alike, which changes nothing.
        log_q = tf.gather(self.log_q, tf.concat([ids, candidate_ids], axis=0))  # Of these alone: a catalogue is long.
        chances = drawn_log_q(log_q, self.log_q, config.negative_power)
        if objective.name == "mixed":
            chances = mixed_log_q(log_q, chances, in_batch=config.batch_size, drawn=objective.drawn)
        of_items, of_candidates = tf.split(chances, [tf.size(ids), tf.size(candidate_ids)])
        if self._corrects_positive:
            return of_items, of_candidates
        # Of N candidates: an item is expected N times its chance among them.
        return None, of_candidates + tf.math.log(tf.cast(tf.size(candidate_ids), chances.dtype))

    def _rows(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The inputs with rows in the place of keys, each row once, and with the keys' places among them."""
        rows = dict(inputs)
        for table in self._plan.table_names:
            names = self._plan.inputs_of(table)
            found, places = self._tables.distinct_rows(table, tf.concat([inputs[name] for name in names], axis=0))
            parted = tf.split(places, [tf.size(inputs[name]) for name in names])
            rows |= dict.fromkeys(names, found)
            rows |= {f"{name}/taken": part for name, part in zip(names, parted, strict=True)}
        return rows

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
        parts = (self.user_input, self.user_tower, self.item_input, self.item_tower)
        variables = [variable for part in parts for variable in part.trainable_variables]
        return list({id(variable): variable for variable in variables}.values())  # Both sides may share projections.

    def user_vectors(self, tables: RowTables, features: Features, ids: Ids) -> Vectors:
        """Vectors of known users ([N] int64 ids): [N, vector_dim] float32."""
        positions = features.user.positions(ids)
        return self._vectors(self.user_input, self.user_tower, tables, features.user, positions)

    def item_vectors(self, tables: RowTables, features: Features) -> Vectors:
        """Vectors of all items of the catalogue: [M, vector_dim] float32."""
        positions = np.arange(len(features.item.ids))
        return self._vectors(self.item_input, self.item_tower, tables, features.item, positions)

    def unknown_items(self, tables: RowTables, features: Features) -> npt.NDArray[np.bool_]:
        """[M] bool: the items of which no key has a row, which a model that serves does not recommend."""
        columns = [one for one in features.item.columns if one.keys is not None]
        known = np.full(len(features.item.ids), not columns)
        for one in columns:
            assert one.keys is not None
            distinct, places = np.unique(one.keys.values, return_inverse=True)
            there = np.zeros(len(distinct), np.bool_)
            for part in one.plan.parts:
                there |= tables.rows(part.table.name, one.part_keys(part, distinct)).any(axis=1)
            owners = np.repeat(np.arange(len(known)), key_lists.counts_of(one.keys))
            known[owners[there[places]]] = True
        return ~known

    def _vectors(
        self, before: TowerInput, tower: Any, tables: RowTables, values: SideValues, positions: Ids
    ) -> Vectors:
        vectors = np.zeros((len(positions), self._config.vector_dim), np.float32)
        for first in range(0, len(positions), _BLOCK):
            block = positions[first : first + _BLOCK]
            vectors[first : first + _BLOCK] = tower(before(_read(tables, values, block)), training=False)
        return vectors


def _of(side: str, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The inputs of one side, without its name."""
    return {name.removeprefix(f"{side}/"): value for name, value in inputs.items() if name.startswith(f"{side}/")}


def _read(tables: RowTables, values: SideValues, positions: Ids) -> dict[str, tf.Tensor]:
    """What `TowerInput` takes, of entities at [N] positions, from the tables as they are."""
    inputs: dict[str, tf.Tensor] = {}
    for one in values.columns:
        name = one.plan.column.name
        if one.numbers is not None:
            inputs[name] = tf.constant(one.numbers[positions])
        elif one.keys is not None:
            keys = key_lists.take(one.keys, positions)
            distinct, places = np.unique(keys.values, return_inverse=True)
            inputs[f"{name}/counts"] = tf.constant(key_lists.counts_of(keys))
            for part in one.plan.parts:
                inputs[part.input] = tf.constant(tables.rows(part.table.name, one.part_keys(part, distinct)))
                inputs[f"{part.input}/taken"] = tf.constant(places.astype(np.int32))
    return inputs
