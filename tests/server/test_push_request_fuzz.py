"""Random PushRequests, valid and damaged, are read as protobuf reads them, or refused."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from tests.server.test_push_request import as_protobuf_reads, as_we_read

from rowbank_protos.fields import BYTES, FIXED32, FIXED64, VARINT, varint
from rowbank_protos.v1 import common_pb2, rows_pb2
from rowbank_server.ps.decoding.push_request import PushRequest

CASES = 20_000
GROUP, GROUP_END = 3, 4
REQUEST = {1: BYTES, 2: VARINT, 3: BYTES}
TABLE = {1: BYTES, 2: BYTES, 3: BYTES, 4: BYTES, 5: VARINT, 6: FIXED32, 7: FIXED32, 8: FIXED32}
UNKNOWN = (9, 15, 16, 2047, 2**29 - 1)
NUMBERS = (0, 1, 127, 128, 300, 2**31 - 1, 2**31, 2**32 - 1, 2**32 + 1, 2**63, 2**64 - 1)


class Writer:
    """Writes fields in any order, repeated, of wrong types, unknown, and with numbers longer than they need be."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def message(self, known: dict[int, int]) -> bytes:
        return b"".join(self._field(known) for _ in range(self.random.randrange(6)))

    def damaged(self, data: bytes) -> bytes:
        rng, out = self.random, bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            at, piece = rng.randrange(len(out) + 1), rng.randbytes(rng.randrange(1, 4))
            kind = rng.randrange(5)
            if kind == 0 and at < len(out):
                out[at] ^= 1 << rng.randrange(8)
            elif kind == 1 and at < len(out):
                out[at] = rng.choice((0, 0x7F, 0x80, 0xFF))
            elif kind == 2:
                del out[at : at + len(piece)]
            elif kind == 3:
                out[at:at] = piece
            else:
                del out[at:]
        return bytes(out)

    def _field(self, known: dict[int, int]) -> bytes:
        rng = self.random
        number = rng.choice(UNKNOWN) if rng.random() < 0.1 else rng.choice(list(known))
        right = known.get(number, VARINT)
        kind = rng.choice((VARINT, FIXED64, BYTES, FIXED32)) if rng.random() < 0.1 else right
        tag = varint(number << 3 | kind, at_least=rng.choice((1, 1, 2, 5)))
        if kind == VARINT:
            return tag + varint(rng.choice(NUMBERS), at_least=rng.choice((1, 3, 10)))
        if kind in (FIXED32, FIXED64):
            return tag + rng.randbytes(4 if kind == FIXED32 else 8)
        content = self._content(known, number)
        return tag + varint(len(content), at_least=rng.choice((1, 1, 2, 5, 10))) + content

    def _content(self, known: dict[int, int], number: int) -> bytes:
        rng = self.random
        if known is REQUEST and number == 1:
            return self.message(TABLE)
        if known is REQUEST and number == 3:
            return common_pb2.RequestId(client_id="é", sequence=rng.choice(NUMBERS)).SerializeToString()
        return rng.choice((b"", b"abc", "ü".encode(), rng.randbytes(9), bytes(300)))


def with_bits(read: Any) -> Any:
    """So that NaN equals itself."""
    tables, wire_dtype, request_id = read
    bits = [tuple(struct.pack("<f", x) if isinstance(x, float) else x for x in part) for part in tables]
    return bits, wire_dtype, request_id.SerializeToString()


@pytest.mark.parametrize("seed", range(3))
def test_any_bytes_are_read_as_protobuf_reads_them_or_refused(seed):
    writer = Writer(seed)
    outcomes = {"read": 0, "refused": 0}
    for case in range(CASES):
        data = writer.message(REQUEST)
        data = writer.damaged(data) if case % 2 else data
        try:
            expected = with_bits(as_protobuf_reads(rows_pb2.PushRequest.FromString(data)))
        except DecodeError:
            with pytest.raises((ValueError, DecodeError)):
                PushRequest.FromString(data)
            outcomes["refused"] += 1
            continue
        try:
            assert with_bits(as_we_read(PushRequest.FromString(data))) == expected, data.hex()
        except ValueError as error:
            assert f"wire type {GROUP}" in str(error) or f"wire type {GROUP_END}" in str(error), data.hex()  # noqa: PT017
        outcomes["read"] += 1
    assert min(outcomes.values()) > CASES / 10
