"""Bytes of text files: decompressed, and where they are no UTF-8."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

import pyarrow

from rowbank_trainer.data.reading.source import unreadable
from rowbank_trainer.errors import DataError

_PIECE_BYTES = 1 << 20
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def open_bytes(path: Path) -> Any:
    """The file's bytes, decompressed by its name. Raises DataError."""
    try:
        return pyarrow.input_stream(str(path), compression="detect")
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise unreadable(path, error) from None


def read_head(path: Path, size: int) -> bytes:
    """The first bytes of a file.

    Raises:
        DataError: it cannot be read, is empty, or is UTF-16 or no text.
    """
    with open_bytes(path) as stream:
        try:
            head: bytes = stream.read(size)
        except (pyarrow.ArrowException, OSError) as error:
            raise unreadable(path, error) from None
    if not head.strip():
        raise DataError(f"{path}: the file is empty; expected at least one row")
    if head.startswith(_UTF_16):
        raise DataError(f"{path}: expected text in UTF-8, got UTF-16; {_convert('UTF-16')}")
    if b"\0" in head:
        raise DataError(
            f"{path}: expected text in UTF-8, got a NUL byte at offset {head.index(0)}; is it no text file?"
        )
    return head


def not_utf8(path: Path) -> DataError | None:
    """The error for the first byte of a file that is not UTF-8; None: all are."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset, line = 0, 1
    with open_bytes(path) as stream:
        while True:
            piece: bytes = stream.read(_PIECE_BYTES)
            waiting = decoder.getstate()[0]
            try:
                decoder.decode(piece, final=not piece)
            except UnicodeDecodeError as error:
                bad = offset - len(waiting) + error.start
                line += piece[: max(0, error.start - len(waiting))].count(b"\n")
                byte = error.object[error.start]
                return DataError(
                    f"{path}:{line}: expected text in UTF-8, got byte 0x{byte:02x} at offset {bad}; "
                    f"{_convert('the encoding that it has, such as LATIN1')}"
                )
            if not piece:
                return None
            line += piece.count(b"\n")
            offset += len(piece)


def _convert(source: str) -> str:
    return f"save it as UTF-8 (iconv -t UTF-8 -f ENCODING; ENCODING is {source})"
