"""What a follower does beside its thread, one job at a time: looks, sweeps, merges, counts, and others' bases."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from rowbank_server.retrieval.catalogue.building import Built, Differences, Merged, Swept
from rowbank_server.retrieval.catalogue.growth import MergePolicy, Stock
from rowbank_server.retrieval.catalogue.keeping import Keeper, Start
from rowbank_server.retrieval.catalogue.moves import Moves, Sweep
from rowbank_server.retrieval.generation import Generation

_MAX_BACKOFF_S = 10.0
# What looks at everything, or counts all histories, and took t seconds is repeated no sooner than so many t later.
_REST = 10.0
_SWEEP_PACE = 3.0  # A sweep rests for so many times what each batch of items took.
_SWEEP_REST_S = 0.2  # And between two sweeps at least this, and as long as the last one took.
_MERGE_REST = 3.0  # However fast items change, merges take no more than a quarter of the time.
_MOST_PIECES = 1024

I64 = npt.NDArray[np.int64]
Outcome: TypeAlias = "Built | Differences | Swept | Merged | Start | None"


@dataclass(frozen=True, slots=True)
class Intervals:
    """How often what is done without a reason, in seconds, or less often where it takes long.

    Attributes:
        look_s: everything that is stored is looked at.
        count_s: users' histories are counted.
    """

    look_s: float
    count_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Ended:
    """A job that ended well: what it made, items that were taken in since it began, and the sweep that it was."""

    kind: str
    outcome: Outcome
    touched: I64
    sweep: Sweep | None


class Jobs:
    """Of one version. Everything is called from the follower's thread.

    Args:
        wake: called in some thread when a job ended.
    """

    def __init__(
        self,
        keeper: Keeper,
        merging: MergePolicy,
        intervals: Intervals,
        clock: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        self.failures = 0  # In a row.
        self.not_before = 0.0  # By the clock; no job begins sooner.
        self.running: Future[Outcome] | None = None
        self._keeper = keeper
        self._merging = merging
        self._intervals = intervals
        self._clock = clock
        self._wake = wake
        self._stop = threading.Event()
        self._began_at = 0.0
        self._kind = ""
        self._sweep: Sweep | None = None
        self._everybody_looks = self._job_is_everybodys = False
        # When each kind of job is due; what is not there is due when there is something to do.
        self._due: dict[str, float] = {"look": 0.0, "count": 0.0}
        self._touched: list[I64] = []
        self._beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"build-{keeper.builder.model.version}")

    @property
    def is_looking(self) -> bool:
        """Whether everything is being looked at."""
        return self.running is not None and self._kind == "look"

    def look(self, *, everybody: bool = False) -> None:
        """Has everything looked at as soon as can be; `everybody`: also where another process makes the bases."""
        self._due["look"] = 0.0
        self._everybody_looks = self._everybody_looks or everybody

    def looked(self, began_at: float) -> None:
        """Everything was looked at, and counted."""
        self._rest("look", began_at)
        self._rest("count", began_at)

    def touched(self, items: I64) -> None:
        """Items were taken in; of these that counts, and not what a running job has read."""
        if self.running is not None:
            self._touched.append(items)
            if len(self._touched) > _MOST_PIECES:
                self._touched = [np.unique(np.concatenate(self._touched))]

    def begin(self, served: Generation, stock: Stock, positions: Mapping[str, str], moves: Moves | None) -> None:
        """Begins what is due. Where another process makes the bases, its are taken."""
        now, keeper = self._clock(), self._keeper
        if self.running is not None or self._stop.is_set() or now < self.not_before:
            return
        builds = keeper.builds()
        if not builds and keeper.has_newer():
            self._submit("newer", keeper.newer, served.lost)
        elif self._is_due("look", now) and (builds or self._everybody_looks):
            self._job_is_everybodys, self._everybody_looks = self._everybody_looks, False
            self._submit("look", keeper.refresh, served, stock, positions)
        elif moves is not None and self._is_due("sweep", now) and (sweep := moves.begin_sweep()) is not None:
            self._sweep = sweep
            self._submit("sweep", keeper.builder.sweep, stock, sweep.moved, self._pause)
        elif builds and self._is_due("merge", now) and self._merging.is_due(stock):
            self._submit("merge", keeper.merge, stock, positions)
        elif self._is_due("count", now):
            self._submit("count", keeper.builder.recount, served)

    def ended(self, moves: Moves | None) -> Ended | None:
        """What the job made that ended, if one did. Raises what it raised; it is then tried again after a while."""
        if self.running is None or not self.running.done():
            return None
        job, self.running = self.running, None
        sweep, self._sweep = self._sweep, None
        pieces, self._touched = self._touched, []
        was_everybodys, self._job_is_everybodys = self._job_is_everybodys, False
        try:
            outcome = job.result()
        except BaseException:
            # Changes are taken in meanwhile, and whatever made the job do what it did still does.
            self._everybody_looks = self._everybody_looks or was_everybodys
            if sweep is not None and moves is not None:
                moves.sweep_failed(sweep)
            self._due[self._kind] = 0.0
            self.failures += 1
            self.not_before = self._clock() + pause_s(self.failures)
            raise
        self.failures = 0
        if self._due[self._kind] == float("inf"):
            self._rest(self._kind, self._began_at)
        if self._kind == "look":
            self._rest("count", self._began_at)
        touched = np.unique(np.concatenate([np.empty(0, np.int64), *pieces]))
        return Ended(self._kind, outcome, touched, sweep)

    def stop(self) -> None:
        """Has no more jobs begin; the one that runs is not waited for."""
        self._stop.set()
        self._beside.shutdown(wait=False, cancel_futures=True)

    def _is_due(self, kind: str, now: float) -> bool:
        return now >= self._due.get(kind, 0.0)

    def _submit(self, kind: str, work: Callable[..., Outcome], *arguments: object) -> None:
        self._kind, self._began_at = kind, self._clock()
        self._due[kind] = float("inf")  # Until it is done, or something makes another one due.
        self.running = self._beside.submit(work, *arguments)
        self.running.add_done_callback(lambda job: self._wake())

    def _rest(self, kind: str, began_at: float) -> None:
        """Says when a kind of job is due again that has just been done."""
        now = self._clock()
        took = now - began_at
        rests = {
            "look": max(self._intervals.look_s, _REST * took),
            "count": max(self._intervals.count_s, _REST * took),
            "sweep": max(_SWEEP_REST_S, took),
            "merge": _MERGE_REST * took,
        }
        self._due[kind] = now + rests.get(kind, 0.0)

    def _pause(self, took_s: float) -> None:
        """In a sweep, after each batch: queries come first, and so do items whose own rows moved."""
        self._stop.wait(_SWEEP_PACE * took_s)


def pause_s(failures: int) -> float:
    """How long to wait after so many failures in a row."""
    return min(_MAX_BACKOFF_S, 0.5 * 2.0 ** min(failures - 1, 10))
