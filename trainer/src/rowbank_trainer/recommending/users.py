"""The users that a file lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rowbank.text import token_key
from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.data.reading.opening import open_source
from rowbank_trainer.errors import DataError

COLUMN = "user_id"


def read_users(path: Path, *, texts: bool) -> tuple[Ids, dict[int, str]]:
    """The users of a Parquet, CSV or JSON-lines file, of its column `user_id` or its only one, each once.

    Args:
        texts: ids are texts, which are known by their keys.
    Returns:
        [N] int64, ascending, and the text of each, if ids are texts.
    Raises:
        DataError: there is no such file or column, or an id is none.
    """
    source = open_source(path)
    column = COLUMN if COLUMN in source.columns else source.columns[0]
    if column != COLUMN and len(source.columns) > 1:
        raise DataError(f"{path}: expected a column {COLUMN!r}, got {', '.join(source.columns)}; rename the one it is")
    cells = source.read([column])[column].to_pylist()
    found: dict[int, str] = {}
    for row, cell in enumerate(cells):
        text = "" if cell is None else str(cell).strip()
        if not text:
            raise DataError(f"{path}: {source.place(row)}: column {column!r} is empty; expected a user id")
        if not texts and not _is_integer(text):
            raise DataError(f"{path}: {source.place(row)}: column {column!r}: expected an integer, got {text!r}; the "
                            "version's users have integers as ids")  # fmt: skip
        found[token_key(text) if texts else int(text)] = text
    return np.array(sorted(found), dtype=np.int64), found if texts else {}


def _is_integer(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and -(2**63) <= int(text) < 2**63
