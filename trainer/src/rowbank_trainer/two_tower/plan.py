"""What a schema comes to for one model: which rows of which tables each column takes, and how wide that makes it.

Importing this must stay cheap: it happens before TensorFlow is loaded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from rowbank.manifests import BucketKey, KeyRule, QuotientKey, RemainderKey
from rowbank_trainer.errors import UsageError
from rowbank_trainer.schema.spec import (
    SIDES,
    Column,
    Embedding,
    MixedDimension,
    Plain,
    QuotientRemainder,
    Schema,
    Side,
    TableOptions,
    Unified,
)
from rowbank_trainer.two_tower.config import TwoTowerConfig

STEP = "step"
RESERVED = ("vector", "popularity")  # The exported graphs' output, and an input that is no column's.


@dataclass(frozen=True, slots=True)
class RowTable:
    """A table of rows.

    Attributes:
        name: short, as reports and the ends of tables' names on a server have it.
        dim: of a row.
        initial_range: new rows are uniform within it of 0.
        options: how it keeps rows.
    """

    name: str
    dim: int
    initial_range: float
    options: TableOptions


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one table that go into a column's vectors.

    Attributes:
        input: of the exported graph.
        rule: which keys the column's keys become; None: they stay as they are.
        block: the table has rows of this block of a mixed-dimension table's keys alone; None: of all.
    """

    input: str
    table: RowTable
    rule: KeyRule | None = None
    block: int | None = None


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """A column as a tower takes it.

    Attributes:
        width: of its block of the tower's input.
        parts: where its rows are; none for a number.
        embedding: how they make a value's vector.
    """

    column: Column
    width: int
    parts: tuple[Part, ...]
    embedding: Embedding = Plain()  # noqa: RUF009 - frozen

    @property
    def input(self) -> str:
        """Of the exported graph, which has names of its own; with several parts the beginning of theirs."""
        return graph_input(self.column.name)

    @property
    def plain(self) -> bool:
        """Whether each value has a row of its own."""
        return bool(self.parts) and isinstance(self.embedding, Plain)

    @property
    def mixed(self) -> bool:
        """Whether each value has a row in one of several tables."""
        return isinstance(self.embedding, MixedDimension)

    @property
    def length(self) -> int:
        """Of the graph's inputs: keys per entity; 0: exactly one."""
        return self.column.length if is_list(self.column) else 0


@dataclass(frozen=True, slots=True)
class SidePlan:
    """A tower's columns; `width` is that of its input."""

    name: str
    combine: str
    columns: tuple[ColumnPlan, ...]
    width: int


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """Both towers' columns, and all tables, in the order of the columns."""

    user: SidePlan
    item: SidePlan
    tables: tuple[RowTable, ...]

    @property
    def sides(self) -> tuple[SidePlan, SidePlan]:
        """Users, then items."""
        return self.user, self.item

    @property
    def table_names(self) -> tuple[str, ...]:
        """Short names of all tables."""
        return tuple(table.name for table in self.tables)

    def inputs_of(self, table: str) -> list[str]:
        """The inputs that are rows of a table, as "<side>/<input>"."""
        return [
            f"{side.name}/{part.input}"
            for side in self.sides
            for one in side.columns
            for part in one.parts
            if part.table.name == table
        ]


def graph_input(column: str) -> str:
    """What a column's input of the exported graph is called."""
    return f"{column}.column" if column in RESERVED else column


def is_list(column: Column) -> bool:
    """Whether an entity has several keys."""
    return column.many or column.type in ("text", "history", "related")


def plan_of(schema: Schema, config: TwoTowerConfig) -> ModelPlan:
    """The plan for a schema.

    Raises:
        UsageError: the schema cannot be built with these settings.
    """
    user, item = (_side(name, schema.side(name), schema, config) for name in ("user", "item"))
    tables = {part.table.name: part.table for side in (user, item) for one in side.columns for part in one.parts}
    if STEP in tables:
        raise UsageError(f"schema: a table cannot be called {STEP!r}, which reports use for steps; choose another name")
    if not config.hidden and not config.output_layer:
        _check_bare(user, item, config)
    return ModelPlan(user, item, tuple(tables.values()))


def _check_bare(user: SidePlan, item: SidePlan, config: TwoTowerConfig) -> None:
    """Checks towers without layers."""
    if user.width != item.width:
        raise UsageError(
            f"--hidden none --no-output-layer: vectors are then the towers' inputs, and those of users have "
            f"{user.width} numbers, those of items {item.width}; give one of the options up, or make them equal"
        )
    if config.vector_dim != user.width:
        raise UsageError(
            f"without an output layer vectors have the width of the towers' inputs, {user.width}, got --vector-dim "
            f"{config.vector_dim}"
        )


def _side(name: str, side: Side, schema: Schema, config: TwoTowerConfig) -> SidePlan:
    places = _places(schema)
    columns = tuple(_column(column, places[f"{name}/{column.name}"], schema, config) for column in side.columns)
    widths = [one.width for one in columns]
    if side.combine == "mean":
        differing = next((one for one in columns if one.width != widths[0] or not one.parts), None)
        if differing is not None:
            raise UsageError(
                f"schema: {name} combines by mean, which takes columns with rows of one width, {widths[0]}; "
                f"{differing.column.name!r} is {differing.column.type} of width {differing.width}; use concat"
            )
    return SidePlan(name, side.combine, columns, widths[0] if side.combine == "mean" else sum(widths))


def _column(column: Column, place: int, schema: Schema, config: TwoTowerConfig) -> ColumnPlan:
    if column.type == "numeric":
        return ColumnPlan(column, 1, ())
    options = schema.options(column.table)
    dim = options.dim or config.dim
    initial = config.initial_range if options.initial_range is None else options.initial_range
    name, embedding = graph_input(column.name), options.embedding

    def table(width: int, part: str = "", limit: float = initial) -> RowTable:
        return RowTable(f"{column.table}{part}", width, limit, options)

    parts: tuple[Part, ...]
    if isinstance(embedding, QuotientRemainder):
        # Products of two numbers have the square of their range.
        squared = embedding.combiner == "multiply" and options.initial_range is None
        rows = table(dim, limit=math.sqrt(initial) if squared else initial)
        parts = (
            Part(f"{name}.quotient", rows, QuotientKey(embedding.buckets)),
            Part(f"{name}.remainder", rows, RemainderKey(embedding.buckets)),
        )
    elif isinstance(embedding, Unified):
        rows, buckets = table(dim // embedding.lookups), embedding.buckets
        parts = tuple(
            Part(f"{name}.{number}", rows, BucketKey((place, number), buckets, number * buckets))
            for number in range(embedding.lookups)
        )
    elif isinstance(embedding, MixedDimension):
        parts = tuple(
            Part(f"{name}.{block}", table(width, f".{block}"), block=block)
            for block, width in enumerate(embedding.dims)
        )
    else:
        parts = (Part(name, table(dim)),)
    return ColumnPlan(column, dim, parts, embedding)


def _places(schema: Schema) -> dict[str, int]:
    """Each column's place among the features that share its table, by "<side>/<column>"; ids, histories and related
    items are one feature where they have one table."""
    places: dict[str, int] = {}
    features: dict[str, list[str]] = {}
    for side in SIDES:
        for column in schema.side(side).columns:
            of_items = column.type in ("history", "related") or (column.type == "id" and side == "item")
            feature = "the item" if of_items else f"{side}/{column.name}"
            known = features.setdefault(column.table, [])
            if feature not in known:
                known.append(feature)
            places[f"{side}/{column.name}"] = known.index(feature)
    return places
