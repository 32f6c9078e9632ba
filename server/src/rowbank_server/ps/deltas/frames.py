"""Messages of a follower's stream as bytes; those with records by hand, so that these are copied once.

protobuf would copy each record into a message, and the message into bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rowbank_protos.v1 import deltas_pb2
from rowbank_server.ps.deltas.items import Item

_POSITION, _AT_MS, _RECORDS = b"\x0a", b"\x10", b"\x42"  # Fields 1, 2 and 8 of FollowResponse.
_RECORD, _OLDEST_MS = b"\x0a", b"\x10"  # Fields 1 and 2 of Records.


class Framer:
    """Makes the messages of one stream.

    Args:
        server_id: the sender, which stands in every position.
    """

    def __init__(self, server_id: str) -> None:
        self._server_id = server_id

    def message(self, position: int | None, at_ms: int, **content: Any) -> bytes:
        """A message with `content`, or a sign of life; without a position where that is None."""
        message = deltas_pb2.FollowResponse(at_ms=at_ms, **content)
        if position is not None:
            message.position.server_id = self._server_id
            message.position.number = position
        return message.SerializeToString()

    def records(self, position: int, at_ms: int, items: Sequence[Item]) -> bytes:
        """The records of `items`, which are mutations, at least one."""
        payload: list[bytes] = []
        size = 0
        for item in items:
            length = _varint(item.record_bytes)
            payload += (_RECORD, length, *item.pieces)
            size += 1 + len(length) + item.record_bytes
        oldest = _varint(min(item.at_ms for item in items))
        payload += (_OLDEST_MS, oldest)
        size += 1 + len(oldest)
        where = deltas_pb2.StreamPosition(server_id=self._server_id, number=position).SerializeToString()
        head = (_POSITION, _varint(len(where)), where, _AT_MS, _varint(at_ms), _RECORDS, _varint(size))
        return b"".join((*head, *payload))


def _varint(number: int) -> bytes:
    """Of a number that is not negative, as protobuf writes it."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
