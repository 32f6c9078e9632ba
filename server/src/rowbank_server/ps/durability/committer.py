"""Applies mutations: each once, in one order per table, and answered no sooner than its tables' durability allows.

Per table, the order of application must be the order of positions: replay drops what a row has already seen, so a
mutation that came to a row late with a low position would be dropped there for good. So a position is taken and applied
under the tables' mutation locks. Reads do not take them, and the wait for the journal happens after they are released.

A mutation of relaxed tables is not journaled. While somebody follows it takes a position all the same, and its record
goes to the followers; else it takes no locks and leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.message import Message

from rowbank.errors import RedisUnavailable
from rowbank.tracing import stage
from rowbank_protos.v1 import common_pb2, rows_pb2
from rowbank_server import _core
from rowbank_server.journal.journal import Journal
from rowbank_server.journal.records import Kind, Record, TablePart
from rowbank_server.ps.deltas.log import DeltaLog
from rowbank_server.ps.durability.authors import Author, Authors
from rowbank_server.ps.durability.dedup import DedupWindow, InFlight
from rowbank_server.ps.durability.gate import MutationGate
from rowbank_server.ps.tables.mutations import Mutation
from rowbank_server.security import caller

_NO_REQUEST_ID = common_pb2.RequestId()
_REMOVALS = (Kind.REMOVE, Kind.CLEAR)
_ANSWERS: dict[Kind, type[Message]] = {
    Kind.PUSH: rows_pb2.PushResponse,
    Kind.UPSERT: rows_pb2.UpsertResponse,
    Kind.ACCUMULATE: rows_pb2.AccumulateResponse,
    Kind.REMOVE: rows_pb2.RemoveResponse,
    Kind.CLEAR: rows_pb2.ClearResponse,
    Kind.TOUCH: rows_pb2.TouchResponse,
    Kind.STORE: rows_pb2.StoreResponse,
}


class Committer:
    """Commits mutations of one shard. Thread-safe.

    Args:
        require_room: raises if no mutation may be taken in now.
        require_growth: raises if there is no room for the rows that a mutation would add.
        log: what followers get.
        authors: is told who made what.
        gate: closed for the moment in which a snapshot is taken, or relaxed tables begin to be followed.
        wait_s: how long a repeat waits for the first try of its request.
        before_wait: called when a thread has nothing more to do for a mutation but wait.
    """

    def __init__(
        self,
        journal: Journal,
        dedup: DedupWindow,
        log: DeltaLog,
        authors: Authors,
        *,
        gate: MutationGate,
        require_room: Callable[[], None],
        require_growth: Callable[[Mutation], None] = lambda mutation: None,
        wait_s: float,
        before_wait: Callable[[], None] = lambda: None,
    ) -> None:
        self._journal = journal
        self._dedup = dedup
        self._log = log
        self._authors = authors
        self._gate = gate
        self._require_room = require_room
        self._require_growth = require_growth
        self._wait_s = wait_s
        self._before_wait = before_wait
        self._thread = threading.local()

    def committed(self) -> int:
        """A position that is not below that of the mutation that this thread committed last; 0: that one has none."""
        return int(getattr(self._thread, "position", 0))

    def commit(
        self,
        mutation: Mutation,
        request: bytes,
        request_id: common_pb2.RequestId = _NO_REQUEST_ID,
        *,
        timeout_s: float | None = None,
    ) -> Any:
        """Applies `mutation`, or answers as before if `request_id` names one that was applied. Returns the answer.

        Args:
            request: the request as it came on the wire, for the journal.
            timeout_s: longest wait for the journal, if it is shorter than the journal's own limit.
        Raises:
            RedisUnavailable: nothing was applied, or it is not known yet whether it will last; a repeat finds out.
            InvalidRequest: `request_id` makes no sense.
            NotReady: another process has taken over the shard.
            MemoryLimit: there is no room for new rows; nothing was applied.
        """
        self._thread.position = 0
        if not request_id.client_id:
            return self._apply(mutation, request, None, timeout_s)
        while True:
            entered = self._dedup.enter(request_id, mutation.kind)
            if entered.answer is not None:
                answer: Any = _ANSWERS[mutation.kind].FromString(entered.answer)
                answer.repeated_request = True
                self._thread.position = self._journal.last_position()
                return answer
            in_flight = entered.in_flight
            assert in_flight is not None
            if entered.mine:
                return self._apply(mutation, request, in_flight, timeout_s)
            self._before_wait()
            if not in_flight.wait(self._wait_s if timeout_s is None else min(self._wait_s, timeout_s)):
                raise RedisUnavailable(
                    "this request was sent before and is still under way; send it again to learn what became of it"
                )

    def _must_be_replayed(self, mutation: Mutation) -> bool:
        """Whether a removal from relaxed tables is to be journaled all the same.

        The journal may still have older mutations of these rows, from a push that another table made durable or from
        when the table was journaled. Replayed without the removal, they would bring the rows back.
        """
        return mutation.kind in _REMOVALS and any(
            table.journaled_position > self._journal.trimmed_through for table in mutation.tables
        )

    def _apply(self, mutation: Mutation, request: bytes, in_flight: InFlight | None, timeout_s: float | None) -> Any:
        try:
            self._require_room()
            self._require_growth(mutation)
            durability = max((table.durability for table in mutation.tables), default=common_pb2.DURABILITY_RELAXED)
            relaxed = durability == common_pb2.DURABILITY_RELAXED and not self._must_be_replayed(mutation)
            if not relaxed:
                self._journal.require_room(timeout_s, self._before_wait)
        except BaseException:
            if in_flight is not None:
                in_flight.fail()
            raise
        if relaxed:
            return self._apply_relaxed(mutation, request, in_flight)
        synced = durability == common_pb2.DURABILITY_SYNCED
        with stage("commit.apply"), self._passing(mutation):
            entry, answer = _Ordered(self._journal, self._authors, mutation, request, in_flight).run(synced=synced)
        if entry is not None:
            self._thread.position = entry.position
            with stage("commit.append_wait"):
                self._journal.wait(entry, timeout_s)
        return answer

    @contextlib.contextmanager
    def _passing(self, mutation: Mutation) -> Iterator[None]:
        """Around the application of `mutation`.

        It may have to wait for a write-back, and does so outside: all others wait for those inside while the gate is
        being closed.
        """
        with contextlib.ExitStack() as held:
            mutation.lock_first(held)
            with self._gate.passing():
                yield

    def _apply_relaxed(self, mutation: Mutation, request: bytes, in_flight: InFlight | None) -> Any:
        with stage("commit.apply"), self._passing(mutation):
            # Looked at inside: once the gate was closed, nothing that followers do not get is under way.
            ordered = self._log.ordered
            if not ordered:
                self._gate.note_unfollowed()
            elif not any(table.frozen for table in mutation.tables):
                taken = _Ordered(self._journal, self._authors, mutation, request, in_flight, journaled=False)
                entry, answer = taken.run(synced=False)
                if entry is not None:
                    self._thread.position = entry.position
                return answer
            try:
                mutation.prepare()
                answer = mutation.apply(now=int(time.time()), position=0)
            except BaseException:
                if in_flight is not None:
                    in_flight.fail()
                raise
        if in_flight is not None:
            in_flight.complete(answer.SerializeToString())
        return answer


class _Ordered:
    """One mutation that takes a position, on its way through the journal; or to followers alone, if not `journaled`."""

    def __init__(
        self,
        journal: Journal,
        authors: Authors,
        mutation: Mutation,
        request: bytes,
        in_flight: InFlight | None,
        *,
        journaled: bool = True,
    ) -> None:
        self._journal = journal
        self._authors = authors
        self._journaled = journaled
        self._mutation = mutation
        self._request = request
        self._request_crc = _core.crc32c(request)  # Before any lock is taken.
        self._in_flight = in_flight

    def run(self, *, synced: bool) -> tuple[_core.JournalEntry | None, Message]:
        """Applies the mutation and queues its record; returns what to wait for, if anything, and the answer.

        REQUIRES: the caller holds the locks that come before the tables' mutation locks.
        """
        with contextlib.ExitStack() as held:
            for table in sorted(set(self._mutation.tables), key=lambda table: table.entry.table_id):
                held.enter_context(table.mutation_lock)
            submitted, took_s = False, 0.0
            entry = None
            try:
                early = self._mutation.prepare()
                entry = self._journal.begin(synced=synced, appended=self._journaled)
                now = int(time.time())
                if early is not None and self._journaled:  # The append runs while the arithmetic runs.
                    submitted = self._submit(entry, early, now)
                began_s = time.thread_time()  # What it took beside others says nothing of a replay, which is alone.
                answer = self._mutation.apply(now=now, position=entry.position)
                took_s = time.thread_time() - began_s
                if not submitted:
                    submitted = self._submit(entry, answer, now)
            except BaseException:
                if not submitted:
                    self._give_up(entry)
                raise
            finally:
                # Whatever became of an application whose record is queued, replay will repeat it.
                if submitted and entry is not None:
                    self._journal.applied(entry, took_s)
        if submitted:
            return entry, answer
        self._give_up(entry, answer)
        return None, answer

    def _submit(self, entry: _core.JournalEntry, answer: Message, now: int) -> bool:
        body = self._mutation.body(self._request)
        if body is None:
            return False
        outcomes = self._mutation.outcomes(entry.position)
        parts = zip(self._mutation.tables, self._mutation.steps(), outcomes, strict=True)
        mine = self._in_flight
        record = Record(
            kind=self._mutation.kind,
            position=entry.position,
            now_s=now,
            tables=tuple(
                TablePart(table.entry.table_id, table.optimizer_bytes, step, outcome) for table, step, outcome in parts
            ),
            body=body,
            body_crc=self._request_crc if body is self._request else _core.crc32c(body),
            client_id="" if mine is None else mine.client_id,
            sequence=0 if mine is None else mine.sequence,
            answer=answer.SerializeToString(),
        )
        self._journal.submit(entry, record, None if mine is None else mine.native)
        self._authors.note(entry.position, Author(record.client_id, caller.current().name))
        if self._journaled:
            for table in self._mutation.tables:
                table.journaled_position = entry.position
                if self._mutation.kind in _REMOVALS:
                    table.removal_position = entry.position
        return True

    def _give_up(self, entry: _core.JournalEntry | None, answer: Message | None = None) -> None:
        """Nothing was recorded: because nothing changed (then there is an answer), or because it failed."""
        if entry is not None:
            self._journal.abandon(entry)
        if self._in_flight is not None:
            if answer is None:
                self._in_flight.fail()
            else:
                self._in_flight.complete(answer.SerializeToString())
