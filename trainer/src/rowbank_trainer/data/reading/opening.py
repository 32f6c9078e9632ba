"""Which kind a file is, by its name."""

from __future__ import annotations

from pathlib import Path

from rowbank_trainer.data.reading.delimited import DelimitedSource
from rowbank_trainer.data.reading.json_lines import JsonLinesSource
from rowbank_trainer.data.reading.parquet import ParquetSource
from rowbank_trainer.data.reading.source import Source
from rowbank_trainer.errors import DataError

_COMPRESSED = (".gz", ".zst", ".bz2")
_DELIMITED, _JSON_LINES, _PARQUET = (".csv", ".tsv"), (".jsonl", ".ndjson"), (".parquet", ".pq")


def open_source(path: Path, *, delimiter: str | None = None, skip_malformed: bool = False) -> Source:
    """Opens a file by its name: Parquet, delimited text or JSON lines; text may be compressed.

    Args:
        delimiter: between columns of text; None: recognised.
        skip_malformed: leave out rows of text with too few or too many cells.
    Raises:
        DataError: it is missing, of another kind or malformed.
    """
    plain = path.name.lower()
    for ending in _COMPRESSED:
        plain = plain.removesuffix(ending)
    kinds = (*_DELIMITED, *_JSON_LINES, *_PARQUET)
    if not plain.endswith(kinds) or (plain.endswith(_PARQUET) and plain != path.name.lower()):
        raise DataError(
            f"{path}: expected a file named *.parquet, *.csv, *.tsv or *.jsonl (text also with .gz, .zst or .bz2), "
            f"got {path.name!r}; rename or convert it"
        )
    if not path.exists():
        raise DataError(
            f"{path}: no such file; expected a Parquet, CSV or JSON-lines file of interactions, users or items"
        )
    if path.is_dir() and not plain.endswith(_PARQUET):
        raise DataError(f"{path}: expected a file, got a folder; name one file in it")
    if plain.endswith(_PARQUET):
        return ParquetSource(path)
    if plain.endswith(_JSON_LINES):
        return JsonLinesSource(path)
    usual = "\t" if plain.endswith(".tsv") else ","
    return DelimitedSource(path, delimiter=delimiter, usual=usual, skip_malformed=skip_malformed)
