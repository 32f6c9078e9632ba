"""The schema as a file of a version, so that a training that goes on from it is known to mean the same columns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rowbank_trainer.schema.spec import Schema, TableOptions
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.problem import Problem

SCHEMA_FILE = "schema.json"


def schema_file(problem: Problem, config: TwoTowerConfig) -> bytes:
    """The content of the file."""
    return json.dumps(whole_json(problem, config), indent=2).encode() + b"\n"


def whole_json(problem: Problem, config: TwoTowerConfig) -> dict[str, Any]:
    """The schema, and the settings of the towers above it."""
    towers = {name: getattr(config, name) for name in ("hidden", "activation", "output_layer", "similarity")}
    return {**as_json(problem), "towers": {**towers, "hidden": list(config.hidden)}}


def as_json(problem: Problem) -> dict[str, Any]:
    """The schema with all that settings add to it, as plain values."""
    schema: Schema = problem.schema
    found: dict[str, Any] = {"declared": problem.declared}
    for name in ("user", "item"):
        side = schema.side(name)
        columns = {column.name: asdict(column) for column in side.columns}
        found[name] = {"combine": side.combine, "columns": columns}
    found["tables"] = {name: _options(schema.options(name)) for name in schema.table_names}
    found["blocks"] = {
        table: hashlib.sha256(blocks.keys.tobytes() + blocks.blocks.tobytes()).hexdigest()
        for table, blocks in problem.features.blocks.items()
    }
    found["rows"] = {table.name: table.dim for table in problem.plan.tables}
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def first_difference(stored: Mapping[str, Any], present: Mapping[str, Any]) -> str | None:
    """What differs between two schemas as `as_json` gives them, for people; None: nothing."""
    for key in dict.fromkeys((*stored, *present)):
        if key == "declared":
            continue
        if key == "blocks" and stored.get(key) != present.get(key):
            return (
                "of a mixed_dimension table other values are frequent in these data, and their rows would be elsewhere"
            )
        if key not in present or key not in stored:
            return f"{key!r} {'was there then' if key in stored else 'is new'}"
        then, now = stored[key], present[key]
        if isinstance(then, dict) and isinstance(now, dict):
            inner = first_difference(then, now)
            if inner is not None:
                return f"{key}: {inner}"
        elif then != now:
            return f"{key} was {then!r} and is {now!r}"
    return None


def _options(options: TableOptions) -> dict[str, Any]:
    return {**asdict(options), "embedding": {"kind": type(options.embedding).__name__, **asdict(options.embedding)}}
