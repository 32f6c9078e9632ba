"""The rating job's model of a schema: the ids of users and items, in the tables that it says."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from rowbank_trainer.comparison.trials import TableKind
from rowbank_trainer.errors import SchemaError, UsageError
from rowbank_trainer.rating.config import Model, RatingConfig
from rowbank_trainer.schema import Schema, TableOptions, Unified
from rowbank_trainer.schema.spec import SIDES


def with_schema(
    config: RatingConfig, schema: Schema, models: Sequence[Model], kinds: Sequence[TableKind]
) -> tuple[RatingConfig, list[str]]:
    """Settings with the tables of a schema's ids, and the columns that the job does not use, in words.

    Raises:
        SchemaError: a side has no id, a table an embedding that this job does not build, or widths differ.
        UsageError: static tables are asked for that admit, evict or round.
    """
    tables = {side: _table(side, schema, config, kinds) for side in SIDES}
    if tables["user"].dim != tables["item"].dim:
        raise SchemaError(
            "[tables]",
            f"a rating is a product of two vectors of one width, got {tables['user'].dim} for users and "
            f"{tables['item'].dim} for items; give both one dim",
        )
    unused = [
        f"{column.name} of {side}s ({column.type})"
        for side in SIDES
        for column in schema.side(side).columns
        if column.type != "id"
    ]
    if Model.SCHEMA not in models:
        return config, []
    return dataclasses.replace(config, user_table=tables["user"], item_table=tables["item"]), unused


def _table(side: str, schema: Schema, config: RatingConfig, kinds: Sequence[TableKind]) -> TableOptions:
    column = schema.side(side).id
    if column is None:
        raise SchemaError(f"[{side}.columns]", "this job goes by ids; expected a column of type 'id', got none")
    options, where = schema.options(column.table), f"[tables.{column.table}]"
    if isinstance(options.embedding, Unified):
        raise SchemaError(
            where, "embedding: this job builds plain, quotient_remainder and mixed_dimension, got unified; "
            "rowbank-train unified is about that"
        )  # fmt: skip
    kept = TableOptions(options.dim, options.embedding, initial_range=options.initial_range)
    if TableKind.STATIC in kinds and options != kept:
        raise UsageError(
            f"--tables static: {where} has admission, eviction or value_dtype, which only tables on a server have; "
            "use --tables rowbank"
        )
    return dataclasses.replace(options, dim=options.dim or config.dim)
