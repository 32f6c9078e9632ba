"""Cursors: what they hold, and whom they refuse."""

from __future__ import annotations

import base64
import zlib

import msgspec
import pytest

from rowbank.errors import InvalidRequest
from rowbank_server.retrieval.api.operations.paging import continued, next_cursor
from rowbank_server.retrieval.filters.words import AnyOf, Condition
from rowbank_server.retrieval.queries import Query

QUERY = Query(user_id=5, k=10, exclude=(7,), filter=Condition("brand", AnyOf(("a",))))


def test_pages_follow_each_other() -> None:
    first = next_cursor(QUERY, "shop", [1, -(2**63)])
    second = continued(msgspec.structs.replace(QUERY, k=3, explain=True, deadline_s=1.0), "shop", first)
    assert (second.shown, second.offset, second.k) == ((1, -(2**63)), 0, 3)
    third = continued(QUERY, "shop", next_cursor(second, "shop", [2, 3]))
    assert third.shown == (1, -(2**63), 2, 3)
    assert continued(QUERY, "shop", None) is QUERY


def test_an_offset_goes_along() -> None:
    cursor = next_cursor(msgspec.structs.replace(QUERY, offset=20), "shop", [1])
    again = continued(QUERY, "shop", cursor)
    assert (again.offset, again.shown) == (20, (1,))


@pytest.mark.parametrize(
    "changes",
    [
        {"user_id": 6},
        {"exclude": ()},
        {"exclude_seen": True},
        {"min_score": 0.0},
        {"filter": Condition("brand", AnyOf(("b",)))},
        {"filter": None},
    ],
    ids=str,
)
def test_another_question_is_refused(changes: dict[str, object]) -> None:
    cursor = next_cursor(QUERY, "shop", [1])
    with pytest.raises(InvalidRequest, match=r"requests\.2\.cursor: it belongs to another question"):
        continued(msgspec.structs.replace(QUERY, **changes), "shop", cursor, "requests.2.")
    with pytest.raises(InvalidRequest, match="another question"):
        continued(QUERY, "other", cursor)


def packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(zlib.compress(data)).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "!!!!",
        "abc=",
        "é" * 8,
        packed(b""),
        packed(b"x" * 12),
        packed(b"x" * 21),
        packed(bytes(1 << 20)),
        "A" * 1000,
    ],
    ids=lambda cursor: cursor[:8],
)
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidRequest, match="cursor: expected the next_cursor of an answer"):
        continued(QUERY, "shop", cursor)


@pytest.mark.parametrize("offset", [-1, 10_001, 2**63 - 1])
def test_an_offset_that_no_request_may_have_is_refused(offset: int) -> None:
    data = base64.urlsafe_b64decode(next_cursor(QUERY, "shop", [1]) + "==")
    forged = data[:13] + offset.to_bytes(8, "little", signed=True) + data[21:]
    with pytest.raises(InvalidRequest, match="cursor: expected the next_cursor of an answer"):
        continued(QUERY, "shop", base64.urlsafe_b64encode(forged).decode().rstrip("="))


def test_there_is_an_end() -> None:
    assert next_cursor(QUERY, "shop", list(range(10_000)))
    assert next_cursor(QUERY, "shop", list(range(10_001))) == ""
