"""How much of a shard's room callers and tables take at the same time, and who is told to come again.

A caller may take no more than its limit, and no more than is still free: whoever takes half of the room leaves the
other half to all others, and so on, so there is always room for one more caller.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from rowbank.errors import Overloaded

_SOONEST_S = 0.05
_LATEST_S = 5.0
_OTHERS_ROOM = 8  # A caller who takes no more than this is refused only where nothing is left.


@dataclass(frozen=True, slots=True)
class Most:
    """Limits: of all together, of one caller, of one table; settings have their numbers."""

    total: int
    caller: int
    table: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What is in flight now."""

    calls: int
    bytes: int


class InFlight:
    """Counts calls and bytes of requests that have arrived and are not answered. Thread-safe.

    Args:
        on_refused: told why, in a word: "caller_calls", "caller_bytes", "table_calls", "table_bytes", "calls", "bytes".
        retry_after_s: answers when it is worth coming again.
    """

    def __init__(
        self,
        calls: Most,
        size: Most,
        *,
        on_refused: Callable[[str], None],
        retry_after_s: Callable[[], float],
    ) -> None:
        self._calls = _Room("calls", calls)
        self._bytes = _Room("bytes", size)
        self._on_refused = on_refused
        self._retry_after_s = retry_after_s
        self._lock = threading.Lock()

    @property
    def usage(self) -> Usage:
        """What is in flight now."""
        return Usage(self._calls.total, self._bytes.total)

    @contextmanager
    def caller(self, name: str, size: int) -> Iterator[None]:
        """Around a call of `size` bytes. Raises Overloaded."""
        with self._lock:
            refusal = self._calls.caller_refused(name, 1) or self._bytes.caller_refused(name, size)
            if not refusal:
                self._calls.add_caller(name, 1)
                self._bytes.add_caller(name, size)
        if refusal:
            self.refuse(*refusal)
        try:
            yield
        finally:
            with self._lock:
                self._calls.add_caller(name, -1)
                self._bytes.add_caller(name, -size)

    @contextmanager
    def tables(self, names: Sequence[str], size: int) -> Iterator[None]:
        """Around what a call does with tables. Raises Overloaded."""
        with self._lock:
            refusal = self._calls.table_refused(names, 1) or self._bytes.table_refused(names, size)
            if not refusal:
                self._calls.add_tables(names, 1)
                self._bytes.add_tables(names, size)
        if refusal:
            self.refuse(*refusal)
        try:
            yield
        finally:
            with self._lock:
                self._calls.add_tables(names, -1)
                self._bytes.add_tables(names, -size)

    def refuse(self, reason: str, message: str) -> NoReturn:
        """Raises Overloaded."""
        self._on_refused(reason)
        after_s = min(max(self._retry_after_s(), _SOONEST_S), _LATEST_S)
        raise Overloaded(
            f"{message}; nothing was done, try again in a moment", metadata={"retry_after_s": f"{after_s:.3g}"}
        )


class _Room:
    """Calls, or bytes."""

    def __init__(self, unit: str, most: Most) -> None:
        self._unit = unit
        self._most = most
        self.total = 0
        self._callers: Counter[str] = Counter()
        self._tables: Counter[str] = Counter()

    def caller_refused(self, name: str, amount: int) -> tuple[str, str] | None:
        taken, most = self._callers[name], self._most
        # A request that is alone is as large as it may be: max_message_bytes says how large.
        if taken and taken + amount > most.caller:
            return f"caller_{self._unit}", self._said(
                "this caller", taken, amount, f"max_{self._unit}_per_caller", most.caller
            )
        if not self.total:
            return None
        free = most.total - self.total
        if amount > free or (taken > _OTHERS_ROOM * amount and taken + amount > max(free, 0)):
            return self._unit, self._said("all callers", self.total, amount, f"max_{self._unit}", most.total)
        return None

    def table_refused(self, names: Sequence[str], amount: int) -> tuple[str, str] | None:
        for name in names:
            taken = self._tables[name]
            if taken and taken + amount > self._most.table:
                setting = f"max_{self._unit}_per_table"
                return f"table_{self._unit}", self._said(f"table {name!r}", taken, amount, setting, self._most.table)
        return None

    def _said(self, who: str, taken: int, amount: int, setting: str, limit: int) -> str:
        return (
            f"requests of {who}: {taken} {self._unit} are in flight, and {amount} more would pass "
            f"{limit} (setting {setting})"
        )

    def add_caller(self, name: str, amount: int) -> None:
        self.total += amount
        _add(self._callers, name, amount)

    def add_tables(self, names: Sequence[str], amount: int) -> None:
        for name in names:
            _add(self._tables, name, amount)


def _add(counts: Counter[str], name: str, amount: int) -> None:
    counts[name] += amount
    if not counts[name]:
        del counts[name]
