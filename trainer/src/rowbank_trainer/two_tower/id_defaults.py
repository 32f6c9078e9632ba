"""What settings are by default where items are known by their ids and no schema says more.

The defaults of `TwoTowerConfig` suit titles, whose words share rows. Where every item has a row of its own, layers cost
more than they give, and what people met says most; docs/two-tower.md has the figures. Importing this must stay cheap.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from rowbank_trainer.errors import option
from rowbank_trainer.two_tower.config import OPTION_OF, TwoTowerConfig
from rowbank_trainer.two_tower.objective import CORRECTED, Objective

_TOWERS = ("hidden", "output_layer", "row_dropout")
_BY_ID: Mapping[str, Any] = {
    "hidden": (),
    "output_layer": False,
    "row_dropout": 0.0,
    "temperature": 0.1,
    "logq_positive": "uncorrected",
    "history": 200,
    "related": 20,
    "popularity_weight": 0.03,
    "schedule": "cosine",
    "epochs": 8,
}
MANY_ITEMS = 10_000  # With fewer, the temperature of few items is better.
_OTHERWISE_WRITTEN = {"hidden": "--hidden none", "output_layer": "--no-output-layer"}


def id_defaults(given: TwoTowerConfig, explicit: Collection[str], *, catalogue: int, workers: bool) -> dict[str, Any]:
    """The settings that nobody asked for otherwise and that fit the others, by name.

    Args:
        given: the settings as they are.
        explicit: names of those that somebody asked for.
        catalogue: number of items.
        workers: whether several workers train.
    """
    left_out = set(explicit)
    if left_out & {"hidden", "output_layer"}:
        left_out |= set(_TOWERS)
    if given.similarity != "cosine":  # The others are on a scale of cosines.
        left_out |= {"temperature", "popularity_weight"}
    if catalogue < MANY_ITEMS:
        left_out.add("temperature")
    if given.logq == "none" or Objective.parse(given.loss).name not in CORRECTED:
        left_out.add("logq_positive")
    if given.logq == "none":  # Popularity is in the vectors.
        left_out.add("popularity_weight")
    if given.logq == "table":
        left_out |= {"history", "related"}
    if workers:
        left_out.add("schedule")
    return {name: value for name, value in _BY_ID.items() if name not in left_out}


def with_defaults(given: TwoTowerConfig, chosen: Mapping[str, Any]) -> TwoTowerConfig:
    """The settings with those of `id_defaults`."""
    changed = dict(chosen)
    if "hidden" in chosen:
        changed["vector_dim"] = given.dim  # Without layers a vector is as wide as a row.
    return dataclasses.replace(given, **changed)


def as_options(chosen: Mapping[str, Any]) -> str:
    """The settings as they are typed."""
    words = {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in chosen.items()}
    return " ".join(
        _OTHERWISE_WRITTEN.get(name, f"{option(OPTION_OF.get(name, name))} {word}") for name, word in words.items()
    )
