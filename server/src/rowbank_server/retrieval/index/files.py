"""Arrays in a file that any number of processes map: written whole or not at all, refused where damaged.

A file is a prefix of 64 bytes, a header in JSON, and arrays that each begin at a multiple of 4096 bytes:

    8 bytes   b"RBARRAYS"
    uint32    0x01020304, in the byte order of the machine that wrote the file
    uint32    format, 1
    uint32    bytes of the header
    uint32    CRC-32 of the header
    uint64    bytes of the file
    32 bytes  0

Opening checks all of that and every array's place, and reads no array: it takes no longer for a large file. Whether
the arrays are what was written, `MappedArrays.verify` tells, which reads everything.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

FORMAT = 1
_MAGIC = b"RBARRAYS"
_ORDER = 0x01020304
_PREFIX = struct.Struct("=8sIIIIQ32x")
_PAGE = 4096
_MAX_HEADER = 1 << 24
_PIECE = 1 << 24  # Bytes that are written or checked at once.
_TYPES = ("|u1", "|i1", "<u4", "<i4", "<i8", "<u8", "<f4", "<f8", "|b1")

Array = npt.NDArray[Any]


class ArrayFileError(Exception):
    """A file is not what it should be; the text names it, says what is wrong and what to do."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}; remove the file, and it is written anew")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an array lies in the file."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    crc: int

    @property
    def count(self) -> int:
        return int(np.prod(self.shape, dtype=object))

    @property
    def nbytes(self) -> int:
        return self.count * np.dtype(self.dtype).itemsize


