"""One model: which of its versions are loaded, and which answers a query."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from rowbank.errors import InternalError, ModelNotFound, NotReady, RequestError
from rowbank_server.retrieval.generation import Generation, reads
from rowbank_server.retrieval.hosting.serving import Equipment, Serving, load
from rowbank_server.retrieval.lineage import describe

_log = logging.getLogger("rowbank.api")

_MAX_BACKOFF_S = 10.0
_STOP_WAIT_S = 2.0
_POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which versions the registry says are served."""

    active: str


class Picked(NamedTuple):
    """The version that answers a query; `split` is why: "active", "split", "asked for"."""

    serving: Serving
    split: str


@dataclass(slots=True)
class _Attempt:
    """Of loading a version that failed."""

    problem: str
    failures: int = 0
    retry_at: float = field(default=0.0)


class Host:
    """Loads the versions of one model in a thread of its own, one after the other. Queries may pick from any thread.

    A version that cannot be loaded leaves the one before it in service; `problem` says why, and it is tried again.

    Args:
        keep_s: how long a version that is not wanted any more stays loaded.
        on_drop: told each version that is not loaded any more.
    """

    def __init__(
        self,
        name: str,
        equipment: Equipment,
        loop: asyncio.AbstractEventLoop,
        *,
        keep_s: float,
        on_drop: Callable[[Serving], None] = lambda serving: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._equipment = equipment
        self._loop = loop
        self._keep_s = keep_s
        self._on_drop = on_drop
        self._clock = clock
        self._serials = itertools.count(1)
        self._wanted: Wanted | None = None
        self._active: Serving | None = None
        self._servings: Mapping[str, Serving] = {}  # Replaced as a whole, so that it may be read without a lock.
        self._unwanted_since: dict[str, float] = {}
        self._attempts: dict[str, _Attempt] = {}
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"host-{name}", daemon=True)

    @property
    def servings(self) -> Mapping[str, Serving]:
        """The loaded versions."""
        return self._servings

    @property
    def active(self) -> Serving | None:
        """The version that answers those who are given no other; None until one is loaded."""
        return self._active

    @property
    def problem(self) -> str:
        """What keeps a wanted version, or newer items or rows, from being served; empty if nothing does."""
        found = [attempt.problem for attempt in list(self._attempts.values())]
        active = self._active
        if active is not None and active.follower.problem:
            found.append(active.follower.problem)
        return "; ".join(dict.fromkeys(found))

    def serving(self) -> Serving:
        """The active version.

        Raises:
            NotReady: none is loaded yet; the message says why.
        """
        active = self._active
        if active is None:
            raise NotReady(self.problem or f"model {self.name!r} is being loaded; try again in a moment")
        return active

    def pick(self, user_key: int | None = None, version: str = "") -> Picked:
        """The version that answers a query.

        Args:
            user_key: the key of the user whom it is for.
            version: one that the query names; empty: the one that is due.
        Raises:
            ModelNotFound: this process has not loaded that version.
            NotReady: none is loaded yet.
        """
        if version:
            serving = self._servings.get(version)
            if serving is None:
                self.serving()
                raise ModelNotFound(
                    f"model {self.name!r}: version {version!r} is not loaded here; loaded: "
                    f"{', '.join(sorted(self._servings, reverse=True))}; activate it to load it",
                    metadata={"model": self.name, "version": version},
                )
            return Picked(serving, "asked for")
        return Picked(self.serving(), "active")

    def item_changed(self, item: int) -> None:
        """Takes an item's new features, or its removal, into the index of every loaded version now."""
        for serving in self._servings.values():
            serving.follower.item_changed(item)

    def want(self, wanted: Wanted) -> None:
        """Says which versions are to be served from now on."""
        if wanted != self._wanted:
            self._wanted = wanted
            self._wake.set()

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    async def close(self) -> None:
        """Ends the thread and answers what waits. A load under way is waited for a moment."""
        self._stop.set()
        self._wake.set()
        await asyncio.to_thread(self._thread.join, _STOP_WAIT_S)
        await asyncio.gather(*(serving.close() for serving in self._servings.values()))

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._wanted is not None:
                self._step(self._wanted)
            self._wake.wait(_POLL_S)
            self._wake.clear()

    def _step(self, wanted: Wanted) -> None:
        """Loads what is wanted and not there, and drops what is not wanted any more."""
        for version in list(self._attempts):
            if version not in self._versions(wanted):
                del self._attempts[version]
        for version in self._versions(wanted):
            if version not in self._servings:
                self._try(version)
            if version == wanted.active and version in self._servings:
                self._make_active(self._servings[version])
        self._drop_unwanted(wanted)

    def _versions(self, wanted: Wanted) -> list[str]:
        """What is wanted, the most urgent first."""
        return [wanted.active]

    def _try(self, version: str) -> None:
        attempt = self._attempts.get(version)
        if attempt is not None and self._clock() < attempt.retry_at:
            return
        try:
            serving = load(
                self._equipment,
                self.name,
                version,
                next_serial=lambda: next(self._serials),
                with_lost_tables=self._active is None,
                on_swap=self._swapped,
            )
        except RequestError as error:
            self._failed(version, error)
        except Exception as error:
            _log.exception("loading model %r %s failed for a reason that is a defect", self.name, version)
            self._failed(version, InternalError(f"{type(error).__name__}: {error}"))
        else:
            self._attempts.pop(version, None)
            self._servings = {**self._servings, version: serving}
            _log.info("loaded model %s %s in %.2f s", self.name, version, serving.load_s)

    def _failed(self, version: str, error: RequestError) -> None:
        before = self._attempts.get(version)
        attempt = _Attempt(f"model {self.name!r}: {error.message}", before.failures + 1 if before else 1)
        attempt.retry_at = self._clock() + min(_MAX_BACKOFF_S, 0.5 * 2.0 ** min(attempt.failures - 1, 10))
        if before is None or before.problem != attempt.problem:
            _log.warning("%s; tried again every few seconds", attempt.problem)
        self._attempts[version] = attempt

    def _make_active(self, serving: Serving) -> None:
        """Puts a loaded version into service, unless its rows were lost while it was kept, and others were not."""
        if self._active is serving:
            return
        generation = serving.generation()
        if self._active is not None and reads(serving.model.candidate_inputs, generation.lost):
            self._failed(serving.version, NotReady(describe(serving.manifest, generation.lost)))
            return
        self._attempts.pop(serving.version, None)
        self._active = serving
        self._equipment.metrics.swapped(generation)
        _log.info("serving model %s %s", self.name, serving.version)

    def _swapped(self, generation: Generation) -> None:
        active = self._active
        if active is not None and active.version == generation.model.version:
            self._equipment.metrics.swapped(generation)

    def _drop_unwanted(self, wanted: Wanted) -> None:
        now = self._clock()
        keep = {*self._versions(wanted), *([self._active.version] if self._active else [])}
        for version in list(self._servings):
            if version in keep:
                self._unwanted_since.pop(version, None)
            elif now - self._unwanted_since.setdefault(version, now) >= self._keep_s:
                self._drop(version)

    def _drop(self, version: str) -> None:
        servings = dict(self._servings)
        gone = servings.pop(version)
        self._servings = servings
        self._unwanted_since.pop(version, None)
        asyncio.run_coroutine_threadsafe(gone.close(), self._loop)
        self._equipment.metrics.catalogues.gone(self.name, version)
        _log.info("dropped model %s %s", self.name, version)
        self._on_drop(gone)
