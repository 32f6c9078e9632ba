"""What a follower asked for, and where its stream begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rowbank.errors import InvalidRequest
from rowbank_protos.v1 import deltas_pb2
from rowbank_server.ps.deltas.log import DeltaLog
from rowbank_server.security.caller import ANYBODY, Caller

KEYS, ROWS, RECORDS = (
    deltas_pb2.FOLLOW_DETAIL_KEYS,
    deltas_pb2.FOLLOW_DETAIL_ROWS,
    deltas_pb2.FOLLOW_DETAIL_RECORDS,
)
_MAX_TEXT = 256
_MAX_TABLES = 65_536


class Stored(Protocol):
    """What of the journal is asked here."""

    def gone_through(self) -> int:
        """Every journaled mutation above this position can still be read from this process's stream."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A checked FollowRequest.

    Attributes:
        tables: names; empty: all.
        since: the server and the position to go on from; None: not asked to go on.
        complete: ids of tables that the follower has whole as of `since`; of records alone.
        caller: whose scope its tables are in, those that are made later, too.
    """

    name: str
    detail: deltas_pb2.FollowDetail
    tables: frozenset[str]
    now: bool
    since: tuple[str, int] | None
    complete: frozenset[int]
    role: str
    address: str
    caller: Caller = ANYBODY

    @property
    def records(self) -> bool:
        """Whether it gets records."""
        return self.detail == RECORDS

    def wants(self, table: deltas_pb2.FollowedTable) -> bool:
        """Whether it follows that table."""
        name = table.spec.name
        return name in self.tables if self.tables else self.caller.may_use_table(name)


def check(request: deltas_pb2.FollowRequest, caller: Caller = ANYBODY) -> Asked:
    """Raises InvalidRequest."""
    for name in ("name", "role", "address"):
        if len(getattr(request, name)) > _MAX_TEXT:
            raise InvalidRequest(f"{name}: expected at most {_MAX_TEXT} characters, got {len(getattr(request, name))}")
    if request.detail not in deltas_pb2.FollowDetail.values():
        raise InvalidRequest(f"detail: expected KEYS, ROWS or RECORDS, got {request.detail}")
    if request.start not in deltas_pb2.FollowStart.values():
        raise InvalidRequest(f"start: expected PICTURE, NOW or POSITION, got {request.start}")
    detail = request.detail or ROWS
    if detail == RECORDS and request.tables:
        raise InvalidRequest(f"tables: records are of all tables, got {len(request.tables)} names; name none")
    for name in ("tables", "complete_tables"):
        if len(getattr(request, name)) > _MAX_TABLES:
            raise InvalidRequest(f"{name}: expected at most {_MAX_TABLES}, got {len(getattr(request, name))}")
    goes_on = request.start == deltas_pb2.FOLLOW_START_POSITION
    if goes_on and not request.HasField("since"):
        raise InvalidRequest("since: expected the position of the last message that was taken in, got none")
    return Asked(
        name=request.name,
        detail=detail,
        tables=frozenset(request.tables),
        now=request.start == deltas_pb2.FOLLOW_START_NOW,
        since=(request.since.server_id, request.since.number) if goes_on else None,
        complete=frozenset(request.complete_tables),
        role=request.role,
        address=request.address,
        caller=caller,
    )


@dataclass(frozen=True, slots=True)
class Begin:
    """Where a stream begins.

    Attributes:
        source: "ring", "journal", "picture" or "now".
        index: of the first item of the log; of the journal, where it is read until the log is reached: None.
        position: what the follower has, or will have once the pictures are whole.
        pictures: ids of the tables that are sent whole.
        tables: all tables: of a stream that goes on, as they are now, for those of then may be ones that the follower
            knows to be gone, or lack ones that it has.
        listed: index of the first item behind which other tables may be.
    """

    source: str
    index: int | None
    position: int
    pictures: tuple[int, ...]
    tables: tuple[deltas_pb2.FollowedTable, ...]
    listed: int

    @property
    def continued(self) -> bool:
        """Whether nothing since the asked position is missed, in tables that are not sent whole."""
        return self.source in ("ring", "journal")


def begin(asked: Asked, log: DeltaLog, journal: Stored, server_id: str) -> Begin:
    """Decides where a stream begins; inside of `log.reading`."""
    if asked.since is not None:
        found = _go_on(asked, asked.since, log, journal, server_id)
        if found is not None:
            return found
    index, position = log.end()
    tables = log.tables()
    if asked.now:
        return Begin("now", index, position, (), tables, index)
    return Begin(
        "picture", index, position, tuple(table.table_id for table in tables if asked.wants(table)), tables, index
    )


def _go_on(asked: Asked, since: tuple[str, int], log: DeltaLog, journal: Stored, server_id: str) -> Begin | None:
    sender, position = since
    own = sender == server_id
    inherited = log.inherited
    if own:
        if position > log.position:
            return None
    elif inherited is None or position > inherited:
        return None  # Another process's, of which this one knows nothing, or not so much.
    index = log.index_after(position)
    listed = log.end()[0]  # First: what comes in between is listed a second time.
    source, tables = "ring", log.tables()
    if index is None:
        # Of former owners' mutations the journal has none, but this process's are all there are after the last.
        if not own and position == inherited:
            position = max(position, log.opened_at)
        if position < journal.gone_through():
            return None
        source = "journal"
    then = {} if index is None else {table.table_id: table for table in log.tables_at(index)}  # Other specs, maybe.
    pictures = tuple(
        table.table_id
        for table in tables
        if asked.wants(table)
        and not (
            log.has_all(table, since[1], own=own)
            and log.has_all(then.get(table.table_id, table), since[1], own=own)
            and (not asked.records or table.table_id in asked.complete)
        )
    )
    return Begin(source, index, position, pictures, tables, listed)
