"""Follows the catalogue of one version in a thread of its own: takes in what changes, swaps generations by pointer.

What others write comes by the change feed, a few times a second. Merges, and the refresh that looks at everything, run
beside that thread, one at a time, while changes go on: of an item that was taken in meanwhile that counts, and not what
the job read of it.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rowbank.errors import InternalError, RequestError
from rowbank_server.features.redis_errors import translated
from rowbank_server.registry.model import Model
from rowbank_server.retrieval.catalogue.building import Builder, Built, Differences, Merged
from rowbank_server.retrieval.catalogue.files import BaseFiles
from rowbank_server.retrieval.catalogue.growth import FRESH_LIMIT, MergePolicy, Stock
from rowbank_server.retrieval.catalogue.keeping import Keeper, Start
from rowbank_server.retrieval.catalogue.watching import Watch
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.index import IndexOptions, make_index
from rowbank_server.retrieval.lineage import Lineage, Loss, describe
from rowbank_server.retrieval.parts import Counts
from rowbank_server.retrieval.rows import RowReader

_log = logging.getLogger("rowbank.api")

_MAX_BACKOFF_S = 10.0
_STOP_WAIT_S = 2.0
_PAUSE_S = 0.05  # Between two looks at the feed, however fast changes come.
# A refresh that took t seconds is repeated no sooner than this many t later, so that it stays a small part of a core.
_REST = 10.0
_AT_ONCE = FRESH_LIMIT  # Changed items that are taken in together.

Outcome = Built | Differences | Merged | Start | None


@dataclass(frozen=True, slots=True)
class FollowerOptions:
    """How closely the follower follows.

    Attributes:
        poll_s: how often it looks for changes.
        refresh_s: how often everything is looked at, with the rows of live versions.
        max_popularity_users: users whose histories are counted.
        merging: when parts are merged.
        index: which index a base gets.
        folder: where bases are kept, see `catalogue.files.prepare`; None: nowhere.
        namespace: of the features.
    """

    poll_s: float = 0.2
    refresh_s: float = 10.0
    max_popularity_users: int = 200_000
    merging: MergePolicy = field(default_factory=MergePolicy)
    index: IndexOptions = field(default_factory=IndexOptions)
    folder: Path | None = None
    namespace: str = "rowbank"


class Follower:
    """Keeps `current` at the present generation of one version. `current` may be read from any thread.

    Rows of tables that are not the version's any more are not read: the vectors that were built from its own rows stay,
    while titles, withdrawn items and popularity go on; `problem` says it, and the generation holds which tables.

    Args:
        next_serial: numbers the generations of the model in this process.
        on_swap: told each generation that goes into service.
        watch: told what is done.
    """

    def __init__(
        self,
        model: Model,
        rows: RowReader,
        lineage: Lineage,
        options: FollowerOptions,
        *,
        next_serial: Callable[[], int],
        on_swap: Callable[[Generation], None] = lambda generation: None,
        watch: Watch | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = model
        self.current: Generation | None = None
        self._failure = ""
        self._what = f"model {model.manifest.name!r}"
        self._builder = Builder(
            model, rows, lineage, lambda vectors: make_index(vectors, options.index), options.max_popularity_users
        )
        place = options.folder
        files = BaseFiles(place, options.namespace, model, options.index) if place is not None else None
        self._keeper = Keeper(self._builder, files)
        self._options = options
        self._next_serial = next_serial
        self._on_swap = on_swap
        self._watched = watch or Watch()
        self._clock = clock
        self._stock: Stock | None = None
        self._positions: Mapping[str, str] = {}
        self._taken_in: Mapping[str, str] = {}  # Positions up to which everything is taken in.
        self._pending: dict[int, None] = {}  # Items to be taken in, those that were noted last at the end.
        self._pending_since_s = 0.0
        self._touched: set[int] = set()  # Items that were taken in since the job began.
        self._job: Future[Outcome] | None = None
        self._job_began_at = 0.0
        self._job_looks = False  # At everything, whoever makes the bases.
        self._job_failures = 0  # In a row.
        self._job_at = 0.0  # Not sooner.
        self._must_look = False  # At everything, whoever makes the bases.
        self._failures = 0
        self._retry_at = 0.0
        self._refresh_at = 0.0
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"follower-{model.version}", daemon=True)
        self._beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"build-{model.version}")

    @property
    def problem(self) -> str:
        """What keeps newer items or rows from being served; empty if nothing does."""
        current = self.current
        lost = ""
        if current is not None and current.lost:
            lost = f"{self._what}: {describe(current.model.manifest, current.lost)}"
        return "; ".join(text for text in (self._failure, lost) if text)

    def load(self, *, with_lost_tables: bool) -> None:
        """Builds the first generation, in the caller's thread.

        Args:
            with_lost_tables: whether a version whose tables are lost is better than nothing: it answers with what is
                popular.
        Raises:
            NotReady: tables are lost, and it is not.
            RequestError: what it is made of cannot be read.
        """
        began_at = self._clock()
        try:
            start = self._keeper.start(self._stop, with_lost_tables=with_lost_tables)
        except BaseException:
            self._keeper.release()
            raise
        self._positions = self._taken_in = start.positions
        self._swap(start.stock, start.lost)
        if start.has_seen_all:
            self._rest(began_at)

    def start(self) -> None:
        """Starts the thread. `load` comes before."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the threads. A build under way is waited for a moment; it changes nothing outside this process."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_WAIT_S)
        self._beside.shutdown(wait=False, cancel_futures=True)
        self._keeper.release()

    def wake(self) -> None:
        """Takes in now what the change feed has."""
        self._wake.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.step()
            except RequestError as error:
                self._failed(error)
            except Exception as error:
                _log.exception("following %s failed for a reason that is a defect", self._what)
                self._failed(InternalError(f"{type(error).__name__}: {error}"))
            self._wake.wait(self._options.poll_s)
            self._wake.clear()
            self._stop.wait(_PAUSE_S)

    def step(self) -> None:
        """Does what is due: take in changed items and what a job has made, and begin a job."""
        self._watch()
        if self._clock() < self._retry_at:
            return
        self._adopt()
        self._read_feed()
        self._take_in()
        self._failures = 0
        if not self._job_failures:
            self._failure = ""
        if self._job is None and self._clock() >= self._job_at:
            self._begin()

    def _watch(self) -> None:
        """Looks whether the tables are still the version's, and says so with the generation in service."""
        served = self.current
        if served is None:
            return
        lost = self._builder.lost()
        if lost != served.lost:
            self.current = dataclasses.replace(served, lost=lost)
            self._refresh_at = 0.0  # Rows that are the version's again are read at once.
            _log.warning("%s", self.problem or f"{self._what}: the version's tables are its own again")

    def _read_feed(self) -> None:
        """Notes which items have changed; what was missed makes everything be looked at."""
        with translated(f"changes of view {self.model.items.base!r}"):
            changes = self.model.items.store.changes.read(self._positions)
        self._positions = changes.positions
        if changes.missed:
            _log.info("%s: changes of %s were missed; all items are looked at", self._what, ", ".join(changes.missed))
            self._refresh_at, self._must_look = 0.0, True
        if len(changes.entities):
            items = self.model.items
            items.store.forget_views([items.base, items.overlay])  # They may have features that came with the change.
            self._pending_since_s = self._pending_since_s or changes.oldest_s
            for item in changes.entities.tolist():
                self._pending.pop(item, None)
                self._pending[item] = None
        if not self._pending:
            self._taken_in = self._positions

    def _take_in(self) -> None:
        """Takes in the items that were noted last; during a bulk import the others wait for the next look."""
        if not self._pending:
            return
        assert self._stock is not None
        newest = list(self._pending)[-_AT_ONCE:]
        touched = np.sort(np.array(newest, np.int64))
        changed, lost = self._builder.embed(touched, self.current)
        for item in newest:
            del self._pending[item]
        if self._job is not None:
            self._touched.update(newest)
        self._swap(self._stock.take_in(touched, changed, self._builder.make_index), lost)
        if not self._pending:
            self._watched.taken_in(max(0.0, time.time() - self._pending_since_s))
            self._pending_since_s = 0.0
            self._taken_in = self._positions
        else:
            self._wake.set()

    def _begin(self) -> None:
        """Begins what is due beside this thread. Where another process makes the bases, its are taken."""
        served, stock, keeper = self.current, self._stock, self._keeper
        if served is None or stock is None or self._stop.is_set():
            return
        now, builds = self._clock(), keeper.builds()
        if not builds and keeper.has_newer():
            self._job = self._beside.submit(keeper.newer, served.lost)
        elif now >= self._refresh_at:
            self._refresh_at = float("inf")  # Until it is done, or something makes another one due.
            self._job_looks, self._must_look = self._must_look, False
            if builds or self._job_looks:
                self._job = self._beside.submit(keeper.refresh, served, stock, self._taken_in)
            else:
                self._job = self._beside.submit(self._builder.recount, served)
        elif builds and self._options.merging.is_due(stock):
            self._job = self._beside.submit(keeper.merge, stock, self._taken_in)
        self._job_began_at = now
        if self._job is not None:
            self._job.add_done_callback(lambda job: self._wake.set())

    def _adopt(self) -> None:
        """Puts what a job has made into service, under what was taken in since it began."""
        if self._job is None or not self._job.done():
            return
        job, self._job = self._job, None
        touched, self._touched = np.array(sorted(self._touched), np.int64), set()
        try:
            self._put_in(job.result(), touched)
        except BaseException:
            # Changes are taken in meanwhile, and whatever made the job look at everything still does.
            self._refresh_at = min(self._refresh_at, self._clock())
            self._must_look = self._must_look or self._job_looks
            self._job_failures += 1
            self._job_at = self._clock() + _pause_s(self._job_failures)
            raise
        finally:
            self._job_looks = False
        self._job_failures = 0
        if self._refresh_at == float("inf"):
            self._rest(self._job_began_at)

    def _put_in(self, outcome: Outcome, touched: npt.NDArray[np.int64]) -> None:
        if isinstance(outcome, Built):
            self._serve(outcome, touched)
            self._watched.refreshed()
        elif isinstance(outcome, Differences):
            self._patch(outcome, touched)
            self._watched.refreshed()
        elif isinstance(outcome, Start):
            self._swap(self._with_touched(outcome.stock, touched), outcome.lost)
        elif outcome is not None:
            assert self._stock is not None
            assert self.current is not None
            self._swap(self._stock.with_merged(outcome.segment, outcome.before, touched), self.current.lost)
            self._watched.merged()

    def _serve(self, built: Built, touched: npt.NDArray[np.int64]) -> None:
        """Puts a new base into service."""
        self._swap(self._with_touched(Stock.of(built.segment, built.counts), touched), built.lost)

    def _with_touched(self, stock: Stock, touched: npt.NDArray[np.int64]) -> Stock:
        """A stock with items that were taken in since it was made; they are read once more."""
        if not len(touched):
            return stock
        changed, _ = self._builder.embed(touched, self.current)
        return stock.take_in(touched, changed, self._builder.make_index)

    def _patch(self, found: Differences, touched: npt.NDArray[np.int64]) -> None:
        """Takes in what a refresh has found, but for items that were taken in since."""
        assert self._stock is not None
        assert self.current is not None
        stock = self._stock
        if not _same(stock.counts, found.counts):
            stock = stock.recount(found.counts)
        ids = np.setdiff1d(found.touched, touched, assume_unique=True)
        if len(ids):
            changed = found.changed.take(np.flatnonzero(np.isin(found.changed.ids, ids)))
            stock = stock.take_in(ids, changed, self._builder.make_index)
        if stock is not self._stock or found.lost != self.current.lost:
            self._swap(stock, found.lost)

    def _rest(self, began_at: float) -> None:
        now = self._clock()
        self._refresh_at = now + max(self._options.refresh_s, _REST * (now - began_at))

    def _swap(self, stock: Stock, lost: Mapping[str, Loss]) -> None:
        self._stock = stock
        self.current = Generation(self.model, f"{self.model.version}.{self._next_serial()}", stock.parts, lost)
        self._on_swap(self.current)
        self._watched.swapped(self.current)

    def _failed(self, error: RequestError) -> None:
        self._failures += 1
        self._retry_at = self._clock() + _pause_s(self._failures)
        text = f"{self._what}: {error.message}"
        if text != self._failure:
            _log.warning("%s; tried again every few seconds", text)
        self._failure = text


def _pause_s(failures: int) -> float:
    """How long to wait after so many failures in a row."""
    return min(_MAX_BACKOFF_S, 0.5 * 2.0 ** min(failures - 1, 10))


def _same(one: Counts, other: Counts) -> bool:
    return np.array_equal(one.items, other.items) and np.array_equal(one.times, other.times)
