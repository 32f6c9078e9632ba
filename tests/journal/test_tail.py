"""The newest records of a stream are found from its end, whatever order writers queued theirs in."""

from __future__ import annotations

import random

import pytest
import redis

from rowbank_server.journal.streams import JournalStreams
from rowbank_server.journal.tail import TailFinder
from rowbank_server.storage.layout import Layout

EPOCH = 3 << 40
HEAD = bytes(24)  # What comes before the position.


def positions_in_queue_order(rng, *, writers, count):
    """Each of `writers` threads takes the next position, and queues its record some time later."""
    held: list[int] = []
    order: list[int] = []
    last = 0
    while len(order) < count:
        if len(held) < writers and (not held or rng.random() < 0.5):
            last += 1
            held.append(last)
        else:
            order.append(held.pop(rng.randrange(len(held))))
    return order


def fill(client, key, order, rng):
    client.xadd(key, {"format": "1"}, id="0-1")
    group, left = 0, list(order)
    while left:
        group += rng.randint(1, 3)
        size = rng.randint(1, 4)
        records = {str(at): HEAD + (EPOCH + number).to_bytes(8, "little") for at, number in enumerate(left[:size])}
        client.xadd(key, records, id=f"{group}-0")
        left = left[size:]


def numbers_from(client, key, first):
    entries = client.xrange(key, min=f"({first - 1}-1")
    return [int.from_bytes(value[24:32], "little") - EPOCH for _, fields in entries for value in fields.values()]


@pytest.mark.parametrize("seed", range(20))
def test_no_record_above_a_position_is_missed(redis_url, namespace, seed):
    rng = random.Random(seed)
    writers = rng.choice([1, 3, 17])
    order = positions_in_queue_order(rng, writers=writers, count=300)
    with redis.Redis.from_url(redis_url) as client:
        key = f"{namespace}:tail"
        fill(client, key, order, rng)
        finder = TailFinder(client)
        for above in [0, 1, rng.randrange(300), 250, 290, max(order) - 1, max(order)]:
            first = finder.first_group(key, above=EPOCH + above, writers=writers)
            found = numbers_from(client, key, first)
            assert [number for number in found if number > above] == [number for number in order if number > above]
            if above >= 250:
                assert len(found) < 150  # Only the end of the stream.
        client.delete(key)


def test_what_was_found_ahead_stays_true_when_more_is_appended(redis_url, namespace):
    with redis.Redis.from_url(redis_url) as client:
        layout = Layout(namespace)
        owner = JournalStreams(client, layout, shard=0, owner="owner", writers=2)
        client.hset(layout.state(0), mapping={"epoch": 3, "owner": "owner"})
        assert owner.open(3)
        key = layout.journal(0, "3:owner")

        def append(group, *numbers):
            records = {str(at): HEAD + (EPOCH + number).to_bytes(8, "little") for at, number in enumerate(numbers)}
            client.xadd(key, records, id=f"{group}-0")

        for number in range(1, 20):
            append(number, number)
        heir = JournalStreams(client, layout, shard=0, owner="heir", writers=2)
        heir.look_ahead(3, "owner", above=EPOCH + 19)
        append(20, 21)
        append(21, 20)
        assert heir.seal_older(4) == ["3:owner"]
        read = [stored.place for stored in heir.read_tail("3:owner", above=EPOCH + 19)]
        assert read == ["3:owner/20-0/0", "3:owner/21-0/0"]
        # What was found for a lower position holds for a higher one, and not the other way round.
        assert len(list(heir.read_tail("3:owner", above=EPOCH + 20))) == 2
        assert "3:owner/10-0/0" in [stored.place for stored in heir.read_tail("3:owner", above=EPOCH + 9)]
        assert list(heir.read_tail("3:owner", above=4 << 40)) == []
