"""Rows kept in this process, for reads that may be some steps old; see docs/near-cache.md for what a step is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rowbank import _kernels
from rowbank._checks import at_least
from rowbank.calls.arrays import Floats, Keys
from rowbank.calls.forked import forks
from rowbank.errors import InvalidRequest
from rowbank.optimizers import SGD
from rowbank.rows import NearTableStats
from rowbank.specs import TableSpec

if TYPE_CHECKING:
    from rowbank._kernels import NearCache as _Kept

_NO_KEYS: Keys = np.empty(0, np.int64)


@dataclass(slots=True, eq=False)
class NearRead:
    """What a read of distinct keys found here.

    Attributes:
        values, status: [U, dim] and [U]; those of missing keys are for the caller to `take`, and where a server answers
            all keys at once they become what it answered, which is read-only.
        places: [M] int64, the missing keys' places among the keys.
        missing: [M] int64 keys.
    """

    kept: _Kept
    token: int
    keys: Keys
    values: Floats
    status: npt.NDArray[np.uint8]
    places: npt.NDArray[np.int64]
    missing: Keys

    def take(self, where: slice | npt.NDArray[np.intp], values: Floats, status: npt.NDArray[np.uint8]) -> None:
        """Writes what a server answered of a part of the missing keys."""
        places = self.places[where]
        if len(places) == len(self.keys):  # Nothing was found here, so that nothing has to be put together.
            self.values, self.status = values, status
        else:
            self.kept.take(places, values, status, self.values, self.status)

    def end(self, *, keep: bool) -> None:
        """Ends the read, once; keeps the missing rows, which have all been written by then, if it succeeded."""
        if self.token:
            places = self.places if keep else self.places[:0]
            self.kept.fill(self.token, self.keys, self.values, self.status, places)


class NearTables:
    """The kept rows of each table that a client reads. Thread-safe; in a forked child it starts empty.

    Args:
        max_bytes: of all tables together, which have equal parts of it.
        max_staleness_steps: at least 1.
    """

    def __init__(self, max_bytes: int, max_staleness_steps: int) -> None:
        self._max_bytes = max_bytes
        self._max_steps = max_staleness_steps
        self._lock = forks.Lock()
        self._tables: dict[str, _Kept] = {}
        self._dims: dict[str, int] = {}
        forks.watch(self)

    def renew(self) -> None:
        """Forgets what a parent had, whose threads may have been in the middle of it."""
        forks.keep_for_ever(self._tables)
        self._tables, self._dims = {}, {}

    def read(self, spec: TableSpec, keys: Keys) -> NearRead:
        """Begins a read of distinct keys, which has to be ended."""
        kept = self._table(spec)
        values, status = np.empty((len(keys), spec.dim), np.float32), np.empty(len(keys), np.uint8)
        places = np.empty(len(keys), np.int64)
        token, misses = kept.read(keys, values, status, places)
        places = places[:misses]
        missing = keys if misses == len(keys) else keys[places]
        return NearRead(kept, token, keys, values, status, places, missing)

    @contextlib.contextmanager
    def writing(self, table: str, keys: Keys | None) -> Iterator[None]:
        """While it lasts, rows of these keys are being changed, or of all if None; none of the old ones is kept."""
        kept = self._known(table)
        token = 0 if kept is None else kept.begin_write(_NO_KEYS if keys is None else keys, keys is None, False)
        try:
            yield
        finally:
            self._end(table, kept, token, None, 0.0)

    @contextlib.contextmanager
    def pushing(self, spec: TableSpec, keys: Keys, gradients: Any, overrides: Any) -> Iterator[None]:
        """As `writing`; rows that plain SGD moves in float32 are moved here, too, once the push is acknowledged."""
        kept = self._known(spec.name)
        rate = _rate(spec, overrides) if gradients.dtype == np.float32 else None
        token = 0 if kept is None else kept.begin_write(keys, False, rate is not None)
        done = False
        try:
            yield
            done = rate is not None
        finally:
            self._end(spec.name, kept, token, gradients if done else None, rate or 0.0)

    def forget(self, tables: Sequence[str]) -> None:
        """Drops all rows of tables, also those of reads that are under way."""
        for table in tables:
            with self.writing(table, None):
                pass

    def stats(self) -> dict[str, NearTableStats]:
        """What there is and what it was good for, by table."""
        with self._lock:
            tables = dict(self._tables)
        return {name: NearTableStats(**kept.counts(), ages=tuple(kept.ages())) for name, kept in tables.items()}

    def _end(self, table: str, kept: _Kept | None, token: int, gradients: Any, rate: float) -> None:
        if kept is not None:
            kept.end_write(token, gradients, rate)
        now = self._known(table)
        if now is not None and now is not kept:  # It was made while the write was under way, of which it knew nothing.
            now.end_write(now.begin_write(_NO_KEYS, True, False), None, 0.0)

    def _known(self, table: str) -> _Kept | None:
        with self._lock:  # Writes to tables that are never read cost no more than this.
            return self._tables.get(table)

    def _table(self, spec: TableSpec) -> _Kept:
        with self._lock:
            kept = self._tables.get(spec.name)
            if kept is not None and self._dims[spec.name] == spec.dim:
                return kept
            # A table more: the parts are smaller now. All begin anew, which happens in the first steps only.
            self._dims[spec.name] = spec.dim
            part = self._max_bytes // len(self._dims)
            self._tables = {name: _kernels.near_cache(dim, part, self._max_steps) for name, dim in self._dims.items()}
            return self._tables[spec.name]


def near_tables(near_cache_bytes: int, max_staleness_steps: int) -> NearTables | None:
    """What a client's arguments ask for; None: nothing is kept. Raises `InvalidRequest`."""
    size = at_least("near_cache_bytes", near_cache_bytes, 0)
    steps = at_least("max_staleness_steps", max_staleness_steps, 0)
    if size == 0 or steps == 0:
        return None
    if not _kernels.NATIVE:
        raise InvalidRequest("near_cache_bytes: expected 0 where the client is installed without its native part")
    return NearTables(size, steps)


@contextlib.contextmanager
def writing(near: NearTables | None, parts: Mapping[str, Keys | None]) -> Iterator[None]:
    """While it lasts, these keys of these tables are being changed; None: all of a table's."""
    with contextlib.ExitStack() as stack:
        if near is not None:
            for table, keys in parts.items():
                stack.enter_context(near.writing(table, keys))
        yield


def _rate(spec: TableSpec, overrides: Any) -> float | None:
    """The learning rate, if nothing but it matters to what a push does to a row."""
    optimizer = spec.optimizer
    clip = optimizer.clip_value if overrides.clip_value is None else overrides.clip_value
    norm = optimizer.max_norm if overrides.max_norm is None else overrides.max_norm
    if not isinstance(optimizer, SGD) or clip or norm or spec.value_dtype != "float32":
        return None
    return float(optimizer.learning_rate if overrides.learning_rate is None else overrides.learning_rate)
