"""From a caller over the retrieval service to the parameter server: one trace, over HTTP and gRPC."""

from __future__ import annotations

import concurrent.futures
import json
import re

import grpc
import httpx
import pytest
from tests.processes import PsProcess, closing, until
from tests.retrieval.support import MODEL, ApiProcess, World, serving
from tests.tracing.collector import Collector

import rowbank
from rowbank import tracing
from rowbank_protos.v1 import retrieval_pb2 as pb
from rowbank_protos.v1 import retrieval_pb2_grpc

PARENT = "00f067aa0ba902b7"
STAGES = ["query.features", "query.rows", "query.tower", "query.filter", "query.search", "query.assemble"]
USER = 7


def traceparent(trace, *, sampled=True):
    return f"00-{trace}-{PARENT}-{'01' if sampled else '00'}"


@pytest.fixture(scope="module")
def traced(redis_url, tmp_path_factory):
    """A collector, and both servers that send spans to it: (collector, api)."""
    folder, collector = tmp_path_factory.mktemp("traced"), Collector()
    namespace, world = folder.name, World("traced")
    environment = collector.environment
    ps = PsProcess("--namespace", namespace, redis_url=redis_url, log=folder / "ps.log", environment=environment)
    try:
        ps.wait_ready()
        with rowbank.Client(ps.target) as client:
            world.create_tables(client)
            world.write_features(client)
            world.publish(client, "v1")
        options = ("--grpc-bind", "127.0.0.1:0", "--log-format", "json")
        api = ApiProcess(
            *options,
            redis_url=redis_url,
            target=ps.target,
            namespace=namespace,
            log=folder / "api.log",
            environment=environment,
        )
        try:
            with httpx.Client(base_url=api.wait_ready().url, timeout=30) as http:
                serving(http, "v1")
            yield collector, api
            assert api.terminate() == 0, api.log
        finally:
            api.close()
    finally:
        ps.close()
        collector.close()


def children(collector, span):
    return sorted((one for one in collector.spans if one.parent == span.id), key=lambda one: one.start_ns)


def follow(collector, trace, name):
    """Follows one query from the caller's span to the row tables of the parameter server."""
    request = collector.one(name, trace)
    assert (request.service, request.parent, request.kind, request.failed) == ("rowbank-api", PARENT, 2, False)
    batch = collector.one("query.batch", trace)
    pulled = collector.one("rowbank.v1.RowService/Lookup", trace)
    assert [one.name for one in children(collector, request)] == ["query.queue", "query.batch"]
    assert [one.name for one in children(collector, batch)] == STAGES
    lookup = collector.one("rowbank.lookup", trace)
    assert lookup.parent == collector.one("query.rows", trace).id
    assert (pulled.service, pulled.parent) == ("rowbank-ps", lookup.id)
    assert pulled.attributes["rowbank.tables"] == lookup.attributes["rowbank.tables"] == ["user-traced"]
    assert pulled.attributes["rowbank.keys"] == 1
    for facts in (request.attributes, batch.attributes):
        assert (facts["rowbank.model"], facts["rowbank.model_version"]) == (World("x").manifest("v1").name, "v1")
        assert facts["rowbank.degraded"] == []
    assert request.attributes["rowbank.source"] == "personal"
    return request, pulled


def test_over_http(traced):
    collector, api = traced
    trace = "1" * 32
    headers = {"traceparent": traceparent(trace), "tracestate": "shop=1", "x-request-id": "page-1"}
    answer = httpx.post(api.url + "/v1/recommend", json={"user_id": USER}, headers=headers)
    assert (answer.status_code, answer.headers["x-request-id"]) == (200, "page-1")
    request, pulled = follow(collector, trace, "POST /v1/recommend")
    assert request.attributes["http.route"] == "/v1/recommend"
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["rowbank.request_id"] == pulled.attributes["rowbank.request_id"] == "page-1"


