"""Indexes in files: saved, and opened by any number of processes that share the memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rowbank_server._core import FlatIndex
from rowbank_server.retrieval.index.exact import ExactIndex
from rowbank_server.retrieval.index.files import ArrayFileError, MappedArrays, map_arrays, write_arrays
from rowbank_server.retrieval.index.inverted import ARRAYS, InvertedIndex
from rowbank_server.retrieval.index.protocol import Index
from rowbank_server.retrieval.index.tuning import Tuning

_FLAT_ARRAYS = ("codes", "scale", "error", "norm")


def save_index(index: Index, path: Path) -> None:
    """Writes an exact or inverted index to a file, whole or not at all.

    Raises:
        OSError: the file cannot be written.
        ValueError: an index of a kind that has no files.
    """
    facts: dict[str, Any] = {"size": index.size, "dim": index.dim}
    if isinstance(index, ExactIndex):
        arrays = {name: getattr(index.flat, name) for name in _FLAT_ARRAYS}
    elif isinstance(index, InvertedIndex):
        arrays = dict(index.arrays)
        tuning = index.tuning
        facts |= {"lists_read": tuning.lists_read, "recall": tuning.recall, "target": tuning.target, "k": tuning.k}
    else:
        raise ValueError(f"indexes of the kind {index.kind!r} are not kept in files")
    write_arrays(path, index.kind, facts, {"vectors": index.vectors, **arrays})


def load_index(path: Path, *, verify: bool = False) -> Index:
    """Opens an index: its arrays are mapped, not read, so that it takes no longer for a large one.

    Args:
        verify: reads everything and compares checksums.

    Raises:
        ArrayFileError: the file is damaged, cut off, or of another kind or format.
        OSError: it cannot be opened.
    """
    mapped = map_arrays(path)
    if verify:
        mapped.verify()
    try:
        return _opened(mapped)
    except (KeyError, TypeError, ValueError) as error:
        raise ArrayFileError(path, f"its parts do not go together ({_text(error)})") from error


def _opened(mapped: MappedArrays) -> Index:
    arrays, facts = mapped.arrays, mapped.facts
    vectors = arrays["vectors"]
    if vectors.shape != (facts["size"], facts["dim"]):
        raise ValueError(f"vectors have the shape {vectors.shape}, expected ({facts['size']}, {facts['dim']})")
    if mapped.kind == "exact":
        parts: Any = [arrays[name] for name in _FLAT_ARRAYS]
        return ExactIndex.over(FlatIndex.over(vectors, *parts))
    if mapped.kind == "inverted":
        tuning = Tuning(int(facts["lists_read"]), float(facts["recall"]), float(facts["target"]), int(facts["k"]))
        if tuning.lists_read < 1 or tuning.k < 1:
            raise ValueError(f"lists_read and k must be positive, got {tuning.lists_read} and {tuning.k}")
        return InvertedIndex(vectors, {name: arrays[name] for name in ARRAYS}, tuning)
    raise ValueError(f"no index is of the kind {mapped.kind!r}")


def _text(error: Exception) -> str:
    return f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error).splitlines()[0]
