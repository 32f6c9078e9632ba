"""Builds the bases of a version, or takes those that another process built from files, and writes its own there."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from rowbank.errors import NotReady
from rowbank_server.features.redis_errors import translated
from rowbank_server.retrieval import generation as gen
from rowbank_server.retrieval.catalogue.building import Builder, Built, Differences, Merged
from rowbank_server.retrieval.catalogue.files import Base, BaseFiles
from rowbank_server.retrieval.catalogue.growth import Stock
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.lineage import Loss

_log = logging.getLogger("rowbank.api")

_WAIT_S = 0.2
# With more changes than this since a file was written it is faster to look at everything.
_FEW = 20_000
_LIVE_WRITE_S = 600.0

Positions = Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """What a version is served with first.

    Attributes:
        base: what it was mapped from, if it was.
        positions: from where to read the change feed on.
        has_seen_all: everything that is stored was looked at just now.
        is_from_file: its vectors are of rows as they were when a file was written.
    """

    stock: Stock
    lost: Mapping[str, Loss]
    base: Base | None
    positions: Positions
    has_seen_all: bool
    is_from_file: bool = True


class Keeper:
    """Of one version. Jobs run in one thread at a time, and nothing else meanwhile.

    Args:
        files: None: bases are in memory alone.
    """

    def __init__(self, builder: Builder, files: BaseFiles | None) -> None:
        self.builder = builder
        self._files = files
        self._write_at = time.monotonic() + _LIVE_WRITE_S
        self._stamp = 0  # Of the base that is served, if it is in a file.
        self._items = builder.model.items
        self._what = f"model {builder.model.manifest.name!r} {builder.model.version}"

    @property
    def views(self) -> list[str]:
        """The views that the change feed is followed of."""
        return [self._items.base, *([self._items.overlay] if self._items.overlay else [])]

    def follow(self) -> Positions:
        """Positions of the change feed from which to read what is written from now on."""
        with translated(f"changes of view {self._items.base!r}"):
            return self._items.store.changes.follow(self.views)

    def builds(self) -> bool:
        """Whether this process is the one that makes the version's bases: always, where nothing is in files."""
        return self._files is None or not self.builder.is_frozen or self._claim(serving=True)

    def start(self, stop: threading.Event, *, with_lost_tables: bool) -> Start:
        """The first stock: from a file, if there is one that fits, else built, by one process at a time.

        Raises:
            NotReady, RequestError: as of `Builder.build`.
        """
        start = self._shared(stop)
        if start is None:
            positions = self.follow()
            built = self.builder.build(None, None, with_lost_tables=with_lost_tables)
            base = None
            if not gen.reads(self.builder.model.candidate_inputs, built.lost):
                base = self._written(Stock.of(built.segment, built.counts), positions)
            segment = built.segment if base is None else base.segment
            start = Start(
                Stock.of(segment, built.counts), built.lost, base, positions, has_seen_all=True, is_from_file=False
            )
        if self._files is not None:
            self._files.say_serving()
        return start

    def _shared(self, stop: threading.Event) -> Start | None:
        """A start from a file that is there, or that another process is just making; None: this one has to build."""
        while self._files is not None:
            is_ours = self._claim(serving=False)
            mapped = self._files.newest() if self._files is not None else None
            if mapped is not None:
                return self._from(mapped)
            if is_ours or self._files is None or not self._files.is_being_built():
                return None
            if stop.wait(_WAIT_S):
                raise NotReady("the service stops")
        return None

    def refresh(self, served: Generation, stock: Stock, positions: Positions) -> Built | Differences:
        """As `Builder.refresh`; others who follow the version learn by the feed what differed."""
        found = self.builder.refresh(served, stock)
        if isinstance(found, Differences):
            if self._files is not None and len(found.touched):
                with translated(f"changes of view {self._items.base!r}"):
                    self._items.store.changes.note(self._items.written, found.touched)
            return found
        if not self.builder.is_frozen:  # Its rows move on before the next one could read the file.
            return found
        base = self._written(Stock.of(found.segment, found.counts), positions)
        return found if base is None else replace(found, segment=base.segment)

    def merge(self, stock: Stock, positions: Positions) -> Merged:
        """As `Builder.merge`, into a file where there are files; that of live rows, which soon are others, seldom."""
        merged = self.builder.merge(stock)
        if not self.builder.is_frozen:
            if time.monotonic() < self._write_at:
                return merged
            self._write_at = time.monotonic() + _LIVE_WRITE_S
        base = self._written(Stock.of(merged.segment, stock.counts), positions)
        return merged if base is None else replace(merged, segment=base.segment)

    def has_newer(self) -> bool:
        """Whether another process made a base since the one that is served."""
        return self._files is not None and self.builder.is_frozen and self._files.has_newer(self._stamp)

    def newer(self, lost: Mapping[str, Loss]) -> Start | None:
        """What another process made, with what was noted since; None if it does not fit."""
        assert self._files is not None
        mapped = self._files.newest(self._stamp)
        return None if mapped is None else self._patched(mapped, lost)

    def release(self) -> None:
        """Leaves it to others to make bases."""
        if self._files is not None:
            self._files.release()

    def _claim(self, *, serving: bool) -> bool:
        try:
            return self._files is None or self._files.claim(serving=serving)
        except OSError as error:
            _log.warning("%s: its index is not kept in files: %s", self._what, error)
            self._files = None
            return True

    def _written(self, stock: Stock, positions: Positions) -> Base | None:
        if self._files is None or not self._files.is_ours:
            return None
        base = self._files.write(stock.base.segment, stock.counts, positions)
        if base is None:  # Let others try, and wait for nothing.
            self.release()
            self._files = None
        else:
            self._stamp = base.stamp
        return base

    def _from(self, mapped: Base) -> Start | None:
        """A start from a file; None if it has to be built all the same."""
        lost = self.builder.lost()
        if gen.reads(self.builder.model.candidate_inputs, lost):
            _log.warning("%s: the file of its index is not used, as tables of it are lost", self._what)
            return None
        start = self._patched(mapped, lost)
        if start is not None:
            _log.info("%s: %d items from a file", self._what, len(mapped.segment))
        return start

    def _patched(self, mapped: Base, lost: Mapping[str, Loss]) -> Start | None:
        if set(mapped.positions) != set(self.views):
            return None
        with translated(f"changes of view {self._items.base!r}"):
            changes = self._items.store.changes.read(mapped.positions)
        stock = Stock.of(mapped.segment, mapped.counts)
        served = Generation(self.builder.model, "", stock.parts, lost)
        self._stamp = mapped.stamp
        if changes.missed or len(changes.entities) > _FEW:
            why = f"changes of {', '.join(changes.missed)} were missed" if changes.missed else "much was changed"
            _log.info("%s: %s since the file of its index was written; all items are looked at", self._what, why)
            found = self.builder.refresh(served, stock)
            if isinstance(found, Built):
                return Start(Stock.of(found.segment, found.counts), found.lost, None, changes.positions, True)
            stock = stock.recount(found.counts)
            if len(found.touched):
                stock = stock.take_in(found.touched, found.changed, self.builder.make_index)
            return Start(stock, found.lost, mapped, changes.positions, has_seen_all=True)
        if len(changes.entities):
            items, lost = self.builder.embed(changes.entities.astype(np.int64), served)
            stock = stock.take_in(changes.entities, items, self.builder.make_index)
        return Start(stock, lost, mapped, changes.positions, has_seen_all=False)
