"""Which rows of the parameter server moved, for the versions whose vectors are made of live rows.

A process has one follow over the tables of all its live versions. Each version has a subscription, which notes keys
until the version's follower takes them: at most so many, the newest; what was dropped, or may have been missed, is said
by table, and everything that reads such a table has to be looked at. A version subscribes before it reads its first
row, so that nothing can move in between unseen.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

_log = logging.getLogger("rowbank.api")

_MOST_KEYS = 262_144  # Of a table that a subscription holds: 2 MB.

I64 = npt.NDArray[np.int64]


class Sink(Protocol):
    """Told by a follow what it sees, from any thread."""

    def in_force(self) -> None:
        """From now on nothing is missed unsaid."""

    def moved(self, table: str, keys: I64, since_s: float) -> None:
        """Rows of a table changed or went.

        Args:
            keys: [N] int64.
            since_s: by this process's monotonic clock, when the first of these changes was done at the latest.
        """

    def missed(self, tables: Collection[str]) -> None:
        """Any row of these tables may have changed."""


class Follow(Protocol):
    """A follow of some tables on all shards; it goes on until it is closed."""

    @property
    def place(self) -> Sequence[int]:
        """How far it has told its sink, by shard: numbers of mutations, which all follows of a shard share; once it is
        in force."""

    def close(self, *, after: Sequence[int] | None = None) -> None:
        """Ends it; the sink is told nothing any more.

        Args:
            after: first it goes on up to there, if it has not come so far.
        """


Open = Callable[[Sequence[str], Sink], Follow]


@dataclass(frozen=True, slots=True)
class Moved:
    """What a subscription noted.

    Attributes:
        keys: by table, [N] int64, ascending, each once.
        since_s: by table, as of `Sink.moved`, of the first change that is not looked at yet.
        missed: tables of which any row may have changed.
    """

    keys: Mapping[str, I64] = field(default_factory=dict)
    since_s: Mapping[str, float] = field(default_factory=dict)
    missed: frozenset[str] = frozenset()


class _Noted:
    """Keys of one table, in the order of their coming."""

    def __init__(self) -> None:
        self.pieces: list[I64] = []
        self.since_s = float("inf")
        self.size = 0

    def add(self, keys: I64, since_s: float) -> bool:
        """False if too many came, and the oldest were dropped."""
        self.pieces.append(keys)
        self.size += len(keys)
        self.since_s = min(self.since_s, since_s)
        if self.size <= _MOST_KEYS:
            return True
        newest, last = np.unique(np.concatenate(self.pieces)[::-1], return_index=True)
        whole = len(newest) <= _MOST_KEYS // 2
        if not whole:
            newest = newest[np.sort(np.argsort(last)[: _MOST_KEYS // 2])]
        self.pieces, self.size = [newest], len(newest)
        return whole


class Subscription:
    """Of one version. `moved` and `missed` come from the follow's threads, the rest from the version's.

    Args:
        tables: those that the version reads.
        on_news: told that there is something to take.
    """

    def __init__(
        self, tables: Iterable[str], on_news: Callable[[], None], leave: Callable[[Subscription], None]
    ) -> None:
        self.tables = frozenset(tables)
        self._on_news = on_news
        self._leave = leave
        self._lock = threading.Lock()
        self._noted: dict[str, _Noted] = {}
        self._missed: set[str] = set()
        self._in_force = threading.Event()
        self._is_late = False

    @property
    def is_in_force(self) -> bool:
        """Whether its tables are followed."""
        return self._in_force.is_set()

    def wait_in_force(self, timeout_s: float) -> bool:
        """Waits until a follow of all its tables is in force. If that is later, they count as missed by then."""
        if self._in_force.wait(timeout_s):
            return True
        with self._lock:
            self._is_late = not self._in_force.is_set()
            return not self._is_late

    def in_force(self) -> None:
        """Says that a follow of all its tables is in force."""
        with self._lock:
            if self._in_force.is_set():
                return
            self._in_force.set()
            if self._is_late:
                self._missed.update(self.tables)
        self._on_news()

    def moved(self, table: str, keys: I64, since_s: float) -> None:
        """As `Sink.moved`."""
        with self._lock:
            if not self._noted.setdefault(table, _Noted()).add(keys, since_s):
                self._missed.add(table)
        self._on_news()

    def missed(self, tables: Collection[str]) -> None:
        """As `Sink.missed`."""
        with self._lock:
            self._missed.update(self.tables.intersection(tables))
        self._on_news()

    def take(self) -> Moved:
        """What was noted since it was asked last."""
        with self._lock:
            noted, self._noted = self._noted, {}
            missed, self._missed = frozenset(self._missed), set()
        keys = {table: np.unique(np.concatenate(one.pieces)) for table, one in noted.items()}
        return Moved(keys, {table: one.since_s for table, one in noted.items()}, missed)

    def close(self) -> None:
        """Ends it."""
        self._leave(self)


class RowsFeed:
    """The follow of a process, over the tables of whoever subscribes. Thread-safe.

    When other tables are wanted, a new follow begins, and the one before ends once the new one is in force: what both
    say is said twice, and nothing is missed.

    Args:
        begin: begins a follow.
    """

    def __init__(self, begin: Open) -> None:
        self._open = begin
        self._lock = threading.RLock()
        self._subscriptions: tuple[Subscription, ...] = ()
        self._current: _Sight | None = None  # In force.
        self._next: _Sight | None = None  # Not yet.

    def subscribe(self, tables: Iterable[str], on_news: Callable[[], None]) -> Subscription:
        """Follows tables from now on; `Subscription.wait_in_force` says when that is so."""
        subscription = Subscription(tables, on_news, self._leave)
        with self._lock:
            self._subscriptions = (*self._subscriptions, subscription)
            self._follow_wanted()
            if self._current is not None and self._current.tables >= subscription.tables:
                subscription.in_force()
        return subscription

    def close(self) -> None:
        """Ends the follow."""
        with self._lock:
            self._subscriptions = ()
            self._follow_wanted()

    def _leave(self, subscription: Subscription) -> None:
        with self._lock:
            self._subscriptions = tuple(one for one in self._subscriptions if one is not subscription)
            self._follow_wanted()

    def _follow_wanted(self) -> None:
        """Begins a follow of what is wanted, if that is not what is followed, and ends what nobody wants."""
        wanted = frozenset(table for one in self._subscriptions for table in one.tables)
        latest = self._next or self._current
        if latest is not None and latest.tables == wanted:
            return
        if self._next is not None:
            self._next.close()
            self._next = None
        if not wanted and self._current is not None:
            self._current.close()
            self._current = None
        elif self._current is not None and self._current.tables == wanted:
            return
        elif wanted:
            self._next = _Sight(self, wanted)
            self._next.follow = self._open(sorted(wanted), self._next)

    def came_in_force(self, sight: _Sight) -> None:
        """A follow is in force: it takes the place of the one before."""
        with self._lock:
            if sight is not self._next:
                return
            before, self._current, self._next = self._current, sight, None
            for one in self._subscriptions:
                if one.tables <= sight.tables:
                    one.in_force()
        _log.info("rows of %s are followed", ", ".join(sorted(sight.tables)))
        if before is not None and before.follow is not None and sight.follow is not None:
            before.follow.close(after=sight.follow.place)  # What it has not told yet, the new one may never tell.

    def of(self, table: str) -> list[Subscription]:
        """Who follows a table."""
        return [one for one in self._subscriptions if table in one.tables]


class _Sight:
    """What one follow tells the feed."""

    def __init__(self, feed: RowsFeed, tables: frozenset[str]) -> None:
        self.tables = tables
        self.follow: Follow | None = None
        self._feed = feed

    def in_force(self) -> None:
        self._feed.came_in_force(self)

    def moved(self, table: str, keys: I64, since_s: float) -> None:
        for one in self._feed.of(table):
            one.moved(table, keys, since_s)

    def missed(self, tables: Collection[str]) -> None:
        for one in {one for table in tables for one in self._feed.of(table)}:
            one.missed(tables)

    def close(self) -> None:
        if self.follow is not None:
            self.follow.close()
