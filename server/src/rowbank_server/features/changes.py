"""The change feed: which entities of a view were written or removed, whoever did it, for those who follow the view.

A view that somebody follows has a stream; a writer adds the keys of what it wrote, once that is written. A follower
remembers the last entry that it has read and asks for that one and what came after it: as long as the entry is still
there, nothing was missed. If it is gone, because the stream was trimmed, or Redis came back empty or older, or the
view was dropped, the follower has to look at everything again. Views that nobody ever followed have no stream, and a
write to them costs a command that does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import redis

from rowbank_server.features import layout

KEYS_FIELD = b"k"
DEFINITION_FIELD = b"d"  # The view's definition was changed.
ENTRY_KEYS = 64  # Keys in one entry, at most.
MAX_ENTRIES = 65_536  # That a stream keeps: with full entries about 35 MB, and 4 million changes.
NOWHERE = "0-0"  # Where no entry ever is.
_PAGE = 2000  # Entries that are read at once.


@dataclass(frozen=True, slots=True)
class Changes:
    """What was noted since a position.

    Attributes:
        entities: [N] int64, ascending, each once.
        positions: by view, from where to read on.
        missed: views of which something may have been missed: all of them has to be looked at.
        oldest_s: Unix time, by Redis's clock, when the first of these was noted; 0 where there is none.
        redefined: views whose definitions were changed.
    """

    entities: npt.NDArray[np.int64]
    positions: Mapping[str, str]
    missed: tuple[str, ...]
    oldest_s: float
    redefined: tuple[str, ...] = ()


class ChangeFeed:
    """Thread-safe, as its Redis client is. Raises what redis-py raises.

    Args:
        client: must answer bytes (`decode_responses=False`).
        namespace: prefix of the streams.
    """

    def __init__(self, client: redis.Redis, namespace: str, *, max_entries: int = MAX_ENTRIES) -> None:
        self._redis: Any = client
        self._namespace = namespace
        self._max_entries = max_entries

    def note(self, view: str, entities: Sequence[int] | npt.NDArray[np.int64]) -> None:
        """Says that entities of a view were written or removed. REQUIRES: that is done."""
        keys = np.unique(np.asarray(entities, dtype="<i8"))
        if not len(keys):
            return
        stream = layout.changes_key(self._namespace, view)
        with self._redis.pipeline(transaction=False) as pipe:
            for start in range(0, len(keys), ENTRY_KEYS):
                fields = {KEYS_FIELD: keys[start : start + ENTRY_KEYS].tobytes()}
                pipe.xadd(stream, fields, maxlen=self._max_entries, approximate=True, nomkstream=True)
            pipe.execute()

    def note_definition(self, view: str) -> None:
        """Says that a view was defined anew. REQUIRES: that is done."""
        stream = layout.changes_key(self._namespace, view)
        fields = {DEFINITION_FIELD: b""}
        self._redis.xadd(stream, fields, maxlen=self._max_entries, approximate=True, nomkstream=True)

    def follow(self, views: Sequence[str]) -> dict[str, str]:
        """Positions from which to read what is noted from now on, by view; of one that does not exist, everything is
        missed."""
        positions = {}
        for view in views:
            stream = layout.changes_key(self._namespace, view)
            last = self._redis.xrevrange(stream, count=1)
            if not last and not self._redis.hexists(layout.views_key(self._namespace), view):
                positions[view] = NOWHERE
                continue
            entry = last[0][0] if last else self._redis.xadd(stream, {KEYS_FIELD: b""})
            positions[view] = entry.decode()
        return positions

    def read(self, positions: Mapping[str, str]) -> Changes:
        """What was noted since `positions`; of views of which something was missed, from now on."""
        with self._redis.pipeline(transaction=False) as pipe:
            for view, position in positions.items():
                pipe.xrange(layout.changes_key(self._namespace, view), min=position, count=_PAGE)
            pages = pipe.execute()
        keys: list[bytes] = []
        after = dict(positions)
        missed, redefined = [], []
        oldest_s = float("inf")
        for (view, position), page in zip(positions.items(), pages, strict=True):
            if not page or page[0][0].decode() != position:
                missed.append(view)
                continue
            while len(page) > 1:
                oldest_s = min(oldest_s, _time_s(page[1][0]))
                keys.extend(fields.get(KEYS_FIELD, b"") for _, fields in page[1:])
                if any(DEFINITION_FIELD in fields for _, fields in page[1:]):
                    redefined.append(view)
                after[view] = page[-1][0].decode()
                if len(page) < _PAGE:
                    break
                page = self._redis.xrange(layout.changes_key(self._namespace, view), min=after[view], count=_PAGE)
                if not page or page[0][0].decode() != after[view]:
                    missed.append(view)
                    break
        after |= self.follow(missed)
        entities = np.unique(np.frombuffer(b"".join(keys), dtype="<i8").astype(np.int64))
        since_s = 0.0 if oldest_s == float("inf") else oldest_s
        return Changes(entities, after, tuple(missed), since_s, tuple(dict.fromkeys(redefined)))

    def drop(self, view: str) -> None:
        """Forgets the stream of a view; those who follow it learn that they have missed something."""
        self._redis.delete(layout.changes_key(self._namespace, view))


def _time_s(entry: bytes) -> float:
    return int(entry.split(b"-")[0]) / 1e3
