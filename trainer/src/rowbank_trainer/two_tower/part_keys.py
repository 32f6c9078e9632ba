"""The keys under which parts of a column's vectors have their rows, made by the code that makes them in serving."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from rowbank.manifests import BucketKey, TowerInput
from rowbank.tower_keys import input_keys
from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.schema.spec import MixedDimension
from rowbank_trainer.two_tower.plan import Part


@dataclass(frozen=True, slots=True)
class Blocks:
    """Which block each value of a mixed-dimension table is in.

    Attributes:
        keys: [K] int64, ascending.
        blocks: [K] int64; all other keys are in the last block.
        last: its number.
    """

    keys: Ids
    blocks: Ids
    last: int

    @classmethod
    def by_frequency(cls, embedding: MixedDimension, counts: Mapping[int, int]) -> Blocks:
        """The most frequent keys in the first block; equally frequent ones go by their number."""
        ranked = sorted(counts, key=lambda key: (-counts[key], key))
        ends = np.round(np.cumsum(embedding.shares) * len(ranked)).astype(np.int64)
        blocks = np.searchsorted(ends, np.arange(len(ranked)), side="right")
        keys = np.array(ranked, np.int64)
        order = np.argsort(keys)
        return cls(keys[order], blocks[order].astype(np.int64), len(embedding.shares))

    def of(self, keys: Ids) -> Ids:
        """The blocks of keys, [N] int64."""
        if not len(self.keys):
            return np.full(len(keys), self.last, np.int64)
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[places] == keys, self.blocks[places], self.last).astype(np.int64)


def keys_of(part: Part, values: Ids, words: Mapping[int, str] | None) -> Ids:
    """The table's keys of a column's keys, [N] int64 both.

    Args:
        words: the texts that the column's keys are of, which some rules hash; None: the keys are integers themselves.
    """
    if part.rule is None:
        return values
    distinct, places = np.unique(values, return_inverse=True)
    by_text = words is not None and isinstance(part.rule, BucketKey)
    wanted: Iterable[int | str] = [words[key] for key in distinct.tolist()] if by_text and words else distinct.tolist()
    made = TowerInput("", "", "", part.table.dim, kind="text_keys" if by_text else "keys", rule=part.rule)
    return input_keys(made, list(wanted)).keys[places]
