"""The work that clients of every parameter server are given: the same keys, rows and gradients. Needs NumPy alone."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

BATCHES = 64  # Distinct batches of a client, so that nobody lives off a warm cache of one.
RATE = 0.05
ACCUMULATOR = 0.1  # Where Adagrad's sums begin.


@dataclass(frozen=True, slots=True)
class Work:
    """What a client does: on tables that hold the keys 0 to `rows` - 1."""

    rows: int
    dim: int
    batch: int
    seed: int
    optimizer: str  # "adagrad" or "adam", of the pushed rows only.
    tables: tuple[str, ...]
    keys: str = "uniform"  # Or "zipf", exponent 1.05.
    client: int = 0
    clients: int = 1
    cores: int = 1  # That the server has.
    server: dict[str, Any] = field(default_factory=dict)  # How to reach it; depends on the server.

    @classmethod
    def given(cls) -> Work:
        """From the command line's first argument."""
        told = json.loads(sys.argv[1])
        return cls(**(told | {"tables": tuple(told["tables"])}))

    def batches(self) -> npt.NDArray[np.int64]:
        """[BATCHES, batch] keys, distinct within a batch; other ones for each client."""
        random = np.random.default_rng([self.seed, self.client])
        if self.keys == "uniform":
            drawn = [random.choice(self.rows, self.batch, replace=False) for _ in range(BATCHES)]
        else:
            cumulative = np.cumsum(1.0 / np.arange(1, self.rows + 1) ** 1.05)
            names = np.random.default_rng(self.seed).permutation(self.rows)  # Hot keys lie anywhere.
            drawn = [names[_distinct(random, cumulative, self.batch)] for _ in range(BATCHES)]
        return np.array(drawn, np.int64)

    def gradients(self) -> npt.NDArray[np.float32]:
        """[batch, dim], the same for every push."""
        random = np.random.default_rng(self.seed + 2)
        return random.standard_normal((self.batch, self.dim), dtype=np.float32)


def _distinct(random: np.random.Generator, cumulative: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.int64]:
    """The first `count` distinct of many draws, in their order."""
    places = np.empty(0, np.int64)
    while len(places) < count:
        drawn = np.searchsorted(cumulative, random.random(2 * count) * cumulative[-1])
        places = np.concatenate([places, drawn])
        places = places[np.sort(np.unique(places, return_index=True)[1])]
    return places[:count]
