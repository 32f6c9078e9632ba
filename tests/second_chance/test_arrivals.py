"""What a push finds of rows that went: whatever write-back does between two looks."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from rowbank_server import _core
from rowbank_server.ps.tables.arrivals import GoneMeanwhileError, Offer

KEY, STAMP, ROW = 7, 30, b"trained!"


class StoredAfterLook:
    """Rows that went, all of which write-back stores just after somebody has looked where they are."""

    def __init__(self, rows):
        self._rows = rows

    def find(self, keys):
        found = self._rows.find(keys)
        waiting, stamps, _ = self._rows.waiting(100)
        self._rows.written(waiting, np.ascontiguousarray(stamps), slot=0)
        return found

    def waiting_row(self, key):
        return self._rows.waiting_row(key)


@pytest.fixture
def table():
    rows = _core.ColdRows(len(ROW), 1 << 20)
    rows.clear(listed=True)
    assert rows.evicted(np.array([KEY]), ROW, STAMP) == 1
    return SimpleNamespace(second_chance=SimpleNamespace(rows=StoredAfterLook(rows)))


def test_a_row_that_was_offered_comes_back_though_it_waits_no_more(table):
    offer = Offer(np.array([KEY]), np.array([STAMP], np.uint64), [ROW], {KEY: STAMP})

    returned = offer.taken(table, np.array([KEY]))

    assert (returned.keys.tolist(), returned.rows) == ([KEY], ROW)


def test_a_row_that_was_not_looked_for_is_looked_for_again(table):
    offer = Offer(np.array([], np.int64), np.array([], np.uint64), [])

    with pytest.raises(GoneMeanwhileError):
        offer.taken(table, np.array([KEY]))