class MappedArrays:
    """A file's arrays, read-only, in memory that all processes share which map it.

    Attributes:
        kind: what the arrays are.
        facts: what was said of them.
        arrays: by name. They may be used for as long as anybody has them, also after the file was removed.
    """

    def __init__(self, path: Path, kind: str, facts: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.path = path
        self.kind = kind
        self.facts = facts
        self.arrays = arrays
        self._crcs: Mapping[str, int] = {}

    @property
    def bytes(self) -> int:
        """Of all arrays."""
        return sum(array.nbytes for array in self.arrays.values())

    def verify(self) -> None:
        """Reads everything.

        Raises:
            ArrayFileError: an array is not what was written.
        """
        for name, array in self.arrays.items():
            if _crc_of(array) != self._crcs[name]:
                raise ArrayFileError(self.path, f"the array {name!r} is damaged: its checksum differs")


def write_arrays(path: Path, kind: str, facts: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Writes a file under a temporary name beside `path`, synced, and puts it in the place of `path`.

    Args:
        facts: anything that JSON can say.
        arrays: contiguous ones, of fixed-width numbers.

    Raises:
        OSError: it cannot be written; what was there before is still there.
        ValueError: an array of another kind.
    """
    with _replacing(path) as file:
        places = {name: _plan(array) for name, array in arrays.items()}
        # Where arrays lie depends on how long the header is, which is no longer than with the longest numbers.
        start = _aligned(_PREFIX.size + len(_header(kind, facts, places, {})))
        offsets, end = {}, start
        for name, place in places.items():
            offsets[name] = end
            end = _aligned(end + place.nbytes)
        placed = {
            name: _Place(place.dtype, place.shape, offsets[name], _write(file, offsets[name], arrays[name]))
            for name, place in places.items()
        }
        header = _header(kind, facts, placed, offsets)
        file.truncate(end)
        file.seek(0)
        file.write(_PREFIX.pack(_MAGIC, _ORDER, FORMAT, len(header), zlib.crc32(header), end))
        file.write(header)


def map_arrays(path: Path) -> MappedArrays:
    """Maps a file.

    Raises:
        ArrayFileError: it is no such file, another format, of another byte order, cut off, or its header is damaged.
        OSError: it cannot be opened.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        header = _read_header(path, file, size)
        kind, facts, places = _parsed(path, header, size)
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    arrays = {
        name: np.frombuffer(mapped, place.dtype, place.count, place.offset).reshape(place.shape)
        if place.count
        else np.empty(place.shape, place.dtype)
        for name, place in places.items()
    }
    made = MappedArrays(path, kind, facts, arrays)
    made._crcs = {name: place.crc for name, place in places.items()}
    return made


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` at the end, or goes if anything fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise


def _plan(array: Array) -> _Place:
    if array.dtype.str not in _TYPES or not array.flags.c_contiguous:
        raise ValueError(f"an array in a file must be contiguous and of {', '.join(_TYPES)}, got {array.dtype.str}")
    return _Place(array.dtype.str, array.shape, 0, 0)


def _header(kind: str, facts: Mapping[str, Any], places: Mapping[str, _Place], offsets: Mapping[str, int]) -> bytes:
    """The header; without offsets one with the longest numbers, which is at least as long as with them."""
    arrays = {
        name: {
            "dtype": place.dtype,
            "shape": place.shape,
            "offset": place.offset if offsets else 1 << 62,
            "crc": place.crc if offsets else 0xFFFFFFFF,
        }
        for name, place in places.items()
    }
    return json.dumps({"kind": kind, "facts": facts, "arrays": arrays}).encode()


def _write(file: BinaryIO, offset: int, array: Array) -> int:
    """Writes an array, and returns its CRC-32."""
    file.seek(offset)
    crc = 0
    for piece in _pieces(array):
        crc = zlib.crc32(piece, crc)
        file.write(piece)
    return crc


def _crc_of(array: Array) -> int:
    crc = 0
    for piece in _pieces(array):
        crc = zlib.crc32(piece, crc)
    return crc


def _pieces(array: Array) -> Iterator[memoryview]:
    flat = memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
    for start in range(0, len(flat), _PIECE):
        yield flat[start : start + _PIECE]


def _aligned(offset: int) -> int:
    return (offset + _PAGE - 1) // _PAGE * _PAGE


def _read_header(path: Path, file: BinaryIO, size: int) -> bytes:
    """The header's bytes, checked against its checksum."""
    prefix = file.read(_PREFIX.size)
    if len(prefix) < _PREFIX.size or prefix[:8] != _MAGIC:
        raise ArrayFileError(path, "this is no file of arrays, or it is cut off before its header")
    _, order, version, length, crc, whole = _PREFIX.unpack(prefix)
    if order != _ORDER:
        raise ArrayFileError(path, "it was written on a machine with another byte order")
    if version != FORMAT:
        raise ArrayFileError(path, f"its format is {version}, this program reads {FORMAT}")
    if whole != size:
        raise ArrayFileError(path, f"it has {size} bytes, its header says {whole}")
    if length > min(size - _PREFIX.size, _MAX_HEADER):
        raise ArrayFileError(path, f"its header is said to have {length} bytes, more than a header may")
    header = file.read(length)
    if len(header) != length or zlib.crc32(header) != crc:
        raise ArrayFileError(path, "its header is damaged: the checksum differs")
    return header


def _parsed(path: Path, header: bytes, size: int) -> tuple[str, dict[str, Any], dict[str, _Place]]:
    """Kind, facts and places that a header tells, each place checked."""
    try:
        told = json.loads(header)
        kind, facts = told["kind"], told["facts"]
        places = {str(name): _place_of(one) for name, one in told["arrays"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArrayFileError(path, f"its header says nothing that makes sense ({type(error).__name__})") from error
    if not isinstance(kind, str) or not isinstance(facts, dict):
        raise ArrayFileError(path, "its header has no kind or no facts")
    for name, place in places.items():
        if place.offset % _PAGE != 0 or place.offset + place.nbytes > size:
            raise ArrayFileError(path, f"the array {name!r} does not lie within the file")
    return kind, facts, places


def _place_of(told: Any) -> _Place:
    numbers = [told["offset"], told["crc"], *told["shape"]]
    if told["dtype"] not in _TYPES or not 1 <= len(told["shape"]) <= 4:
        raise ValueError
    if any(type(number) is not int or not 0 <= number < 1 << 62 for number in numbers):
        raise ValueError
    return _Place(told["dtype"], tuple(told["shape"]), told["offset"], told["crc"])
