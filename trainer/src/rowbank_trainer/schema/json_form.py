"""A schema as JSON text: the same text for equal schemas, whatever version wrote it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from rowbank import Admission, Eviction
from rowbank.errors import InvalidSpec
from rowbank_trainer.errors import SchemaError
from rowbank_trainer.schema.declared import KINDS
from rowbank_trainer.schema.spec import SIDES, Column, Embedding, Schema, Side, TableOptions

_FORMAT = 1


def schema_to_json(schema: Schema) -> str:
    """One line of JSON with every attribute, defaults too; tables with the default options are left out."""
    content: dict[str, Any] = {"format": _FORMAT}
    for name in SIDES:
        side = schema.side(name)
        content[name] = {
            "combine": side.combine,
            "columns": [dataclasses.asdict(column) for column in side.columns],
        }
    content["tables"] = {
        name: _options_to_json(options) for name, options in schema.tables.items() if options != TableOptions()
    }
    return json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def schema_from_json(text: str) -> Schema:
    """The schema in such a text.

    Raises:
        SchemaError: it is of a newer format, or is none.
    """
    try:
        content = json.loads(text)
        if content["format"] != _FORMAT:
            raise SchemaError("schema", f"expected format {_FORMAT}, got {content['format']!r}; use a newer version")
        sides = {
            name: Side(tuple(Column(**column) for column in content[name]["columns"]), content[name]["combine"])
            for name in SIDES
        }
        tables = {name: _options_from_json(options) for name, options in content["tables"].items()}
    except (ValueError, KeyError, TypeError, InvalidSpec) as error:
        raise SchemaError("schema", f"expected the JSON text of a schema, got {text[:60]!r}: {error}") from None
    return Schema(sides["user"], sides["item"], tables)


def _options_to_json(options: TableOptions) -> dict[str, Any]:
    kind = next(name for name, (made, _, _) in KINDS.items() if type(options.embedding) is made)
    content = dataclasses.asdict(options)
    content["embedding"] = {"kind": kind, **dataclasses.asdict(options.embedding)}
    return content


def _options_from_json(content: dict[str, Any]) -> TableOptions:
    given = dict(content)
    embedding = dict(given.pop("embedding"))
    made: Embedding = KINDS[embedding.pop("kind")][0](**embedding)
    admission, eviction = Admission(**given.pop("admission")), Eviction(**given.pop("eviction"))
    return TableOptions(embedding=made, admission=admission, eviction=eviction, **given)
