"""What is popular in a window of time, ready for queries: counters of all processes, read in the background."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rowbank.errors import RequestError
from rowbank_server.retrieval.events.popularity import HOUR_S, Bucket, Counted, PopularityStore
from rowbank_server.retrieval.filters.kept import Kept
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.queries import Popularity
from rowbank_server.retrieval.segments import Segment

_log = logging.getLogger("rowbank.api")

_REFRESH_S = 1.0
_REST = 10.0  # A refresh that took t seconds is repeated no sooner than this many t later.
_KEPT = 8  # Windows whose sums are kept until something changes.
_KEPT_BYTES = 1 << 20  # Of sums a segment, or two of them.
_MOVING_H = 2  # Of so many hours, the latest, the counters are still added to.
_STOP_WAIT_S = 2.0

Scores = npt.NDArray[np.float64]
_Sum = tuple[weakref.ref[Generation] | None, Scores | None]  # Of a generation.
_NOTHING: _Sum = (None, None)


@dataclass(frozen=True, slots=True)
class _View:
    """What is known of one view of items. `serial` tells states apart."""

    serial: int = 0
    changes: Mapping[Bucket, int] = field(default_factory=dict)
    counted: Mapping[Bucket, Counted] = field(default_factory=dict)


class Trends:
    """Sums of weights by window and kind. `scores` may be called from any thread and asks nobody.

    Args:
        views: the views of items that are served at the moment.
        clock: Unix seconds.
    """

    def __init__(
        self,
        store: PopularityStore,
        views: Callable[[], Collection[str]],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._views = views
        self._clock = clock
        self._known: Mapping[str, _View] = {}
        self._sums: OrderedDict[tuple[object, ...], _Sum] = OrderedDict()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trends", daemon=True)

    def start(self) -> None:
        """Starts the thread that reads the counters."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_WAIT_S)

    def scores(self, generation: Generation, popularity: Popularity) -> Scores:
        """[span] float64: sums of the weights of events, by position, also of items that were changed or removed since;
        the window begins with a whole hour."""
        name = generation.model.items.written
        view = self._known.get(name, _View())
        now = self._clock()
        first = int((now - popularity.window_s) // HOUR_S)
        key = (id(generation), name, view.serial, first, popularity.kinds)
        with self._lock:
            of, made = self._sums.get(key, _NOTHING)
            if made is not None and of is not None and of() is generation:
                self._sums.move_to_end(key)
                return made
        made = np.zeros(generation.span, np.float64)
        for part in generation.parts:
            made[part.start : part.start + len(part.segment)] = _summed(part.segment, name, view, first, popularity)
        with self._lock:
            self._sums[key] = weakref.ref(generation), made
            self._sums.move_to_end(key)
            while len(self._sums) > _KEPT:
                self._sums.popitem(last=False)
        return made

    def refresh(self) -> None:
        """Reads what was counted since the last time. Raises RedisUnavailable."""
        known = {}
        for name in sorted(set(self._views())):
            before = self._known.get(name, _View())
            changes = self._store.buckets(name)
            if changes == before.changes:
                known[name] = before
                continue
            counted = {
                bucket: before.counted[bucket]
                if before.changes.get(bucket) == number
                else self._store.read(name, bucket)
                for bucket, number in changes.items()
            }
            known[name] = _View(before.serial + 1, changes, counted)
        self._known = known

    def _run(self) -> None:
        was_wrong = False
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                self.refresh()
                was_wrong = False
            except RequestError as error:
                if not was_wrong:
                    _log.warning("what is popular in windows of time stays as it is: %s", error.message)
                was_wrong = True
            except Exception:
                _log.exception("reading what is popular failed for a reason that is a defect")
            self._stop.wait(max(_REFRESH_S, _REST * (time.monotonic() - started)))


def _summed(segment: Segment, name: str, view: _View, first: int, popularity: Popularity) -> Scores:
    """[n] float64 of a segment's items. Hours in which nothing happens any more are summed once and kept with it."""
    chosen = sorted(
        bucket
        for bucket in view.counted
        if bucket.hour >= first and (not popularity.kinds or bucket.kind in popularity.kinds)
    )
    latest = max((bucket.hour for bucket in view.counted), default=0) - _MOVING_H
    settled = [bucket for bucket in chosen if bucket.hour <= latest]
    moving = chosen[len(settled) :]
    kept: Kept | None = segment.masks.get("trends")
    if kept is None:
        kept = segment.masks.setdefault("trends", Kept(max(_KEPT_BYTES, 2 * 8 * len(segment))))
    state = tuple((bucket, view.changes[bucket]) for bucket in settled)
    scores = kept.get((name, state), lambda: _added(np.zeros(len(segment)), segment, view, settled))
    return _added(scores.copy(), segment, view, moving) if moving else scores


def _added(scores: Scores, segment: Segment, view: _View, buckets: Sequence[Bucket]) -> Scores:
    """`scores` with what some buckets hold."""
    for bucket in buckets:
        counted = view.counted[bucket]
        places = segment.places(counted.items)
        there = places >= 0
        scores[places[there]] += counted.weights[there]  # Each item is once in a bucket.
    return scores
