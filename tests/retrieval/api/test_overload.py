"""More queries than the queue holds, over both protocols."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import pytest
from tests.retrieval.api.conftest import Both
from tests.retrieval.support import until

from rowbank.errors import Overloaded, from_rpc_error
from rowbank_protos.v1 import retrieval_pb2 as pb


@pytest.fixture(scope="module")
def options() -> tuple[str, ...]:
    return ("--max-queue", "32", "--max-batch", "1")


def test_what_the_queue_does_not_hold_is_refused(both: Both) -> None:
    """A batch has more queries than places; those that find none are refused, so it is as a whole."""
    body = {"requests": [{"user_id": 1 + number % 12} for number in range(256)]}
    refused = both.http.post("/v1/recommend:batch", json=body)
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["type"] == "urn:rowbank:problem:overloaded"
    assert "32 queries wait already (setting max_queue)" in refused.json()["detail"]
    requests = [pb.RecommendRequest(user_id=1 + number % 12) for number in range(256)]
    error = both.rpc_error("RecommendBatch", pb.RecommendBatchRequest(requests=requests))
    assert isinstance(error, Overloaded)
    metrics = both.http.get("/metrics").text
    found = re.search(r'rowbank_retrieval_dropped_total\{reason="overloaded"\} (\S+)', metrics)
    assert found
    assert float(found[1]) >= 2
    until(lambda: both.http.post("/v1/recommend", json={"user_id": 1}).status_code == 200)


def test_under_load_it_answers_or_refuses(both: Both) -> None:
    def ask(number: int) -> set[int]:
        with httpx.Client(base_url=both.api.url, timeout=60) as http:
            return {http.post("/v1/recommend", json={"user_id": 1 + number % 12}).status_code for _ in range(5)} - {200}

    with ThreadPoolExecutor(48) as pool:
        others = set().union(*pool.map(ask, range(48)))
    assert others <= {429}


def test_calls_over_grpc_are_bounded(both: Both) -> None:
    """gRPC itself refuses what comes beside twice the places of the queue."""
    calls = [both.stub.Recommend.future(pb.RecommendRequest(user_id=1), timeout=60) for _ in range(400)]
    outcomes = set()
    for call in calls:
        try:
            call.result()
            outcomes.add("answered")
        except grpc.RpcError as failure:
            outcomes.add(failure.code().name)
            from_rpc_error(failure)
    assert outcomes <= {"answered", "RESOURCE_EXHAUSTED"}
