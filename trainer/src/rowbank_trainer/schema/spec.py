"""A schema: the columns of users and items, and the tables that their values have rows in. It checks itself.

Importing this must stay cheap: it happens before TensorFlow is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from rowbank.closest import did_you_mean
from rowbank_trainer.errors import SchemaError
from rowbank_trainer.schema import checks
from rowbank_trainer.schema.tables import (
    Embedding,
    MixedDimension,
    Plain,
    QuotientRemainder,
    TableOptions,
    Unified,
)

__all__ = [
    "SIDES", "Column", "ColumnType", "Combine", "Embedding", "MixedDimension", "Plain", "QuotientRemainder", "Scale",
    "Schema", "Side", "TableOptions", "Unified",
]  # fmt: skip

ColumnType = Literal["id", "categorical", "numeric", "text", "history", "related"]
Scale = Literal["standard", "log", "none"]
Combine = Literal["concat", "mean"]
SIDES: tuple[Literal["user", "item"], ...] = ("user", "item")
TYPES: tuple[str, ...] = get_args(ColumnType)
SCALES: tuple[str, ...] = get_args(Scale)
COMBINES: tuple[str, ...] = get_args(Combine)
MAX_LENGTH = 4096
_INT64 = (-(2**63), 2**63 - 1)


@dataclass(frozen=True, slots=True)
class Column:
    """One thing that a tower takes of a user or of an item.

    Attributes:
        name: of the column in files, and of the feature in the store. An "id" is the entity's own, such as "user_id".
        type: "id"; "categorical": an integer or a text with a row of its own, or with `many` several of them;
            "numeric": a number, scaled; "text": the words of a text; "history": the items that a user met in training,
            oldest first (users only); "related": the items most related by who met them (items only).
        table: short name of the table with its rows; "" for "numeric". Columns with one table share its rows. Where it
            is left out it is the column's name; of a "history" and of "related" the table of the item's id.
        many: whether a "categorical" has a list of values.
        length: of "text", "history", "related" and lists: how many values count; the first, of a history the last.
        separator: between the values of a list in files of text.
        default: what an entity without a value has: a value, or a list of them; None: nothing, which is a row of zeros,
            or the mean of a "numeric".
        scale: of a "numeric": "standard" (less the mean, by the deviation, of the entities that are trained on), "log"
            (the logarithm of 1 + the number, which is at least 0; then the same), or "none".
        weight: of the column's rows where a tower combines by "mean".
        dropout: share of the examples that are trained as if they had no value here, so that a model learns to do
            without.
    Raises:
        SchemaError: one of them is out of range, or is not for columns of this type.
    """

    name: str
    type: ColumnType
    table: str = ""
    many: bool = False
    length: int = 0
    separator: str = "|"
    default: Any = None
    scale: Scale = "standard"
    weight: float = 1.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        checks.text("column", "name", self.name)
        where = f"column {self.name!r}"
        if self.name.startswith("_") or ":" in self.name:
            raise SchemaError(where, "expected a name that does not begin with '_' and has no ':'; rename it")
        checks.one_of(where, "type", self.type, TYPES)
        if self.table or self.has_rows:
            self._check_table(where)
        checks.flag(where, "many", self.many)
        if self.many and self.type != "categorical":
            raise SchemaError(where, f"many: only columns of type categorical have lists of values, got {self.type}")
        if self.lists:
            checks.integer(where, "length", self.length, 1, MAX_LENGTH)
        elif self.length:
            raise SchemaError(where, f"length: {self._kind} has one value, so no length; got {self.length!r}")
        checks.text(where, "separator", self.separator)
        if self.scale != "standard" and self.type != "numeric":
            raise SchemaError(where, f"scale: only numeric columns are scaled, got {self.scale!r} with {self.type}")
        checks.one_of(where, "scale", self.scale, SCALES)
        checks.number(where, "weight", self.weight, "a number above 0", above=0.0)
        checks.number(where, "dropout", self.dropout, "a number from 0, below 1", low=0.0, below=1.0)
        object.__setattr__(self, "weight", float(self.weight))
        object.__setattr__(self, "dropout", float(self.dropout))
        self._check_default(where)

    @property
    def has_rows(self) -> bool:
        """Whether its values have rows in a table."""
        return self.type != "numeric"

    @property
    def lists(self) -> bool:
        """Whether an entity has several keys."""
        return self.many or self.type in ("text", "history", "related")

    @property
    def from_files(self) -> bool:
        """Whether files have its values; the others come of the ids and of who met what."""
        return self.type in ("categorical", "numeric", "text")

    @property
    def _kind(self) -> str:
        return "a categorical column without many = true" if self.type == "categorical" else f"type {self.type}"

    def _check_table(self, where: str) -> None:
        if not self.has_rows:
            raise SchemaError(where, f"table: a numeric column has no rows, got {checks.shown(self.table)}")
        if not self.table:
            if self.type in ("history", "related"):
                return  # The schema knows it.
            object.__setattr__(self, "table", self.name)
        checks.table_name(where, "table", self.table)

    def _check_default(self, where: str) -> None:
        value = self.default
        if value is None:
            return
        if not self.from_files:
            raise SchemaError(where, f"default: type {self.type} has none, got {checks.shown(value)}; leave it out")
        if self.type == "numeric":
            low = {"low": 0.0} if self.scale == "log" else {}
            checks.number(where, "default", value, "a number of at least 0" if low else "a number", **low)
            object.__setattr__(self, "default", float(value))
        elif self.type == "text":
            checks.text(where, "default", value)
        elif self.many:
            self._check_list(where, value)
        elif not _categories([value]):
            raise SchemaError(
                where, f"default: expected an integer of 64 bits or a text, got {checks.shown(value)}"
                + ("; many = true says that a value is a list" if isinstance(value, (list, tuple)) else "")
            )  # fmt: skip

    def _check_list(self, where: str, value: Any) -> None:
        if isinstance(value, str) or not isinstance(value, Sequence) or not value or not _categories(value):
            raise SchemaError(
                where, f"default: expected a list of integers of 64 bits, or of texts, got {checks.shown(value)}"
            )
        if len(value) > self.length:
            raise SchemaError(where, f"default: expected at most {self.length} values (length), got {len(value)}")
        object.__setattr__(self, "default", tuple(value))


def _categories(values: Sequence[Any]) -> bool:
    """Whether all are texts that are not empty, or all integers that keys can be."""
    if all(isinstance(value, str) and value for value in values):
        return True
    return all(type(value) is int and _INT64[0] <= value <= _INT64[1] for value in values)


@dataclass(frozen=True, slots=True)
class Side:
    """One tower's columns.

    Attributes:
        combine: what goes into the tower: "concat", the columns' vectors after each other, zeros where a value is
            missing; or "mean", their mean by `Column.weight` over those that are there, all of one width.
    Raises:
        SchemaError: there are none, two have one name, or they cannot be combined so.
    """

    columns: tuple[Column, ...]
    combine: Combine = "concat"

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(self.columns))
        if not self.columns:
            raise SchemaError("columns", "expected at least one column, such as the id, got none")
        checks.one_of("", "combine", self.combine, COMBINES)
        names = [column.name for column in self.columns]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise SchemaError(f"column {twice!r}", "there are two of this name; rename or remove one")
        ids = [column.name for column in self.columns if column.type == "id"]
        if len(ids) > 1:
            raise SchemaError(
                f"column {ids[1]!r}", f"an entity has one id, and {ids[0]!r} is one already; use type categorical"
            )
        for column in self.columns:
            if self.combine == "mean" and not column.has_rows:
                raise SchemaError(
                    f"column {column.name!r}",
                    "a number has no row to take a mean with; use combine = 'concat' for this side",
                )
            if self.combine == "concat" and column.weight != 1.0:
                raise SchemaError(
                    f"column {column.name!r}",
                    f"weight: counts only where combine = 'mean', got {column.weight:g} with 'concat'; leave it out",
                )

    @property
    def id(self) -> Column | None:
        """The column of the entity's own id; None: the tower goes without."""
        return next((column for column in self.columns if column.type == "id"), None)

    @property
    def from_files(self) -> tuple[Column, ...]:
        """The columns whose values files have."""
        return tuple(column for column in self.columns if column.from_files)


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of users and items, and the tables that they name; a table not in `tables` has the defaults.

    Raises:
        SchemaError: columns contradict each other or the tables.
    """

    user: Side
    item: Side
    tables: Mapping[str, TableOptions] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tables", dict(self.tables))
        items = None if self.item.id is None else self.item.id.table
        object.__setattr__(self, "user", _with_items_table(self.user, "user", "related", "item", items))
        object.__setattr__(self, "item", _with_items_table(self.item, "item", "history", "user", items))
        for name in self.tables:
            checks.table_name("[tables]", "name", name)
            if name not in self.table_names:
                raise SchemaError(
                    f"[tables.{name}]",
                    f"no column has this table, expected one of {', '.join(self.table_names)}"
                    f"{did_you_mean(name, self.table_names)}",
                )
        for side in SIDES:
            self._check_widths(side)

    def side(self, name: str) -> Side:
        """The columns of "user" or "item"."""
        return self.user if name == "user" else self.item

    def options(self, table: str) -> TableOptions:
        """How a table keeps rows."""
        return self.tables.get(table, TableOptions())

    @property
    def table_names(self) -> tuple[str, ...]:
        """Short names of all tables, in the order of the columns, users first."""
        columns = (*self.user.columns, *self.item.columns)
        return tuple(dict.fromkeys(column.table for column in columns if column.table))

    def check_dim(self, dim: int) -> None:
        """Raises SchemaError if the job's width, of tables that name none, does not go with the schema."""
        for name in self.table_names:
            if self.options(name).dim is None:
                try:
                    self.options(name).check_dim(dim)
                except SchemaError as error:
                    raise SchemaError(f"[tables.{name}]", f"{error.problem} (--dim)") from None
        for side in SIDES:
            self._check_widths(side, dim)

    def _check_widths(self, side: str, dim: int | None = None) -> None:
        """With combine = "mean" all vectors of a side must be of one width."""
        if self.side(side).combine != "mean":
            return
        widths = {column.name: self.options(column.table).dim or dim for column in self.side(side).columns}
        known = {name: width for name, width in widths.items() if width is not None}
        if len(set(known.values())) > 1:
            said = ", ".join(f"{name} {width}" for name, width in known.items())
            raise SchemaError(
                f"[{side}]",
                f"combine: a mean needs vectors of one width, got {said}; give their tables one dim, or use 'concat'",
            )


def _with_items_table(side: Side, name: str, foreign: str, other: str, items: str | None) -> Side:
    """A side whose histories and related items have the table of the item's id."""
    columns = []
    for column in side.columns:
        where = f"[{name}.columns.{column.name}]"
        if column.type == foreign:
            raise SchemaError(where, f"type {foreign!r} is for columns of [{other}], not of [{name}]")
        if column.type in ("history", "related"):
            if items is None:
                raise SchemaError(
                    where, f"type {column.type!r} has the rows of item ids; add a column of type 'id' to [item]"
                )
            if column.table not in ("", items):
                raise SchemaError(
                    where, f"table: a {column.type} column has the rows of the item's id, expected {items!r}, "
                    f"got {column.table!r}; leave it out"
                )  # fmt: skip
            column = replace(column, table=items)
        columns.append(column)
    return replace(side, columns=tuple(columns))
