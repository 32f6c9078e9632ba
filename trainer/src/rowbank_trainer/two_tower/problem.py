"""A dataset prepared for training: one preprocessing for every kind of table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rowbank.text import PAD_KEY, title_keys
from rowbank_trainer.data.dataset import Catalogue, Dataset, Entities, Ids, Interactions
from rowbank_trainer.data.splits import Split, SplitRule, split, split_by
from rowbank_trainer.errors import TrainerError, UsageError
from rowbank_trainer.evaluation import Accuracy, Evaluator, popularity_scorer
from rowbank_trainer.schema.spec import Schema
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.default_schema import default_schema
from rowbank_trainer.two_tower.features import NO_FEATURES, Features, Sources, features_of
from rowbank_trainer.two_tower.plan import ModelPlan, plan_of


@dataclass(frozen=True, slots=True)
class Problem:
    """What a model is trained and judged on.

    Attributes:
        dataset_name: for reports.
        catalogue: every item.
        item_keys: [M, L] int64, in the catalogue's order: keys of the first L words of each title, padded with 0; where
            there are no titles the item's id, and L is 1.
        schema: the columns of users and items.
        plan: what it comes to.
        features: values of the columns.
        declared: whether somebody wrote the schema.
        users, items: what files say of them, which may be nothing.
        train: interactions to learn from.
        held_out: interactions to be judged on.
        train_positions: [N] int64, the catalogue position of each training interaction's item.
        item_counts: [M] int64, how often each item is met in training.
        user_keys: [U] int64, ascending: every user, of either part.
        vocabulary: distinct keys that training will see, by the table's short name.
        known: all that users are known to have met, whatever part of it is trained on or held out.
        user_names, item_names: of the dataset.
        validation: interactions, neither trained on nor in `held_out`, that say when to stop; None: `held_out` does.
    """

    dataset_name: str
    catalogue: Catalogue
    item_keys: Ids
    schema: Schema
    plan: ModelPlan
    train: Interactions
    held_out: Interactions
    train_positions: Ids
    item_counts: Ids
    user_keys: Ids
    vocabulary: dict[str, int]
    known: Interactions
    users: Entities | None
    items: Entities | None
    features: Features
    declared: bool = False
    validation: Interactions | None = None
    user_names: Mapping[int, str] | None = None
    item_names: Mapping[int, str] | None = None

    @property
    def id_kinds(self) -> dict[str, str]:
        """What ids are, as `ModelManifest` has it: fields and values."""
        named = {"user_ids": self.user_names, "item_ids": self.item_names}
        return {field: "int64" if names is None else "string" for field, names in named.items()}

    @property
    def trained_users(self) -> Ids:
        """Positions among the users of those that are trained on, ascending."""
        return np.searchsorted(self.user_keys, np.unique(self.train.user_ids)).astype(np.int64)

    def learning_from(self, train: Interactions) -> Problem:
        """The problem of learning from other interactions of the same users and items, in the same tables."""
        positions = self.catalogue.positions(train.item_ids)
        counts = np.bincount(positions, minlength=len(self.catalogue))
        problem = dataclasses.replace(self, train=train, train_positions=positions, item_counts=counts)
        return dataclasses.replace(problem, features=features_of(self.plan, problem.sources, self.features.blocks))

    @property
    def sources(self) -> Sources:
        """Where the values of columns come from."""
        return Sources(self.user_keys, self.catalogue, self.train, self.users, self.items)

    @property
    def wordless(self) -> list[str]:
        """Titles without a word: a model that goes by titles knows nothing of such items."""
        columns = self.schema.item.columns
        if not self.catalogue.titled or any(column.type != "text" for column in columns):
            return []
        return [self.catalogue.titles[row] for row in np.flatnonzero((self.item_keys == PAD_KEY).all(axis=1))]

    def evaluator(self) -> Evaluator:
        """Judges scores on the held-out part."""
        met = self.train if self.validation is None else _joined(self.train, self.validation)
        return Evaluator(self.catalogue, met, self.held_out, learned=self.train)

    def stopping_evaluator(self) -> Evaluator | None:
        """Judges scores on the part that says when to stop; None: it is the held-out part."""
        return None if self.validation is None else Evaluator(self.catalogue, self.train, self.validation)

    def baseline(self, evaluator: Evaluator) -> Accuracy:
        """What recommending the most popular items to everybody reaches."""
        return evaluator.evaluate(popularity_scorer(self.catalogue, self.train))


def prepare(dataset: Dataset, config: TwoTowerConfig, schema: Schema | None = None) -> Problem:
    """Splits and preprocesses a dataset.

    Args:
        schema: None: users by id, items by the words of their titles or by id.
    Raises:
        TrainerError: it cannot be split as asked, has fewer training interactions than one batch holds, or does not fit
            the schema.
    """
    if config.popularity_half_life_days and not dataset.timed:
        raise UsageError(
            f"--popularity-half-life-days {config.popularity_half_life_days:g} needs times, which {dataset.name} has "
            "not; name their column with --time-column, or leave the option out"
        )
    parts, validation = _split(dataset, config), None
    if config.early_stopping and config.evaluate_on == "test":
        inner = _validation(parts, config)
        parts, validation = Split(train=inner.train, held_out=parts.held_out), inner.held_out
    if len(parts.train) < config.batch_size:
        raise TrainerError(
            f"{dataset.name}: {len(parts.train)} training interactions are fewer than one batch of "
            f"{config.batch_size}; give a smaller --batch-size"
        )
    problem = problem_of(dataset, parts, config, schema)
    return problem if validation is None else dataclasses.replace(problem, validation=validation)


def problem_of(dataset: Dataset, parts: Split, config: TwoTowerConfig, declared: Schema | None = None) -> Problem:
    """The problem of learning from one part of a dataset's interactions and being judged on another."""
    catalogue = dataset.catalogue
    keys = title_keys(catalogue.titles, config.max_tokens) if catalogue.titled else catalogue.item_ids[:, None]
    positions = catalogue.positions(parts.train.item_ids)
    everybody = [dataset.interactions.user_ids, parts.train.user_ids, parts.held_out.user_ids]
    for name, what in (("history", "what users met"), ("related", "what goes with an item")):
        length = getattr(config, name)
        if declared is not None and length:
            raise UsageError(
                f"--{name} {length}: {what} is a column of the schema; declare it there, such as "
                f'{name} = {{ type = "{name}", length = {length} }}, and leave out --{name}'
            )
    schema = default_schema(catalogue, config) if declared is None else declared
    plan = plan_of(schema, config)
    problem = Problem(
        dataset_name=dataset.name,
        catalogue=catalogue,
        item_keys=keys,
        schema=schema,
        plan=plan,
        train=parts.train,
        held_out=parts.held_out,
        train_positions=positions,
        item_counts=np.bincount(positions, minlength=len(catalogue)),
        user_keys=np.unique(np.concatenate(everybody)),
        vocabulary={},
        known=dataset.interactions if dataset.held_out is None else _joined(dataset.interactions, dataset.held_out),
        users=dataset.users,
        items=dataset.items,
        features=NO_FEATURES,
        declared=declared is not None,
        user_names=dataset.user_names,
        item_names=dataset.item_names,
    )
    features = features_of(plan, problem.sources)
    trained = {"users": problem.trained_users, "items": np.unique(positions)}
    vocabulary = {name: len(features.keys(name, **trained)) for name in plan.table_names}
    return dataclasses.replace(problem, features=features, vocabulary=vocabulary)


def _joined(first: Interactions, second: Interactions) -> Interactions:
    """All interactions of both, without weights."""
    both = {
        name: np.concatenate([getattr(first, name), getattr(second, name)])
        for name in ("user_ids", "item_ids", "ratings", "times")
    }
    return dataclasses.replace(first, **both, weights=None)


def _split(dataset: Dataset, config: TwoTowerConfig) -> Split:
    if dataset.held_out is None:
        rule = SplitRule.parse(config.split)
        parts = split_by(rule, dataset.interactions, timed=dataset.timed, seed=config.seed)
    else:
        parts = Split(train=dataset.interactions, held_out=dataset.held_out)
    if config.evaluate_on == "validation":
        return _validation(parts, config)
    return parts


def _validation(parts: Split, config: TwoTowerConfig) -> Split:
    """The training part, parted again."""
    return split(parts.train, held_out_fraction=config.validation_fraction, seed=config.seed + 1)
