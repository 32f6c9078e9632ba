"""Ids of users and items: integers as they are, or text, which becomes 63 bits of BLAKE2b.

A file of text does not say which of the two its ids are, and `007` and `7` are two ids to whoever wrote them. So ids
are integers only if all of them, in all files of a run, are plain ones, which are written in just one way; otherwise
they are the text that they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.compute

from rowbank.errors import shown
from rowbank.text import MAX_ID_BYTES, id_fault, token_key
from rowbank_trainer.data.cells.column import BadRows, Column, as_numpy, failing, is_text, missing, missing_pattern
from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.errors import DataError

_CANONICAL = r"^(0|-?[1-9][0-9]*)$"
_DIGITS = r"^-?[0-9]+$"
_RANGE = "expected integers of 64 bits with a sign, from -2**63 to 2**63 - 1"


@dataclass(frozen=True, slots=True)
class RawIds:
    """Ids of one column before it is known whether they are integers or text.

    Attributes:
        numbers: [N] int64, if the file has them as numbers.
        words: the distinct texts in order of their first row, if it has texts.
        index: [N] int64 positions in `words`; -1 where an id is missing.
    """

    column: Column
    numbers: Ids | None
    words: pyarrow.Array
    index: Ids

    def take(self, rows: Ids) -> RawIds:
        """The ids in some rows."""
        numbers = None if self.numbers is None else self.numbers[rows]
        return RawIds(self.column, numbers, self.words, self.index[rows] if numbers is None else self.index)

    def first_row(self, word: int) -> int:
        """The row of the file in which a word is first."""
        values = self.column.values
        return int(pyarrow.compute.index(values, pyarrow.scalar(self.words[word].as_py(), values.type)).as_py())


@dataclass(frozen=True, slots=True)
class NumberedIds:
    """Ids of all columns of one role.

    Attributes:
        keys: for each column [N] int64.
        names: key -> text, if they are text.
        understood: what they are, in words.
    """

    keys: list[Ids]
    names: dict[int, str] | None
    understood: str


def read_ids(column: Column, role: str, missing_words: Sequence[str]) -> tuple[RawIds, list[BadRows]]:
    """The ids of a column, and the rows without one.

    Raises:
        DataError: cells are of a type that ids cannot have, or an integer does not fit into int64.
    """
    kind = column.values.type
    nothing = pyarrow.array([], pyarrow.string())
    if pyarrow.types.is_null(kind):
        bad = np.arange(len(column.values), dtype=np.int64)
        raw = RawIds(column, np.zeros(len(bad), np.int64), nothing, np.zeros(0, np.int64))
    elif is_text(kind):
        # Distinct texts are few beside rows, and are looked at once.
        encoded = column.values.cast(pyarrow.large_string()).dictionary_encode().unify_dictionaries()
        words = encoded.chunk(0).dictionary if encoded.num_chunks else nothing
        pieces = [as_numpy(chunk.indices.fill_null(-1)).astype(np.int64) for chunk in encoded.chunks]
        index = np.concatenate(pieces) if pieces else np.zeros(0, np.int64)
        blank = pyarrow.compute.match_substring_regex(words, missing_pattern(missing_words))
        absent = np.append(as_numpy(blank).astype(np.bool_), True)  # The last is for index -1: null.
        bad = np.flatnonzero(absent[index])
        raw = RawIds(column, None, words, index)
    elif pyarrow.types.is_integer(kind) or pyarrow.types.is_decimal(kind):
        bad = np.flatnonzero(missing(column, missing_words))
        raw = RawIds(column, _integers(column), nothing, np.zeros(0, np.int64))
    else:
        hint = (
            "; pandas makes fractions of integers where cells are empty: use its type Int64"
            if pyarrow.types.is_floating(kind)
            else "; write them as text"
        )
        raise DataError(f"{column}: expected ids as integers or text, got {kind}{hint}")
    if not len(bad):
        return raw, []
    advice = "expected an id in every row; fill them in, say with --missing-values which words mean that none is there"
    return raw, [BadRows(column, f"missing {role} id", f"missing {role} ids", bad.astype(np.int64), advice)]


def number_ids(columns: Sequence[RawIds], role: str, id_type: str) -> NumberedIds:
    """Decides what the ids of one role are, over all files, and turns them into keys.

    Args:
        role: "user" or "item".
        id_type: "auto", "int" or "text".
    Raises:
        DataError: as `number_values`; with "int" one is no integer; some files have plain integers alone and others
            none; a text cannot be an id.
    """
    numbered = number_values(columns, f"{role} ids", id_type, ", or take all as text with --id-type text")
    if numbered.names is not None:
        if id_type == "auto":
            _require_mixed(columns, role)
        _require_fit(columns, role, numbered.names)
    return numbered


def number_values(columns: Sequence[RawIds], noun: str, id_type: str, otherwise: str = "") -> NumberedIds:
    """Decides whether values of one kind are integers or text, over all files, and turns them into keys.

    Args:
        noun: what they are, for messages.
        id_type: "auto", "int" or "text".
        otherwise: what may be done about files that do not go together, beside writing them alike.
    Raises:
        DataError: some files have them as numbers and others as text that is no plain integer; an integer does not fit
            into int64; with "int" one is no integer; two texts have the same hash.
    """
    pattern = _DIGITS if id_type == "int" else _CANONICAL
    reason = ""
    if id_type != "text":
        others = [(raw, word) for raw in columns if (word := _first_other(raw, pattern)) is not None]
        if not others:
            return NumberedIds([_as_integers(raw, otherwise) for raw in columns], None, "integers")
        raw, word = others[0]
        shown = raw.column.at(raw.first_row(word))
        if id_type == "int":
            raise DataError(f"{raw.column}: expected {noun} as integers (--id-type int), got {shown}")
        declared = next((other for other in columns if other.numbers is not None), None)
        if declared is not None:
            raise DataError(
                f"{noun} must be of one kind in all files; got {declared.column}: integers, and {raw.column}: "
                f"text, such as {shown}; write them alike{otherwise}"
            )
        reason = (
            f", as {shown} is no plain integer" if _some_integer(raw, pattern) or len(others) < len(columns) else ""
        )
    names: dict[int, str] = {}
    keys = [_as_text(columns, place, noun, names) for place in range(len(columns))]
    return NumberedIds(keys, names, f"text{reason}")


def _integers(column: Column) -> Ids:
    values = column.values.fill_null(0) if column.values.null_count else column.values
    try:
        return as_numpy(values.cast(pyarrow.int64())).astype(np.int64)
    except pyarrow.ArrowInvalid:
        row = int(failing(values, lambda piece: piece.cast(pyarrow.int64()))[0])
        raise DataError(f"{column}: {_RANGE}, got {column.at(row)}; renumber them, or write them as text") from None


def _used(raw: RawIds) -> Ids:
    """Positions of the words that some row has."""
    seen = np.zeros(len(raw.words), np.bool_)
    seen[raw.index] = True
    return np.flatnonzero(seen).astype(np.int64)


def _plain(raw: RawIds, pattern: str) -> npt.NDArray[np.bool_]:
    trimmed = pyarrow.compute.utf8_trim_whitespace(raw.words)
    return as_numpy(pyarrow.compute.match_substring_regex(trimmed, pattern)).astype(np.bool_)


def _first_other(raw: RawIds, pattern: str) -> int | None:
    """The first word in use that does not match; None: all do."""
    if raw.numbers is not None:
        return None
    used = _used(raw)
    other = used[~_plain(raw, pattern)[used]]
    return int(other[0]) if len(other) else None


def _require_mixed(columns: Sequence[RawIds], role: str) -> None:
    """Refuses files of which one has plain integers alone and another none: they hardly speak of the same ids."""
    in_use = [raw for raw in columns if raw.numbers is None and len(_used(raw))]
    whole = next((raw for raw in in_use if _first_other(raw, _CANONICAL) is None), None)
    textual = next((raw for raw in in_use if not _some_integer(raw, _CANONICAL)), None)
    if whole is None or textual is None:
        return
    integer, text = (raw.column.at(raw.first_row(int(_used(raw)[0]))) for raw in (whole, textual))
    raise DataError(
        f"{role} ids must be of one kind in all files; got {whole.column}: plain integers, such as {integer}, and "
        f"{textual.column}: text, such as {text}; write them alike, or take all as text with --id-type text"
    )


def _require_fit(columns: Sequence[RawIds], role: str, names: Mapping[int, str]) -> None:
    """Refuses texts that the service would refuse as ids."""
    for text in names.values():
        if len(text) * 4 > MAX_ID_BYTES and (fault := id_fault(text)):
            raw = next(raw for raw in columns if _position(raw, text) >= 0)
            raise DataError(
                f"{raw.column}: the {role} id {shown(text)}{_where(raw, text)} {fault}; shorten it, or number the "
                f"{role}s yourself"
            )


def _position(raw: RawIds, word: str) -> int:
    """Of a word among a column's; -1 if it is none of them."""
    return int(pyarrow.compute.index(raw.words, pyarrow.scalar(word, raw.words.type)).as_py())