def test_over_grpc(traced):
    collector, api = traced
    trace = "2" * 32
    metadata = (("traceparent", traceparent(trace)), ("x-request-id", "call-1"))
    with grpc.insecure_channel(api.grpc_target) as channel:
        stub = retrieval_pb2_grpc.RetrievalServiceStub(channel)
        _, call = stub.Recommend.with_call(pb.RecommendRequest(user_id=USER), metadata=metadata)
    assert dict(call.trailing_metadata())["x-request-id"] == "call-1"
    request, pulled = follow(collector, trace, "rowbank.v1.RetrievalService/Recommend")
    assert request.attributes["rpc.grpc.status_code"] == 0
    assert pulled.attributes["rowbank.request_id"] == "call-1"


def test_queries_that_are_answered_together_refer_to_their_batch(traced):
    """Several of them wait while one is answered, and then go together: the spans say so, whoever is the first."""
    collector, api = traced
    traces = [f"{number:032x}" for number in range(0x300, 0x300 + 64)]
    with httpx.Client(base_url=api.url, timeout=60) as http:

        def ask(trace):
            headers = {"traceparent": traceparent(trace)}
            return http.post("/v1/recommend", json={"user_id": USER}, headers=headers).status_code

        for _ in range(20):
            with concurrent.futures.ThreadPoolExecutor(32) as pool:
                assert set(pool.map(ask, traces)) == {200}
            until(lambda: collector.named("query.batch"), what="batches")
            joined = [one for one in collector.named("query.batch") if one.attributes["rowbank.batch_size"] > 1]
            if joined:
                break
    batch = joined[0]
    assert len(batch.links) == batch.attributes["rowbank.batch_size"] - 1
    members = [one for one in collector.named("POST /v1/recommend") if (one.trace, one.id) in batch.links]
    until(lambda: len(linked(collector, batch)) == len(batch.links), what="requests that refer to the batch")
    assert len({one.trace for one in members} | {batch.trace}) > 1


def linked(collector, batch):
    return [one for one in collector.named("POST /v1/recommend") if (batch.trace, batch.id) in one.links]


def test_what_the_caller_does_not_sample_is_sampled_nowhere(traced):
    collector, api = traced
    body = {"user_id": USER}
    for trace, sampled in (("4" * 32, False), ("5" * 32, True)):
        headers = {"traceparent": traceparent(trace, sampled=sampled)}
        httpx.post(api.url + "/v1/recommend", json=body, headers=headers)
    collector.one("rowbank.v1.RowService/Lookup", "5" * 32)
    assert not [one for one in collector.spans if one.trace == "4" * 32]


def test_an_error_names_its_request(traced):
    collector, api = traced
    trace = "6" * 32
    answer = httpx.post(api.url + "/v1/recommend", json={"k": 0}, headers={"traceparent": traceparent(trace)})
    number = answer.headers["x-request-id"]
    assert answer.status_code == 422
    assert re.fullmatch("[0-9a-f]{32}", number)
    assert answer.json()["request_id"] == number
    span = collector.one("POST /v1/recommend", trace)
    assert (span.attributes["error.type"], span.failed) == ("invalid-request", False)
    for path in ("/absent", "/v1/absent"):
        absent = httpx.get(api.url + path, headers={"x-request-id": "of-nothing"})
        assert absent.headers["x-request-id"] == absent.json()["request_id"] == "of-nothing"
    with rowbank.RetrievalClient(api.grpc_target) as client, tracing.as_request("of-a-client"):
        with pytest.raises(rowbank.errors.UnknownItem) as raised:
            client.get_item(31337)
    assert raised.value.request_id == "of-a-client"


def test_probes_and_pages_are_no_requests_to_trace(traced):
    collector, api = traced
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
        headers = {"traceparent": traceparent("7" * 32)}
        assert "x-request-id" in httpx.get(api.url + path, headers=headers).headers
    httpx.get(api.url + "/v1/models", headers={"traceparent": traceparent("8" * 32)})
    collector.one("GET /v1/models", "8" * 32)
    assert not [one for one in collector.spans if one.trace == "7" * 32]


