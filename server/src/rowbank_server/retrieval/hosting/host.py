"""One model: which of its versions are loaded, and which answers a query."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple

from rowbank.errors import InternalError, ModelNotFound, NotReady, RequestError
from rowbank.traffic import Traffic, version_of
from rowbank_server.registry.traffic import same_ids
from rowbank_server.retrieval.generation import Generation, reads
from rowbank_server.retrieval.hosting.serving import Equipment, Loaded, Serving, held_bytes, load
from rowbank_server.retrieval.hosting.shadow import Shadow
from rowbank_server.retrieval.lineage import describe
from rowbank_server.retrieval.queries import Answer, Query

_log = logging.getLogger("rowbank.api")

_MAX_BACKOFF_S = 10.0
_STOP_WAIT_S = 2.0
_POLL_S = 0.25


class Picked(NamedTuple):
    """The version that answers a query; `split` is why: "active", "split", "asked for"."""

    serving: Serving
    split: str


@dataclass(frozen=True, slots=True)
class _Attempt:
    """Of serving a version, which failed."""

    problem: str
    failures: int
    retry_at: float


class Host:
    """Loads the versions of one model in a thread of its own, one after the other. Queries may pick from any thread.

    A version that cannot be loaded leaves the one before it in service; `problem` says why, and it is tried again.

    Args:
        keep_s: how long the version that was active before stays loaded, once it is not wanted any more.
        grace_s: how long any other does. So many activations in a row do not fill the memory.
        on_drop: told each version that is not loaded any more.
    """

    def __init__(
        self,
        name: str,
        equipment: Equipment,
        loop: asyncio.AbstractEventLoop,
        *,
        keep_s: float,
        grace_s: float,
        on_drop: Callable[[Serving], None] = lambda serving: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._equipment = equipment
        self._metrics = equipment.metrics.versions
        self._loop = loop
        self._keep_s = keep_s
        self._grace_s = grace_s
        self._on_drop = on_drop
        self._clock = clock
        self._serials = itertools.count(1)
        self._wanted: Traffic | None = None
        self._split = Traffic()
        self._diverted: frozenset[str] = frozenset()  # Of the split, the versions that users can be given.
        self._active: Serving | None = None
        self._before = ""  # The version that was active before, to which a roll back leads.
        self._shadow: Shadow | None = None
        self._servings: Mapping[str, Serving] = {}  # Replaced as a whole, so that it may be read without a lock.
        self._unwanted_since: dict[str, float] = {}
        self._attempts: Mapping[str, _Attempt] = {}  # As `_servings`.
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
        found = [attempt.problem for attempt in self._attempts.values()]
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
            user_key: the key of the user whom it is for; without one, and while a version of the split is not loaded,
                the active one answers.
            version: one that the query names; empty: the one that is due.
        Raises:
            ModelNotFound: this process has not loaded that version.
            NotReady: none is loaded yet.
        """
        active = self.serving()
        if version:
            return Picked(self._named(version), "asked for")
        split = self._split
        if user_key is not None and split.shares:
            version = version_of(self.name, user_key, split)
            serving = self._servings.get(version) if version in self._diverted else None
            if serving is not None and serving is not active:
                return Picked(serving, "split")
        return Picked(active, "active")

    def _named(self, version: str) -> Serving:
        serving = self._servings.get(version)
        if serving is None:
            raise ModelNotFound(
                f"model {self.name!r}: version {version!r} is not loaded here; loaded: "
                f"{', '.join(sorted(self._servings, reverse=True))}; to load it, activate it or give it a share of "
                f"traffic, which may be 0: rowbank models traffic {self.name} {version}=0",
                metadata={"model": self.name, "version": version},
            )
        return serving

    def loaded(self) -> list[Loaded]:
        """The versions that are loaded or wanted, the newest first."""
        wanted, active = self._wanted or Traffic(), self._active
        left = max(0.0, 1 - sum(wanted.shares.values()))
        versions = {*self._servings, *self._versions(wanted)} - {""}
        found = []
        for version in sorted(versions, reverse=True):
            is_active = active is not None and version == active.version
            one = Loaded(
                version,
                active=is_active,
                share=left if is_active else wanted.shares.get(version, 0.0),
                shadow=version == wanted.shadow,
                problem=self._attempts[version].problem if version in self._attempts else "",
            )
            serving = self._servings.get(version)
            found.append(one if serving is None else serving.described(one))
        return found

    def items_changed(self) -> None:
        """Has every loaded version take in now what the change feed has of items."""
        for serving in self._servings.values():
            serving.follower.wake()

    def want(self, wanted: Traffic) -> None:
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

    def _step(self, wanted: Traffic) -> None:
        """Loads what is wanted and not there, and drops what is not wanted any more."""
        versions = self._versions(wanted)
        if any(version not in versions for version in self._attempts):
            self._attempts = {version: one for version, one in self._attempts.items() if version in versions}
        for version in versions:
            if version not in self._servings and not self._stop.is_set():
                self._try(version)
            if version == wanted.active and version in self._servings:
                self._make_active(self._servings[version])
            if self._wanted is not wanted:
                return  # The rest may not be wanted any more, and something else may be more urgent.
        self._divert(wanted)
        self._drop_unwanted(versions)

    @staticmethod
    def _versions(wanted: Traffic) -> list[str]:
        """What is wanted, the most urgent first."""
        by_share = sorted(wanted.shares, key=lambda version: (-wanted.shares[version], version))
        shadow = [wanted.shadow] if wanted.shadow else []
        served = [version for version in by_share if wanted.shares[version] > 0]
        return list(dict.fromkeys([wanted.active, *served, *shadow, *by_share]))

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
            if self._stop.is_set():  # It was closed meanwhile, and nobody would ever end what is loaded now.
                serving.abandon()
                return
            self._succeeded(version)
            serving.on_answer = self._answered
            self._metrics.loaded(self.name, version, serving.load_s, serving.warm_up_s, serving.memory_bytes)
            self._servings = {**self._servings, version: serving}
            _log.info(
                "loaded model %s %s in %.2f s, warmed up in %.2f s",
                self.name,
                version,
                serving.load_s,
                serving.warm_up_s,
            )

    def _failed(self, version: str, error: RequestError) -> None:
        before = self._attempts.get(version)
        problem = f"model {self.name!r}: {error.message}"
        failures = before.failures + 1 if before else 1
        retry_at = self._clock() + min(_MAX_BACKOFF_S, 0.5 * 2.0 ** min(failures - 1, 10))
        if before is None or before.problem != problem:
            _log.warning("%s; tried again every few seconds", problem)
        self._attempts = {**self._attempts, version: _Attempt(problem, failures, retry_at)}

    def _succeeded(self, version: str) -> None:
        if version in self._attempts:
            self._attempts = {other: one for other, one in self._attempts.items() if other != version}

    def _make_active(self, serving: Serving) -> None:
        """Puts a loaded version into service, unless its rows were lost while it was kept, and others were not."""
        if self._active is serving:
            return
        generation = serving.generation()
        if self._active is not None and reads(serving.model.candidate_inputs, generation.lost):
            self._failed(serving.version, NotReady(describe(serving.manifest, generation.lost)))
            return
        self._succeeded(serving.version)
        if self._active is not None:
            self._before = self._active.version
        self._active = serving
        self._metrics.swapped(generation, held_bytes(generation))
        _log.info("serving model %s %s", self.name, serving.version)

    def _divert(self, wanted: Traffic) -> None:
        """Splits traffic as far as versions are loaded, and their ids of the kinds that callers ask the active one by.

        The others keep their places, whose users get the active one: nobody is moved from one version to another.
        """
        active = self._active
        if active is None:
            return
        self._diverted = frozenset(
            version
            for version in wanted.shares
            if version in self._servings and same_ids(active.manifest, self._servings[version].manifest)
        )
        self._split = Traffic(wanted.shares, wanted.shadow, active.version)
        shadow = self._servings.get(wanted.shadow)
        if shadow is not None and not same_ids(active.manifest, shadow.manifest):
            shadow = None
        before = self._shadow
        if before is None or before.serving is not shadow:
            self._shadow = None if shadow is None else Shadow(self.name, shadow, self._metrics)
            if before is not None:
                before.ended = True

    def _answered(self, serving: Serving, query: Query, answer: Answer, took_s: float) -> None:
        """On the event loop, after each answer."""
        if serving.version in self._servings:  # What is dropped is counted no more.
            self._metrics.answered(self.name, serving.version, answer, took_s)
        shadow = self._shadow
        if shadow is not None and shadow.serving is not serving:
            shadow.offer(query, answer)

    def _swapped(self, generation: Generation) -> None:
        active = self._active
        if active is not None and active.version == generation.model.version:
            self._metrics.swapped(generation, held_bytes(generation))

    def _drop_unwanted(self, versions: list[str]) -> None:
        now = self._clock()
        keep = {*versions, *([self._active.version] if self._active else [])}
        for version in list(self._servings):
            if version in keep:
                self._unwanted_since.pop(version, None)
                continue
            since = self._unwanted_since.setdefault(version, now)
            if now - since >= (self._keep_s if version == self._before else self._grace_s):
                self._drop(version)

    def _drop(self, version: str) -> None:
        servings = dict(self._servings)
        gone = servings.pop(version)
        self._servings = servings
        self._unwanted_since.pop(version, None)
        closing = asyncio.run_coroutine_threadsafe(gone.close(), self._loop)
        closing.add_done_callback(lambda done: self._closed(gone, done))
        _log.info("dropped model %s %s", self.name, version)

    def _closed(self, gone: Serving, done: Future[None]) -> None:
        """Forgets what was counted of a version, which its threads might have counted until now."""
        if not done.cancelled() and (error := done.exception()) is not None:
            _log.error("closing %s %s failed for a reason that is a defect", self.name, gone.version, exc_info=error)
        if gone.version in self._servings:
            return  # It is wanted again, and counts anew.
        self._metrics.version_gone(self.name, gone.version)
        self._equipment.metrics.catalogues.gone(self.name, gone.version)
        self._on_drop(gone)
