"""Each call answers the same over HTTP and over gRPC."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest
from tests.retrieval.api.conftest import Both, brand, year
from tests.retrieval.support import World

from rowbank_protos.v1 import features_pb2
from rowbank_protos.v1 import retrieval_pb2 as pb

Value = features_pb2.FeatureValue
BRAND_A = {"feature": "brand", "any": ["a"]}
BRAND_A_MESSAGE = pb.Filter(
    condition=pb.Condition(feature="brand", any=pb.FeatureValues(values=[Value(string_value="a")]))
)
RECENT = {"feature": "year", "gte": 1980, "lt": 1990}
RECENT_MESSAGE = pb.Filter(
    condition=pb.Condition(feature="year", range=pb.Range(gte=pb.Bound(integer=1980), lt=pb.Bound(integer=1990)))
)
BOOST = {"filter": BRAND_A, "add": 2.5, "name": "own"}
BOOST_MESSAGE = pb.Boost(filter=BRAND_A_MESSAGE, add=2.5, name="own")
VECTOR = [0.5, -1.0, 0.25, 2.0, 1.5]

LISTS: list[tuple[str, dict[str, Any], str, Any]] = [
    ("/v1/recommend", {"user_id": 4, "k": 6}, "Recommend", pb.RecommendRequest(user_id=4, k=6)),
    ("/v1/recommend", {"user_id": "4"}, "Recommend", pb.RecommendRequest(user_text="4")),
    (
        "/v1/recommend",
        {"user_id": 4, "k": 6, "exclude": [101, "102"], "exclude_seen": True, "min_score": -0.5, "explain": True},
        "Recommend",
        pb.RecommendRequest(
            user_id=4, k=6, exclude=[101], exclude_texts=["102"], exclude_seen=True, min_score=-0.5, explain=True
        ),
    ),
    (
        "/v1/recommend",
        {"user_id": 5, "filter": {"and": [BRAND_A, {"not": RECENT}]}, "boosts": [BOOST], "k": 5, "explain": True},
        "Recommend",
        pb.RecommendRequest(
            user_id=5,
            filter=pb.Filter(
                and_filters=pb.FilterList(filters=[BRAND_A_MESSAGE, pb.Filter(not_filter=RECENT_MESSAGE)])
            ),
            boosts=[BOOST_MESSAGE],
            k=5,
            explain=True,
        ),
    ),
    (
        "/v1/recommend",
        {"session_items": [107, 110], "exclude_seen": True, "diversity": {"feature": "brand", "max_per_value": 2}},
        "Recommend",
        pb.RecommendRequest(
            session=pb.SessionItems(item_ids=[107, 110]),
            exclude_seen=True,
            diversity=pb.Diversity(feature="brand", max_per_value=2),
        ),
    ),
    (
        "/v1/recommend",
        {"vector": VECTOR, "offset": 3, "k": 4, "model": "two_tower", "version": "v1"},
        "Recommend",
        pb.RecommendRequest(vector=pb.Vector(values=VECTOR), offset=3, k=4, model="two_tower", version="v1"),
    ),
    (
        "/v1/recommend",
        {"features": {"user_id": 4}, "k": 3},
        "Recommend",
        pb.RecommendRequest(features={"user_id": Value(int64_value=4)}, k=3),
    ),
    (
        "/v1/recommend",
        {"user_id": 31337, "exclude_seen": ["purchase"]},
        "Recommend",
        pb.RecommendRequest(user_id=31337, exclude_seen=True, seen_rule=pb.SeenRule(kinds=["purchase"])),
    ),
    (
        "/v1/similar",
        {"item_ids": [107], "k": 4, "filter": RECENT, "boosts": [BOOST], "min_score": -100.0, "explain": True},
        "SimilarItems",
        pb.SimilarItemsRequest(
            item_ids=[107], k=4, filter=RECENT_MESSAGE, boosts=[BOOST_MESSAGE], min_score=-100.0, explain=True
        ),
    ),
    ("/v1/popular", {"k": 7}, "Popular", pb.PopularRequest(k=7)),
    (
        "/v1/popular",
        {"filter": BRAND_A, "exclude": [102], "offset": 1, "window": 86400, "kinds": ["view", "click"]},
        "Popular",
        pb.PopularRequest(filter=BRAND_A_MESSAGE, exclude=[102], offset=1, window_s=86400, kinds=["view", "click"]),
    ),
    (
        "/v1/score",
        {"user_id": 4, "item_ids": [107, 110, 107, 31337], "boosts": [BOOST], "explain": True},
        "Score",
        pb.ScoreRequest(user_id=4, item_ids=[107, 110, 107, 31337], boosts=[BOOST_MESSAGE], explain=True),
    ),
    (
        "/v1/score",
        {"vector": VECTOR, "item_ids": ["107"]},
        "Score",
        pb.ScoreRequest(vector=pb.Vector(values=VECTOR), item_texts=["107"]),
    ),
    (
        "/v1/embed",
        {"user_ids": [1, "2", 31337], "features": {"user_id": 4}},
        "Embed",
        pb.EmbedRequest(user_ids=[1], user_texts=["2", "31337"], features={"user_id": Value(int64_value=4)}),
    ),
    ("/v1/embed", {"item_ids": [107, 31337]}, "Embed", pb.EmbedRequest(item_ids=[107, 31337])),
]


def as_json(message: Any) -> dict[str, Any]:
    """A message as the JSON of HTTP: ids in one field, a score that is none null, vectors as numbers."""
    made: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            made[field.name] = dict(value)
        elif field.message_type is not None and field.label == field.LABEL_REPEATED:
            made[field.name] = [as_json(one) for one in value]
        elif field.message_type is not None:
            made[field.name] = as_json(value) if message.HasField(field.name) else None
        elif field.label == field.LABEL_REPEATED:
            made[field.name] = list(value)
        else:
            made[field.name] = value
    for number, text in (("item_id", "item_text"), ("id", "text")):
        if text in made:
            made["id"] = made.pop(text) or made.pop(number)
            made.pop(number, None) if number != "id" else None
    if "scored" in made:
        made["score"] = made["score"] if made.pop("scored") else None
        if made["parts"] is None:
            made.pop("parts")
    if "vector" in made:
        made["vector"] = np.frombuffer(made["vector"], "<f4").tolist() or None
    return made


def comparable(answer: Any) -> Any:
    """Without what differs from one time to the next, and with numbers that floats are near."""
    if isinstance(answer, dict):
        kept = {name: value for name, value in answer.items() if name not in ("timings_ms", "age_s", "event_time_s")}
        return {name: comparable(value) for name, value in kept.items()}
    if isinstance(answer, list):
        return [comparable(one) for one in answer]
    return round(answer, 5) if isinstance(answer, float) else answer


@pytest.mark.parametrize(("path", "body", "method", "request_"), LISTS, ids=lambda value: str(value)[:60])
def test_answers_are_the_same(both: Both, path: str, body: dict[str, Any], method: str, request_: Any) -> None:
    over_http = both.http.post(path, json=body)
    assert over_http.status_code == 200, over_http.text
    told, expected = as_json(both.rpc(method, request_)), over_http.json()
    for name, value in expected.items():  # What was not asked for is null in JSON, and nothing in a message.
        if value is None and not told[name]:
            told[name] = None
    if "embeddings" in told:  # Given features have no id, which is 0 in a message.
        for one, other in zip(told["embeddings"], expected["embeddings"], strict=True):
            one["id"] = other["id"] if other["id"] is None and one["id"] == 0 else one["id"]
    assert comparable(told) == comparable(expected)


def test_what_the_answers_are(both: Both, world: World) -> None:
    """By NumPy, so that both cannot be wrong alike."""
    found = both.http.post("/v1/recommend", json={"user_id": 5, "filter": BRAND_A, "k": 40}).json()["items"]
    items = [item for item in world.expected(world.user_vector(5), 40)[0] if brand(item) == "a"]
    assert [item["id"] for item in found] == items
    boosted = both.http.post(
        "/v1/recommend", json={"user_id": 5, "boosts": [BOOST], "filter": RECENT, "k": 40, "explain": True}
    ).json()["items"]
    scores = dict(zip(*world.expected(world.user_vector(5), 40), strict=True))
    lifted = {item: score + 2.5 * (brand(item) == "a") for item, score in scores.items() if 1980 <= year(item) < 1990}
    assert [item["id"] for item in boosted] == sorted(lifted, key=lambda item: -lifted[item])
    assert [item["score"] for item in boosted] == pytest.approx(sorted(lifted.values(), reverse=True), abs=1e-4)
    assert {item["parts"]["boosts"].get("own", 0.0) for item in boosted} <= {0.0, 2.5}
    ranked = both.http.post("/v1/score", json={"user_id": 5, "item_ids": [101, 100, 31337, 100]}).json()
    best = sorted([100, 101], key=lambda item: -scores[item])
    assert [item["id"] for item in ranked["items"]] == best
    assert [item["score"] for item in ranked["items"]] == pytest.approx([scores[item] for item in best], abs=1e-4)
    assert [one["id"] for one in ranked["unscored"]] == [31337]
    vectors = both.http.post("/v1/embed", json={"user_ids": [3, 31337], "features": {"user_id": 4}}).json()
    assert vectors["dim"] == 5
    assert vectors["embeddings"][0]["vector"] == pytest.approx(world.user_vector(3).tolist(), abs=1e-5)
    assert vectors["embeddings"][1]["vector"] is None
    assert "nothing is known of this user" in vectors["embeddings"][1]["reason"]
    assert vectors["embeddings"][2]["vector"] == pytest.approx(world.user_vector(4).tolist(), abs=1e-5)
    mine = both.http.post("/v1/recommend", json={"vector": world.user_vector(5).tolist(), "k": 5}).json()
    assert [item["id"] for item in mine["items"]] == world.expected(world.user_vector(5), 5)[0]
    assert mine["source"] == "vector"


def test_pages_over_both(both: Both, world: World) -> None:
    """A cursor of one protocol goes on in the other."""
    body = {"user_id": 6, "k": 7}
    first = both.http.post("/v1/recommend", json=body).json()
    second = both.rpc("Recommend", pb.RecommendRequest(user_id=6, k=7, cursor=first["next_cursor"]))
    third = both.http.post("/v1/recommend", json={**body, "k": 100, "cursor": second.next_cursor}).json()
    shown = [item["id"] for item in first["items"]]
    shown += [item.item_id for item in second.items] + [item["id"] for item in third["items"]]
    assert shown == world.expected(world.user_vector(6), 40)[0]
    assert third["next_cursor"] == ""
    behind = both.http.post("/v1/recommend", json={**body, "offset": 7}).json()
    assert [item["id"] for item in behind["items"]] == [item.item_id for item in second.items]


def test_batches(both: Both) -> None:
    asked = [{"user_id": 1, "k": 2}, {"session_items": [107]}]
    over_http = both.http.post("/v1/recommend:batch", json={"requests": asked}).json()["answers"]
    requests = [pb.RecommendRequest(user_id=1, k=2), pb.RecommendRequest(session=pb.SessionItems(item_ids=[107]))]
    told = both.rpc("RecommendBatch", pb.RecommendBatchRequest(requests=requests)).answers
    assert [[item.item_id for item in one.items] for one in told] == [
        [item["id"] for item in one["items"]] for one in over_http
    ]


def test_popular_by_the_query(both: Both) -> None:
    by_query = both.http.get("/v1/popular", params={"k": 3, "window": "1d", "kind": "view,click", "offset": 2}).json()
    body = {"k": 3, "window": "24h", "kinds": ["view", "click"], "offset": 2}
    assert by_query == both.http.post("/v1/popular", json=body).json()


def test_entities(both: Both, world: World) -> None:
    entity = pb.Entity(id=700, features={"title": Value(string_value="Heat"), "year": Value(int64_value=1995)})
    wrong = pb.Entity(id=701, features={"year": Value(string_value="old")})
    unknown = pb.Entity(text="x", features={"year": Value(int64_value=1)})
    written = both.rpc("UpsertItems", pb.UpsertEntitiesRequest(entities=[wrong, entity, unknown]))
    assert (written.written, written.outdated, [one.index for one in written.errors]) == (1, 0, [0, 2])
    assert [one.reason for one in written.errors] == ["INVALID_FEATURE", "INVALID_REQUEST"]
    assert "items:year of item_id 701: expected int64" in written.errors[0].message
    over_http = both.http.get("/v1/items/700").json()
    told = both.rpc("GetItem", pb.GetEntityRequest(id=700))
    assert (told.id, told.status, told.interactions) == (700, over_http["status"], 0)
    assert (told.event_time_s, over_http["features"]["year"]) == (over_http["event_time_s"], 1995)
    assert (told.features["title"].string_value, told.features["year"].int64_value) == ("Heat", 1995)
    with_vector = both.http.get("/v1/items/107?vector=true").json()
    assert with_vector["vector"] == pytest.approx(world.vectors([107])[0].tolist(), abs=1e-5)
    vector = both.rpc("GetItem", pb.GetEntityRequest(text="107", vector=True)).vector
    assert np.frombuffer(vector, "<f4").tolist() == with_vector["vector"]
    both.rpc("DeleteItem", pb.DeleteItemRequest(id=700))
    assert both.http.get("/v1/items/700").status_code == 404
    assert both.rpc_error("GetItem", pb.GetEntityRequest(id=700)).reason == "UNKNOWN_ITEM"
    assert both.rpc_error("DeleteItem", pb.DeleteItemRequest(id=700)).reason == "UNKNOWN_ITEM"
    history = features_pb2.Int64List(values=[107, 108])
    user = pb.Entity(id=900, features={"history": Value(int64_list=history)})
    assert both.rpc("UpsertUsers", pb.UpsertEntitiesRequest(entities=[user])).written == 1
    assert both.http.get("/v1/users/900").json()["features"] == {"history": [107, 108]}
    stored = both.rpc("GetUser", pb.GetEntityRequest(id=900))
    assert list(stored.features["history"].int64_list.values) == [107, 108]
    assert both.rpc_error("GetUser", pb.GetEntityRequest(id=901)).reason == "UNKNOWN_USER"


def test_events(both: Both) -> None:
    event = pb.Event(user_id=910, item_text="107", kind="click", weight=2.0, time_s=1000.0, id="one")
    told = both.rpc("RecordEvents", pb.RecordEventsRequest(events=[event, pb.Event(user_id=910, item_id=108)]))
    assert (told.users, told.events, told.repeats) == (1, 2, 0)
    body = {"events": [{"user_id": 910, "item_id": 107, "id": "one"}, {"user_id": "911", "item_id": 108}]}
    answer: httpx.Response = both.http.post("/v1/events", json=body)
    assert answer.json() == {"written": 1, "users": 1, "events": 1, "repeats": 1}
    assert both.http.get("/v1/users/910").json()["features"]["history"] == [107, 108]


def test_stored_filters(both: Both) -> None:
    put = both.http.put("/v1/filters/own", json={"filter": BRAND_A})
    assert put.json() == {"name": "own", "filter": BRAND_A}
    both.rpc("PutFilter", pb.PutFilterRequest(filter=pb.NamedFilter(name="recent", filter=RECENT_MESSAGE)))
    assert both.http.get("/v1/filters").json() == {
        "filters": [{"name": "own", "filter": BRAND_A}, {"name": "recent", "filter": RECENT}]
    }
    listed = both.rpc("ListFilters", pb.ListFiltersRequest()).filters
    assert [(one.name, one.filter) for one in listed] == [("own", BRAND_A_MESSAGE), ("recent", RECENT_MESSAGE)]
    by_name = both.http.get("/v1/popular?filter=own&k=40")
    assert by_name.json()["items"] == both.http.post("/v1/popular", json={"filter": BRAND_A, "k": 40}).json()["items"]
    both.rpc("DeleteFilter", pb.DeleteFilterRequest(name="own"))
    assert both.http.delete("/v1/filters/recent").json() == {"name": "recent"}
    assert both.http.get("/v1/filters").json() == {"filters": []}
    assert both.http.delete("/v1/filters/recent").json()["type"] == "urn:rowbank:problem:filter-not-found"
    assert both.rpc_error("DeleteFilter", pb.DeleteFilterRequest(name="own")).reason == "FILTER_NOT_FOUND"


def without_index_version(model: dict[str, Any]) -> Any:
    """The index takes in changes by itself, so two answers, one after the other, may be of two of its versions."""
    version, _, change = model["index_version"].partition(".")
    assert version == model["version"]
    assert change.isdigit()
    return comparable({**model, "index_version": ""})


def test_models_and_traffic(both: Both) -> None:
    listed = both.http.get("/v1/models").json()
    (only,) = listed["models"]
    assert (only["name"], only["version"], only["active"], only["serving"]) == ("two_tower", "v1", True, True)
    assert (only["share"], only["items"], only["index"], listed["previous"]) == (1.0, 40, "exact", "")
    told = both.rpc("ListServedModels", pb.ListServedModelsRequest())
    assert (told.default_model, listed["default_model"]) == ("two_tower", "two_tower")
    assert without_index_version(as_json(told.models[0])) == without_index_version(only)
    assert both.http.get("/v1/models?model=nothing").status_code == 404
    split = both.http.get("/v1/models:traffic").json()
    assert split == {"model": "two_tower", "shares": {}, "shadow": "", "active": "v1"}
    assert as_json(both.rpc("GetTraffic", pb.GetTrafficRequest())) == split
    assert both.http.put("/v1/models:traffic", json={"shares": {}}).json() == split
    assert as_json(both.rpc("SetTraffic", pb.SetTrafficRequest(traffic=pb.Traffic()))) == split
    wrong = both.http.put("/v1/models:traffic", json={"shares": {"v9": 0.5}})
    assert (wrong.status_code, wrong.json()["type"]) == (404, "urn:rowbank:problem:model-not-found")
    request = pb.SetTrafficRequest(traffic=pb.Traffic(shares={"v9": 0.5}))
    assert both.rpc_error("SetTraffic", request).message == wrong.json()["detail"]
    assert both.http.post("/v1/models/v1/activate").json() == {"version": "v1", "previous_version": "v1"}
    assert both.rpc("ActivateVersion", pb.ActivateVersionRequest(version="v1")).previous_version == "v1"


def test_probes(both: Both) -> None:
    asked = {"queries": 12, "k": 5, "filter": BRAND_A}
    over_http = both.http.post("/v1/index:probe", json=asked).json()
    told = both.rpc("ProbeIndex", pb.ProbeIndexRequest(queries=12, k=5, filter=BRAND_A_MESSAGE))
    for name in ("index", "queries", "k", "recall", "worst_recall", "items", "eligible", "model_version"):
        assert getattr(told, name) == over_http[name]
    eligible = sum(brand(item) == "a" for item in range(100, 140))
    assert (told.recall, told.worst_recall, told.eligible, told.queries) == (1.0, 1.0, eligible, 12)
    assert both.http.post("/v1/index:probe").json()["k"] == 100
