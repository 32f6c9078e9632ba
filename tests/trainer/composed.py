"""The shop's columns with composed embeddings, and their vectors by definition."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import tensorflow as tf
from tests.trainer.by_hand import Rows
from tests.trainer.shop import COLOURS, WORDS, schema

from rowbank.text import token_key
from rowbank_trainer.schema.spec import MixedDimension, QuotientRemainder, Schema, TableOptions, Unified
from rowbank_trainer.two_tower.problem import Problem

TEXTS = {token_key(text): text for text in (*COLOURS, *WORDS, "plain")}
TABLES = {
    "user": TableOptions(embedding=QuotientRemainder(7)),
    "colour": TableOptions(dim=3, embedding=QuotientRemainder(5, "add")),
    "group": TableOptions(dim=4, embedding=Unified(9, lookups=2)),
    "item": TableOptions(embedding=MixedDimension((0.25, 0.25), (6, 4, 2))),
    "words": TableOptions(dim=5, embedding=Unified(11, lookups=1)),
}


def composed(**tables: TableOptions) -> Schema:
    """The shop's schema, with other tables."""
    return schema(tables={**TABLES, **tables})


class Vectors:
    """Vectors of columns' values out of the rows of tables.

    Args:
        rows: [N, dim] rows of the tables that there are, zeros for missing ones.
        kernels: of the narrow blocks of items.
    """

    def __init__(self, problem: Problem, rows: Rows, kernels: dict[str, np.ndarray]) -> None:
        self._rows, self._kernels = rows, kernels
        counts: Counter[int] = Counter()
        lists = problem.features.user.columns[4].keys
        related = problem.features.item.columns[4].keys
        assert lists is not None
        assert related is not None
        for user in problem.train.user_ids.tolist():
            place = int(np.searchsorted(problem.user_keys, user))
            counts.update(lists.values[lists.starts[place] : lists.starts[place + 1]].tolist())
        for item in problem.train.item_ids.tolist():
            place = int(np.searchsorted(problem.catalogue.item_ids, item))
            counts.update([item, *related.values[related.starts[place] : related.starts[place + 1]].tolist()])
        self._ranks = {key: rank for rank, key in enumerate(sorted(counts, key=lambda key: (-counts[key], key)))}

    def __call__(self, table: str, keys: list[int], column: str = "") -> np.ndarray:
        width = {"user": 6, "colour": 3, "group": 4, "item": 6, "words": 5}[table]
        vectors = [self._vector(table, key, column) for key in keys]
        return np.array(vectors).reshape(len(keys), width)

    def _vector(self, table: str, key: int, column: str) -> np.ndarray:
        if table == "user":
            return self._row(table, 2 * (key // 7)) * self._row(table, 2 * (key % 7) + 1)
        if table == "colour":
            return self._row(table, 2 * (key // 5)) + self._row(table, 2 * (key % 5) + 1)
        if table == "item":
            rank, known = self._ranks.get(key), len(self._ranks)
            block = 2 if rank is None else int(rank >= round(known / 4)) + int(rank >= round(known / 2))
            row = self._row(f"item.{block}", key)
            return row @ self._kernels[f"item.{block}"] if block else row
        if table == "words":
            return self._row(table, hashed(TEXTS[key], (0, 0), 11))
        salt = {"likes": 0, "group": 1}[column]
        return np.concatenate([self._row(table, hashed(str(key), (salt, number), 9) + 9 * number) for number in (0, 1)])

    def _row(self, table: str, key: int) -> np.ndarray:
        row: np.ndarray = self._rows(table, [key])[0]
        return row


def hashed(text: str, salt: tuple[int, int], buckets: int) -> int:
    """TensorFlow's bucket of a text."""
    return int(tf.strings.to_hash_bucket_strong(text, buckets, key=list(salt)))


def kernels_of(model: Any) -> dict[str, np.ndarray]:
    """The projections of a model."""
    return {name: kernel.numpy() for name, kernel in model.user_input.projections.kernels.items()}
