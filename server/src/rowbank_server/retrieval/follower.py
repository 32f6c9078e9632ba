"""Follows the catalogue of one version: builds generations in a thread of its own and swaps them in by pointer."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rowbank.errors import InternalError, NotReady, RequestError
from rowbank_server.registry.model import Model
from rowbank_server.retrieval import generation as gen
from rowbank_server.retrieval.catalogue import embedding as cat
from rowbank_server.retrieval.catalogue.growth import Stock
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.index import ExactIndex
from rowbank_server.retrieval.lineage import Lineage, Loss, describe
from rowbank_server.retrieval.rows import RowReader
from rowbank_server.retrieval.segments import Items, Segment

_log = logging.getLogger("rowbank.api")

_MAX_BACKOFF_S = 10.0
_STOP_WAIT_S = 2.0
# A rebuild that took t seconds is repeated no sooner than this many t later, so that it stays a small part of a core.
_REST = 10.0


@dataclass(frozen=True, slots=True)
class FollowerOptions:
    """How closely the follower follows.

    Attributes:
        poll_s: how often it looks for changes.
        refresh_s: how often vectors, titles and popularity are rebuilt.
        max_popularity_users: users whose histories are counted.
    """

    poll_s: float = 0.25
    refresh_s: float = 10.0
    max_popularity_users: int = 200_000


class Follower:
    """Keeps `current` at the present generation of one version. `current` may be read from any thread.

    Rows of tables that are not the version's any more are not read: the vectors that were built from its own rows stay,
    while titles, withdrawn items and popularity go on; `problem` says it, and the generation holds which tables.

    Args:
        next_serial: numbers the generations of the model in this process.
        on_swap: told each generation that goes into service.
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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = model
        self.current: Generation | None = None
        self._failure = ""
        self._what = f"model {model.manifest.name!r}"
        self._rows = rows
        self._lineage = lineage
        self._options = options
        self._next_serial = next_serial
        self._on_swap = on_swap
        self._clock = clock
        self._stock: Stock | None = None
        self._failures = 0
        self._retry_at = 0.0
        self._refresh_at = 0.0
        self._changed: set[int] = set()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"follower-{model.version}", daemon=True)

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
        self._rebuild(with_lost_tables=with_lost_tables)

    def start(self) -> None:
        """Starts the thread. `load` comes before."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread. A build under way is waited for a moment; it changes nothing outside this process."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_WAIT_S)

    def item_changed(self, item: int) -> None:
        """Takes an item's new features, or its removal, into the index now."""
        with self._lock:
            self._changed.add(item)
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

    def step(self) -> None:
        """Does what is due: take in changed items, or refresh."""
        now = self._clock()
        self._watch()
        if now < self._retry_at:
            return
        if now >= self._refresh_at:
            self._rebuild(with_lost_tables=True)
        else:
            self._take_in()
            self._failure = ""

    def _watch(self) -> None:
        """Looks whether the tables are still the version's, and says so with the generation in service."""
        served = self.current
        if served is None:
            return
        lost = self._lineage.lost(self.model.manifest)
        if lost != served.lost:
            self.current = dataclasses.replace(served, lost=lost)
            self._refresh_at = self._clock()  # Rows that are the version's again are read at once.
            _log.warning("%s", self.problem or f"{self._what}: the version's tables are its own again")

    def _rebuild(self, *, with_lost_tables: bool) -> None:
        started = self._clock()
        with self._lock:
            self._changed.clear()  # Whatever changed until now is read below.
        items, lost = self._embed(self.model.items.entities(), with_lost_tables=with_lost_tables)
        counts = gen.count_interactions(self.model, self._options.max_popularity_users)
        self._swap(Stock.of(Segment.of(items, ExactIndex(items.vectors)), counts), lost)
        took = self._clock() - started
        self._refresh_at = self._clock() + max(self._options.refresh_s, _REST * took)

    def _embed(self, ids: npt.NDArray[np.int64], *, with_lost_tables: bool = True) -> tuple[Items, Mapping[str, Loss]]:
        """Items with vectors of the version's own rows, and its tables that are lost.

        Whether they are lost is asked before rows are read and after, so that no row that came meanwhile is taken.
        """
        model = self.model
        lost = self._lineage.lost(model.manifest)
        if not gen.reads(model.candidate_inputs, lost):
            fresh = cat.embed_items(model, ids, self._rows)
            lost = self._lineage.lost(model.manifest)
            if not gen.reads(model.candidate_inputs, lost):
                return fresh, lost
        served = self.current
        if served is not None:
            return cat.with_vectors_of(cat.embed_items(model, ids, None), served), lost
        if not with_lost_tables:
            raise NotReady(describe(model.manifest, lost))
        return cat.embed_items(model, ids, None), lost  # Better what is popular than nothing.

    def _take_in(self) -> None:
        with self._lock:
            changed, self._changed = self._changed, set()
        if not changed:
            return
        try:
            self._update(sorted(changed))
        except Exception:
            with self._lock:
                self._changed |= changed
            raise

    def _update(self, items: list[int]) -> None:
        touched = np.asarray(items, dtype=np.int64)
        changed, lost = self._embed(touched)
        assert self._stock is not None
        self._swap(self._stock.take_in(touched, changed, ExactIndex), lost)

    def _swap(self, stock: Stock, lost: Mapping[str, Loss]) -> None:
        self._stock = stock
        self.current = Generation(self.model, f"{self.model.version}.{self._next_serial()}", stock.parts, lost)
        self._failure = ""
        self._failures = 0
        self._retry_at = 0.0
        self._on_swap(self.current)

    def _failed(self, error: RequestError) -> None:
        self._failures += 1
        pause_s = min(_MAX_BACKOFF_S, 0.5 * 2.0 ** min(self._failures - 1, 10))
        self._retry_at = self._clock() + pause_s
        text = f"{self._what}: {error.message}"
        if text != self._failure:
            _log.warning("%s; tried again every few seconds", text)
        self._failure = text
