"""Finds the newest records of a stream without a look at the others, and without fetching any.

A stream has its records in the order in which they were queued. That is nearly the order of their positions: a record
comes after one of a higher position only if it was begun before that one was queued, and queued after. At that moment
it was in a thread's hands, and a thread has one at a time. So whoever reads backwards and has met more low positions
than the writer had threads has met every high one.
"""

from __future__ import annotations

from typing import Any

from rowbank_server.storage.connection import Redis

_MOST_ENTRIES = 64
_LOOK_BYTES = 8 << 20  # About as much Redis looks at in one go, while nobody else is served.

# KEYS: stream. ARGV: where to begin, backwards, and how many entries. Answers the bytes looked at, then of each entry
# its id and the positions in its records' heads; see docs/journal.md.
_PEEK = """
local answer, size = {0}, 0
for _, entry in ipairs(redis.call('XREVRANGE', KEYS[1], ARGV[1], '(0-1', 'COUNT', ARGV[2])) do
  local line = {entry[1]}
  for i = 2, #entry[2], 2 do
    size = size + #entry[2][i]
    table.insert(line, string.sub(entry[2][i], 25, 32))
  end
  table.insert(answer, line)
end
answer[1] = size
return answer
"""


class TailFinder:
    """Looks at streams of one Redis. Thread-safe. Raises what redis-py raises."""

    def __init__(self, redis: Redis) -> None:
        self._peek = redis.register_script(_PEEK)

    def first_group(self, key: str, *, above: int, writers: int) -> int:
        """The first entry that has a position above `above`, by the number that its id begins with.

        If none has: one more than the last. No entry before it will ever have one.

        Args:
            writers: most threads that the writer of the stream had.
        """
        first, low, begin, count = 0, 0, "+", 1
        while True:
            answer: Any = self._peek(keys=[key], args=[begin, count])
            size, entries = answer[0], answer[1:]
            for entry_id, *heads in entries:
                positions = [int.from_bytes(head, "little") for head in heads]
                group = int(entry_id.partition(b"-")[0])
                first = first or group + 1
                low += sum(position <= above for position in positions)
                if any(position > above for position in positions):
                    first = group
            if len(entries) < count or low > writers:
                return first
            begin = "(" + entries[-1][0].decode()
            wanted = min(_MOST_ENTRIES, 2 * count, writers + 1 - low)
            count = max(1, min(wanted, count * _LOOK_BYTES // max(1, size)))
