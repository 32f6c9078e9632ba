"""A schema: the columns of users and items, and the tables that their values have rows in.

Importing this must stay cheap: it happens before TensorFlow is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rowbank import Admission, Eviction

ColumnType = Literal["id", "categorical", "numeric", "text", "history", "related"]
Scale = Literal["standard", "log", "none"]
Combine = Literal["concat", "mean"]
SIDES: tuple[Literal["user", "item"], ...] = ("user", "item")


@dataclass(frozen=True, slots=True)
class Column:
    """One thing that a tower takes of a user or of an item.

    Attributes:
        name: of the column in files, and of the feature in the store. An "id" is the entity's own, such as "user_id".
        type: "id"; "categorical": an integer or a text with a row of its own, or with `many` several of them;
            "numeric": a number, scaled; "text": the words of a text; "history": the items that a user met in training,
            oldest first (users only); "related": the items most related by who met them (items only).
        table: short name of the table with its rows; "" for "numeric". Columns with one table share its rows.
        many: whether a "categorical" has a list of values.
        length: of "text", "history", "related" and lists: how many values count; the first, of a history the last.
        separator: between the values of a list in files of text.
        default: what an entity without a value has: a value, or a list of them; None: nothing, which is a row of zeros,
            or the mean of a "numeric".
        scale: of a "numeric": "standard" (less the mean, by the deviation, of the entities that are trained on), "log"
            (the logarithm of 1 + the number, then the same), or "none".
        weight: of the column's rows where a tower combines by "mean".
        dropout: share of the examples that are trained as if they had no value here, so that a model learns to do
            without.
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


@dataclass(frozen=True, slots=True)
class Plain:
    """A row for each value."""


@dataclass(frozen=True, slots=True)
class QuotientRemainder:
    """Two rows for each value, both shared with others; see `rowbank.keras.QREmbedding`."""

    buckets: int
    combiner: Literal["multiply", "add"] = "multiply"


@dataclass(frozen=True, slots=True)
class MixedDimension:
    """Wide rows for frequent values, narrow ones for rare ones; see `rowbank.keras.MDEmbedding`.

    Attributes:
        shares: of the distinct values of training, the most frequent first, in each block but the last, which has the
            rest and what is new.
        dims: width of the rows of each block.
    """

    shares: tuple[float, ...]
    dims: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unified:
    """`lookups` rows of a table that many columns share, by hash; see `rowbank.keras.UnifiedEmbedding`.

    A value's vector is `lookups` rows of `dim / lookups` numbers after each other, in `buckets` rows each.
    """

    buckets: int
    lookups: int = 2


Embedding = Plain | QuotientRemainder | MixedDimension | Unified


@dataclass(frozen=True, slots=True)
class TableOptions:
    """How a table of the schema keeps rows.

    Attributes:
        dim: width of a value's vector; None: the job's `--dim`.
        embedding: how a value finds its rows.
        admission, eviction, value_dtype: as in `rowbank.TableSpec`.
        initial_range: new rows are uniform within it of 0; None: the job's `--initial-range`.
    """

    dim: int | None = None
    embedding: Embedding = Plain()
    admission: Admission = Admission()  # noqa: RUF009 - frozen
    eviction: Eviction = Eviction()  # noqa: RUF009 - frozen
    value_dtype: str = "float32"
    initial_range: float | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """One tower's columns.

    Attributes:
        combine: what goes into the tower: "concat", the columns' vectors after each other, zeros where a value is
            missing; or "mean", their mean by `Column.weight` over those that are there, all of one width.
    """

    columns: tuple[Column, ...]
    combine: Combine = "concat"


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of users and items, and the tables that they name; a table not in `tables` has the defaults."""

    user: Side
    item: Side
    tables: Mapping[str, TableOptions] = field(default_factory=dict)

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
