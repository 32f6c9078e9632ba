"""What the users and items of a model are made of: a declared schema of columns and tables."""

from rowbank_trainer.schema.spec import (
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
from rowbank_trainer.schema.toml import load_schema, parse_schema

__all__ = [
    "Column",
    "Embedding",
    "MixedDimension",
    "Plain",
    "QuotientRemainder",
    "Schema",
    "Side",
    "TableOptions",
    "Unified",
    "load_schema",
    "parse_schema",
]
