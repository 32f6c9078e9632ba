"""Messages of a follower's stream as bytes; those with records by hand, so that these are copied once.

protobuf would copy each record into a message, and the message into bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rowbank_protos.fields import BYTES, VARINT, tag, varint
from rowbank_protos.v1 import deltas_pb2
from rowbank_server.ps.deltas.items import Item

_POSITION, _AT_MS, _RECORDS = tag(1, BYTES), tag(2, VARINT), tag(8, BYTES)  # Of FollowResponse.
_RECORD, _OLDEST_MS = tag(1, BYTES), tag(2, VARINT)  # Of Records.


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
        for item in items:
            payload += (_RECORD, varint(item.record_bytes), *item.pieces)
        payload += (_OLDEST_MS, varint(min(item.at_ms for item in items)))
        where = deltas_pb2.StreamPosition(server_id=self._server_id, number=position).SerializeToString()
        head = (_POSITION, varint(len(where)), where, _AT_MS, varint(at_ms), _RECORDS, varint(sum(map(len, payload))))
        return b"".join((*head, *payload))
