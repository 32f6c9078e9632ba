"""The recall of what a version serves: measured when somebody asks, and now and then by itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.index.probe import MAX_PROBE_S, Piece, Probe, probe

_log = logging.getLogger("rowbank.api")
_QUERIES = 16  # Of a probe that nobody asked for.
_WATCH_S = 2.0  # Longest that such a probe takes, as it takes a core from queries.
_K = 100
_STOP_WAIT_S = 5.0


def probe_generation(
    generation: Generation,
    *,
    queries: int = 100,
    k: int = _K,
    exclude: npt.NDArray[np.uint8] | None = None,
    given: npt.NDArray[np.float32] | None = None,
    seed: int = 0,
    max_s: float = MAX_PROBE_S,
) -> Probe:
    """Compares what a generation finds with an exact search, in the caller's thread, for up to `max_s` or so.

    Args:
        exclude: [span / 8] uint8: what a filter leaves out; None: nothing. What is not indexed is left out anyway.
        given: [Q, vector_dim]: queries that were really asked; without them, queries are made of items' vectors.
    """
    left_out = generation.unindexed if exclude is None else generation.unindexed | exclude
    return probe(
        generation,
        [Piece(part.start, part.segment.index) for part in generation.parts],
        left_out,
        k=k,
        queries=queries,
        given=given,
        seed=seed,
        items=generation.item_count,
        max_s=max_s,
    )


class RecallWatch:
    """Probes what a version serves every `interval_s`, on a thread of its own, with other queries each time.

    Args:
        current: the generation in service, or None.
        report: gets every probe, on that thread.
        interval_s: 0: it never probes.
    """

    def __init__(
        self, current: Callable[[], Generation | None], report: Callable[[Probe], None], interval_s: float
    ) -> None:
        self._current = current
        self._report = report
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recall-watch", daemon=True)

    def start(self) -> None:
        """Starts the thread, unless it has nothing to do. The first probe follows at once."""
        if self._interval_s > 0:
            self._thread.start()

    def stop(self) -> None:
        """Ends the thread; a probe under way is waited for a moment."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_WAIT_S)

    def _run(self) -> None:
        seed = 0
        while not self._stop.is_set():
            generation = self._current()
            if generation is not None and generation.indexed_count:
                self._probe(generation, seed)
            seed += 1
            self._stop.wait(self._interval_s)

    def _probe(self, generation: Generation, seed: int) -> None:
        try:
            told = probe_generation(generation, queries=_QUERIES, seed=seed, max_s=_WATCH_S)
            if not self._stop.is_set():
                self._report(told)
        except Exception:
            _log.exception("measuring the recall of %s failed for a reason that is a defect", generation.index_version)
