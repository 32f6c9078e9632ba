"""What moved of the rows that a version's vectors are made of, and is not in them yet. Bounded, whatever is trained."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rowbank_server.retrieval.catalogue.concerns import Concerns, MovedRows
from rowbank_server.retrieval.catalogue.growth import Stock
from rowbank_server.retrieval.catalogue.rows_feed import Subscription

_MOST_ITEMS = 65_536  # That wait one by one; if there are more, all items are gone through.
_MOST_SHARED = 1_048_576  # Keys of a table that are held, 8 MB; if there are more, any row of it may have moved.
_BLIND_S = 10.0  # How often all items are gone through while rows cannot be followed, as of an older shard.

I64 = npt.NDArray[np.int64]
_NO_KEYS: I64 = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Sweep:
    """What all items are gone through for, since when that is so, and when it began, by the monotonic clock."""

    moved: MovedRows
    since_s: float
    began_s: float


class Moves:
    """Of one version, in the thread of its follower.

    Attributes:
        is_flooded: more items moved than could be taken in; until all are gone through, it is no use to hurry.
    """

    def __init__(self, concerns: Concerns, subscription: Subscription) -> None:
        self.is_flooded = False
        self._concerns = concerns
        self._subscription = subscription
        self._items: dict[int, float] = {}  # Those that were noted last at the end, each with when it moved first.
        self._covered: dict[int, None] = {}  # Those that did not move since a sweep over all items began.
        self._kept: list[tuple[str, I64, float]] = []  # Keys by table, noted during a look.
        self._shared: dict[str, I64 | None] = {}
        self._shared_since_s = float("inf")
        self._blind_at = time.monotonic() + _BLIND_S

    def wait_in_force(self, timeout_s: float) -> None:
        """Waits until rows are followed; later, everything will count as moved by then."""
        self._subscription.wait_in_force(timeout_s)

    def note(self, stock: Stock, *, is_looking: bool = False) -> None:
        """Takes what the subscription has.

        Args:
            is_looking: items may come to the stock that were read before now, so keys that concern no item yet are kept
                until that is over.
        """
        if self._kept and not is_looking:
            kept, self._kept = self._kept, []
            for table, keys, since_s in kept:
                self._note_items(self._concerns.find(table, keys, stock).items, since_s)
        moved = self._subscription.take()
        for table in moved.missed:
            self._note_shared(table, None, moved.since_s.get(table, time.monotonic()))
        for table, keys in moved.keys.items():
            found, since_s = self._concerns.find(table, keys, stock), moved.since_s[table]
            self._note_items(found.items, since_s)
            if len(found.shared):
                self._note_shared(table, found.shared, since_s)
            if is_looking and table in self._concerns.own:
                self._keep(table, keys, since_s)
        if not self._subscription.is_in_force and time.monotonic() >= self._blind_at:
            self._blind_at = time.monotonic() + _BLIND_S
            self.note_all()

    def _keep(self, table: str, keys: I64, since_s: float) -> None:
        self._kept.append((table, keys, since_s))
        if sum(len(one) for _, one, _ in self._kept) > _MOST_SHARED:
            self._kept = []
            self._note_shared(table, None, since_s)  # Gone through after the look, as jobs come one after the other.

    def note_all(self) -> None:
        """Any row may have moved."""
        for table in self._concerns.tables:
            self._note_shared(table, None, time.monotonic())

    def forget(self) -> None:
        """Nothing waits any more: the rows are not the version's."""
        self._subscription.take()
        self._items.clear()
        self._covered.clear()
        self._kept.clear()
        self._shared.clear()
        self._shared_since_s = float("inf")
        self.is_flooded = False

    @property
    def waiting(self) -> int:
        """Items whose own rows moved."""
        return len(self._items)

    @property
    def shared_age_s(self) -> float:
        """How long the oldest shared row that moved has waited; 0: none waits."""
        return max(0.0, time.monotonic() - self._shared_since_s) if self._shared else 0.0

    def newest(self, count: int) -> I64:
        """Up to `count` of the items that wait, those that moved last; ascending."""
        return np.sort(np.array(list(self._items)[-count:], np.int64))

    def taken_in(self, items: I64) -> float:
        """Says that they need not wait any more; how long the first of them did, in seconds."""
        return max(0.0, time.monotonic() - min(self._items.pop(item) for item in items.tolist()))

    def begin_sweep(self) -> Sweep | None:
        """What all items have to be gone through for; it counts as done from now on."""
        if not self._shared:
            return None
        sweep = Sweep(self._shared, self._shared_since_s, time.monotonic())
        if self._concerns.own and all(sweep.moved.get(table, _NO_KEYS) is None for table in self._concerns.own):
            self._covered = dict.fromkeys(self._items)
        self._shared, self._shared_since_s = {}, float("inf")
        return sweep

    def swept(self, sweep: Sweep) -> None:
        """It was done: what waited when it began is in the vectors, unless it moved since."""
        for item in self._covered:
            self._items.pop(item, None)
        if self._covered:
            self._items = {item: max(since_s, sweep.began_s) for item, since_s in self._items.items()}
        self._covered = {}
        self.is_flooded = False

    def sweep_failed(self, sweep: Sweep) -> None:
        """It was not done."""
        self._covered = {}
        for table, keys in sweep.moved.items():
            self._note_shared(table, keys, sweep.since_s)

    def close(self) -> None:
        """Ends the subscription."""
        self._subscription.close()

    def _note_items(self, items: I64, since_s: float) -> None:
        waiting = self._items
        for item in items[-_MOST_ITEMS:].tolist():
            waiting[item] = min(waiting.pop(item, since_s), since_s)
            self._covered.pop(item, None)
        left = max(len(waiting), len(items)) - _MOST_ITEMS
        if left > 0:
            for item in list(waiting)[: len(waiting) - _MOST_ITEMS]:
                since_s = min(since_s, waiting.pop(item))
            self.is_flooded = True
            for table in self._concerns.tables:
                self._note_shared(table, None, since_s)

    def _note_shared(self, table: str, keys: I64 | None, since_s: float) -> None:
        if table not in self._concerns.tables:
            return
        held = self._shared.get(table, _NO_KEYS)
        both = None if held is None or keys is None else np.union1d(held, keys)
        self._shared[table] = None if both is None or len(both) > _MOST_SHARED else both
        self._shared_since_s = min(self._shared_since_s, since_s)
