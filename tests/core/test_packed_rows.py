"""The stored form of a row: its layout byte by byte, its checksum, and write-back."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from tests.core import twins
from tests.core.support import keys_of, make_table, pull, push, stored_keys, take_all_dirty

from rowbank_server import _core
from rowbank_server._core import Optimizer, RowTable


def twin_of(table: RowTable, optimizer: Optimizer, **options: object) -> RowTable:
    return make_table(dim=table.dim, optimizer=optimizer, value_dtype=table.value_dtype, **options)


def test_layout_byte_by_byte():
    table = make_table(dim=3, value_dtype="float16", optimizer=Optimizer("adagrad"), bucket_count=1)
    push(table, keys_of(-7, -7), now=1234567890, position=99)
    ((rows, removed),) = take_all_dirty(table).values()
    packed = rows[-7]
    row = table.describe(-7)
    assert row is not None
    assert not removed
    assert len(packed) == table.packed_row_bytes == 24 + 3 * 2 + 3 * 4
    assert struct.unpack("<BBH", packed[:4]) == (1, 0, 0)
    assert struct.unpack("<IIQ", packed[8:24]) == (2, 1234567890, 99)
    assert struct.unpack("<I", packed[4:8])[0] == _core.crc32c(struct.pack("<q", -7) + packed[8:])
    np.testing.assert_array_equal(np.frombuffer(packed[24:30], np.float16), row.values.astype(np.float16))
    np.testing.assert_array_equal(np.frombuffer(packed[30:], np.float32), row.slots)


def filed(rows):
    """Packed rows by key as Redis has them."""
    return {struct.pack("<q", key): packed for key, packed in rows.items()}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("dim", [1, 3, 64])
def test_round_trip_is_bit_for_bit(dtype, dim):
    adam = Optimizer("adam", amsgrad=1)
    table = make_table(dim=dim, value_dtype=dtype, optimizer=adam)
    random = np.random.default_rng(dim)
    keys = np.concatenate([keys_of(-(2**63), 2**63 - 1, 0), random.integers(-(2**62), 2**62, 200)])
    for step in range(1, 4):
        push(table, keys, random.normal(size=(len(keys), dim)), step=step, now=1000 + step, position=step)
    twin = twin_of(table, adam)
    for bucket, (rows, _) in take_all_dirty(table).items():
        loaded = twin.load_fields(bucket, filed(rows))
        assert (loaded.loaded, loaded.corrupt) == (len(rows), [])
    assert twin.size() == table.size() == len(keys)
    assert twin.dirty_rows() == 0
    for key in keys.tolist():
        a, b = table.describe(key), twin.describe(key)
        assert a is not None
        assert b is not None
        assert (a.frequency, a.last_used, a.position) == (b.frequency, b.last_used, b.position) == (3, 1003, 3)
        np.testing.assert_array_equal(a.values, b.values)
        np.testing.assert_array_equal(a.slots, b.slots)
    more = random.normal(size=(len(keys), dim))
    push(table, keys, more, step=4)
    push(twin, keys, more, step=4)
    np.testing.assert_array_equal(pull(table, keys)[0], pull(twin, keys)[0])


def test_every_flipped_byte_is_found():
    table = make_table(dim=5, optimizer=Optimizer("adagrad"), bucket_count=1)
    push(table, keys_of(1, 2, 3), 0.5)
    ((rows, _),) = take_all_dirty(table).values()
    for at in range(table.packed_row_bytes):
        for bit in (0x01, 0x80):
            damaged = bytearray(rows[2])
            damaged[at] ^= bit
            twin = twin_of(table, Optimizer("adagrad"), bucket_count=1)
            loaded = twin.load_fields(0, filed({**rows, 2: bytes(damaged)}))
            assert loaded.corrupt == [struct.pack("<q", 2)], at
            assert stored_keys(twin) == [1, 3]


def test_a_row_under_another_key_or_in_another_bucket_is_corrupt():
    table = make_table()
    push(table, keys_of(1))
    ((bucket, (rows, _)),) = take_all_dirty(table).items()
    neighbours = np.arange(2, 100000, dtype=np.int64)
    neighbour = int(neighbours[twins.bucket_of(neighbours, 256) == bucket][0])
    twin = make_table()
    assert twin.load_fields(bucket, filed({neighbour: rows[1]})).corrupt == [struct.pack("<q", neighbour)]
    assert twin.load_fields((bucket + 1) % 256, filed(rows)).corrupt == [struct.pack("<q", 1)]
    assert twin.size() == 0


def test_fields_of_other_lengths_are_corrupt():
    table = make_table()
    fields = {b"1234567": b"x" * 40, b"12345678": b"x" * 39, b"123456789": b"x" * 40, b"": b""}
    loaded = table.load_fields(0, fields)
    assert (loaded.loaded, loaded.corrupt) == (0, list(fields))


def test_fields_are_bytes():
    fields: Any = {"12345678": b"x" * 40}
    with pytest.raises(ValueError, match="expected bytes by bytes"):
        make_table().load_fields(0, fields)


def test_a_row_is_dirty_from_its_change_until_it_is_taken():
    table = make_table(bucket_count=1)
    push(table, keys_of(1, 2))
    assert sorted(take_all_dirty(table)[0][0]) == [1, 2]
    assert table.dirty_buckets() == []
    pull(table, keys_of(1, 2, 3))
    assert table.dirty_buckets() == []
    table.touch(keys_of(1, 99), None, now=5)
    assert list(take_all_dirty(table)[0][0]) == [1]
    table.remove(keys_of(1))
    push(table, keys_of(2))
    rows, removed = take_all_dirty(table)[0]
    assert (list(rows), removed) == ([2], [1])


def test_removed_and_added_again_is_a_row_not_a_removal():
    table = make_table(bucket_count=1)
    push(table, keys_of(1))
    table.remove(keys_of(1))
    push(table, keys_of(1))
    rows, removed = take_all_dirty(table)[0]
    assert (list(rows), removed) == ([1], [])


def test_taking_in_small_parts_ends_with_an_empty_part():
    table = make_table(bucket_count=1)
    push(table, np.arange(100, dtype=np.int64))
    table.remove(np.arange(50, dtype=np.int64))
    push(table, np.arange(25, dtype=np.int64))
    rows: set[int] = set()
    removed: set[int] = set()
    while len((part := table.take_dirty(0, 7)).keys) + len(part.removed_keys):
        assert len(part.keys) + len(part.removed_keys) <= 7
        assert len(part.packed) == len(part.keys) * table.packed_row_bytes
        rows |= set(part.keys.tolist())
        removed |= set(part.removed_keys.tolist())
    assert rows == set(range(25)) | set(range(50, 100))
    assert removed == set(range(25, 50))


def test_clear_forgets_what_was_dirty():
    table = make_table()
    push(table, np.arange(1000, dtype=np.int64))
    assert table.clear() == 1000
    assert table.dirty_buckets() == []
    assert table.dirty_rows() == 0
    assert table.size() == 0


def test_a_packed_bucket_is_loaded_bit_for_bit_and_keeps_its_marks():
    table, twin = (make_table(bucket_count=1, optimizer=Optimizer("adam")) for _ in range(2))
    push(table, keys_of(1, 2, 3), 0.5, position=9)
    table.remove(keys_of(2))
    keys, packed = table.pack_bucket(0)
    loaded = twin.load_packed(0, keys, packed)
    assert (loaded.loaded, loaded.corrupt) == (2, [])
    assert stored_keys(twin) == [1, 3]
    assert twin.dirty_rows() == 0
    assert take_all_dirty(table) == {0: ({int(key): packed_of(table, packed, at) for at, key in enumerate(keys)}, [2])}


def packed_of(table, packed, place):
    size = table.packed_row_bytes
    return packed[place * size : (place + 1) * size]


def test_packed_rows_are_checked_when_they_are_loaded():
    table = make_table(bucket_count=1)
    push(table, keys_of(1, 2))
    keys, packed = table.pack_bucket(0)
    with pytest.raises(ValueError, match="packed: expected 80 bytes for 2 rows, got 79"):
        make_table(bucket_count=1).load_packed(0, keys, packed[:-1])
    loaded = make_table(bucket_count=1).load_packed(0, keys[::-1].copy(), packed)
    assert (loaded.loaded, sorted(loaded.corrupt)) == (0, [struct.pack("<q", 1), struct.pack("<q", 2)])


def test_dirty_marks_are_taken_alone():
    table = make_table(bucket_count=1)
    push(table, keys_of(3, 1, 2, 1))
    table.remove(keys_of(2))
    assert table.take_dirty_keys(0).tolist() == [1, 2, 3]
    assert table.take_dirty_keys(0).tolist() == []
    push(table, keys_of(3))
    assert list(take_all_dirty(table)[0][0]) == [3]


def test_the_common_row_is_packed_without_taking_its_mark():
    table, twin = (make_table(min_count=2) for _ in range(2))
    push(table, keys_of(1), 0.25)
    packed = table.pack_common_row()
    assert table.take_common_row() == packed
    assert table.take_common_row() is None
    assert table.pack_common_row() == packed
    twin.load_common_row(packed)
    np.testing.assert_array_equal(pull(table, keys_of(9))[0], pull(twin, keys_of(9))[0])


def test_lookups_tell_positions_and_whether_rows_are_there():
    table = make_table(dim=2)
    push(table, keys_of(1), position=5)
    push(table, keys_of(2), position=7)
    out, found, positions = np.empty((3, 2), np.float32), np.empty(3, np.uint8), np.empty(3, np.uint64)
    table.lookup(keys_of(2, 9, 1), out, found, positions=positions)
    assert (found.tolist(), positions.tolist()) == ([1, 0, 1], [7, 0, 5])
    assert table.contains(keys_of(2, 9, 1)).tolist() == [1, 0, 1]
