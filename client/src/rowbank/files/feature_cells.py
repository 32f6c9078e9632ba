"""Cells of files as values of features: checked, with the first bad one named.

Whole columns are converted at once. Only if that fails are cells looked at one by one, to find the first that is wrong.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank.errors import InvalidFile, shown
from rowbank.features import TAKES, is_a
from rowbank.files.table_file import arrow
from rowbank.text import MAX_ID_BYTES, id_fault, token_key

FLOAT32_END = float(np.finfo(np.float32).max) + 2.0**103
_INTEGER = r"^[+-]?[0-9]+$"
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
TRUTH = r"^(?i:true|false)$"
_PATTERNS = {"int64": _INTEGER, "double": NUMBER, "bool": TRUTH, "string": ""}


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells of one column in some rows of a file.

    Attributes:
        where: the file, as errors name it.
        first: how many rows of the file are before them.
        values: an Arrow array, or a list of Python values.
        separator: between the elements of a list in a text.
        advice: what to do about a cell that is wrong; "": what the feature takes.
    """

    where: str
    name: str
    first: int
    values: Any
    separator: str = "|"
    advice: str = ""

    def bad(self, place: int, got: object, expected: str, advice: str) -> InvalidFile:
        """The error for the cell at `place`."""
        return InvalidFile(
            f"{self.where}: column {self.name!r}, row {self.first + place + 1}: expected {expected}, got {shown(got)}; "
            f"{advice}"
        )

    def at(self, place: int) -> Any:
        """One cell as Python has it."""
        value = self.values[place]
        try:
            value = value.as_py() if hasattr(value, "as_py") else value
        except UnicodeDecodeError as error:
            value = error.object
        return value.decode(errors="replace") if isinstance(value, bytes) else value


def typed(cells: Cells, kind: str) -> Any:
    """The cells as an Arrow array of the feature type `kind`; an empty one is null.

    Raises:
        InvalidFile: the first cell that is no such value.
    """
    pa, _ = arrow()
    target = _arrow_type(kind)
    values = cells.values
    if isinstance(values, list):
        _check_python(cells, kind, values)
        made = pa.array(_floats(values) if kind in ("double", "float_list") else values, target)
    elif pa.types.is_null(values.type):
        made = pa.nulls(len(values), target)
    elif pa.types.is_binary(values.type):
        made = _from_text(cells, kind)
    else:
        made = _from_arrow(cells, kind)
    _check_finite(cells, kind, made)
    return made


def entities(cells: Cells, *, text_ids: bool) -> npt.NDArray[np.int64]:
    """Ids as keys: [N] int64.

    Args:
        text_ids: they are texts, each of which has the key that training gives it.
    Raises:
        InvalidFile: the first cell without an id, or with one of the other kind.
    """
    import pyarrow.compute as pc

    other = (
        "integers as ids are imported without --text-ids" if text_ids else "texts as ids are imported with --text-ids"
    )
    made = typed(dataclasses.replace(cells, advice=other), "string" if text_ids else "int64")
    if made.null_count:
        place = int(pc.index(made.is_null(), True).as_py())
        raise cells.bad(place, None, "an id", "every row says which entity it is of")
    if not text_ids:
        return np.asarray(made.to_numpy(zero_copy_only=False), np.int64)
    encoded = made.dictionary_encode()
    words = encoded.dictionary.to_pylist()
    keys = np.array([token_key(word) for word in words], np.int64)
    result = keys[encoded.indices.to_numpy()] if words else np.zeros(0, np.int64)
    doubtful = (at for at, word in enumerate(words) if not 0 < len(word) <= MAX_ID_BYTES // 4)
    wrong = next((at for at in doubtful if id_fault(words[at])), None)
    if wrong is not None:
        place = int(np.argmax(encoded.indices.to_numpy() == wrong))
        advice = "write it shorter" if words[wrong] else "every row says which entity it is of"
        raise cells.bad(place, words[wrong], f"an id of 1 to {MAX_ID_BYTES} bytes", advice)
    return result


def kind_of_arrow(found: Any) -> str | None:
    """The feature type that an Arrow type is stored as; None: there is none."""
    pa, _ = arrow()
    types = pa.types
    if types.is_dictionary(found):
        return kind_of_arrow(found.value_type)
    if types.is_list(found) or types.is_large_list(found) or types.is_fixed_size_list(found):
        inner = kind_of_arrow(found.value_type)
        return {"int64": "int64_list", "double": "float_list", "string": "string_list"}.get(inner or "")
    for kind, checks in (
        ("bool", (types.is_boolean,)),
        ("int64", (types.is_integer,)),
        ("double", (types.is_floating,)),
        ("string", (types.is_string, types.is_large_string)),
    ):
        if any(check(found) for check in checks):
            return kind
    return None


def _arrow_type(kind: str) -> Any:
    pa, _ = arrow()
    single = {"int64": pa.int64(), "double": pa.float64(), "string": pa.large_string(), "bool": pa.bool_()}
    if kind == "float_list":
        return pa.large_list(pa.float64())
    return pa.large_list(single[kind.removesuffix("_list")]) if kind.endswith("_list") else single[kind]


def _from_arrow(cells: Cells, kind: str) -> Any:
    pa, _ = arrow()
    values = cells.values
    found = kind_of_arrow(values.type)
    wanted = {"double": ("double", "int64"), "float_list": ("float_list", "int64_list"), "int64": ("int64", "double")}
    if found not in wanted.get(kind, (kind,)):
        raise InvalidFile(
            f"{cells.where}: column {cells.name!r}: expected {kind}, got {values.type}, such as {shown(cells.at(0))} "
            f"in row {cells.first + 1}; " + (cells.advice or f"write the column as {kind}, or leave it out")
        )
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if kind.startswith("string"):
        _check_utf8(cells, values)
    if kind == "int64" and found == "double":
        _check_each(cells, kind, lambda value: value.is_integer() and abs(value) <= 2**53)
    try:
        made = values.cast(_arrow_type(kind), safe=True)
    except pa.ArrowInvalid:
        _check_each(cells, kind, lambda value: fits(kind, value))
        made = values.cast(_arrow_type(kind), safe=False)  # An integer that no double is exactly.
    if kind.endswith("_list") and made.flatten().null_count:
        _check_each(cells, kind, lambda value: None not in value)
    return made


def _from_text(cells: Cells, kind: str) -> Any:
    import pyarrow.compute as pc

    pa, _ = arrow()
    values = cells.values
    _check_utf8(cells, values)
    values = values.cast(pa.large_string())
    if not kind.endswith("_list"):
        return _parsed(cells, kind, values, lambda place: place)
    lists = pc.split_pattern(values, cells.separator)
    lists = pc.if_else(pc.equal(values, ""), pa.scalar([], lists.type), lists)
    counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    ends = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
    kind_of_one = "double" if kind == "float_list" else kind.removesuffix("_list")
    flat = _parsed(
        cells, kind_of_one, lists.flatten(), lambda place: int(np.searchsorted(ends, place, side="right")) - 1, kind
    )
    made = pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), flat)
    return pc.if_else(values.is_valid(), made, pa.scalar(None, made.type))


