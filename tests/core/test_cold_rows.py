"""Which rows are cold: against a dictionary, through random histories of what tables and write-backs do."""

from __future__ import annotations

import numpy as np
import pytest

from rowbank_server import _core

WIDTH = 12


def keys_of(*keys):
    return np.array(keys, np.int64)


def rows_of(keys, turn):
    return b"".join(key.to_bytes(8, "little", signed=True) + turn.to_bytes(4, "little") for key in keys)


def found(cold, keys):
    at, stamps, places = cold.find(keys)
    return {int(keys[i]): (int(stamp), int(place)) for i, stamp, place in zip(at, stamps, places, strict=True)}


@pytest.mark.parametrize("seed", range(6))
def test_a_history_leaves_what_a_dictionary_has(seed):
    """A store that does what it is told, and rows that go and come back, agree with what was evicted last."""
    random = np.random.default_rng(seed)
    cold = _core.ColdRows(WIDTH, 1 << 20)
    cold.clear(listed=True)
    expected: dict[int, int] = {}
    store: list[dict[int, int]] = [{} for _ in range(_core.COLD_SLOTS)]
    slot = 0
    for turn in range(1, 300):
        keys = random.choice(np.arange(-60, 60), int(random.integers(1, 12)), replace=False)
        match int(random.integers(5)):
            case 0 | 1:
                assert cold.evicted(keys, rows_of(keys.tolist(), turn), stamp=turn) == len(keys)
                expected |= dict.fromkeys(keys.tolist(), turn)
            case 2:
                assert cold.forget(keys) == sum(expected.pop(key, 0) > 0 for key in keys.tolist())
            case 3:
                waiting, stamps, fields = cold.waiting(1000)
                assert len(fields) == len(waiting) * (8 + WIDTH)
                assert len(set(waiting.tolist())) == len(waiting)
                store[slot] |= dict(zip(waiting.tolist(), stamps.tolist(), strict=True))
                cold.written(waiting, stamps, slot=slot)
                for key, of in zip(*(column.tolist() for column in cold.take_deletes()), strict=True):
                    for one in store if of == _core.COLD_SLOTS else [store[of]]:
                        one.pop(key, None)
                cold.settle()
                assert {key: stamp for one in store for key, stamp in one.items()} == expected
                assert sum(len(one) for one in store) == len(expected)
            case 4 if turn % 3 == 0:
                slot = (slot + 1) % _core.COLD_SLOTS
                assert cold.drop_slot(slot) <= len(store[slot])
                for key, stamp in store[slot].items():
                    if expected.get(key) == stamp:
                        del expected[key]
                store[slot].clear()
        everything = np.arange(-60, 60)
        assert {key: stamp for key, (stamp, _) in found(cold, everything).items()} == expected


def test_what_waits_is_bounded_and_what_is_beyond_is_given_up():
    cold = _core.ColdRows(WIDTH, 10 * (WIDTH + 64))
    cold.clear(listed=True)
    keys = np.arange(15)
    assert cold.evicted(keys, rows_of(keys.tolist(), 1), stamp=1) == 10
    assert sorted(found(cold, keys)) == list(range(10))
    assert cold.waiting_row(3) == rows_of([3], 1)
    assert cold.waiting_row(12) == b""


def test_until_it_is_listed_any_key_may_be_cold_but_those_that_are_gone():
    cold = _core.ColdRows(WIDTH, 1 << 20)
    assert found(cold, keys_of(1, 2)) == {1: (0, _core.COLD_SLOTS), 2: (0, _core.COLD_SLOTS)}
    cold.forget(keys_of(1))
    cold.evicted_elsewhere(keys_of(3), stamp=9)
    listing = cold.listing
    cold.list(keys_of(1, 2, 3), slot=4, listing=listing)
    cold.finish_listing(listing)
    assert found(cold, keys_of(1, 2, 3, 5)) == {2: (0, 4), 3: (9, 4)}
    assert not cold.confirm(3, 8, 4)
    assert cold.confirm(2, 7, 4)
    assert cold.hold(keys_of(1, 2, 3), np.array([0, 7, 9], np.uint64)).tolist() == [0, 1, 1]
    keys, slots = cold.take_deletes()
    assert (keys.tolist(), slots.tolist()) == ([1], [_core.COLD_SLOTS])


def test_a_listing_that_began_before_a_clear_is_not_taken():
    cold = _core.ColdRows(WIDTH, 1 << 20)
    listing = cold.listing
    cold.clear(listed=False)
    cold.list(keys_of(1), slot=0, listing=listing)
    cold.finish_listing(listing)
    assert not cold.listed


def test_a_write_back_that_failed_is_done_again():
    cold = _core.ColdRows(WIDTH, 1 << 20)
    cold.clear(listed=True)
    cold.evicted(keys_of(1), rows_of([1], 1), stamp=1)
    cold.written(keys_of(1), np.array([1], np.uint64), slot=2)
    cold.forget(keys_of(1))
    for _ in range(2):
        keys, slots = cold.take_deletes()
        assert (keys.tolist(), slots.tolist()) == ([1], [2])
        cold.unsettle()
    cold.take_deletes()
    cold.settle()
    cold.unsettle()
    assert cold.take_deletes()[0].tolist() == []


def test_who_follows_gives_up_what_the_owner_has_written():
    cold = _core.ColdRows(WIDTH, 1 << 20)
    cold.evicted(keys_of(1, 2), rows_of([1, 2], 1), stamp=1)
    cold.put_aside()
    cold.forget(keys_of(2))
    cold.unsettle()
    assert found(cold, keys_of(1, 2)) == {1: (1, _core.COLD_WAITING)}
    assert cold.waiting_row(2) == b""
    cold.put_aside()
    cold.settle()
    assert cold.waiting_row(1) == b""
    assert found(cold, keys_of(1)) == {1: (0, _core.COLD_SLOTS)}
