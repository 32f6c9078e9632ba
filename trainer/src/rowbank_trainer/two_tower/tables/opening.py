"""Opens the tables of a variant."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import rowbank.tfra
from rowbank_trainer.two_tower.config import TwoTowerConfig, Variant
from rowbank_trainer.two_tower.plan import ModelPlan
from rowbank_trainer.two_tower.problem import Problem
from rowbank_trainer.two_tower.runs import RunTables
from rowbank_trainer.two_tower.tables.base import RowTables
from rowbank_trainer.two_tower.tables.remote import RemoteTables, last_parts, named_tables
from rowbank_trainer.two_tower.tables.static import StaticTables
from rowbank_trainer.two_tower.tables.tfra import TfraTables, local_tables


def open_tables(
    variant: Variant,
    problem: Problem,
    config: TwoTowerConfig,
    own: RunTables | None,
    *,
    restrict: bool,
    rows: Mapping[str, Path] | None = None,
    going_on: Mapping[str, str] | None = None,
) -> RowTables:
    """Tables for training one variant.

    Args:
        own: the run whose tables they are; needed by the variants that are on Rowbank. What an earlier process of the
            run left of them is dropped.
        restrict: whether the tables will be restricted, which their names say.
        rows: for `rowbank`: files of rows to start with, by table name; None: the tables start empty.
        going_on: for `rowbank`: tables to go on with as they are, by short name; None: tables of the run's own.
    Raises:
        TrainerError: see `RunTables.make_way`.
    """
    plan = problem.plan
    if variant is Variant.STATIC:
        return StaticTables(problem, config)
    if variant is Variant.TFRA_LOCAL:
        return local_tables(plan, config, last_parts(plan))
    if own is None:
        raise ValueError(f"{variant.value} needs a run on a server")
    suffix = ".restricted" if restrict else ""
    if variant is Variant.ROWBANK_TFRA:
        return _tfra_on_rowbank(own, plan, config, f"{own.run.prefix}.tfra{suffix}", restrict)
    if going_on is not None and rows is None:
        own.hold(going_on.values())
        return RemoteTables(own.client, plan, config, going_on, drawn_as=None)
    names = going_on or named_tables(f"{own.run.prefix}{suffix}", plan)
    own.make_way(names.values())
    own.hold(names.values())
    drawn_as = named_tables(f"{own.run.model}{suffix}", plan)
    return RemoteTables(own.client, plan, config, names, drawn_as=drawn_as, rows=rows)


def _tfra_on_rowbank(own: RunTables, plan: ModelPlan, config: TwoTowerConfig, prefix: str, restrict: bool) -> RowTables:
    # A creator takes up tables where it finds them; rows, slots and all share the prefix.
    own.make_way(own.of_prefix(f"{prefix}/"))
    tables = TfraTables(
        plan,
        config,
        creator=rowbank.tfra.TableCreator(own.client, prefix=prefix),
        restrict_policy=rowbank.tfra.FrequencyRestrictPolicy if restrict else None,
        names=last_parts(plan),
    )
    tables.table_names = {name: tables.variable(name).tables[0].store.table.name for name in plan.table_names}
    own.hold(tables.table_names.values())
    return tables
