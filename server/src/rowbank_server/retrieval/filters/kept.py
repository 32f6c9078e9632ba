"""What was computed and may be asked for again, up to so many bytes: what was not used longest goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import numpy.typing as npt


class Kept:
    """Arrays by what they were made for. Thread-safe; two threads may make the same one at the same time.

    Args:
        limit_bytes: of all arrays; the newest one is kept even if it is larger.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._arrays: OrderedDict[Hashable, npt.NDArray[Any]] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._arrays)

    def get(self, key: Hashable, make: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """The array of a key, made if it is not there. Nobody may change it."""
        with self._lock:
            found = self._arrays.get(key)
            if found is not None:
                self._arrays.move_to_end(key)
                return found
        made = make()
        made.flags.writeable = False
        with self._lock:
            if key not in self._arrays:
                self._arrays[key] = made
                self.bytes += made.nbytes
            while self.bytes > self._limit and len(self._arrays) > 1:
                _, gone = self._arrays.popitem(last=False)
                self.bytes -= gone.nbytes
        return made
