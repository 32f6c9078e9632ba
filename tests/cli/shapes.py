"""What stays the same when an answer is made anew: headings and fields of text, fields and types of JSON."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_HEADING = re.compile(r"[A-Z][A-Z0-9/.% -]*(  +[A-Z][A-Z0-9/.% -]*)*")
_FIELD = re.compile(r"([a-z][a-z_0-9]*)  +\S")
_TITLE = re.compile(r"[a-z]+")
_OPENING = re.compile(r"```\n\$ ", re.MULTILINE)


def of_text(text: str) -> list[str]:
    """Headings of tables, names of fields and titles of sections, each once in a row; what they hold is left out."""
    shape: list[str] = []
    for line in text.splitlines():
        if _HEADING.fullmatch(line.strip()) and "  " in line.strip():
            part = " | ".join(re.split(r" {2,}", line.strip()))
        elif found := _FIELD.match(line):
            part = f"{found[1]}:"
        elif _TITLE.fullmatch(line):
            part = line
        else:
            continue
        if part not in shape[-1:]:
            shape.append(part)
    return shape


def of_json(value: Any) -> Any:
    """Fields and types: "text", "integer", "number", "truth", "nothing"; of a list, what its elements have together."""
    if isinstance(value, dict):
        return {name: of_json(part) for name, part in value.items()}
    if isinstance(value, list):
        merged: Any = None
        for part in value:
            merged = of_json(part) if merged is None else merge(merged, of_json(part))
        return [] if merged is None else [merged]
    names = {bool: "truth", int: "integer", float: "number", str: "text", type(None): "nothing"}
    return names[type(value)]


def merge(one: Any, other: Any) -> Any:
    """A shape that both have; types that differ are joined, as in "nothing or number"."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {name: merge(one[name], other[name]) if name in one and name in other else {**one, **other}[name]
                for name in {**one, **other}}  # fmt: skip
    if isinstance(one, list) and isinstance(other, list):
        return one or other if not (one and other) else [merge(one[0], other[0])]
    if isinstance(one, str) and isinstance(other, str):
        return " or ".join(sorted({*one.split(" or "), *other.split(" or ")}))
    return one if isinstance(other, str) else other  # A value that is at times "nothing".


def fits(shape: Any, golden: Any) -> bool:
    """Whether an answer is as the golden one: the same fields in the same order, and types that it allows."""
    if isinstance(golden, dict):
        return isinstance(shape, dict) and list(shape) == list(golden) and all(
            fits(shape[name], golden[name]) for name in golden
        )  # fmt: skip
    if isinstance(golden, list):
        return isinstance(shape, list) and (not shape or (bool(golden) and fits(shape[0], golden[0])))
    return isinstance(shape, str) and set(shape.split(" or ")) <= set(golden.split(" or "))


def blocks(page: str) -> list[str]:
    """The blocks of a page that show commands with what they print."""
    return re.findall(r"^```\n(\$ .*?)^```$", page, re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[tuple[str, str]]:
    """The commands of a block, each with what it printed."""
    found: list[tuple[str, str]] = []
    for line in block.splitlines(keepends=True):
        if line.startswith("$ "):
            found.append((line[2:].strip(), ""))
        else:
            found[-1] = (found[-1][0], found[-1][1] + line)
    return found


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""