def _parsed(cells: Cells, kind: str, texts: Any, row: Callable[[int], int], shown_kind: str = "") -> Any:
    """Texts as values of a single type."""
    import pyarrow.compute as pc

    pa, _ = arrow()
    if kind == "string":
        return texts
    plain = pc.fill_null(pc.match_substring_regex(texts, _PATTERNS[kind]), True)
    wrong = int(pc.index(plain, False).as_py())
    if wrong < 0:
        bare = pc.utf8_lower(texts) if kind == "bool" else pc.utf8_ltrim(texts, "+")
        try:
            return bare.cast(_arrow_type(kind))
        except pa.ArrowInvalid:  # An integer beyond 64 bits.
            wrong = next(place for place, text in enumerate(texts.to_pylist()) if not fits(kind, _number(text)))
    raise _wrong(cells, shown_kind or kind, row(wrong), texts[wrong].as_py())


def _number(text: str | None) -> Any:
    return None if text is None else int(text) if re.match(_INTEGER, text) else float(text)


def _check_utf8(cells: Cells, values: Any) -> None:
    pa, _ = arrow()
    inner = values if not hasattr(values, "flatten") or not _is_list(values.type) else values.flatten()
    try:
        if pa.types.is_binary(inner.type):
            inner.cast(pa.large_string())
        else:
            inner.validate(full=True)
    except pa.ArrowInvalid:
        for place in range(len(values)):
            piece = values.slice(place, 1)
            inner = piece.flatten() if _is_list(values.type) else piece
            if not all(_is_utf8(raw) for raw in inner.cast(pa.large_binary()).to_pylist()):
                raise cells.bad(place, cells.at(place), "text in UTF-8", "write the file in UTF-8") from None
        raise


def _is_utf8(raw: bytes | None) -> bool:
    try:
        (raw or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_list(found: Any) -> bool:
    pa, _ = arrow()
    return bool(pa.types.is_list(found) or pa.types.is_large_list(found) or pa.types.is_fixed_size_list(found))


def _check_finite(cells: Cells, kind: str, made: Any) -> None:
    if kind not in ("double", "float_list"):
        return
    numbers = made.flatten() if kind == "float_list" else made
    plain = numbers.fill_null(0).to_numpy(zero_copy_only=False)
    if np.isfinite(plain).all() and (kind == "double" or not len(plain) or float(np.abs(plain).max()) < FLOAT32_END):
        return
    for place, value in enumerate(made.to_pylist()):
        if value is not None and not fits(kind, value):
            raise _wrong(cells, kind, place, _offender(kind, value))


def _check_python(cells: Cells, kind: str, values: list[Any]) -> None:
    for place, value in enumerate(values):
        if value is not None and not fits(kind, value):
            raise _wrong(cells, kind, place, _offender(kind, value))


def _check_each(cells: Cells, kind: str, fits: Callable[[Any], bool]) -> None:
    for place in range(len(cells.values)):
        value = cells.at(place)
        if value is not None and not fits(value):
            raise _wrong(cells, kind, place, _offender(kind, value))


def fits(kind: str, value: Any) -> bool:
    """Whether a value of Python is one of a feature type; None is, except in a list."""
    if kind.endswith("_list"):
        return isinstance(value, list) and all(is_a(kind.removesuffix("_list"), one) for one in value)
    return value is None or is_a(kind, value)


def _offender(kind: str, value: Any) -> Any:
    """Of a list the element that is wrong."""
    if not kind.endswith("_list") or not isinstance(value, list):
        return value
    return next((one for one in value if not is_a(kind.removesuffix("_list"), one)), value)


def _wrong(cells: Cells, kind: str, place: int, got: object) -> InvalidFile:
    inner = " in a list" if kind.endswith("_list") and not isinstance(got, list) else ""
    advice = cells.advice or f"it takes {TAKES[kind]}, or nothing where there is no value"
    where = f"{cells.where}: column {cells.name!r}, row {cells.first + place + 1}"
    return InvalidFile(f"{where}: expected {kind}, got {shown(got)}{inner}; {advice}")


def _floats(values: list[Any]) -> list[Any]:
    """Numbers as floats, which Arrow does not make of large integers by itself."""
    return [
        value if value is None else [float(one) for one in value] if isinstance(value, list) else float(value)
        for value in values
    ]
