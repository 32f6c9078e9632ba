"""Inputs of the shop's towers by their definition."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tests.trainer.shop import words_of

from rowbank.text import token_key
from rowbank_trainer.data import Interactions
from rowbank_trainer.two_tower.problem import Problem

Rows = Callable[..., np.ndarray]


def mean(rows: np.ndarray, width: int) -> np.ndarray:
    there = [row for row in rows if row.any()]
    return np.mean(there, axis=0) if there else np.zeros(width)


class ByHand:
    """The towers' inputs by their definition, one entity at a time.

    Args:
        rows: [N, dim] vectors of a table's keys, zeros for missing ones.
        by_column: whether they also depend on the column, which is then told.
        met: what histories are of; None: what is trained on.
    """

    def __init__(
        self, problem: Problem, rows: Rows, met: Interactions | None = None, *, by_column: bool = False
    ) -> None:
        self.problem, self.rows, self.by_column = problem, rows, by_column
        self.met = problem.train if met is None else met
        assert problem.users is not None
        assert problem.items is not None
        self.users, self.items = problem.users, problem.items
        trained = np.unique(problem.train.user_ids)
        ages = self.users.numbers["age"][np.isin(self.users.ids, trained)].astype(np.float64)
        self.age = (np.nanmean(ages), np.nanstd(ages))
        prices = self.items.numbers["price"][np.isin(self.items.ids, problem.train.item_ids)].astype(np.float64)
        self.price = (np.nanmean(np.log1p(prices)), np.nanstd(np.log1p(prices)))

    def of(self, table: str, keys: list[int], column: str) -> np.ndarray:
        """Vectors of values, which may depend on the column."""
        return self.rows(table, keys, column) if self.by_column else self.rows(table, keys)

    def user(self, user: int) -> np.ndarray:
        place = np.flatnonzero(self.users.ids == user)
        said = {name: values[place[0]] if len(place) else None for name, values in self.users.stored.items()}
        train = self.met
        mine = sorted(np.flatnonzero(train.user_ids == user).tolist(), key=lambda row: train.times[row])
        return np.concatenate([
            mean(self.rows("user", [user]), 6),
            mean(self.rows("colour", [token_key(said["colour"])] if said["colour"] else []), 3),
            [0.0 if said["age"] is None else (said["age"] - self.age[0]) / self.age[1]],
            mean(self.of("group", (said["likes"] or [])[:2], "likes"), 4),
            mean(self.rows("item", [int(train.item_ids[row]) for row in mine][-5:]), 6),
        ])  # fmt: skip

    def item(self, item: int) -> np.ndarray:
        place = int(np.flatnonzero(self.items.ids == item)[0])
        group, price, words = (self.items.stored[name][place] for name in ("group", "price", "words"))
        return np.concatenate([
            mean(self.rows("item", [item]), 6),
            mean(self.of("group", [] if group is None else [group], "group"), 4),
            [0.0 if price is None else (np.log1p(price) - self.price[0]) / self.price[1]],
            mean(self.rows("words", words_of(words)), 5),
            mean(self.rows("item", self.related(item)), 6),
        ])  # fmt: skip

    def related(self, item: int) -> list[int]:
        """By the formula; of equal scores any order is right, so those of the problem are taken if they are as good."""
        train = self.problem.train
        met_by = {one: set(train.user_ids[train.item_ids == one].tolist()) for one in self.items.ids.tolist()}
        met = {user: len(set(train.item_ids[train.user_ids == user].tolist())) for user in train.user_ids.tolist()}

        def score(other: int) -> float:
            both = met_by[item] & met_by[other]
            return (
                sum(1 / met[user] for user in both) / np.sqrt(len(met_by[item]) * len(met_by[other])) if both else 0.0
            )

        keys = self.problem.features.item.columns[4].keys
        assert keys is not None
        place = int(np.flatnonzero(self.items.ids == item)[0])
        found = keys.values[keys.starts[place] : keys.starts[place + 1]].tolist()
        best = sorted((score(other) for other in met_by if other != item), reverse=True)[:3]
        np.testing.assert_allclose([score(other) for other in found], [one for one in best if one > 0], rtol=1e-5)
        return found
