"""Looks at what answers slowly, or not at all, while somebody watches; whoever asks gets the last look at once."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rowbank.errors import RequestError

T = TypeVar("T")
_log = logging.getLogger("rowbank.http")
_WATCHED_S = 15.0  # So long after somebody asked.
_FIRST_WAIT_S = 1.0


@dataclass(frozen=True, slots=True)
class Look(Generic[T]):
    """What was seen last.

    Attributes:
        value: None: nothing yet.
        age_s: how long ago.
        problem: why it is not newer; empty: it is.
    """

    value: T | None
    age_s: float
    problem: str


class Watch(Generic[T]):
    """Calls `look` about every `interval_s` in a thread of its own, as long as `latest` is asked for."""

    def __init__(self, look: Callable[[], T], *, interval_s: float = 2.0) -> None:
        self._look = look
        self._interval_s = interval_s
        self._changed = threading.Condition()
        self._value: T | None = None
        self._seen_s = 0.0
        self._problem = ""
        self._wanted_until_s = 0.0
        self._thread: threading.Thread | None = None
        self._stopping = False

    def latest(self) -> Look[T]:
        """The last look; the first one is waited for, for a second."""
        with self._changed:
            self._wanted_until_s = time.monotonic() + _WATCHED_S
            if self._thread is None and not self._stopping:
                self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
                self._thread.start()
            self._changed.wait_for(lambda: self._value is not None or self._problem, _FIRST_WAIT_S)
            age_s = time.monotonic() - self._seen_s if self._value is not None else 0.0
            return Look(self._value, age_s, self._problem)

    def stop(self) -> None:
        """Ends the thread; one that waits for an answer ends with it."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            self._once()
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, self._interval_s)
                if self._stopping or time.monotonic() > self._wanted_until_s:
                    self._thread = None
                    return

    def _once(self) -> None:
        try:
            value, problem = self._look(), ""
        except RequestError as error:
            value, problem = None, error.message
        except Exception as error:
            _log.exception("what /ui shows could not be found out for a reason that is a defect")
            value, problem = None, f"{type(error).__name__}; the log has the details"
        with self._changed:
            if value is not None:
                self._value, self._seen_s = value, time.monotonic()
            self._problem = problem
            self._changed.notify_all()


class Watches(Generic[T]):
    """A watch by name, for so many names at the same time; the one that was asked for least recently goes first."""

    def __init__(self, look: Callable[[str], T], *, interval_s: float = 2.0, most: int = 16) -> None:
        self._look = look
        self._interval_s = interval_s
        self._most = most
        self._held: OrderedDict[str, Watch[T]] = OrderedDict()
        self._lock = threading.Lock()

    def latest(self, name: str) -> Look[T]:
        """As of `Watch`, of `name`."""
        with self._lock:
            watch = self._held.pop(name, None) or Watch(lambda: self._look(name), interval_s=self._interval_s)
            self._held[name] = watch
            if len(self._held) > self._most:
                self._held.popitem(last=False)[1].stop()
        return watch.latest()

    def stop(self) -> None:
        """Ends all."""
        with self._lock:
            for watch in self._held.values():
                watch.stop()


def problems(looks: Mapping[str, Look[Any]]) -> list[dict[str, Any]]:
    """What could not be found out just now, and how old what is shown instead is."""
    return [
        {"what": what, "problem": look.problem, "age_s": look.age_s if look.value is not None else None}
        for what, look in looks.items()
        if look.problem
    ]
