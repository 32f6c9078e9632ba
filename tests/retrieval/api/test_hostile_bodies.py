"""Bodies that are made to cost much: answered in few words, and without keeping others waiting for it."""

from __future__ import annotations

import pytest
from tests.retrieval.api.conftest import Both

MANY = 9_000


def listed(element: str, count: int) -> str:
    return f"[{','.join([element] * count)}]"


@pytest.mark.parametrize(
    ("path", "body", "where", "more"),
    [
        ("/v1/recommend", "{" + ",".join(f'"f{i}":0' for i in range(MANY)) + "}", "f0", MANY - 100),
        # 20 of a list are told.
        ("/v1/score", f'{{"user_id":1,"item_ids":{listed("{}", 9000)},"k":1}}', "item_ids.19", 0),
        ("/v1/score", f'{{"user_id":1,"item_ids":{listed(chr(34) * 2, 9000)},"k":1}}', "item_ids.19", 0),
        ("/v1/events", f'{{"events":{listed("{}", 9000)}}}', "events.49.item_id", 18_000 - 100),
    ],
    ids=["unknown fields", "no ids", "empty ids", "empty events"],
)
def test_of_many_faults_the_first_are_told(both: Both, path: str, body: str, where: str, more: int) -> None:
    answer = both.http.post(path, content=body)
    assert answer.status_code == 422
    told = answer.json()
    assert len(told["errors"]) <= 100
    assert where in [fault["where"] for fault in told["errors"]]
    assert told["detail"].endswith(f"and {more} more") == (more > 0)
    assert len(answer.content) < 64 << 10


def test_of_far_too_many_faults_their_number_is_told(both: Both) -> None:
    answer = both.http.post("/v1/recommend", content="{" + ",".join(f'"f{i}":0' for i in range(30_000)) + "}")
    assert answer.status_code == 422
    assert answer.json()["detail"] == "body: 30000 things are wrong with it, too many to be told"


def test_a_name_of_megabytes_is_cut(both: Both) -> None:
    answer = both.http.post("/v1/recommend", json={"user_id": 1, "x" * 3_000_000: 1})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["where"] == "x" * 80 + "..."
    assert len(answer.content) < 4096


@pytest.mark.parametrize("window", [10**400, -(10**400), 1e300, 10**10 + 1])
def test_a_window_that_no_float_holds(both: Both, window: float) -> None:
    answer = both.http.post("/v1/popular", json={"window": window})
    assert answer.status_code == 422
    assert 'window: expected a time such as "24h"' in answer.json()["detail"]


def test_lines_without_anything_are_passed_over(both: Both) -> None:
    """Millions of them, in a row and between others; numbers of lines count them."""
    lines = b"\n" * 2_000_000 + b'{"id": 1}\n' + b" \r\n" * 300_000 + b"[]"
    answer = both.http.post("/v1/items:import", content=lines)
    assert answer.status_code == 200
    told = answer.json()
    assert (told["lines"], told["failed"]) == (2, 2)
    assert [fault["line"] for fault in told["errors"]] == [2_000_001, 2_300_002]
