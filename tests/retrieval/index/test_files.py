"""Files of arrays: what was written is mapped, what is damaged is refused."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rowbank_server.retrieval.index import ArrayFileError, map_arrays, write_arrays

ARRAYS: dict[str, npt.NDArray[Any]] = {
    "floats": np.arange(3000, dtype=np.float32).reshape(1000, 3),
    "bytes": np.arange(5, dtype=np.uint8),
    "none": np.empty((0, 7), np.int64),
    "large": np.arange(9000, dtype=np.uint32),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_arrays(tmp_path / "arrays", "test", {"answer": 42}, ARRAYS)
    return tmp_path / "arrays"


def test_what_was_written_is_there(path: Path) -> None:
    mapped = map_arrays(path)
    assert (mapped.kind, mapped.facts) == ("test", {"answer": 42})
    for name, array in ARRAYS.items():
        assert np.array_equal(mapped.arrays[name], array)
        assert mapped.arrays[name].dtype == array.dtype
        assert not mapped.arrays[name].flags.writeable or array.size == 0
    assert mapped.bytes == sum(array.nbytes for array in ARRAYS.values())
    mapped.verify()
    assert [entry.name for entry in path.parent.iterdir()] == ["arrays"]


def test_arrays_outlive_their_file(path: Path) -> None:
    floats = map_arrays(path).arrays["floats"]
    path.unlink()
    assert floats[999, 2] == 2999


def test_a_file_takes_the_place_of_another_at_once(path: Path) -> None:
    before = map_arrays(path)
    write_arrays(path, "other", {}, {"bytes": np.ones(3, np.uint8)})
    assert before.arrays["bytes"].tolist() == [0, 1, 2, 3, 4]
    assert map_arrays(path).arrays["bytes"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("array", [np.array(["text"]), np.zeros((3, 4))[:, ::2], np.zeros(3, ">f4"), np.array([None])])
def test_what_cannot_be_mapped_is_not_written(path: Path, array: Any) -> None:
    with pytest.raises(ValueError, match="an array in a file must be contiguous and of"):
        write_arrays(path, "test", {}, {"wrong": array})
    assert map_arrays(path).kind == "test"
    assert [entry.name for entry in path.parent.iterdir()] == ["arrays"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        write_arrays(tmp_path / "missing" / "arrays", "test", {}, ARRAYS)
    with pytest.raises(OSError, match="No such file"):
        map_arrays(tmp_path / "missing")


def changed(path: Path, offset: int, value: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[offset : offset + len(value)] = value
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (0, b"PK", "this is no file of arrays"),
        (8, struct.pack("<I", 0x04030201), "another byte order"),
        (12, struct.pack("=I", 2), "its format is 2, this program reads 1"),
        (16, struct.pack("=I", 1 << 31), "its header is said to have 2147483648 bytes"),
        (20, b"\0\0\0\0", "its header is damaged: the checksum differs"),
        (70, b"x", "its header is damaged: the checksum differs"),
    ],
)
def test_a_damaged_beginning_is_refused(path: Path, offset: int, value: bytes, message: str) -> None:
    changed(path, offset, value)
    with pytest.raises(ArrayFileError, match=message) as error:
        map_arrays(path)
    assert str(path) in str(error.value)
    assert "remove the file" in str(error.value)


@pytest.mark.parametrize("size", [0, 7, 63, 64, 200, 4096, 10_000, -1])
def test_a_file_that_was_cut_off_is_refused(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ArrayFileError):
        map_arrays(path)


def test_a_damaged_array_is_found_by_reading_all(path: Path) -> None:
    content = path.read_bytes()
    changed(path, content.rindex(np.uint32(8999).tobytes()), b"\xff")
    mapped = map_arrays(path)
    with pytest.raises(ArrayFileError, match="the array 'large' is damaged"):
        mapped.verify()


def with_header(path: Path, told: Any) -> None:
    """Puts another header in front of the arrays, with a checksum that fits."""
    content = path.read_bytes()
    header = told if isinstance(told, bytes) else json.dumps(told).encode()
    begin = content[:16] + struct.pack("=II", len(header), zlib.crc32(header)) + content[24:64] + header
    path.write_bytes(begin + content[len(begin) :])


@pytest.mark.parametrize(
    "place",
    [
        {"dtype": "<f4", "shape": [1000, 3], "offset": 1 << 40, "crc": 1},
        {"dtype": "<f4", "shape": [1 << 40, 1 << 40], "offset": 4096, "crc": 1},
        {"dtype": "<f4", "shape": [1], "offset": 4097, "crc": 1},
        {"dtype": "<f4", "shape": [-1], "offset": 4096, "crc": 1},
        {"dtype": "<f4", "shape": [1.5], "offset": 4096, "crc": 1},
        {"dtype": "<f4", "shape": [True], "offset": 4096, "crc": 1},
        {"dtype": "|O8", "shape": [1], "offset": 4096, "crc": 1},
        {"dtype": "<f4", "shape": [], "offset": 4096, "crc": 1},
        {"dtype": "<f4", "shape": [1], "offset": "4096", "crc": 1},
        {"dtype": "<f4", "shape": [1], "offset": 4096},
        ["<f4"],
        None,
    ],
    ids=repr,
)
def test_a_place_that_makes_no_sense_is_refused(path: Path, place: Any) -> None:
    with_header(path, {"kind": "test", "facts": {}, "arrays": {"one": place}})
    with pytest.raises(ArrayFileError):
        map_arrays(path)


@settings(deadline=None, max_examples=200)
@given(
    told=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["kind", "facts", "arrays", "dtype", "shape", "offset", "crc"]), inner)
        ),
        max_leaves=12,
    )
)
def test_any_header_is_mapped_or_refused(tmp_path_factory: pytest.TempPathFactory, told: Any) -> None:
    path = tmp_path_factory.mktemp("headers") / "arrays"
    write_arrays(path, "test", {}, {"one": np.zeros(9, np.float32)})
    with_header(path, told)
    try:
        map_arrays(path).verify()
    except ArrayFileError:
        return


@settings(deadline=None, max_examples=200)
@given(offset=st.integers(0, 8191), bit=st.integers(0, 7))
def test_any_changed_bit_is_found_or_in_the_padding(
    tmp_path_factory: pytest.TempPathFactory, offset: int, bit: int
) -> None:
    path = tmp_path_factory.mktemp("bits") / "arrays"
    values = np.arange(1000, dtype=np.float32)
    write_arrays(path, "test", {}, {"one": values})
    content = bytearray(path.read_bytes())
    content[offset] ^= 1 << bit
    path.write_bytes(content)
    try:
        mapped = map_arrays(path)
        mapped.verify()
    except ArrayFileError:
        return
    assert np.array_equal(mapped.arrays["one"], values)
