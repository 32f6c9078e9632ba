"""A schema's columns as a version that is served has them: inputs of towers, features of views, and their values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from rowbank.catalogue import HISTORY_FIELDS, ViewNames
from rowbank.features import FeatureField
from rowbank.models import TowerInput
from rowbank_trainer.data.dataset import Entities
from rowbank_trainer.errors import PublishError, UsageError
from rowbank_trainer.two_tower.features import ColumnValues, SideValues, pad_key
from rowbank_trainer.two_tower.plan import ColumnPlan, SidePlan
from rowbank_trainer.two_tower.problem import Problem

_TITLE = FeatureField("title", "string")
_TITLE_TOKENS = FeatureField("title_tokens", "int64_list")
_GENRES, _YEAR = FeatureField("genres", "string_list"), FeatureField("year", "int64")
_HISTORY = "history"
_FEATURE = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
Fills = Mapping[str, float]  # Numeric column -> the number that stands for a missing one.


def tower_inputs(
    plan: SidePlan, problem: Problem, tables: Mapping[str, str], views: ViewNames
) -> tuple[TowerInput, ...]:
    """What a tower is fed with: tables by their names on the server, features by their views."""
    view = views.user_view if plan.name == "user" else views.item_view
    inputs: list[TowerInput] = []
    for one in plan.columns:
        feature, kind = _source(plan.name, one, problem, view)
        if not one.parts:
            inputs.append(TowerInput(one.input, "", feature, 1, kind=kind))
        inputs.extend(
            TowerInput(
                part.input,
                tables[part.table.name],
                feature,
                part.table.dim,
                one.length,
                pad_key(one, kind),
                kind,
                newest=one.column.type == "history",
                rule=part.rule,
            )
            for part in one.parts
        )
    return tuple(inputs)


def check_served(problem: Problem) -> None:
    """Raises UsageError if columns cannot be features of a version's views; before a model is trained for them."""
    for plan in problem.plan.sides:
        for column in (one.column for one in plan.columns):
            if column.type not in ("id", "history") and not _FEATURE.fullmatch(column.name):
                raise UsageError(
                    f"schema: {plan.name} column {column.name!r} is to be published, and names of features are "
                    "letters, digits and '_', not beginning with a digit; rename it in schema and files"
                )
            taken = {"user": {_HISTORY: "history"}, "item": {"title_tokens": "", "title": "text"}}[plan.name]
            if column.name in taken and column.type != taken[column.name] and column.type != "id":
                raise UsageError(
                    f"schema: {plan.name} column {column.name!r} of type {column.type} is to be published, and a "
                    "feature of that name is something else in every version's views; rename it in schema and files"
                )


def tokenised(problem: Problem) -> bool:
    """Whether items have a feature of the keys of their titles' words, because no schema says what there is."""
    return not problem.declared and problem.catalogue.titled


def catalogue_fields(problem: Problem) -> tuple[FeatureField, ...]:
    """The features of items that a model has without a schema: titles, and what else the data has of them."""
    catalogue = problem.catalogue
    there = {
        _TITLE: True,
        _TITLE_TOKENS: tokenised(problem),
        _GENRES: any(catalogue.genres),
        _YEAR: any(catalogue.years),
    }
    return tuple(field for field, is_there in there.items() if is_there)


def fields_of(plan: SidePlan, problem: Problem, fills: Fills) -> tuple[FeatureField, ...]:
    """The features of a side's view: those that it has without a schema, and the columns."""
    fields = {field.name: field for field in (catalogue_fields(problem) if plan.name == "item" else HISTORY_FIELDS)}
    for one in plan.columns:
        column = one.column
        if column.type in ("id", "history") or (tokenised(problem) and column.type == "text"):
            continue
        kind = _type(plan.name, one, problem)
        fields[column.name] = FeatureField(column.name, kind, _default(one, kind, fills))
    return tuple(fields.values())


def with_columns(rows: dict[int, dict[str, Any]], values: SideValues, given: Entities | None) -> None:
    """Adds the columns' values to the features of entities, and entities that only the files know."""
    for one in values.columns:
        if one.plan.column.type == "related":
            _add_related(rows, one, values)
    if given is None:
        return
    names = [one.plan.column.name for one in values.columns if one.plan.column.name in given.stored]
    for place, entity in enumerate(given.ids.tolist()):
        said = {name: given.stored[name][place] for name in names}
        rows.setdefault(entity, {}).update({name: value for name, value in said.items() if value is not None})


def _add_related(rows: dict[int, dict[str, Any]], one: ColumnValues, values: SideValues) -> None:
    assert one.keys is not None
    lists = np.split(one.keys.values, one.keys.starts[1:-1])
    for entity, keys in zip(values.ids.tolist(), lists, strict=True):
        rows.setdefault(entity, {})[one.plan.column.name] = keys


def _source(side: str, one: ColumnPlan, problem: Problem, view: str) -> tuple[str, str]:
    """The feature that an input takes, and what kind of thing it is."""
    column = one.column
    if column.type == "id":
        return f"{side}_id", "keys"
    if column.type == "history":
        return f"{view}:{_HISTORY}", "keys"
    if column.type == "text" and tokenised(problem):
        return f"{view}:title_tokens", "keys"
    kind = _type(side, one, problem)
    kinds = {"numeric": "numbers", "text": "words"}
    return f"{view}:{column.name}", kinds.get(column.type, "text_keys" if kind.startswith("string") else "keys")


def _type(side: str, one: ColumnPlan, problem: Problem) -> str:
    """The type of the feature that keeps a column."""
    column = one.column
    if column.type == "related":
        return "int64_list"
    if column.type == "text":
        return "string"
    given = problem.users if side == "user" else problem.items
    if given is None or column.name not in given.types:
        raise PublishError(f"schema: column {column.name!r} has no type to publish it with")
    return given.types[column.name]


def _default(one: ColumnPlan, kind: str, fills: Fills) -> Any:
    """What a read of the feature answers where nothing was written."""
    column = one.column
    if column.type == "numeric":
        number = float(fills[column.name] if column.default is None else column.default)
        return [number] if kind == "float_list" else number
    return column.default
