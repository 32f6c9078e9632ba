"""Which rows a snapshot has, and a digest of each, by which the next one finds those that changed.

Bitwise comparison of 128-bit BLAKE2b digests of whole rows: values, optimizer state, frequency and last_used. An index
takes 24 bytes a row, in its file and in memory, so finding the changes does not need the rows of the snapshots before.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank.errors import InvalidFile
from rowbank.files import places
from rowbank.files.places import HashingFile, Place
from rowbank.files.table_file import arrow
from rowbank.rows import ExportChunk

_DIGEST_BYTES = 16
_KEY, _LOW, _HIGH = "key", "digest_low", "digest_high"

Keys = npt.NDArray[np.int64]
Digests = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """The rows of one table on one shard: `keys` [N] int64, ascending, and `digests` [N, 2] uint64."""

    keys: Keys
    digests: Digests

    def differing(self, keys: Keys, digests: Digests) -> npt.NDArray[np.bool_]:
        """[M] whether each of `keys` is not in the index, or with another digest."""
        if not len(self.keys):
            return np.ones(len(keys), np.bool_)
        places = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        same: npt.NDArray[np.bool_] = (self.keys[places] == keys) & (self.digests[places] == digests).all(axis=1)
        return ~same


class IndexBuilder:
    """Gathers the index of rows that come in pieces."""

    def __init__(self) -> None:
        self._keys: list[Keys] = []
        self._digests: list[Digests] = []

    def add(self, chunk: ExportChunk) -> Digests:
        """Adds rows; returns their digests."""
        digests = digests_of(chunk)
        self._keys.append(chunk.keys)
        self._digests.append(digests)
        return digests

    def build(self) -> Index:
        """The index of all rows that were added."""
        keys = np.concatenate([np.empty(0, np.int64), *self._keys])
        digests = np.concatenate([np.empty((0, 2), np.uint64), *self._digests])
        order = np.argsort(keys)
        return Index(keys[order], digests[order])


def digests_of(chunk: ExportChunk) -> Digests:
    """[N, 2] uint64: a digest of everything of each row but its key."""
    columns = [chunk.values, *([] if chunk.slots is None else [chunk.slots])]
    words = [np.ascontiguousarray(column, "<f4").view("<u4") for column in columns]
    words += [column.astype("<u4")[:, None] for column in (chunk.frequency, chunk.last_used)]
    rows = np.concatenate(words, axis=1)
    data = memoryview(rows.tobytes())
    width = rows.shape[1] * 4
    joined = b"".join(
        hashlib.blake2b(data[start : start + width], digest_size=_DIGEST_BYTES).digest()
        for start in range(0, len(data), width)
    )
    return np.frombuffer(joined, "<u8").reshape(-1, 2)


def write_index(stream: HashingFile, index: Index) -> None:
    """Writes an index as a Parquet file."""
    _write(stream, {_KEY: index.keys, _LOW: index.digests[:, 0], _HIGH: index.digests[:, 1]})


def read_index(place: Place) -> Index:
    """The index that `write_index` wrote. Raises InvalidFile."""
    columns = _read(place, (_KEY, _LOW, _HIGH))
    return Index(columns[_KEY], np.stack([columns[_LOW], columns[_HIGH]], axis=1))


def write_keys(stream: HashingFile, keys: Keys) -> None:
    """Writes keys as a Parquet file."""
    _write(stream, {_KEY: keys})


def read_keys(place: Place) -> Keys:
    """The keys that `write_keys` wrote. Raises InvalidFile."""
    keys: Keys = _read(place, (_KEY,))[_KEY]
    return keys


def _write(stream: HashingFile, columns: dict[str, Any]) -> None:
    arrow_, parquet = arrow()
    table = arrow_.table({name: np.ascontiguousarray(column) for name, column in columns.items()})
    parquet.write_table(table, stream, use_dictionary=False, write_page_checksum=True)


def _read(place: Place, names: tuple[str, ...]) -> dict[str, Any]:
    arrow_, parquet = arrow()
    with places.reading(place) as stream:
        try:
            table = parquet.read_table(stream, columns=list(names), page_checksum_verification=True)
            return {name: table.column(name).to_numpy() for name in names}
        except (arrow_.ArrowException, KeyError, OSError, ValueError) as error:
            raise InvalidFile(f"{place}: not a whole file of keys: it is torn, damaged or of another kind") from error
