"""Follows the registry and the catalogue: builds generations in a thread of its own and swaps them in by pointer."""

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
from rowbank_server.features import FeatureStore
from rowbank_server.registry import ModelRegistry
from rowbank_server.retrieval import generation as gen
from rowbank_server.retrieval.catalogue import embedding as cat
from rowbank_server.retrieval.catalogue.growth import Stock
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.index import ExactIndex
from rowbank_server.retrieval.lineage import Lineage, Loss, describe
from rowbank_server.retrieval.model import Model, load_model
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
        poll_s: how often the active version is asked for.
        refresh_s: how often vectors, titles and popularity are rebuilt while the version stays.
        max_popularity_users: users whose histories are counted.
    """

    poll_s: float = 0.25
    refresh_s: float = 10.0
    max_popularity_users: int = 200_000


class Follower:
    """Keeps `current` at the active version of one model. `current` may be read from any thread.

    A version that cannot be loaded leaves the one before it in service; `problem` says why, and it is tried again.

    Rows of tables that are not the version's any more are not read: the vectors that were built from its own rows stay,
    while titles, withdrawn items and popularity go on; `problem` says it, and the generation holds which tables.
    """

    def __init__(
        self,
        model: str,
        registry: ModelRegistry,
        store: FeatureStore,
        rows: RowReader,
        lineage: Lineage,
        options: FollowerOptions,
        *,
        on_swap: Callable[[Generation], None] = lambda generation: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.current: Generation | None = None
        self._failure = ""
        self._model_name = model
        self._registry = registry
        self._store = store
        self._rows = rows
        self._lineage = lineage
        self._options = options
        self._on_swap = on_swap
        self._clock = clock
        self._serial = 0
        self._stock: Stock | None = None
        self._failures = 0
        self._retry_at = 0.0
        self._refresh_at = 0.0
        self._changed: set[int] = set()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    @property
    def problem(self) -> str:
        """What keeps a newer version, or newer rows, from being served; empty if nothing does."""
        current = self.current
        lost = ""
        if current is not None and current.lost:
            lost = f"model {self._model_name!r}: {describe(current.model.manifest, current.lost)}"
        return "; ".join(text for text in (self._failure, lost) if text)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread. A build under way is waited for a moment; it changes nothing outside this process."""
        self._stop.set()
        self._wake.set()
        self._thread.join(_STOP_WAIT_S)

    def wake(self) -> None:
        """Looks at the registry now."""
        self._wake.set()

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
                _log.exception("following model %r failed for a reason that is a defect", self._model_name)
                self._failed(InternalError(f"{type(error).__name__}: {error}"))
            self._wake.wait(self._options.poll_s)
            self._wake.clear()

    def step(self) -> None:
        """Does what is due: load a new version, take in changed items, or refresh."""
        now = self._clock()
        active = self._registry.active_version(self._model_name)
        if not active:
            self._failure = (
                f"no active version of model {self._model_name!r}; train one (rowbank-train two-tower --activate), "
                "or activate a published one (POST /v1/models/{version}/activate)"
            )
            return
        self._watch()
        served = self.current
        if served is None or served.model.version != active:
            if now >= self._retry_at:
                self._load(active)
        elif now >= self._refresh_at and now >= self._retry_at:
            self._rebuild(served.model)
        elif now >= self._retry_at:
            self._take_in(served)
            self._failure = ""

    def _watch(self) -> None:
        """Looks whether the tables are still the version's, and says so with the generation in service."""
        served = self.current
        if served is None:
            return
        lost = self._lineage.lost(served.model.manifest)
        if lost != served.lost:
            self.current = dataclasses.replace(served, lost=lost)
            self._refresh_at = self._clock()  # Rows that are the version's again are read at once.
            _log.warning("%s", self.problem or f"model {self._model_name!r}: the version's tables are its own again")

    def _load(self, version: str) -> None:
        started = self._clock()
        stored = self._registry.get(self._model_name, version)
        model = load_model(stored.manifest, self._registry.files(stored.manifest), self._store)
        self._rebuild(model)
        self._store.unreadable.keep([layers.base for layers in (model.items, model.users) if layers is not None])
        _log.info("serving model %s %s after %.2f s", self._model_name, version, self._clock() - started)

    def _rebuild(self, model: Model) -> None:
        started = self._clock()
        with self._lock:
            self._changed.clear()  # Whatever changed until now is read below.
        items, lost = self._embed(model, model.items.entities())
        counts = gen.count_interactions(model, self._options.max_popularity_users)
        self._swap(model, Stock.of(Segment.of(items, ExactIndex(items.vectors)), counts), lost)
        took = self._clock() - started
        self._refresh_at = self._clock() + max(self._options.refresh_s, _REST * took)

    def _embed(self, model: Model, ids: npt.NDArray[np.int64]) -> tuple[Items, Mapping[str, Loss]]:
        """Items with vectors of the version's own rows, and its tables that are lost.

        Whether they are lost is asked before rows are read and after, so that no row that came meanwhile is taken.
        """
        lost = self._lineage.lost(model.manifest)
        if not gen.reads(model.candidate_inputs, lost):
            fresh = cat.embed_items(model, ids, self._rows)
            lost = self._lineage.lost(model.manifest)
            if not gen.reads(model.candidate_inputs, lost):
                return fresh, lost
        served = self.current
        if served is None:  # Better what is popular than nothing.
            return cat.embed_items(model, ids, None), lost
        if served.model.version != model.version:
            raise NotReady(describe(model.manifest, lost))
        return cat.with_vectors_of(cat.embed_items(model, ids, None), served), lost

    def _take_in(self, served: Generation) -> None:
        with self._lock:
            changed, self._changed = self._changed, set()
        if not changed:
            return
        try:
            self._update(served, sorted(changed))
        except Exception:
            with self._lock:
                self._changed |= changed
            raise

    def _update(self, served: Generation, items: list[int]) -> None:
        touched = np.asarray(items, dtype=np.int64)
        changed, lost = self._embed(served.model, touched)
        assert self._stock is not None
        self._swap(served.model, self._stock.take_in(touched, changed, ExactIndex), lost)

    def _swap(self, model: Model, stock: Stock, lost: Mapping[str, Loss]) -> None:
        self._serial += 1
        self._stock = stock
        self.current = Generation(model, f"{model.version}.{self._serial}", stock.parts, lost)
        self._failure = ""
        self._failures = 0
        self._retry_at = 0.0
        self._on_swap(self.current)

    def _failed(self, error: RequestError) -> None:
        self._failures += 1
        pause_s = min(_MAX_BACKOFF_S, 0.5 * 2.0 ** min(self._failures - 1, 10))
        self._retry_at = self._clock() + pause_s
        text = f"model {self._model_name!r}: {error.message}"
        if text != self._failure:
            _log.warning("%s; tried again every few seconds", text)
        self._failure = text
