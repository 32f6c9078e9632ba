"""Many items or users in one body of lines."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.retrieval.api.conftest import Both
from tests.retrieval.support import get, until

from rowbank_protos.v1 import retrieval_pb2 as pb
from rowbank_protos.v1.features_pb2 import FeatureValue


@pytest.fixture(scope="module")
def options() -> tuple[str, ...]:
    return (
        *("--max-imports", "1", "--import-max-bytes", str(2 << 20), "--body-timeout-s", "5"),
        *("--redis-wait-s", "60"),  # A busy machine takes its time.
    )


def lines(*rows: Any) -> bytes:
    return b"\n".join(row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows)


def item(number: int, **features: Any) -> dict[str, Any]:
    return {"id": number, "features": features or {"title": f"Item {number}", "title_tokens": [1, 2]}}


def send(both: Both, content: Any, path: str = "/v1/items:import") -> Any:
    answer = both.http.post(path, content=content)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_lines_are_written_and_found(both: Both) -> None:
    done = send(both, lines(*(item(5000 + number) for number in range(1201))) + b"\r\n\n")
    assert done == {"lines": 1201, "written": 1201, "outdated": 0, "failed": 0, "errors": []}
    assert get(both.http, "/v1/items/6200")["features"]["title"] == "Item 6200"
    until(lambda: get(both.http, "/v1/items/6200")["indexed"])


def test_what_is_wrong_with_some_lines_is_told(both: Both) -> None:
    done = send(
        both,
        lines(
            item(1, year="old"),
            item(2, year=2001),
            b"",
            b"{not json",
            {"id": 3},
            {"id": "x", "features": {"year": 1}},
            {"id": 4, "features": {"size": 1}},
            {"id": 5, "features": {"year": 1}, "more": 2},
            {"id": 6, "features": {}},
            {"id": 7, "features": {"_id": "x"}},
            b"[1]",
            b'{"id": 8, "features": {"title": "' + b"x" * (1 << 20) + b'"}}',
            item(9, year=2002),
            b"\xff",
        ),
    )
    assert (done["lines"], done["written"], done["outdated"], done["failed"]) == (13, 2, 0, 11)
    told = {one["line"]: (one["reason"], one["message"]) for one in done["errors"]}
    expected = {
        1: ("INVALID_FEATURE", "expected int64, got str 'old'"),
        4: ("INVALID_REQUEST", "the body is not JSON: line 1, column 2"),
        5: ("INVALID_REQUEST", "features: is missing"),
        6: ("INVALID_REQUEST", "id: expected an integer of 64 bits"),
        7: ("INVALID_FEATURE", "has no feature 'size'"),
        8: ("INVALID_REQUEST", "more: is unknown; known: id, features"),
        9: ("INVALID_REQUEST", "features: expected an object with at least 1 field"),
        10: ("INVALID_FEATURE", "'_id' cannot be written"),
        11: ("INVALID_REQUEST", "expected"),
        12: ("REQUEST_TOO_LARGE", "the line has more than 1048576 bytes"),
        14: ("INVALID_REQUEST", "the body is not JSON"),
    }
    assert list(told) == list(expected)
    for line, (reason, text) in expected.items():
        assert told[line][0] == reason
        assert text in told[line][1], line
    assert [get(both.http, f"/v1/items/{number}")["features"]["year"] for number in (2, 9)] == [2001, 2002]
    assert both.http.get("/v1/items/1").status_code == 404


def test_faults_of_many_over_grpc_keep_their_places(both: Both) -> None:
    entities = [pb.Entity(id=9800 + number, features={"year": FeatureValue(int64_value=1)}) for number in range(600)]
    entities[550].features["size"].int64_value = 1
    done = both.rpc("UpsertItems", pb.UpsertEntitiesRequest(entities=entities))
    assert (done.written, [(fault.index, fault.reason) for fault in done.errors]) == (599, [(550, "INVALID_FEATURE")])


def test_users_likewise(both: Both) -> None:
    done = send(
        both,
        lines({"id": "77", "features": {"history": [100, "101"]}}, {"id": 78, "features": {"history": "x"}}),
        "/v1/users:import",
    )
    assert (done["written"], done["failed"], done["errors"][0]["line"]) == (1, 1, 2)
    assert get(both.http, "/v1/users/77")["features"]["history"] == [100, 101]


def test_an_empty_body_has_no_lines(both: Both) -> None:
    assert send(both, b"\n \n") == {"lines": 0, "written": 0, "outdated": 0, "failed": 0, "errors": []}


def test_only_the_first_errors_are_listed(both: Both) -> None:
    done = send(both, lines(*[b"x"] * 1500))
    assert (done["lines"], done["failed"], len(done["errors"])) == (1500, 1500, 1000)
    assert done["errors"][-1]["line"] == 1000


def test_an_import_that_is_too_large_says_so(both: Both) -> None:
    answer = both.http.post("/v1/items:import", content=b" " * (3 << 20))
    assert answer.status_code == 413
    assert "more than 2097152 bytes (setting import_max_bytes)" in answer.json()["detail"]
    assert "of this import, no line was dealt with: send it again from line 1" in answer.json()["detail"]


def test_an_import_that_fails_says_which_lines_were_written(both: Both) -> None:
    rows = [item(9100 + number, title=f"Item {number}") for number in range(600)]
    answer = both.http.post("/v1/items:import", content=lines(*rows) + b"\n" + b" " * (3 << 20))
    assert answer.status_code == 413
    assert "of this import, lines 1 to 500 were dealt with: send it again from line 501" in answer.json()["detail"]
    assert both.http.get("/v1/items/9599").status_code == 200
    assert both.http.get("/v1/items/9600").status_code == 404


def test_imports_wait_for_no_thread_and_are_few(both: Both) -> None:
    """A caller that sends slowly keeps its place, and one more is refused; queries go on."""
    sent, go_on = threading.Event(), threading.Event()

    def slowly() -> Iterator[bytes]:
        yield lines(item(9000)) + b"\n"
        sent.set()
        go_on.wait(30)
        yield lines(item(9001))

    answers: list[httpx.Response] = []
    thread = threading.Thread(
        target=lambda: answers.append(httpx.post(f"{both.api.url}/v1/items:import", content=slowly(), timeout=60))
    )
    thread.start()
    assert sent.wait(30)
    refused = until(lambda: (other := both.http.post("/v1/items:import", content=b"")).status_code == 429 and other)
    assert refused.headers["retry-after"] == "1"
    assert "1 imports run already (setting max_imports)" in refused.json()["detail"]
    assert both.http.post("/v1/recommend", json={"user_id": 1}).status_code == 200
    go_on.set()
    thread.join()
    assert answers[0].json()["written"] == 2
    assert send(both, lines(item(9002)))["written"] == 1


def test_an_unknown_model_is_refused(both: Both) -> None:
    answer = both.http.post("/v1/items:import?model=nothing", content=lines(item(1)))
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:rowbank:problem:model-not-found")
