"""Settings of a two-tower model out of the options of its command: an option is called as the setting is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rowbank_trainer.two_tower.config import OPTION_OF, TwoTowerConfig, parse_widths

_OTHERWISE_NAMED = {option: name for name, option in OPTION_OF.items()}
_FIELDS = frozenset(field.name for field in dataclasses.fields(TwoTowerConfig))


def setting_of(option: str) -> str | None:
    """The setting that an option, by its parameter's name, is for; None: it is for something else."""
    name = _OTHERWISE_NAMED.get(option, option)
    return name if name in _FIELDS else None


def config_of(options: Mapping[str, Any]) -> TwoTowerConfig:
    """The settings that options ask for.

    Args:
        options: the command's parameters by name; those that are no settings are passed over.
    Raises:
        UsageError: a value is out of range, or values contradict each other.
    """
    values = {name: value for option, value in options.items() if (name := setting_of(option)) is not None}
    widths = parse_widths(values["hidden"])
    width = values.get("vector_dim") or (values["dim"] if values["output_layer"] or not widths else widths[-1])
    return TwoTowerConfig(**{**values, "hidden": widths, "vector_dim": width})
