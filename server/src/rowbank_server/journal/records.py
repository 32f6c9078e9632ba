"""The bytes of one journal record, format 1; docs/journal.md has the grammar.

A record is a head and a body. The body is the request as it came on the wire, so nothing is encoded twice; the head
says what replay could not know otherwise: the position, the time, the tables' ids, the steps used, the optimizers'
numbers at that moment, and the answer for a client that asks again.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

from rowbank_server import _core

FORMAT = 1
_HEAD = struct.Struct("<IBBHIIIIQQHH")
_TABLE = struct.Struct("<IIIQ")
_CRC_BYTES = 4


class Kind(enum.IntEnum):
    """What a record's body is."""

    PUSH = 1
    UPSERT = 2
    ACCUMULATE = 3
    REMOVE = 4
    CLEAR = 5
    TOUCH = 6
    IMPORT = 7
    STORE = 8


class CorruptRecordError(Exception):
    """A record that cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class TablePart:
    """What a record says of one of its tables, in the order of the request.

    Attributes:
        optimizer: the table's optimizer then, serialized.
        step: the step that a push used; 0 for other kinds.
        outcome: of a push to a table with admission: which keys had rows of their own, and how often those were
            used; see `ps.tables.outcomes`. Empty: all had.
    """

    table_id: int
    optimizer: bytes
    step: int = 0
    outcome: bytes = b""


@dataclass(frozen=True, slots=True)
class Record:
    """One mutation.

    Attributes:
        now_s: Unix seconds that the mutation was applied at.
        client_id: empty if the request had none.
        answer: the serialized answer, for a repeat of the request.
        body: the serialized request.
        body_crc: CRC-32C of the body.
    """

    kind: Kind
    position: int
    now_s: int
    tables: tuple[TablePart, ...]
    body: bytes
    body_crc: int
    client_id: str = ""
    sequence: int = 0
    answer: bytes = b""

    def pieces(self) -> tuple[bytes, bytes]:
        """Head and body; together they are the record."""
        head = _core.pack_record_head(
            kind=self.kind,
            position=self.position,
            now_s=self.now_s,
            sequence=self.sequence,
            client_id=self.client_id.encode(),
            answer=self.answer,
            tables=[(table.table_id, table.optimizer, table.outcome, table.step) for table in self.tables],
            body_bytes=len(self.body),
            body_crc=self.body_crc,
        )
        return head, self.body


def parse(data: bytes) -> Record:
    """Reads what `Record.pieces` wrote.

    Raises:
        CorruptRecordError: it is not whole, was changed, or has another format.
    """
    if len(data) < _HEAD.size:
        raise CorruptRecordError(f"{len(data)} bytes are less than a head's {_HEAD.size}")
    crc, format_, _, _, head_bytes, body_crc, body_bytes, *_ = _HEAD.unpack_from(data)
    if head_bytes < _HEAD.size or head_bytes + body_bytes != len(data):
        raise CorruptRecordError(f"head and body should have {head_bytes} + {body_bytes} bytes, got {len(data)}")
    if _core.crc32c(data[_CRC_BYTES:head_bytes]) != crc:
        raise CorruptRecordError("the head's checksum is wrong")
    if format_ != FORMAT:
        raise CorruptRecordError(f"format {format_} is not known, only {FORMAT}")
    body = data[head_bytes:]
    if _core.crc32c(body) != body_crc:
        raise CorruptRecordError("the body's checksum is wrong")
    return join(data[:head_bytes], body)


def join(head: bytes, body: bytes) -> Record:
    """The record of which `Record.pieces` made `head` and `body`, in this process: checksums are not looked at.

    Raises:
        CorruptRecordError: the head contradicts itself.
    """
    _, _, kind, table_count, _, body_crc, _, now_s, position, sequence, clients, answers = _HEAD.unpack_from(head)
    try:
        at = _HEAD.size
        client_id = head[at : at + clients].decode()
        at += clients
        answer = head[at : at + answers]
        tables = _parse_tables(head[at + answers :], table_count)
        return Record(Kind(kind), position, now_s, tables, body, body_crc, client_id, sequence, answer)
    except (ValueError, struct.error) as error:
        raise CorruptRecordError(f"the head contradicts itself: {error}") from None


def peek_position(data: bytes) -> int | None:
    """The position of a record whose head is whole, without a look at its body; None: it is not."""
    if len(data) < _HEAD.size:
        return None
    crc, format_, _, _, head_bytes, *_, position, _, _, _ = _HEAD.unpack_from(data)
    if format_ != FORMAT or not _HEAD.size <= head_bytes <= len(data):
        return None
    return int(position) if _core.crc32c(data[_CRC_BYTES:head_bytes]) == crc else None


def _parse_tables(data: bytes, count: int) -> tuple[TablePart, ...]:
    tables, at = [], 0
    for _ in range(count):
        table_id, optimizer_bytes, outcome_bytes, step = _TABLE.unpack_from(data, at)
        at += _TABLE.size
        end = at + optimizer_bytes
        tables.append(TablePart(table_id, data[at:end], step, data[end : end + outcome_bytes]))
        at = end + outcome_bytes
    if at != len(data):
        raise ValueError(f"{count} tables take {at} bytes of {len(data)}")
    return tuple(tables)