def test_no_ids_of_people_or_things_leave(traced):
    collector, api = traced
    trace = "9" * 32
    headers = {"traceparent": traceparent(trace), "authorization": "Bearer rowbank-secret-value"}
    with httpx.Client(base_url=api.url, headers=headers) as http:
        http.get("/v1/items/7770001112")
        http.get("/v1/users/7770001113")
        http.post("/v1/recommend", json={"user_id": 7770001114, "exclude": [7770001115]})
    collector.one("POST /v1/recommend", trace)
    assert collector.one("GET /v1/items/{id}", trace).attributes["error.type"] == "unknown-item"
    assert b"777000111" not in collector.raw
    assert b"secret-value" not in collector.raw


def published(client, namespace):
    """A world whose version v1 is published."""
    world = World(namespace)
    world.create_tables(client)
    world.write_features(client)
    world.publish(client, "v1")
    return world


def test_a_trace_goes_on_through_a_service_that_records_none(redis_url, start_ps, tmp_path, namespace, collector):
    """The retrieval service has tracing off, the parameter server has it on: it gets the caller's context unchanged."""
    ps = start_ps(environment=collector.environment)
    with rowbank.Client(ps.target) as client:
        published(client, namespace)
    options = ("--log-format", "json", "--log-level", "debug")
    api = ApiProcess(*options, redis_url=redis_url, target=ps.target, namespace=namespace, log=tmp_path / "api.log")
    trace = "a" * 32
    with closing(api.wait_ready()), httpx.Client(base_url=api.url, timeout=30) as http:
        serving(http, "v1")
        headers = {"traceparent": traceparent(trace), "x-request-id": "passed-on"}
        assert http.post("/v1/recommend", json={"user_id": USER}, headers=headers).status_code == 200
    pulled = collector.one("rowbank.v1.RowService/Lookup", trace)
    assert (pulled.parent, pulled.attributes["rowbank.request_id"]) == (PARENT, "passed-on")
    until(lambda: "passed-on" in api.log, what="the request in the log")
    line = next(json.loads(line) for line in api.log.splitlines() if '"passed-on"' in line)
    assert (line["request_id"], line["trace_id"]) == ("passed-on", trace)


def test_a_trace_goes_on_in_what_a_shadow_asks(redis_url, start_ps, tmp_path, namespace, collector):
    ps = start_ps(environment=collector.environment)
    with rowbank.Client(ps.target) as client:
        world = published(client, namespace)
        world.publish(client, "v2", activate=False)
        client.models.set_traffic(MODEL, shadow="v2")
    api = ApiProcess(redis_url=redis_url, target=ps.target, namespace=namespace, log=tmp_path / "api.log")
    trace = "b" * 32
    with closing(api.wait_ready()), httpx.Client(base_url=api.url, timeout=30) as http:
        serving(http, "v1")

        def compared() -> bool:
            http.post("/v1/recommend", json={"user_id": USER})
            found = re.search(r"^rowbank_shadow_overlap_count\{.*\} (\S+)", http.get("/metrics").text, re.MULTILINE)
            return found is not None and float(found[1]) > 0

        until(compared, what="an answer of the shadow")
        headers = {"traceparent": traceparent(trace), "x-request-id": "shadowed"}
        assert http.post("/v1/recommend", json={"user_id": USER}, headers=headers).status_code == 200
        until(lambda: len(collector.named("rowbank.v1.RowService/Lookup", trace)) == 2, what="two lookups of rows")
    pulled = collector.named("rowbank.v1.RowService/Lookup", trace)
    assert {(one.parent, one.attributes["rowbank.request_id"]) for one in pulled} == {(PARENT, "shadowed")}
