"""What is wrong with a value that pydantic refused, in our words: what was expected, and what was got.

pydantic's own texts speak of its types and of regular expressions. What it knows of a model as a JSON schema says the
same as people would: "an integer from 1 to 1000".
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from rowbank.closest import did_you_mean

_INT64 = (-(2**63), 2**63)
_SHOWN = 80  # Characters of a value that was got.
_ANYTHING = "something else"
Schema = Mapping[str, Any]


def where(error: ErrorDetails, whole: str = "body") -> str:
    """The place of a fault: "requests.0.k", or `whole`."""
    return ".".join(_cut(str(step)) for step in error["loc"]) or whole


def what(model: type[BaseModel], error: ErrorDetails) -> str:
    """What is wrong at that place: "expected an integer from 1 to 1000, got -2"."""
    kind, place = error["type"], error["loc"]
    if kind in ("value_error", "assertion_error"):  # Raised by a check of our own, in our words.
        return str(error.get("ctx", {}).get("error", error["msg"]))
    if kind == "extra_forbidden":
        return unknown_field(_cut(str(place[-1])), fields(model, place[:-1]))
    expected = _expected(_find(_schema(model), place), _schema(model))
    if kind == "finite_number":
        return f"expected a finite number, got {show(error['input'])}"
    if kind == "missing":
        return f"is missing; expected {expected}"
    return f"expected {expected}, got {show(error['input'])}"


def _cut(name: str) -> str:
    """A name that a caller chose, of which there is no telling how long it is."""
    return name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..."


def unknown_field(name: str, known: Sequence[str]) -> str:
    """What is said of a name that is not among those there are."""
    return f"is unknown{did_you_mean(name, known)}{'' if did_you_mean(name, known) else ';'} known: {', '.join(known)}"


def fields(model: type[BaseModel], place: Sequence[int | str] = ()) -> list[str]:
    """The names that an object at that place of a model has."""
    return list(_resolved(_find(_schema(model), place), _schema(model)).get("properties", {}))


def show(value: Any) -> str:
    """A value that was got, cut where it is long, as JSON writes it but for the quotes of texts."""
    if isinstance(value, str):
        text = repr(value if len(value) <= _SHOWN else f"{value[:_SHOWN]}...")
    elif isinstance(value, (list, tuple)) and len(value) > 5:
        text = f"a list of {len(value)}"
    elif isinstance(value, Mapping) and len(value) > 3:
        text = f"an object of {len(value)} fields"
    else:
        try:
            text = json.dumps(value)
        except (TypeError, ValueError):
            text = repr(value)
    return text if len(text) <= _SHOWN + 8 else f"{text[:_SHOWN]}..."


@functools.cache
def _schema(model: type[BaseModel]) -> Schema:
    return model.model_json_schema(by_alias=False)


def _find(schema: Schema, place: Sequence[int | str]) -> Schema:
    """The part of a schema that speaks of a place; {} where it says nothing."""
    node = schema
    for step in place:
        node = _resolved(node, schema)
        if isinstance(step, int):
            node = node.get("items", {})
        else:
            others = node.get("additionalProperties")
            node = node.get("properties", {}).get(step, others if isinstance(others, dict) else {})
    return node


def _resolved(node: Schema, schema: Schema) -> Schema:
    """A node with its reference followed and the choice of null left out."""
    while True:
        if "$ref" in node:
            node = schema.get("$defs", {}).get(str(node["$ref"]).rpartition("/")[2], {})
        elif len(choices := [one for one in node.get("anyOf", []) if one.get("type") != "null"]) == 1:
            node = choices[0]
        else:
            return node


def _expected(node: Schema, schema: Schema) -> str:
    node = _resolved(node, schema)
    if "anyOf" in node:
        return " or ".join(_expected(one, schema) for one in node["anyOf"])
    if "enum" in node:
        return f"one of {', '.join(map(str, node['enum']))}"
    kind = node.get("type")
    if kind == "array":
        return f"a list{_count(node, 'minItems', 'maxItems')}"
    if kind == "string":
        if "maxLength" in node:
            least = f"{node['minLength']} to" if "minLength" in node else "at most"
            return f"a text of {least} {node['maxLength']} characters"
        return "a path" if node.get("format") == "path" else f"a text{' that is not empty' * ('minLength' in node)}"
    names = {"integer": "an integer", "number": "a number", "boolean": "true or false", "object": "an object"}
    return f"{names[kind]}{_range(node)}" if kind in names else _ANYTHING


def _count(node: Schema, low: str, high: str) -> str:
    if low in node and high in node:
        return f" of {node[low]} to {node[high]}"
    return f" of at most {node[high]}" if high in node else f" of at least {node[low]}" if low in node else ""


def _range(node: Schema) -> str:
    if node.get("type") == "object":
        return f" with at least {node['minProperties']} field" if "minProperties" in node else ""
    low, high, above, below = (
        node.get(name) for name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
    )
    if (low, below) == _INT64:
        return " of 64 bits"
    if low is not None and high is not None:
        return f" from {_number(low)} to {_number(high)}"
    words = (("at least", low), ("above", above), ("at most", high), ("below", below))
    bounds = [f"{word} {_number(bound)}" for word, bound in words if bound is not None]
    return f" {'of ' * bounds[0].startswith('at')}{' and '.join(bounds)}" if bounds else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)
