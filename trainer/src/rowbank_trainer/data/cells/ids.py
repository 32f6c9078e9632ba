"""Ids of users and items: integers as they are, or text, which becomes 63 bits of BLAKE2b.

A file of text does not say which of the two its ids are, and `007` and `7` are two ids to whoever wrote them. So ids
are integers only if all of them, in all files of a run, are plain ones, which are written in just one way; otherwise
they are the text that they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.compute

from rowbank.text import token_key
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
        DataError: as `number_values`; with "int" one is no integer.
    """
    return number_values(columns, f"{role} ids", id_type, ", or take all as text with --id-type text")


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
    keys = [_as_text(raw, noun, names) for raw in columns]
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


def _as_text(raw: RawIds, noun: str, names: dict[int, str]) -> Ids:
    """Keys of text; adds to `names`."""
    if raw.numbers is not None:
        numbers, index = np.unique(raw.numbers, return_inverse=True)
        words, used = [str(number) for number in numbers.tolist()], np.arange(len(numbers))
    else:
        index, used = raw.index, _used(raw)
        words = raw.words.take(pyarrow.array(used)).to_pylist()
    made = [token_key(word) for word in words]
    for key, word in zip(made, words, strict=True):
        if names.setdefault(key, word) != word:
            raise DataError(
                f"{raw.column}: {noun} {names[key]!r} and {word!r} have the same hash; number them yourself"
            )
    keys = np.zeros(int(used[-1]) + 1 if len(used) else 0, np.int64)
    keys[used] = np.array(made, np.int64)
    return keys[index]
