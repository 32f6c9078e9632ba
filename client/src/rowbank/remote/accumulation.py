"""Gradients of several steps, held back and then pushed as those of one."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from rowbank.errors import InvalidRequest

T = TypeVar("T")


class Accumulation(Generic[T]):
    """What steps have for the server, until it is pushed. Thread-safe.

    Args:
        send: pushes the parts of several steps at once, their gradients multiplied by a number.
        every: after how many steps it is pushed by itself; None: when `push` is called.
        scale: that number: 1.0 adds the steps' gradients up, 1 / n takes their mean.
    Raises:
        InvalidRequest: an argument is out of range.
    """

    def __init__(self, send: Callable[[list[T], float], None], *, every: int | None, scale: float) -> None:
        if every is not None and (isinstance(every, bool) or not isinstance(every, int) or every < 1):
            raise InvalidRequest(f"every: expected a number of steps of at least 1, or None, got {every!r}")
        if not (math.isfinite(scale) and scale > 0):
            raise InvalidRequest(f"scale: expected a finite number above 0, got {scale!r}")
        self._send = send
        self._every = every
        self._scale = scale
        self._parts: list[T] = []
        self._steps = 0
        self._lock = threading.Lock()

    @property
    def steps(self) -> int:
        """How many steps are held back."""
        return self._steps

    def add(self, parts: Sequence[T]) -> None:
        """Holds the parts of one step, and pushes if that makes `every`."""
        with self._lock:
            self._parts += parts
            self._steps += 1
            if self._every is not None and self._steps >= self._every:
                self._push()

    def push(self) -> int:
        """Pushes what is held back, as one step of each table's optimizer; answers of how many steps it was.

        Raises:
            RowbankError: the push failed; all is still held back.
        """
        with self._lock:
            return self._push()

    def discard(self) -> None:
        """Forgets what is held back."""
        with self._lock:
            self._parts, self._steps = [], 0

    def _push(self) -> int:
        steps = self._steps
        if self._parts:
            self._send(self._parts, self._scale)
        self._parts, self._steps = [], 0
        return steps