def _where(raw: RawIds, word: str) -> str:
    """In which row of its file a word is first, as a part of a sentence; of numbers nothing is known."""
    if raw.numbers is not None:
        return ""
    return f" in {raw.column.source.place(raw.first_row(_position(raw, word)))}"


def _holder(columns: Sequence[RawIds], word: str) -> str:
    """The first file, and the place in it, that has a word."""
    for raw in columns:
        if raw.numbers is not None:
            if word.lstrip("-").isdigit() and int(word) in raw.numbers:
                return str(raw.column)
        elif _position(raw, word) >= 0:
            return f"{raw.column.source.path}{_where(raw, word).replace(' in', ',', 1)}"
    return "another file"


def _some_integer(raw: RawIds, pattern: str) -> bool:
    return bool(_plain(raw, pattern)[_used(raw)].any())


def _as_integers(raw: RawIds, otherwise: str) -> Ids:
    if raw.numbers is not None:
        return raw.numbers
    used = _used(raw)
    words = pyarrow.chunked_array([pyarrow.compute.utf8_trim_whitespace(raw.words.take(pyarrow.array(used)))])
    keys = np.zeros(len(raw.words), np.int64)
    try:
        keys[used] = as_numpy(words.cast(pyarrow.int64()))
    except pyarrow.ArrowInvalid:
        word = int(used[failing(words, lambda piece: piece.cast(pyarrow.int64()))[0]])
        raise DataError(
            f"{raw.column}: {_RANGE}, got {raw.column.at(raw.first_row(word))}; renumber them{otherwise}"
        ) from None
    return keys[raw.index]


def _as_text(columns: Sequence[RawIds], place: int, noun: str, names: dict[int, str]) -> Ids:
    """Keys of a column's text; adds to `names` what those before it have not."""
    raw = columns[place]
    if raw.numbers is not None:
        numbers, index = np.unique(raw.numbers, return_inverse=True)
        words, used = [str(number) for number in numbers.tolist()], np.arange(len(numbers))
    else:
        index, used = raw.index, _used(raw)
        words = raw.words.take(pyarrow.array(used)).to_pylist()
    made = [token_key(word) for word in words]
    for key, word in zip(made, words, strict=True):
        if (first := names.setdefault(key, word)) is not word and first != word:
            raise DataError(
                f"{raw.column}: {noun} {shown(word)}{_where(raw, word)} and {shown(first)} in "
                f"{_holder(columns[: place + 1], first)} have the same hash; write one of them differently in all "
                "files, or number them yourself, with integers"
            )
    keys = np.zeros(int(used[-1]) + 1 if len(used) else 0, np.int64)
    keys[used] = np.array(made, np.int64)
    return keys[index]
