"""The types of features that a file's columns seem to have, for a view that is made for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rowbank.closest import listed
from rowbank.errors import InvalidFile
from rowbank.features import TYPES, FeatureField
from rowbank.files.feature_cells import TRUTH, fits, kind_of_arrow
from rowbank.files.feature_source import Source

# Of several types that all cells would fit, the first.
_PREFERRED = ("bool", "int64", "double", "string", "int64_list", "float_list", "string_list")
_PLAIN_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][+-]?[0-9]+)?$"  # 007 is a text.
_SINGLE = ("bool", "int64", "double", "string")


def fields(source: Source, names: Sequence[str], given: Mapping[str, str]) -> tuple[FeatureField, ...]:
    """The features that columns are.

    Args:
        given: column -> type, where the file is not to decide.
    Raises:
        InvalidFile: a column has no values, or values of several types.
    """
    for name, kind in given.items():
        source.require(name, "as its type was given")
        if kind not in TYPES:
            raise InvalidFile(f"type of column {name!r}: expected one of {listed(TYPES)}, got {kind!r}")
    open_ = [name for name in names if name not in given]
    found = _declared(source, open_) if source.format == "parquet" else _seen(source, open_)
    return tuple(FeatureField(name, given.get(name) or found[name]) for name in names)


def _declared(source: Source, names: Sequence[str]) -> dict[str, str]:
    kinds = {}
    for name in names:
        kind = kind_of_arrow(source.types[name])
        if kind is None:
            raise InvalidFile(
                f"{source.place}: column {name!r}: expected a type that features have ({listed(TYPES)}), got "
                f"{source.types[name]}; convert it, or leave it out with --column"
            )
        kinds[name] = kind
    return kinds


def _seen(source: Source, names: Sequence[str]) -> dict[str, str]:
    """What all cells of a column fit, by reading them."""
    is_json = source.format == "jsonl"
    fitting = {name: set(_PREFERRED if is_json else _SINGLE) for name in names}
    filled: set[str] = set()
    for batch in source.batches(names) if names else ():
        for name, cells in batch.columns.items():
            if is_json:
                fitting[name] = _kinds_of_python(cells, fitting[name])
                filled |= {name} if any(cell is not None for cell in cells) else set()
            else:
                fitting[name] = _kinds_of_texts(cells, fitting[name])
                filled |= {name} if cells.null_count < len(cells) else set()
    for name in names:
        if name not in filled or not fitting[name]:
            got = "values of several types" if name in filled else "no value in any row"
            raise InvalidFile(
                f"{source.place}: column {name!r}: expected values of one type, got {got}; say which type it has, or "
                "leave it out with --column"
            )
    return {name: next(kind for kind in _PREFERRED if kind in fitting[name]) for name in names}


def _kinds_of_texts(values: Any, kinds: set[str]) -> set[str]:
    """Which of some types all texts of a column may have; "string" is always one."""
    import pyarrow.compute as pc

    texts = values.drop_null()
    if not len(texts):
        return kinds
    plain = {"int64": r"^(0|-?[1-9][0-9]*)$", "double": _PLAIN_NUMBER, "bool": TRUTH}
    return {kind for kind in kinds if kind == "string" or pc.all(pc.match_substring_regex(texts, plain[kind])).as_py()}


def _kinds_of_python(values: Iterable[Any], kinds: set[str]) -> set[str]:
    """Which of some types all Python values of a column may have."""
    there = [value for value in values if value is not None]
    return {kind for kind in kinds if all(fits(kind, value) for value in there)}
