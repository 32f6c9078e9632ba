"""Cursors: where a question goes on, and which question that is.

A cursor holds the items that were shown, so that a page neither repeats nor leaves out one, whatever changed
in between; and a digest of the question, so that it is not continued by another one.
"""

from __future__ import annotations

import base64
import binascii
import operator
import struct
import zlib
from collections.abc import Sequence
from hashlib import blake2b

import msgspec
import numpy as np

from rowbank.errors import InvalidRequest
from rowbank_server.retrieval.api.schemas.fields import MAX_LIST, MAX_OFFSET
from rowbank_server.retrieval.queries import Query

_DIGEST = 12
_WHERE = {"field": "cursor"}
_FEW = 64  # Items up to which packing takes longer than it saves.
_PLAIN, _PACKED = b"\0", b"\1"
_PASSING = {"k", "offset", "shown", "explain", "deadline_s"}  # What pages of one question may differ in.
_lasting = operator.attrgetter(*(name for name in Query.__struct_fields__ if name not in _PASSING))


def continued(query: Query, model: str, cursor: str | None, where: str = "") -> Query:
    """A query that leaves out what the pages before have shown.

    Args:
        query: what is asked, without `shown`.
    Raises:
        InvalidRequest: it is no cursor, or one of another question.
    """
    if cursor is None:
        return query
    wrong = InvalidRequest(f"{where}cursor: expected the next_cursor of an answer, as it came", metadata=_WHERE)
    try:
        data = _unpacked(cursor)
    except (ValueError, binascii.Error, zlib.error):
        raise wrong from None
    if data[:_DIGEST] != _digest(query, model):
        raise InvalidRequest(
            f"{where}cursor: it belongs to another question; repeat all of the first request but k, explain and cursor",
            metadata=_WHERE,
        )
    offset, *shown = np.frombuffer(data, "<i8", offset=_DIGEST).tolist()
    if not 0 <= offset <= MAX_OFFSET:  # The digest is no signature: anybody can write a cursor.
        raise wrong
    return msgspec.structs.replace(query, offset=offset, shown=tuple(shown))


def next_cursor(query: Query, model: str, items: Sequence[int]) -> str:
    """The cursor after a page with these items; empty where so many were shown that there is none.

    What an offset left out on the first page stays left out: it goes along.
    """
    shown = [*query.shown, *items]
    if len(shown) > MAX_LIST:
        return ""
    data = _digest(query, model) + struct.pack(f"<{len(shown) + 1}q", query.offset, *shown)
    packed = _PLAIN + data if len(shown) <= _FEW else _PACKED + zlib.compress(data, 1)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def _unpacked(cursor: str) -> bytes:
    """Raises ValueError, zlib.error, binascii.Error: it is not what we packed."""
    limit = _DIGEST + 8 * (1 + MAX_LIST)
    packed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    data = packed[1:] if packed.startswith(_PLAIN) else _inflated(packed, limit)
    if len(data) > limit or len(data) < _DIGEST + 8 or (len(data) - _DIGEST) % 8:
        raise ValueError
    return data


def _inflated(packed: bytes, limit: int) -> bytes:
    """Raises ValueError, zlib.error: it is not what we packed."""
    inflate = zlib.decompressobj()
    data = inflate.decompress(packed.removeprefix(_PACKED), limit + 1)
    if not packed.startswith(_PACKED) or not inflate.eof or inflate.unused_data:
        raise ValueError
    return data


def _digest(query: Query, model: str) -> bytes:
    """Of what a page has in common with the next one."""
    asked = list(_lasting(query))
    return blake2b(f"{model}\n{asked!r}".encode(errors="surrogatepass"), digest_size=_DIGEST).digest()
