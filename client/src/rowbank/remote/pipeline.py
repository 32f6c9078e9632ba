"""Reads and writes of a server, one after the other in the order given: at once, or beside the caller's own work."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Generic, TypeVar

from rowbank.calls.forked import forks
from rowbank.errors import InvalidRequest

T = TypeVar("T")


class Pending(Generic[T]):
    """The result of a read, perhaps still on its way; it is the process's that handed the read in."""

    def __init__(self, future: Future[T]) -> None:
        self._future = future
        self._pid = os.getpid()

    def result(self) -> T:
        """Waits for it. Raises what the read failed with, and `InvalidRequest` in a forked child."""
        if os.getpid() != self._pid:
            raise InvalidRequest(
                f"batch: it was looked up for process {self._pid}, which forked this one; enqueue it in this process"
            )
        return self._future.result()


class Pipeline:
    """One line of calls.

    Problem: a step's lookups should run while the step before computes, yet read neither more nor less than one step
    of stale rows. Idea: one thread runs all calls in the order they are handed in. The caller hands in the reads of
    step n + 1 before it computes step n, and step n's write when that is done; so the reads of step n + 1 run after
    the write of step n - 1 and before that of step n, however fast or slow either side is. A write waits until the one
    before is done, so at most one is under way.

    Args:
        background: False: every call runs at once in the caller's thread.
    """

    def __init__(self, *, background: bool) -> None:
        self.background = background
        self._begin()
        forks.watch(self)

    def renew(self) -> None:
        """Begins anew in a forked child: what is under way is the parent's, and so is the thread."""
        self._begin()

    def _begin(self) -> None:
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="rowbank-pipeline") if self.background else None
        self._write: Future[Any] | None = None

    def read(self, call: Callable[[], T]) -> Pending[T]:
        """Hands a read in; its failure is raised where the result is asked for."""
        return Pending(self._run(call))

    def write(self, call: Callable[[], Any]) -> None:
        """Hands a write in once the one before is done.

        In the background its failure is raised by the next `write` or `flush`, once; the write that is then handed in
        is not done.
        """
        self.flush()
        self._write = self._run(call)
        if not self.background:
            self.flush()

    def flush(self) -> None:
        """Waits until every write is done; raises its failure, if that was not raised yet."""
        if self._write is None:
            return
        wait([self._write])  # Who interrupts this learns of the failure next time.
        pending, self._write = self._write, None
        pending.result()

    def close(self) -> None:
        """`flush`, then ends the thread."""
        try:
            self.flush()
        finally:
            if self._worker is not None:
                self._worker.shutdown()

    def _run(self, call: Callable[[], T]) -> Future[T]:
        if self._worker is not None:
            return self._worker.submit(call)
        done: Future[T] = Future()
        try:
            done.set_result(call())
        except Exception as error:
            done.set_exception(error)
        return done


class Lookahead:
    """Takes elements from iterators one ahead of their use, each handed to `prepare` when it is taken.

    Args:
        prepare: element -> what `take` gives for it, such as lookups under way.
        ahead: False: an element is taken when it is used.
    """

    def __init__(self, prepare: Callable[[Any], Any], *, ahead: bool) -> None:
        self._prepare = prepare
        self._ahead = ahead
        self._iterator: Iterator[Any] | None = None
        self._next: Any = None
        self._failure: Exception | None = None

    def take(self, iterator: Iterator[Any]) -> Any:
        """The iterator's next element, prepared. Raises what the iterator raised for it."""
        if not self._ahead:
            return self._prepare(next(iterator))
        if iterator is not self._iterator:
            self._iterator = iterator
            self._fetch(iterator)
        if self._failure is not None:
            failure, self._failure, self._iterator = self._failure, None, None
            raise failure
        current = self._next
        self._fetch(iterator)
        return current

    def _fetch(self, iterator: Iterator[Any]) -> None:
        self._next = self._failure = None
        try:
            self._next = self._prepare(next(iterator))
        except Exception as error:  # Including the iterator's end: its turn comes after the current element.
            self._failure = error
