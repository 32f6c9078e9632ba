"""Calls to a neighbour that may stand still: nobody waits for them longer than they can afford.

A timeout of a library is no bound: it counts per socket read, and reconnecting, retries, a Cluster's topology and name
resolution each add theirs. So the call runs in a thread that may be left behind, and the caller waits for the thread.
The threads are few and fixed: calls that do not come back fill them and no more, however many requests come.

Once a call failed or was left behind, the breaker opens: calls are refused at once, and one at a time is let through to
see how things are. What cannot be known: whether a call that was left behind still takes effect.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from rowbank.errors import RequestError

T = TypeVar("T")
_NEVER = float("-inf")


class _Job(Generic[T]):
    """One call on its way through a thread.

    Attributes:
        within_s: the longest its caller waits; None: as long as it takes.
        is_probe: it was let through by an open breaker.
        left: its caller waits no more. Under the guard's lock, as `ended`.
    """

    def __init__(self, work: Callable[[], T], within_s: float | None, is_probe: bool) -> None:
        self.work = work
        self.context = contextvars.copy_context()  # Who it is for, which logs and traces go by.
        self.within_s = within_s
        self.is_probe = is_probe
        self.started_s: float | None = None
        self.ended = False
        self.left = False
        self._done = threading.Lock()  # Held until it has ended: an Event takes three locks for the same.
        self._done.acquire()
        self.on_done: Callable[[], None] | None = None
        self.answer: T | None = None
        self.error: BaseException | None = None

    def finish(self) -> None:
        """Says that it has ended, once."""
        self._done.release()

    def wait(self, within_s: float | None) -> bool:
        """Whether it has ended within so long. For one waiter."""
        return self._done.acquire(timeout=-1 if within_s is None else min(within_s, threading.TIMEOUT_MAX))

    def result(self) -> T:
        if self.error is not None:
            raise self.error
        return self.answer  # type: ignore[return-value]


class Guard:
    """Runs calls to one neighbour in threads of its own, behind a breaker. Thread-safe.

    Args:
        what: the neighbour as errors name it: "Redis".
        unavailable: the error that is raised for it.
        threads: calls at the same time; further ones wait for a thread, which counts for their callers.
        pause_s: how long an open breaker refuses before it lets a call through.
        probe_aside: an open breaker lets a call through beside its caller, who is refused: for reads, so that finding
            out costs nobody anything. Otherwise the caller waits for it.
        quick_s: a failure that comes sooner costs its caller little, and opens nothing.
        patience_s: a call that was left behind sooner says nothing of the neighbour, only that its caller was in a
            hurry. It opens the breaker once it has kept its thread for so long, when another caller gives up.
    """

    def __init__(
        self,
        what: str,
        unavailable: Callable[[str], RequestError],
        *,
        threads: int,
        pause_s: float = 1.0,
        probe_aside: bool = False,
        quick_s: float = 0.0,
        patience_s: float = 0.0,
    ) -> None:
        self._what = what
        self._unavailable = unavailable
        self._pause_s = pause_s
        self._probe_aside = probe_aside
        self._quick_s = quick_s
        self._patience_s = patience_s
        self._running: set[_Job[Any]] = set()
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[_Job[Any]] = queue.SimpleQueue()
        self._closed_until = _NEVER  # The breaker is open while this is a time.
        self._probing = False
        for number in range(threads):
            threading.Thread(target=self._run, name=f"guard-{what}-{number}", daemon=True).start()

    @property
    def is_open(self) -> bool:
        """Whether calls are refused."""
        return self._closed_until > _NEVER

    def call(self, work: Callable[[], T], *, within_s: float | None) -> T:
        """What `work` returns or raises.

        Args:
            within_s: the longest wait; None: as long as it takes.
        Raises:
            the guard's error: the breaker is open, or there is no answer in time.
        """
        job = self._admit(work, within_s)
        if job.wait(within_s):
            return job.result()
        return self._leave(job)

    async def acall(self, work: Callable[[], T], *, within_s: float) -> T:
        """As `call`, for a coroutine."""
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # The loop has ended, and its coroutine with it.
                loop.call_soon_threadsafe(ready.set)

        job = self._admit(work, within_s, wake)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(ready.wait(), within_s)
        return job.result() if job.wait(0.0) else self._leave(job)

    def _admit(
        self, work: Callable[[], T], within_s: float | None, on_done: Callable[[], None] | None = None
    ) -> _Job[T]:
        if within_s is not None and within_s <= 0:
            raise self._unavailable(f"{self._what} was not asked: the time for this request is used up")
        with self._lock:
            is_probe = self.is_open
            if is_probe and (self._probing or time.monotonic() < self._closed_until):
                raise self._refused()
            self._probing = self._probing or is_probe
            job: _Job[T] = _Job(work, within_s, is_probe)
            job.on_done = on_done
        self._jobs.put(job)
        if is_probe and self._probe_aside:
            raise self._refused()
        return job

    def _leave(self, job: _Job[T]) -> T:
        """The caller's time is over: leaves the job behind, unless it has just ended."""
        with self._lock:
            if not job.ended:
                job.left = True
                # A job that no thread took up says nothing of the neighbour; those that keep the threads do.
                now = time.monotonic()
                if any(one.left and now - (one.started_s or now) >= self._patience_s for one in self._running):
                    self._closed_until = max(self._closed_until, now + self._pause_s)
        if job.ended:
            return job.result()
        raise self._unavailable(
            f"{self._what} did not answer within {job.within_s:.3g} s and is left alone for a moment; what was asked "
            "of it may still be done"
        )

    def _refused(self) -> RequestError:
        return self._unavailable(f"{self._what} failed a moment ago and is left alone until it answers again")

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            with self._lock:
                if job.left:  # Nobody waits, and nothing has happened yet: let nothing happen.
                    self._probing = self._probing and not job.is_probe
                    continue
                job.started_s = time.monotonic()
                self._running.add(job)
            try:
                job.answer = job.context.run(job.work)
            except BaseException as error:
                job.error = error
            self._ended(job)

    def _ended(self, job: _Job[Any]) -> None:
        with self._lock:
            now = time.monotonic()
            assert job.started_s is not None
            self._running.discard(job)
            if job.is_probe:
                self._probing = False
            took_s = now - job.started_s
            if isinstance(job.error, RequestError) and job.error.retryable:
                self._closed_until = now + self._pause_s if took_s >= self._quick_s else _NEVER
            elif job.left or (job.within_s is not None and took_s > job.within_s):
                self._closed_until = now if self.is_open else _NEVER  # It answers again; how soon, a probe shows.
            else:
                self._closed_until = _NEVER
            job.ended = True
        job.finish()
        if job.on_done is not None:
            job.on_done()
