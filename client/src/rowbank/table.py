"""One table of a server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rowbank._checks import at_least, seconds
from rowbank.admin import RestrictReport, RowInfo, TableInfo, TableStats, TopRows
from rowbank.advising import REGRET_BELOW
from rowbank.calls import asking, restricting, verbs
from rowbank.insight import Advice, FrequencyHistogram, RowExplanation, Simulation, WhatIf
from rowbank.rows import ExportChunk, Rows
from rowbank.specs import TableSpec
from rowbank.tracing import rows_span


class Connection(Protocol):
    """What a table needs of its client."""

    @property
    def calls(self) -> verbs.Calls: ...

    def pull(
        self,
        keys: Mapping[str, Any],
        *,
        max_staleness_s: float | None = None,
        at_least: Mapping[int, int] | None = None,
        dtype: str | None = None,
    ) -> dict[str, npt.NDArray[np.float32]]: ...

    def push_all(
        self,
        pushes: Sequence[verbs.Push],
        *,
        step: int | None = None,
        learning_rate: float | None = None,
        clip_value: float | None = None,
        max_norm: float | None = None,
    ) -> dict[str, int]: ...

    def stats(self, table: str | None) -> list[TableStats]: ...

    def table_info(self, name: str) -> TableInfo: ...


class Table:
    """A handle on one table: `client.create_table(spec)` or `client.table(name)`. Thread-safe.

    Keys are integers of any shape, as an array or anything that NumPy makes one of; they must fit int64. Where rows
    go in or out, their shape is the keys' shape with `dim` added. Keys may repeat. Empty batches answer at once.

    Every method raises `TableNotFound` if the table was dropped, `InvalidRequest` or `DimMismatch` for arguments of a
    wrong type or shape before anything is sent, `RequestTooLarge` past a limit, and `ShardUnavailable` or
    `DeadlineExceeded` if a shard does not answer.
    """

    def __init__(self, client: Connection, spec: TableSpec) -> None:
        self._client = client
        self.spec = spec

    def __repr__(self) -> str:
        return f"Table({self.name!r}, dim={self.dim})"

    @property
    def name(self) -> str:
        """The table's name."""
        return self.spec.name

    @property
    def dim(self) -> int:
        """Width of a row."""
        return self.spec.dim

    def pull(
        self,
        keys: Any,
        *,
        max_staleness_s: float | None = None,
        at_least: Mapping[int, int] | None = None,
        dtype: str | None = None,
    ) -> npt.NDArray[np.float32]:
        """Reads rows for training. Never inserts: an unseen key reads its initial value.

        Args:
            keys: [...] integers; repeats are sent once.
            max_staleness_s, at_least, dtype: see `Client.pull`.
        Returns:
            [..., dim] float32 in the order of the keys; read-only, as it may be the received message itself.
        Side effects: renews `last_used` of stored rows if the spec says `track_reads`.
        """
        read = self._client.pull({self.name: keys}, max_staleness_s=max_staleness_s, at_least=at_least, dtype=dtype)
        return read[self.name]

    def push(
        self,
        keys: Any,
        gradients: Any,
        *,
        counts: Any = None,
        step: int | None = None,
        learning_rate: float | None = None,
        clip_value: float | None = None,
        max_norm: float | None = None,
    ) -> int:
        """Applies gradients through the table's optimizer, on the server. An unseen key gets its row here.

        Args:
            keys: [...] integers; the gradients of a repeated key are summed first.
            gradients: [..., dim] floats, finite.
            counts: [...] integers: occurrences that each gradient stands for, added to the key's frequency;
                None: one each.
            step: the optimizer's step, from 1, for bias correction; None: the server counts the table's pushes.
            learning_rate, clip_value, max_norm: instead of the optimizer's, for this push only.
        Returns:
            The step that was used; 0 if there were no keys.
        Raises:
            NonFiniteGradient: a gradient is NaN or infinite.
            RequestTooLarge: the push does not fit into one request per shard. It is not split, since each request
                counts as a step of its own.
        Side effects: the push is applied once even if a connection breaks and it has to be sent again.
        """
        push = verbs.Push(self.name, keys, gradients, counts)
        steps = self._client.push_all(
            [push], step=step, learning_rate=learning_rate, clip_value=clip_value, max_norm=max_norm
        )
        return steps[self.name]

    def lookup(
        self,
        keys: Any,
        *,
        with_metadata: bool = False,
        max_staleness_s: float | None = None,
        at_least: Mapping[int, int] | None = None,
        dtype: str | None = None,
    ) -> Rows:
        """Reads stored rows without side effects; answers float32, however they travel.

        Args:
            keys: [...] integers.
            with_metadata: whether to answer frequency and last_used too.
            max_staleness_s, at_least, dtype: see `Client.pull`.
        """
        calls = self._client.calls.reading(max_staleness_s, at_least, dtype)
        with rows_span("lookup", [(self.name, keys)]):
            return verbs.lookup(calls, self.spec, keys, with_metadata=with_metadata)

    def upsert(self, keys: Any, values: Any) -> int:
        """Stores rows as they are; a new row starts with frequency 0 and fresh optimizer state.

        A batch beyond a request's limits is sent in several; if one of them fails, the earlier ones stay applied.

        Args:
            keys: [...] integers; of a repeated key the last row counts.
            values: [..., dim] floats, finite.
        Returns:
            How many rows are new.
        """
        with rows_span("upsert", [(self.name, keys)]):
            return verbs.upsert(self._client.calls, self.spec, keys, values)

    def accumulate(self, keys: Any, deltas: Any, exists: Any) -> int:
        """Adds to rows that the caller saw, inserts rows that it did not see.

        Per key: present and `exists`: added. Absent and not `exists`: inserted. Otherwise: ignored.

        Args:
            keys: [...] integers.
            deltas: [..., dim] floats, finite.
            exists: [...] bool, or one bool for all.
        Returns:
            How many keys were added to or inserted.
        """
        with rows_span("accumulate", [(self.name, keys)]):
            return verbs.accumulate(self._client.calls, self.spec, keys, deltas, exists)

    def remove(self, keys: Any) -> int:
        """Removes rows; returns how many there were. Keys that have no row are ignored."""
        with rows_span("remove", [(self.name, keys)]):
            return verbs.remove(self._client.calls, self.spec, keys)

    def touch(self, keys: Any, *, counts: Any = None) -> int:
        """Adds occurrences to the frequency of stored rows and renews their last_used, without a gradient.

        Args:
            keys: [...] integers; a repeated key is counted as often.
            counts: [...] integers; None: one each.
        Returns:
            How many distinct rows were touched.
        """
        return verbs.touch(self._client.calls, self.spec, keys, counts)

    def clear(self, *, force: bool = False) -> int:
        """Removes all rows; returns how many there were.

        Args:
            force: also if a stored model version or a running job holds the table.
        Raises:
            TableHeld: somebody holds it; the message names who. Nothing was removed.
            TableFrozen: it is a version's read-only copy.
        """
        return verbs.clear(self._client.calls, self.name, force=force)

    def size(self, *, max_staleness_s: float | None = None, at_least: Mapping[int, int] | None = None) -> int:
        """Stored rows, over all shards; for `max_staleness_s` and `at_least` see `Client.pull`."""
        return sum(verbs.sizes(self._client.calls.reading(max_staleness_s, at_least), self.name))

    def export(
        self, *, with_slots: bool = False, chunk_rows: int | None = None, timeout_s: float | None = None
    ) -> Iterator[ExportChunk]:
        """All stored rows, shard by shard, in no order, while the table stays in use.

        A row that is changed meanwhile appears as it was or as it is; one that is inserted or removed meanwhile may
        appear or not; every other row appears exactly once.

        Args:
            with_slots: whether to export optimizer state too.
            chunk_rows: rows per chunk at most; None: the server's choice.
            timeout_s: deadline per shard; None: none, as a large table takes its time.
        """
        return verbs.export(
            self._client.calls, self.spec, with_slots=with_slots, chunk_rows=chunk_rows, timeout_s=timeout_s
        )

    def import_rows(self, chunks: Iterable[ExportChunk], *, step: int = 0, timeout_s: float | None = None) -> int:
        """Stores exported rows with their frequency, last_used and optimizer state; importing twice changes nothing.

        Args:
            chunks: as `export` gives them; without slots, rows get fresh optimizer state.
            step: of the table that the rows are from, so that steps which the server counts go on from there.
            timeout_s: deadline per request; None: none.
        Returns:
            How many rows were stored.
        """
        calls = self._client.calls
        at_least("step", step, 0)
        timeout_s = None if timeout_s is None else seconds("timeout_s", timeout_s)
        imported = sum(verbs.import_rows(calls, self.spec, chunk, timeout_s=timeout_s) for chunk in chunks)
        if step:
            verbs.raise_step(calls, self.name, step)
        return imported

    def restrict(
        self,
        num_reserved: int,
        trigger: int | None = None,
        by: str = "frequency",
        *,
        sample: int = 0,
        reason: str = "restrict",
    ) -> RestrictReport:
        """Evicts the lowest rows if there are more than `trigger`, so that exactly `num_reserved` are left.

        Rows rank by score, then by last use, then by a hash of the key, over all shards alike. What is written while it
        runs may change which rows go, never how many stay; docs/eviction.md says how.

        Args:
            num_reserved: rows to keep, at least 0.
            trigger: None: `num_reserved`.
            by: "frequency" or "last_used".
            sample: how many evicted keys to name in the report.
            reason: what the eviction history says: "restrict" (a program's policy) or "manual" (an operator).
        """
        return restricting.restrict(
            self._client.calls, self.name, num_reserved, trigger, by, sample=sample, preview=False, reason=reason
        )

    def preview_eviction(
        self, num_reserved: int, trigger: int | None = None, by: str = "frequency", *, sample: int = 0
    ) -> RestrictReport:
        """What `restrict` would do, without doing it."""
        return restricting.restrict(
            self._client.calls, self.name, num_reserved, trigger, by, sample=sample, preview=True
        )

    def stats(self) -> TableStats:
        """Size and counters, over all shards."""
        return self._client.stats(self.name)[0]

    def describe_row(self, key: int) -> RowInfo:
        """Everything about one row, or the initial value that an unseen key reads."""
        return verbs.describe_row(self._client.calls, self.name, key)

    def explain_row(self, key: int) -> RowExplanation:
        """Why a row is where it is in the order of eviction, or why its key has none, and who changed it last."""
        return asking.explain(self._client.calls, self.name, key)

    def frequency_histogram(self) -> FrequencyHistogram:
        """How many rows have which frequency, and were last used how long ago."""
        return asking.histogram(self._client.calls, self.name)

    def simulate_eviction(self, what_ifs: Sequence[WhatIf | str] = ()) -> Simulation:
        """What other policies would do with the traffic of late, and with the rows that there are; changes nothing.

        Args:
            what_ifs: at most 32, as `WhatIf` or in its text form, such as "max_rows=2M,policy=lru".
        Raises:
            InvalidRequest: one of them makes no sense.
        """
        return asking.simulate(self._client.calls, self.name, what_ifs)

    def advise_eviction(self, *, regret_below: float = REGRET_BELOW) -> Advice:
        """Which cap would keep rows from going too early: so that at most that share of pushes is regretted.

        Raises:
            InvalidRequest: the table has no cap.
        """
        return asking.advise(self._client.calls, self.name, regret_below)

    def top(self, limit: int = 20, by: str = "frequency") -> TopRows:
        """The keys with the highest frequency or the latest last_used.

        Args:
            limit: at least 1.
            by: "frequency" or "last_used".
        """
        return verbs.top(self._client.calls, self.name, limit, by)
