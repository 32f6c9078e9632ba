"""The same questions over gRPC."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.retrieval.support import ApiProcess, World, serving

import rowbank
from rowbank.errors import InvalidRequest, NotReady, UnknownItem, from_rpc_error
from rowbank_protos.v1 import retrieval_pb2 as pb
from rowbank_protos.v1 import retrieval_pb2_grpc


@pytest.fixture(scope="module")
def world() -> World:
    return World("grpc")


@pytest.fixture
def stub(
    start_api: Callable[..., ApiProcess], shared_ps: object, target: str, world: World
) -> Iterator[retrieval_pb2_grpc.RetrievalServiceStub]:
    with rowbank.Client(target) as client:
        world.create_tables(client)
        world.write_features(client)
        world.publish(client, "v1", name="over_grpc")
    api = start_api(target, "shared", "--grpc-bind", "127.0.0.1:0", "--model", "over_grpc")
    with httpx.Client(base_url=api.url) as http:
        serving(http, "v1")
    with grpc.insecure_channel(api.grpc_target) as channel:
        check = health_pb2.HealthCheckRequest(service="rowbank.v1.RetrievalService")
        assert health_pb2_grpc.HealthStub(channel).Check(check).status == health_pb2.HealthCheckResponse.SERVING
        yield retrieval_pb2_grpc.RetrievalServiceStub(channel)
    assert api.terminate() == 0, api.log


def test_answers_are_those_of_http(stub: retrieval_pb2_grpc.RetrievalServiceStub, world: World) -> None:
    answer = stub.Recommend(pb.RecommendRequest(user_id=4, k=6, exclude_seen=True, exclude=[120]))
    items, scores = world.expected(world.user_vector(4), 6, [*world.histories[4], 120])
    assert [item.item_id for item in answer.items] == items
    assert [item.score for item in answer.items] == pytest.approx(scores, rel=1e-5, abs=1e-5)
    assert [item.rank for item in answer.items] == [1, 2, 3, 4, 5, 6]
    assert answer.items[0].title == world.title(items[0])
    assert (answer.source, answer.model_version, list(answer.degraded)) == ("personal", "v1", [])
    assert len(stub.Recommend(pb.RecommendRequest(user_id=4)).items) == 10
    as_text = pb.RecommendRequest(user_text="4", k=6, exclude_seen=True, exclude_texts=["120"])
    assert stub.Recommend(as_text).items == answer.items
    assert all(item.item_text == "" for item in answer.items)
    session = stub.Recommend(pb.RecommendRequest(session=pb.SessionItems(item_ids=[107]), k=3))
    assert [item.item_id for item in session.items] == world.expected(world.vectors([107])[0], 3)[0]
    similar = stub.SimilarItems(pb.SimilarItemsRequest(item_ids=[107], k=3))
    assert [item.item_id for item in similar.items] == world.expected(world.vectors([107])[0], 3, [107])[0]
    unknown = stub.Recommend(pb.RecommendRequest(user_id=31337, k=2))
    assert (unknown.source, list(unknown.degraded)) == ("popular", ["user:unknown"])
    cut = stub.Recommend(pb.RecommendRequest(user_id=4, min_score=1e9))
    assert len(cut.items) == 0
    for request, text in (
        (
            pb.RecommendRequest(),
            "give user_id, features or both, or session_items alone, or vector alone; got none of them",
        ),
        (pb.RecommendRequest(session=pb.SessionItems()), "session_items: expected a list of 1 to 10000, got []"),
        (pb.RecommendRequest(user_id=1, k=1001), "k: expected an integer from 1 to 1000, got 1001"),
    ):
        with pytest.raises(grpc.RpcError) as failure:
            stub.Recommend(request)
        error = from_rpc_error(failure.value)
        assert isinstance(error, InvalidRequest)
        assert text in error.message
    with pytest.raises(grpc.RpcError) as failure:
        stub.SimilarItems(pb.SimilarItemsRequest(item_ids=[31337]))
    unknown_item = from_rpc_error(failure.value)
    assert isinstance(unknown_item, UnknownItem)
    assert "the catalogue has no item 31337" in unknown_item.message


def test_exclude_seen_is_refused_where_nobody_has_a_history(
    start_api: Callable[..., ApiProcess], shared_ps: object, target: str, world: World
) -> None:
    """Over gRPC as over HTTP, alone or in a batch: it is never just left undone."""
    with rowbank.Client(target) as client:
        world.create_tables(client)
        world.write_features(client)
        world.publish(client, "v1", name="no_histories", user_view="")
    api = start_api(target, "shared", "--grpc-bind", "127.0.0.1:0", "--model", "no_histories")
    asked = {"user_id": 4, "exclude_seen": True}
    with httpx.Client(base_url=api.url) as http:
        serving(http, "v1")
        for path, body in (("/v1/recommend", asked), ("/v1/recommend:batch", {"requests": [asked]})):
            refused = http.post(path, json=body)
            assert refused.status_code == 422
            assert "exclude_seen: model 'no_histories' v1 keeps no histories" in refused.json()["detail"]
        session = http.post("/v1/recommend", json={"session_items": [107], "exclude_seen": True})
        assert 107 not in [item["id"] for item in session.json()["items"]]
    with grpc.insecure_channel(api.grpc_target) as channel, pytest.raises(grpc.RpcError) as failure:
        retrieval_pb2_grpc.RetrievalServiceStub(channel).Recommend(pb.RecommendRequest(**asked))
    error = from_rpc_error(failure.value)
    assert isinstance(error, InvalidRequest)
    assert "name the items in exclude" in error.message


def test_without_a_model_it_is_not_ready(start_api: Callable[..., ApiProcess], target: str, namespace: str) -> None:
    api = start_api(target, namespace, "--grpc-bind", "127.0.0.1:0")
    with grpc.insecure_channel(api.grpc_target) as channel, pytest.raises(grpc.RpcError) as failure:
        retrieval_pb2_grpc.RetrievalServiceStub(channel).Recommend(pb.RecommendRequest(user_id=1))
    assert isinstance(from_rpc_error(failure.value), NotReady)
