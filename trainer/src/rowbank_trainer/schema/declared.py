"""Makes a schema of nested tables of keys, as TOML has them. Every key that is not known is an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rowbank import Admission, Eviction
from rowbank.errors import InvalidSpec
from rowbank_trainer.errors import SchemaError
from rowbank_trainer.schema import checks
from rowbank_trainer.schema.spec import (
    SIDES,
    TYPES,
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

# Keys of a column beside `type`, and the types that they are for.
_ROWS = ("id", "categorical", "text", "history", "related")
KEYS_OF_COLUMNS: dict[str, tuple[str, ...]] = {
    "table": _ROWS,
    "dim": _ROWS,
    "many": ("categorical",),
    "length": ("categorical", "text", "history", "related"),
    "separator": ("categorical",),
    "default": ("categorical", "numeric", "text"),
    "scale": ("numeric",),
    "weight": _ROWS,
    "dropout": TYPES,
}
KINDS: dict[str, tuple[type[Any], tuple[str, ...], tuple[str, ...]]] = {  # Class, keys that must be there, other keys.
    "plain": (Plain, (), ()),
    "quotient_remainder": (QuotientRemainder, ("buckets",), ("combiner",)),
    "mixed_dimension": (MixedDimension, ("shares", "dims"), ()),
    "unified": (Unified, ("buckets",), ("lookups",)),
}
KEYS_OF_TABLES = ("dim", "embedding", "admission", "eviction", "value_dtype", "initial_range")
ADMISSION_KEYS = ("min_count",)
EVICTION_KEYS = ("policy", "max_rows", "max_bytes", "low_watermark", "ttl_s")


def schema_of(content: Mapping[str, Any]) -> Schema:
    """The schema that nested tables declare.

    Raises:
        SchemaError: a key is not known or missing, or a value is of another type or out of range.
    """
    for key in content:
        checks.known_key("top level", key, (*SIDES, "tables"))
    dims: dict[str, tuple[str, int]] = {}
    sides = {}
    for side in SIDES:
        if side not in content:
            raise SchemaError(f"[{side}]", f"there is no such section; expected columns of {side}s, at least an id")
        sides[side] = _side(side, _section(f"[{side}]", content[side]), dims)
    tables = {
        name: _options(f"[tables.{name}]", _section(f"[tables.{name}]", options))
        for name, options in _section("[tables]", content.get("tables", {})).items()
    }
    return Schema(sides["user"], sides["item"], _with_dims(tables, dims))


def _section(where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SchemaError(where, f"expected a table of keys, got {checks.shown(value)}")
    return value


def _side(side: str, content: Mapping[str, Any], dims: dict[str, tuple[str, int]]) -> Side:
    for key in content:
        checks.known_key(f"[{side}]", key, ("combine", "columns"))
    columns = _section(f"[{side}.columns]", content.get("columns", {}))
    made = []
    for name, keys in columns.items():
        where = f"[{side}.columns.{name}]"
        # A type alone is short for a table with nothing else.
        column, dim = _column(where, name, _section(where, {"type": keys} if isinstance(keys, str) else keys))
        if dim is not None and dims.setdefault(column.table, (where, dim))[1] != dim:
            first, other = dims[column.table]
            raise SchemaError(
                where, f"dim: {dim}, but {first} has the same table {column.table!r} with {other}; "
                f"give it once, in [tables.{column.table}]"
            )  # fmt: skip
        made.append(column)
    try:
        return Side(tuple(made), content.get("combine", "concat"))
    except SchemaError as error:
        raise SchemaError(_in_side(side, error.where), error.problem) from None


def _in_side(side: str, where: str) -> str:
    if where == "columns":
        return f"[{side}.columns]"
    return f"[{side}.columns]: {where}" if where else f"[{side}]"


def _column(where: str, name: str, keys: Mapping[str, Any]) -> tuple[Column, int | None]:
    """A column, and the width of its table if it says one."""
    for key in keys:
        checks.known_key(where, key, ("type", *KEYS_OF_COLUMNS))
    if "type" not in keys:
        raise SchemaError(where, f"type: expected one of {', '.join(TYPES)}, got none")
    kind = keys["type"]
    checks.one_of(where, "type", kind, TYPES)
    for key in keys:
        if key != "type" and kind not in KEYS_OF_COLUMNS[key]:
            raise SchemaError(
                where, f"{key}: is for columns of type {' or '.join(KEYS_OF_COLUMNS[key])}, got {kind}; leave it out"
            )
    given = dict(keys)
    dim = given.pop("dim", None)
    if dim is not None:
        if kind in ("history", "related"):
            raise SchemaError(where, f"dim: a {kind} column has the rows of the item's id; give it there")
        checks.integer(where, "dim", dim, 1, 4096)
    if given.get("table") == "":
        checks.table_name(where, "table", "")
    if "separator" in given and not given.get("many"):
        raise SchemaError(where, "separator: is for lists (many = true); leave it out")
    try:
        return Column(name=name, **given), dim
    except SchemaError as error:
        raise SchemaError(where, error.problem) from None


def _options(where: str, keys: Mapping[str, Any]) -> TableOptions:
    for key in keys:
        checks.known_key(where, key, KEYS_OF_TABLES)
    given = dict(keys)
    if "embedding" in given:
        given["embedding"] = _embedding(where, given["embedding"])
    for key, made, known in (("admission", Admission, ADMISSION_KEYS), ("eviction", Eviction, EVICTION_KEYS)):
        if key in given:
            parts = _section(f"{where}: {key}", given[key])
            for part in parts:
                checks.known_key(f"{where}: {key}", part, known)
            try:
                given[key] = made(**parts)
            except InvalidSpec as error:
                raise SchemaError(where, str(error)) from None
    try:
        return TableOptions(**given)
    except SchemaError as error:
        raise SchemaError(where, error.problem) from None


def _embedding(where: str, value: Any) -> Embedding:
    keys = _section(f"{where}: embedding", {"kind": value} if isinstance(value, str) else value)
    where = f"{where}: embedding"
    if "kind" not in keys:
        raise SchemaError(where, f"kind: expected one of {', '.join(KINDS)}, got none")
    checks.one_of(where, "kind", keys["kind"], tuple(KINDS))
    made, needed, others = KINDS[keys["kind"]]
    given = {key: part for key, part in keys.items() if key != "kind"}
    for key in given:
        checks.known_key(where, key, ("kind", *needed, *others))
    for key in needed:
        if key not in given:
            raise SchemaError(where, f"{key}: {keys['kind']} needs it, got none")
    try:
        embedding: Embedding = made(**given)
    except SchemaError as error:
        raise SchemaError(where, error.problem) from None
    return embedding


def _with_dims(tables: dict[str, TableOptions], dims: Mapping[str, tuple[str, int]]) -> dict[str, TableOptions]:
    """The tables with the widths that columns say."""
    for table, (where, dim) in dims.items():
        options = tables.get(table, TableOptions())
        if options.dim not in (None, dim):
            raise SchemaError(where, f"dim: {dim}, but [tables.{table}] has {options.dim}; give it once")
        try:
            tables[table] = TableOptions(
                dim, options.embedding, options.admission, options.eviction, options.value_dtype, options.initial_range
            )
        except SchemaError as error:
            raise SchemaError(where, error.problem) from None
    return tables
