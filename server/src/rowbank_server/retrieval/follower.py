"""Follows the catalogue of one version in a thread of its own: takes in what changes, swaps generations by pointer.

Which items others write comes by the change feed, a few times a second; which rows of a live version move comes by
the process's follow of them, at once. Merges, sweeps over all items and looks at everything run beside that thread, one
at a time, while changes go on: of an item that was taken in meanwhile that counts, and not what the job read of it.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from rowbank.errors import InternalError, RequestError
from rowbank_server.features.redis_errors import translated
from rowbank_server.registry.model import Model
from rowbank_server.retrieval import generation as gen
from rowbank_server.retrieval.catalogue.building import Builder, Built, Differences, Swept
from rowbank_server.retrieval.catalogue.concerns import Concerns
from rowbank_server.retrieval.catalogue.files import BaseFiles
from rowbank_server.retrieval.catalogue.growth import FRESH_LIMIT, Stock
from rowbank_server.retrieval.catalogue.jobs import Ended, Intervals, Jobs, pause_s
from rowbank_server.retrieval.catalogue.keeping import Keeper, Start
from rowbank_server.retrieval.catalogue.moves import Moves
from rowbank_server.retrieval.catalogue.options import FollowerOptions
from rowbank_server.retrieval.catalogue.rows_feed import RowsFeed
from rowbank_server.retrieval.catalogue.watching import Watch
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.index import make_index
from rowbank_server.retrieval.lineage import Lineage, Loss, describe
from rowbank_server.retrieval.parts import Counts
from rowbank_server.retrieval.rows import RowReader

_log = logging.getLogger("rowbank.api")

_STOP_WAIT_S = 2.0
_FOLLOW_WAIT_S = 2.0  # For the shards, before a version is loaded; later they are followed from when they are there.
_PAUSE_S = 0.05  # Between two looks at what changed, however fast changes come.
_AT_ONCE = FRESH_LIMIT  # Changed items that are taken in together.
_FLOOD_PACE = 9.0  # While more rows move than can be taken in, so many times as long is rested as was worked.
_AGES = 10.0  # Looks within the age at which features of items give way to defaults.


class Follower:
    """Keeps `current` at the present generation of one version. `current` may be read from any thread.

    Rows of tables that are not the version's any more are not read: the vectors that were built from its own rows stay,
    while titles, withdrawn items and popularity go on; `problem` says it, and the generation holds which tables.

    Args:
        feed: says which rows move, for versions with live rows; None: nobody does, and all items are gone through anew
            only where something else is a reason for it.
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
        feed: RowsFeed | None = None,
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
        self._rows_at = 0.0  # Not sooner.
        self._poll_at = 0.0
        self._failures = 0
        self._retry_at = 0.0
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"follower-{model.version}", daemon=True)
        intervals = Intervals(min(options.look_s, _look_s(model)), options.count_s)
        self._jobs = Jobs(self._keeper, options.merging, intervals, lambda: self._clock(), self._wake_up)
        self._moves: Moves | None = None
        if feed is not None and not self._builder.is_frozen:  # Last: where its tables are followed, it is told at once.
            concerns = Concerns(model.candidate_inputs)
            self._moves = Moves(concerns, feed.subscribe(concerns.tables, self._wake_up))

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
            if self._moves is not None:  # Rows are followed before the first one is read.
                self._moves.wait_in_force(_FOLLOW_WAIT_S)
            start = self._keeper.start(self._stop, with_lost_tables=with_lost_tables)
        except BaseException:
            self._let_go()
            raise
        self._positions = self._taken_in = start.positions
        self._swap(start.stock, start.lost)
        if start.has_seen_all:
            self._jobs.looked(began_at)
        if self._moves is not None and start.is_from_file:
            self._moves.note_all()  # A file is of rows as they were.

    def start(self) -> None:
        """Starts the thread. `load` comes before."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the threads. A build under way is waited for a moment; it changes nothing outside this process."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_WAIT_S)
        self._let_go()

    def _let_go(self) -> None:
        self._jobs.stop()
        self._keeper.release()
        if self._moves is not None:
            self._moves.close()

    def wake(self) -> None:
        """Takes in now what the change feed has."""
        self._poll_at = 0.0
        self._wake.set()

    def _wake_up(self) -> None:
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
        now = self._clock()
        polls = now >= self._poll_at
        if polls:
            self._poll_at = now + self._options.poll_s
            self._watch()
        if now < self._retry_at:
            return
        self._adopt()
        if polls:
            self._read_feed()
        self._take_in()
        self._take_in_moved()
        self._failures = 0
        if not self._jobs.failures:
            self._failure = ""
        if self.current is not None and self._stock is not None:
            self._jobs.begin(self.current, self._stock, self._taken_in, self._moves)

    def _watch(self) -> None:
        """Looks whether the tables are still the version's, and says so with the generation in service."""
        served = self.current
        if served is None:
            return
        lost = self._builder.lost()
        if lost != served.lost:
            self.current = dataclasses.replace(served, lost=lost)
            self._jobs.look()  # Rows that are the version's again are read at once.
            if self._moves is not None:
                self._moves.note_all()
            _log.warning("%s", self.problem or f"{self._what}: the version's tables are its own again")

    def _read_feed(self) -> None:
        """Notes which items have changed; what was missed makes everything be looked at."""
        with translated(f"changes of view {self.model.items.base!r}"):
            changes = self.model.items.store.changes.read(self._positions)
        self._positions = changes.positions
        if changes.missed:
            _log.info("%s: changes of %s were missed; all items are looked at", self._what, ", ".join(changes.missed))
            self._jobs.look(everybody=True)
        if len(changes.entities) or changes.redefined:
            items = self.model.items
            items.store.forget_views([items.base, items.overlay])  # They may have features that came with the change.
        if changes.redefined:
            self._jobs.look()  # Items show a new default, too.
        if len(changes.entities):
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
        self._jobs.touched(touched)
        self._swap(self._stock.take_in(touched, changed, self._builder.make_index), lost)
        if not self._pending:
            self._watched.taken_in(max(0.0, time.time() - self._pending_since_s))
            self._pending_since_s = 0.0
            self._taken_in = self._positions
        else:
            self._wake.set()

    def _take_in_moved(self) -> None:
        """Takes in the items whose own rows moved last."""
        moves, stock, served = self._moves, self._stock, self.current
        if moves is None or stock is None or served is None:
            return
        if self._reads(served.lost):
            moves.forget()
            return
        moves.note(stock, is_looking=self._jobs.is_looking)
        began_at = self._clock()
        if moves.waiting and began_at >= self._rows_at:
            newest = moves.newest(_AT_ONCE)
            items, lost = self._builder.embed_again(newest, stock)
            if self._reads(lost):
                return
            self._jobs.touched(newest)
            self._swap(stock.take_in(items.ids, items, self._builder.make_index), lost)
            self._watched.rows_taken_in("own", moves.taken_in(newest))
            took_s = self._clock() - began_at
            self._rows_at = began_at + took_s * (1 + (_FLOOD_PACE if moves.is_flooded else 1))
        if moves.waiting:
            self._wake.set()
        self._watched.rows_wait(moves.waiting, moves.shared_age_s)

    def _reads(self, lost: Mapping[str, Loss]) -> bool:
        return gen.reads(self.model.candidate_inputs, lost)

    def _adopt(self) -> None:
        """Puts what a job has made into service, under what was taken in since it began."""
        ended = self._jobs.ended(self._moves)
        if ended is not None:
            self._put_in(ended)

    def _put_in(self, ended: Ended) -> None:
        outcome, touched = ended.outcome, ended.touched
        if isinstance(outcome, Built):
            self._serve(outcome, touched)
        elif isinstance(outcome, Differences):
            self._patch(outcome, touched)
        elif isinstance(outcome, Swept):
            self._put_in_swept(outcome, ended)
        elif isinstance(outcome, Start):
            self._swap(self._with_touched(outcome.stock, touched), outcome.lost)
        elif outcome is not None:
            assert self._stock is not None
            assert self.current is not None
            self._swap(self._stock.with_merged(outcome.segment, outcome.before, touched), self.current.lost)
            self._watched.merged()
        if ended.kind == "look":
            self._watched.refreshed()

    def _put_in_swept(self, swept: Swept, ended: Ended) -> None:
        """Takes in vectors that were made anew, but for items that were taken in since."""
        assert self._stock is not None
        assert self._moves is not None
        assert ended.sweep is not None
        stock, touched = self._stock, ended.touched
        if swept.segment is not None:
            anew = Stock.of(swept.segment, stock.counts)
            self._swap(anew.take_in(touched, stock.pick(touched), self._builder.make_index), swept.lost)
        elif swept.items is not None:
            items = swept.items.take(np.flatnonzero(~np.isin(swept.items.ids, touched)))
            if len(items.ids):
                self._swap(stock.take_in(items.ids, items, self._builder.make_index), swept.lost)
        else:
            self._moves.sweep_failed(ended.sweep)
            return
        self._moves.swept(ended.sweep)
        self._watched.rows_taken_in("shared", max(0.0, time.monotonic() - ended.sweep.since_s))

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

    def _swap(self, stock: Stock, lost: Mapping[str, Loss]) -> None:
        self._stock = stock
        self.current = Generation(self.model, f"{self.model.version}.{self._next_serial()}", stock.parts, lost)
        self._on_swap(self.current)
        self._watched.swapped(self.current)

    def _failed(self, error: RequestError) -> None:
        self._failures += 1
        self._retry_at = self._clock() + pause_s(self._failures)
        text = f"{self._what}: {error.message}"
        if text != self._failure:
            _log.warning("%s; tried again every few seconds", text)
        self._failure = text


def _look_s(model: Model) -> float:
    """How often items may have become too old, and have to be looked at; infinity: never."""
    ages = [plan.view.max_age_s for plan in model.items.plans() if plan.view.max_age_s > 0]
    return max(10.0, min(ages) / _AGES) if ages else float("inf")


def _same(one: Counts, other: Counts) -> bool:
    return np.array_equal(one.items, other.items) and np.array_equal(one.times, other.times)
