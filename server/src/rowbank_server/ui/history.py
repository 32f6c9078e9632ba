"""What the page shows of the past: rings of samples in RAM, of a size that is fixed.

Three rings hold the same series at three paces, so that ten minutes are seen by the second and a day by the minute. A
ring's rate or quantile is of its own pace's whole interval, not of one second of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rowbank_server.ui.series import Key, Picture, between, keys

MAX_SERIES = 640  # 11 kB each in all rings together: 7 MB.
SPANS: Mapping[str, tuple[int, int]] = {"10m": (1, 600), "2h": (10, 720), "24h": (60, 1440)}  # Pace in s, samples.


@dataclass(slots=True)
class _Ring:
    """The newest samples at one pace; a slot of another moment than its own is empty."""

    pace_s: int
    size: int
    before: Picture | None = None
    times: npt.NDArray[np.int64] = field(init=False)
    values: dict[Key, npt.NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.times = np.full(self.size, -1, np.int64)

    def add(self, now: Picture, known: Iterable[Key]) -> None:
        tick = int(now.at_s // self.pace_s)
        if self.before is not None and tick == int(self.before.at_s // self.pace_s):
            return
        found, slot = between(self.before, now), tick % self.size
        self.before = now
        self.times[slot] = tick
        for key in known:
            if key not in self.values:
                self.values[key] = np.full(self.size, np.nan, np.float32)
        for key, column in self.values.items():
            column[slot] = found.get(key, np.nan)


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A part of the past.

    Attributes:
        pace_s: time between two samples.
        times: [N] Unix seconds, rising; where nothing was sampled there is a gap.
        series: by key, [N].
        left_out: series that found no room.
    """

    pace_s: int
    times: npt.NDArray[np.int64]
    series: Mapping[Key, npt.NDArray[np.float32]]
    left_out: int


class History:
    """Thread-safe."""

    def __init__(self) -> None:
        self._rings = {name: _Ring(pace, size) for name, (pace, size) in SPANS.items()}
        self._last_seen: dict[Key, float] = {}
        self._left_out: set[Key] = set()
        self._lock = threading.Lock()

    def add(self, now: Picture) -> None:
        """Takes a picture into all rings whose time has come."""
        with self._lock:
            for key in keys(now):
                self._note(key, now.at_s)
            for ring in self._rings.values():
                ring.add(now, self._last_seen)

    def _note(self, key: Key, at_s: float) -> None:
        if key in self._last_seen or len(self._last_seen) < MAX_SERIES or self._forget(at_s):
            self._last_seen[key] = at_s
            self._left_out.discard(key)
        elif len(self._left_out) < MAX_SERIES:
            self._left_out.add(key)

    def _forget(self, at_s: float) -> bool:
        """Makes room by what has not been there for longest, if that is longer than the shortest ring remembers."""
        oldest = min(self._last_seen, key=self._last_seen.__getitem__)
        pace, size = SPANS["10m"]
        if at_s - self._last_seen[oldest] < pace * size:
            return False
        del self._last_seen[oldest]
        for ring in self._rings.values():
            ring.values.pop(oldest, None)
        return True

    def excerpt(self, span: str, *, after_s: float = 0.0) -> Excerpt:
        """The samples of a span (one of `SPANS`) that are later than `after_s`."""
        with self._lock:
            ring = self._rings[span]
            newest = int(ring.times.max())
            held = np.flatnonzero((ring.times > newest - ring.size) & (ring.times * ring.pace_s > after_s))
            order = held[np.argsort(ring.times[held])]
            series = {key: column[order] for key, column in ring.values.items()}
            return Excerpt(ring.pace_s, ring.times[order] * ring.pace_s, series, len(self._left_out))
