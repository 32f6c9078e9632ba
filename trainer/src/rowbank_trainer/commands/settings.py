"""Settings of a two-tower model out of the options of its command: an option is called as the setting is."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_type_hints

import typer
from rich.console import Console

from rowbank_trainer.two_tower.config import OPTION_OF, TwoTowerConfig, parse_widths
from rowbank_trainer.two_tower.id_defaults import as_options, id_defaults, with_defaults

if TYPE_CHECKING:
    from rowbank_trainer.data import Dataset
    from rowbank_trainer.two_tower.grid import Trial

_OTHERWISE_NAMED = {option: name for name, option in OPTION_OF.items()}
_TYPES = get_type_hints(TwoTowerConfig)
_FIELDS = frozenset(field.name for field in dataclasses.fields(TwoTowerConfig))


def setting_of(option: str) -> str | None:
    """The setting that an option, by its parameter's name, is for; None: it is for something else."""
    name = _OTHERWISE_NAMED.get(option, option)
    return name if name in _FIELDS else None


def type_of(option: str) -> type:
    """What the setting of an option is: bool, int, float or str; `str` where it has a form of its own."""
    kind = _TYPES[_OTHERWISE_NAMED.get(option, option)]
    return kind if kind in (bool, int, float) else str


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


def explicit_settings(context: typer.Context) -> frozenset[str]:
    """Settings that the command line, or anything else that is no default, has."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = [name for name, source in sources.items() if source is not None and source.name != "DEFAULT"]
    return frozenset(setting for name in given if (setting := setting_of(name)) is not None)


def fitted_to(
    dataset: Dataset, config: TwoTowerConfig, explicit: Collection[str], shown: Console, *, workers: bool
) -> TwoTowerConfig:
    """The settings, with the defaults for data whose items are known by their ids, of which people are told.

    Args:
        explicit: settings that were asked for.
        workers: whether several workers train.
    """
    if dataset.catalogue.titled:
        return config
    chosen = id_defaults(config, explicit, catalogue=len(dataset.catalogue), workers=workers)
    if chosen:
        shown.print(
            f"Items go by id, so what is not given is as suits that (docs/two-tower.md): {as_options(chosen)}",
            highlight=False, markup=False,
        )  # fmt: skip
    return with_defaults(config, chosen)


def fitted_trials(dataset: Dataset, grid: Sequence[Trial], explicit: Collection[str]) -> list[Trial]:
    """Trials with the same defaults, each with all that it asks for itself."""
    if dataset.catalogue.titled:
        return list(grid)
    found = []
    for trial in grid:
        asked_for = {*explicit, *tried_settings([trial])}
        chosen = id_defaults(trial.config, asked_for, catalogue=len(dataset.catalogue), workers=False)
        found.append(dataclasses.replace(trial, config=with_defaults(trial.config, chosen)))
    return found


def tried_settings(grid: Sequence[Trial]) -> set[str]:
    """Settings that trials ask for."""
    options = {option.replace("-", "_") for trial in grid for option in trial.options}
    return {setting for option in options if (setting := setting_of(option)) is not None}
