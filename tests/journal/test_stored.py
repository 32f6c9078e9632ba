"""What the journal knows of its stream: which entries may be deleted, a piece at a time, and what can still be read."""

from __future__ import annotations

from rowbank_server.journal.stored import StoredGroups


def stored(*sizes):
    """Entry n has position n and sizes[n - 1] bytes."""
    groups = StoredGroups()
    for number, size in enumerate(sizes, start=1):
        groups.add(number, number, size, records=1)
    return groups


def test_what_was_written_is_deleted_a_piece_at_a_time():
    groups, pieces = stored(40, 40, 40, 200, 10, 10), []
    while number := groups.passed(5, most_bytes=100):
        pieces.append(number)
        groups.forget(number)
    assert pieces == [
        2,
        3,
        4,
        5,
    ]  # An entry that is larger than a piece is one by itself; the sixth is not written yet.
    assert (groups.bytes, groups.records, groups.gone_through) == (10, 1, 5)


def test_entries_with_later_records_stay():
    groups = StoredGroups()
    groups.add(1, 5, 10, records=2)
    assert groups.passed(4, most_bytes=100) == 0
    assert not groups.has_done(4)
    assert groups.passed(5, most_bytes=100) == 1
    assert groups.first_after(4) == 1
    assert groups.first_after(5) is None


def test_a_new_stream_has_nothing_and_lacks_what_came_before():
    groups = stored(10, 10)
    groups.restart(7)
    assert (bool(groups), groups.bytes, groups.records, groups.gone_through) == (False, 0, 0, 7)
