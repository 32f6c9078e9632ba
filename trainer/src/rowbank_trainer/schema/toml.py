"""Schemas in TOML files."""

from __future__ import annotations

import sys
from pathlib import Path

from rowbank_trainer.errors import DataError, SchemaError
from rowbank_trainer.schema.declared import schema_of
from rowbank_trainer.schema.spec import Schema

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def load_schema(path: Path) -> Schema:
    """The schema that a TOML file declares.

    Raises:
        DataError: it cannot be read, or is no TOML.
        SchemaError: what it declares cannot be; the message names file, section, key, what was got and expected.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}; expected a TOML file of columns") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: expected a TOML file, which is UTF-8 text, got other bytes") from None
    return parse_schema(text, str(path))


def parse_schema(text: str, name: str = "schema") -> Schema:
    """The schema in a TOML text; `name` is what errors call it. Raises as `load_schema` does."""
    try:
        content = tomllib.loads(text)
    except ValueError as error:
        raise DataError(f"{name}: cannot be read as TOML: {error}") from None
    try:
        return schema_of(content)
    except SchemaError as error:
        raise SchemaError(f"{name}: {error.where}", error.problem) from None
