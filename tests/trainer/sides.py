"""One side of a schema by itself, for tests of towers."""

from __future__ import annotations

from rowbank_trainer.schema.spec import Column, Schema, Side, TableOptions
from rowbank_trainer.two_tower.blocks import Projections, TowerInput
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.features import ColumnValues, Scaling, SideValues
from rowbank_trainer.two_tower.plan import plan_of


def tower_input(
    *columns: Column,
    dim: int,
    combine: str = "mean",
    tables: dict[str, TableOptions] | None = None,
    scalings: dict[str, Scaling] | None = None,
) -> TowerInput:
    """What makes a tower's input of columns with rows of `dim` numbers."""
    side = Side(columns, combine)  # type: ignore[arg-type]
    items = Side((Column("item_id", "id", table="item"),))
    plan = plan_of(Schema(side, items, tables or {}), TwoTowerConfig(dim=dim))
    values = tuple(ColumnValues(one, scaling=(scalings or {}).get(one.column.name)) for one in plan.user.columns)
    return TowerInput(plan.user, SideValues([], values), Projections(plan, seed=1))  # type: ignore[arg-type]
