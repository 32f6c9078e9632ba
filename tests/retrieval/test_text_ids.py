"""A model whose ids are texts: asked with texts and answered with texts. What is expected is computed by NumPy."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import grpc
import httpx
import numpy as np
import pytest
from tests.colliding import FIRST, KEY, SECOND
from tests.processes import PsProcess
from tests.retrieval.named import ITEMS, USERS, NamedWorld
from tests.retrieval.support import DIM, ApiProcess, get, post, serving, until

import rowbank
from rowbank.catalogue import write_catalogue
from rowbank.errors import IdCollision, InvalidRequest, ModelDiffers, from_rpc_error
from rowbank.models import Tower, TowerInput
from rowbank.text import token_key
from rowbank.text_ids import ID_TEXT
from rowbank_protos.v1 import features_pb2, retrieval_pb2_grpc
from rowbank_protos.v1 import retrieval_pb2 as pb


@pytest.fixture(scope="module")
def world() -> NamedWorld:
    return NamedWorld("named")


@pytest.fixture(scope="module")
def served(
    world: NamedWorld, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[httpx.Client, rowbank.Client, str]]:
    folder = tmp_path_factory.mktemp("named")
    ps = PsProcess("--namespace", folder.name, redis_url=redis_url, log=folder / "ps.log")
    try:
        ps.wait_ready()
        with rowbank.Client(ps.target) as client:
            world.create_tables(client)
            world.publish(client, "v1")
            api = ApiProcess(
                "--model", world.model, "--grpc-bind", "127.0.0.1:0",
                redis_url=redis_url, target=ps.target, namespace=folder.name, log=folder / "api.log",
            )  # fmt: skip
            try:
                with httpx.Client(base_url=api.wait_ready().url, timeout=30) as http:
                    serving(http, "v1")
                    yield http, client, re.findall(r"gRPC at (127\.0\.0\.1:\d+)", api.log)[0]
                    assert api.terminate() == 0, api.log
            finally:
                api.close()
    finally:
        ps.close()


@pytest.fixture
def http(served: Any) -> httpx.Client:
    return served[0]


@pytest.fixture
def client(served: Any) -> rowbank.Client:
    return served[1]


@pytest.fixture
def stub(served: Any) -> Iterator[retrieval_pb2_grpc.RetrievalServiceStub]:
    with grpc.insecure_channel(served[2]) as channel:
        yield retrieval_pb2_grpc.RetrievalServiceStub(channel)


def ids(answer: Any) -> list[Any]:
    return [item["id"] for item in answer["items"]]


def item_url(item: str) -> str:
    return f"/v1/items/{quote(item, safe='')}"


@pytest.mark.parametrize("user", USERS)
def test_a_user_is_asked_for_and_answered_with_texts(http: httpx.Client, world: NamedWorld, user: str) -> None:
    """Also `7` and `007`, which are two users."""
    answer = post(http, "/v1/recommend", {"user_id": user, "k": 8})
    assert ids(answer) == world.for_user(user, 8)
    assert (answer["source"], answer["degraded"]) == ("personal", [])


def test_every_list_of_ids_takes_texts(http: httpx.Client, world: NamedWorld) -> None:
    best = world.for_user("bob", 3)
    body = {"user_id": "bob", "k": 30, "exclude": [best[1], "never heard of"], "exclude_seen": True}
    assert ids(post(http, "/v1/recommend", body)) == world.for_user("bob", 30, [best[1], *world.histories["bob"]])
    session = ["🎈🎉", "nul\x00byte", "never heard of"]
    answer = post(http, "/v1/recommend", {"session_items": session, "k": 5, "exclude_seen": True})
    assert (ids(answer), answer["source"]) == (world.near(session[:2], 5, session), "session")
    similar = post(http, "/v1/similar", {"item_ids": ["a/b/c"], "k": 4, "exclude": ["plain"]})
    assert ids(similar) == world.near(["a/b/c"], 4, ["a/b/c", "plain"])
    batch = {"requests": [{"user_id": "anna", "k": 2}, {"session_items": ["plain"], "k": 2}]}
    first, second = post(http, "/v1/recommend:batch", batch)["answers"]
    assert (ids(first), ids(second)) == (world.for_user("anna", 2), world.near(["plain"], 2))
    assert ids(post(http, "/v1/recommend", {"features": {"user_id": "anna"}, "k": 3})) == world.for_user("anna", 3)
    assert ids(get(http, "/v1/popular?k=2")) == ["lamp-1", "a/b/c"]  # Named by 6 and 5 histories.


def test_an_unknown_text_is_an_unknown_user(http: httpx.Client) -> None:
    answer = post(http, "/v1/recommend", {"user_id": "Anna", "k": 1})
    assert (ids(answer), answer["source"], answer["degraded"]) == (["lamp-1"], "popular", ["user:unknown"])


def test_what_has_no_title_is_called_by_its_id(http: httpx.Client) -> None:
    titles = {item["id"]: item["title"] for item in get(http, f"/v1/popular?k={len(ITEMS)}")["items"]}
    assert titles == {item: "The lamp-1" if item == "lamp-1" else item for item in ITEMS}


@pytest.mark.parametrize("item", [item for item in ITEMS if item != ".."], ids=lambda item: ascii(item)[:12])
def test_items_are_named_in_paths(http: httpx.Client, item: str) -> None:
    """Whatever is in them, encoded as URLs have it."""
    answer = get(http, item_url(item))
    assert (answer["id"], answer["indexed"], answer["status"]) == (item, True, "present")
    assert set(answer["features"]) == {"title"}


@pytest.mark.parametrize("user", USERS)
def test_histories_are_texts(http: httpx.Client, world: NamedWorld, user: str) -> None:
    answer = get(http, f"/v1/users/{quote(user, safe='')}")
    assert (answer["id"], answer["features"]) == (user, {"history": world.histories[user]})


WRONG: list[tuple[str, str, Any, int, str]] = [
    ("POST", "/v1/recommend", {"user_id": 42}, 422,
     'user_id: expected a text in quotes, such as "42", got 42; the user ids of model \'named\' v1 are texts'),
    ("POST", "/v1/recommend", {"user_id": ""}, 422, "user_id: is empty"),
    ("POST", "/v1/recommend", {"user_id": "é" * 513}, 422, "user_id: has 1026 bytes as UTF-8, and ids have at most"),
    ("POST", "/v1/recommend", {"user_id": 1.5}, 422, "user_id: expected an integer of 64 bits or a text, got 1.5"),
    ("POST", "/v1/recommend", {"user_id": True}, 422, "expected an integer of 64 bits or a text, got true"),
    ("POST", "/v1/recommend", {"session_items": ["plain", 7]}, 422, 'session_items.1: expected a text in quotes, such'),
    ("POST", "/v1/recommend", {"session_items": [7, 8]}, 422, "session_items.0: expected a text in quotes"),
    ("POST", "/v1/recommend", {"user_id": "anna", "exclude": ["plain", ""]}, 422, "exclude.1: is empty"),
    ("POST", "/v1/recommend", {"user_id": "anna", "exclude": [9]}, 422, "exclude.0: expected a text in quotes"),
    ("POST", "/v1/recommend", {"features": {"user_id": 9}}, 422, "features: user_id: expected a text in quotes"),
    ("POST", "/v1/recommend", {"features": {"user_id": "bob"}, "user_id": "anna"}, 422, "is 'bob', but user_id is 'an"),
    ("POST", "/v1/recommend:batch", {"requests": [{"user_id": "anna"}, {"user_id": 3}]}, 422, "requests.1.user_id: "),
    ("POST", "/v1/similar", {"item_ids": ["plain", "nothing"]}, 404, "the catalogue has no item nothing"),
    ("POST", "/v1/similar", {"item_ids": [5]}, 422, "item_ids.0: expected a text in quotes, such as"),
    ("POST", "/v1/events", {"events": [{"user_id": 1, "item_id": "plain"}]}, 422, "events.0.user_id: expected a text"),
    ("POST", "/v1/events", {"events": [{"user_id": "anna", "item_id": 2}]}, 422, "events.0.item_id: expected a text"),
    ("PUT", "/v1/items/new", {"features": {"title": 5}}, 422, "title of item_id 'new': expected string, got int 5"),
    ("PUT", "/v1/items/new", {"features": {"_id": "old"}}, 422, "'_id' cannot be written; it is the id, as the URL"),
    ("PUT", "/v1/users/anna", {"features": {"history": ["plain", 5]}}, 422, "features.history.1: expected a text"),
    ("GET", "/v1/items/nothing", None, 404, "item 'nothing' has no features"),
    ("DELETE", "/v1/items/nothing", None, 404, "item 'nothing' has no features"),
    ("GET", "/v1/items/", None, 404, "there is no such path"),
    ("GET", "/v1/items/a/b/c", None, 404, "there is no such path"),
    ("GET", "/v1/items/%FF", None, 422, "the id in the path: expected UTF-8, percent-encoded, got '%FF'"),
    ("GET", f"/v1/items/{'x' * 1025}", None, 422, "id: has 1025 bytes as UTF-8, and ids have"),
    ("GET", "/v1/popular?ids=number", None, 422, "query parameter 'ids': expected string, got 'number'"),
    ("GET", "/v1/models?ids=string", None, 422, "query parameter 'ids' is unknown"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "status", "text"), WRONG)
def test_what_is_no_id_of_the_model(
    http: httpx.Client, method: str, path: str, body: Any, status: int, text: str
) -> None:
    answer = http.request(method, path, content=None if body is None else json.dumps(body))
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert text in problem["detail"]
    request_id = problem.pop("request_id", "")
    assert not re.search(r"\d{15,}", json.dumps(problem)), (problem, request_id)  # No key.
    if text.startswith(("user_id", "session_items.", "exclude.", "requests.")):
        where, _, message = text.partition(": ")
        assert problem["errors"][0]["where"] == where
        assert message in problem["errors"][0]["message"]


def test_an_item_is_added_changed_and_removed_by_its_text(http: httpx.Client, world: NamedWorld) -> None:
    """A catalogue of names keeps what callers write: also an id with a slash that training never saw."""
    item = "new / item é"
    assert http.put(item_url(item), json={"features": {"title": "Brand new"}}).json() == {"written": 1}
    answer = get(http, item_url(item))
    assert (answer["id"], answer["features"], answer["interactions"]) == (item, {"title": "Brand new"}, 0)

    def listed() -> dict[str, str]:
        return {one["id"]: one["title"] for one in get(http, "/v1/popular?k=100")["items"]}

    until(lambda: listed().get(item) == "Brand new")
    assert http.delete(item_url(item)).json() == {"id": item}
    assert http.get(item_url(item)).status_code == 404
    until(lambda: set(listed()) == set(world.items))


def test_events_of_texts_are_in_the_history(http: httpx.Client, client: rowbank.Client) -> None:
    """Also of a user whom nobody knew, and of an item of which no more than its id is known."""
    events = [{"user_id": "né w", "item_id": item} for item in ("plain", "not in the catalogue", "50% off")]
    assert post(http, "/v1/events", {"events": events}) == {"written": 1, "users": 1, "events": 3, "repeats": 0}
    answer = get(http, f"/v1/users/{quote('né w')}")
    assert answer["features"]["history"] == ["plain", None, "50% off"]
    stored = client.features.read("named_users", [token_key("né w")])[0].values
    assert stored[ID_TEXT] == "né w"
    answer = post(http, "/v1/recommend", {"user_id": "né w", "k": 40, "exclude_seen": True})
    assert answer["source"] == "session"
    assert not {"plain", "50% off"} & set(ids(answer))
    written = {"features": {"history": ["a/b/c", "plain"]}}
    assert http.put("/v1/users/written", json=written).json() == {"written": 1}
    assert get(http, "/v1/users/written")["features"] == written["features"]


def test_two_texts_with_one_key_are_refused(http: httpx.Client, client: rowbank.Client) -> None:
    """The second one, wherever it would be stored, shown or removed."""
    assert http.put(f"/v1/items/{FIRST}", json={"features": {"title": "x"}}).json() == {"written": 1}
    together = [{"user_id": user, "item_id": "plain"} for user in ("anna", FIRST, SECOND)]
    calls: list[tuple[str, str, Any]] = [
        ("PUT", f"/v1/items/{SECOND}", {"features": {"title": "y"}}),
        ("GET", f"/v1/items/{SECOND}", None),
        ("DELETE", f"/v1/items/{SECOND}", None),
        ("POST", "/v1/events", {"events": together}),
    ]
    assert post(http, "/v1/events", {"events": together[1:2]}) == {"written": 1, "users": 1, "events": 1, "repeats": 0}
    calls += [
        ("POST", "/v1/events", {"events": together[2:]}),
        ("GET", f"/v1/users/{SECOND}", None),
        ("PUT", f"/v1/users/{SECOND}", {"features": {"history": []}}),
    ]
    for method, path, body in calls:
        answer = http.request(method, path, json=body)
        assert answer.status_code == 409, answer.text
        assert answer.json()["type"] == "urn:rowbank:problem:id-collision"
        assert f"id {SECOND!r} has the same key, {KEY}, as {FIRST!r}, which is stored" in answer.json()["detail"]
    assert get(http, f"/v1/items/{FIRST}")["features"]["title"] == "x"
    assert get(http, f"/v1/users/{FIRST}")["features"]["history"] == ["plain"]
    assert get(http, "/v1/users/anna")["features"]["history"] == ["lamp-1"]
    assert http.delete(f"/v1/items/{FIRST}").status_code == 200
    answer = http.put(f"/v1/items/{SECOND}", json={"features": {"title": "y"}})
    assert answer.status_code == 409  # Histories may still name the first.


@pytest.mark.parametrize("role", ["user", "item"])
def test_a_publication_is_refused_where_a_new_text_has_the_key_of_a_stored_one(
    http: httpx.Client, client: rowbank.Client, role: str
) -> None:
    """What callers wrote stays; nothing of the version does."""
    http.put(f"/v1/{role}s/{FIRST}", json={"features": {"title": "x"} if role == "item" else {"history": []}})
    more = {"items": (*ITEMS, SECOND)} if role == "item" else {"users": (*USERS, SECOND)}
    with pytest.raises(
        IdCollision, match=f"{role} ids {FIRST!r}, which is stored, and {SECOND!r} of the new data have"
    ):
        NamedWorld("named", **more).publish(client, "v2")
    assert not [known.name for known in client.features.list_views() if "v2" in known.name]
    if role == "item":
        assert http.delete(f"/v1/items/{FIRST}").status_code == 200


def test_the_same_over_grpc(stub: retrieval_pb2_grpc.RetrievalServiceStub, world: NamedWorld) -> None:
    def texts(answer: pb.RecommendResponse) -> list[str]:
        assert all(item.item_id == 0 for item in answer.items)
        return [item.item_text for item in answer.items]

    best = world.for_user("007", 6)
    request = pb.RecommendRequest(user_text="007", k=5, exclude_texts=[best[0]])
    assert texts(stub.Recommend(request)) == best[1:]
    session = pb.SessionItems(item_texts=["a/b/c"])
    assert texts(stub.Recommend(pb.RecommendRequest(session=session, k=3))) == world.near(["a/b/c"], 3)
    anna = {"user_id": features_pb2.FeatureValue(string_value="anna")}
    for named in ({}, {"user_text": "anna"}):
        assert texts(stub.Recommend(pb.RecommendRequest(features=anna, k=3, **named))) == world.for_user("anna", 3)
    similar = pb.SimilarItemsRequest(item_texts=["a/b/c"], exclude_texts=["plain"], k=3)
    assert texts(stub.SimilarItems(similar)) == world.near(["a/b/c"], 3, ["a/b/c", "plain"])
    for wrong, text in (
        (pb.RecommendRequest(user_id=42), 'user_id: expected a text in quotes, such as "42", got 42; the user ids of'),
        (pb.RecommendRequest(user_text="anna", exclude=[5]), "exclude.0: expected a text in quotes"),
        (pb.RecommendRequest(user_text=""), "user_id: is empty"),
        (pb.RecommendRequest(session=pb.SessionItems()), "session_items: expected a list of 1 to 10000, got []"),
    ):
        with pytest.raises(grpc.RpcError) as failure:
            stub.Recommend(wrong)
        error = from_rpc_error(failure.value)
        assert isinstance(error, InvalidRequest)
        assert text in error.message
    with pytest.raises(grpc.RpcError) as failure:
        stub.SimilarItems(pb.SimilarItemsRequest(item_texts=["nothing"]))
    assert "the catalogue has no item nothing" in from_rpc_error(failure.value).message


def test_versions_with_ids_of_another_kind_differ_strongly(http: httpx.Client, client: rowbank.Client) -> None:
    """Activated all the same, integers do not serve what callers wrote for texts, nor the other way round."""
    with pytest.raises(ModelDiffers) as refused:
        publish_integers(client, "v3")
    assert "its user ids are integers, those of the active one texts" in refused.value.message
    assert "its item ids are integers, those of the active one texts" in refused.value.message
    http.put("/v1/items/of%20texts", json={"features": {"title": "T"}})
    client.models.activate("named", "v3", force=True)
    serving(http, "v3")
    assert ids(get(http, "/v1/popular")) == [2**53 + 1, 7]
    big = {"user_id": "9007199254740993", "exclude": ["7"], "features": {"user_id": "9007199254740993"}}
    answer = post(http, "/v1/recommend", big)
    assert (ids(answer), answer["source"]) == ([2**53 + 1], "personal")
    assert ids(post(http, "/v1/recommend?ids=string", big)) == ["9007199254740993"]
    assert ids(get(http, "/v1/popular?ids=string")) == ["9007199254740993", "7"]
    batch = post(http, "/v1/recommend:batch?ids=string", {"requests": [{"session_items": ["7", 9]}]})["answers"]
    assert set(ids(batch[0])) == {"9007199254740993", "7"}
    assert ids(post(http, "/v1/similar?ids=string", {"item_ids": ["7"]})) == ["9007199254740993"]
    events = [{"user_id": "9007199254740993", "item_id": item} for item in ("7", 2**53 + 1)]
    assert post(http, "/v1/events", {"events": events}) == {"written": 1, "users": 1, "events": 2, "repeats": 0}
    path = "/v1/users/9007199254740993"
    assert get(http, path)["id"] == 2**53 + 1
    assert get(http, path)["features"]["history"] == [2**53 + 1, 7, 2**53 + 1]
    assert get(http, f"{path}?ids=string")["id"] == "9007199254740993"
    assert get(http, f"{path}?ids=string")["features"]["history"] == ["9007199254740993", "7", "9007199254740993"]
    written = {"features": {"title": "Seven"}}
    assert http.put("/v1/items/8", json=written).json() == {"written": 1}
    assert http.delete("/v1/items/8?ids=string").json() == {"id": "8"}
    for body, text in (
        (
            {"user_id": "anna"},
            "user_id: expected an integer of 64 bits, such as 42 or \"42\", got 'anna'; the user ids",
        ),
        ({"user_id": "007"}, "got '007'; the user ids of model 'named' v3 are integers"),
        ({"user_id": "9223372036854775808"}, "user_id: expected an integer of 64 bits"),
        ({"session_items": ["8", "x"]}, "session_items.1: expected an integer of 64 bits, such as 42 or"),
    ):
        answer = http.post("/v1/recommend", json=body)
        assert answer.status_code == 422
        assert text in answer.json()["detail"]
    assert 'rowbank_unreadable_entities{view="named_v3_items:_id"} ' in http.get("/metrics").text
    client.models.activate("named", "v1", force=True)
    serving(http, "v1")
    assert "of texts" in ids(get(http, "/v1/popular?k=100"))
    assert not {7, "7"} & set(ids(get(http, "/v1/popular?k=100")))
    http.delete("/v1/items/of%20texts")


def test_a_withdrawn_item_keeps_its_text(http: httpx.Client, client: rowbank.Client) -> None:
    """Histories name it on, and it may come back."""
    post(http, "/v1/events", {"events": [{"user_id": "keeper", "item_id": item} for item in ("42", "lamp-1")]})
    without = NamedWorld("named", items=tuple(item for item in ITEMS if item != "42"))
    without.publish(client, "v5", force=True)
    serving(http, "v5")
    assert http.get("/v1/items/42").status_code == 404
    assert "42" not in ids(get(http, "/v1/popular?k=100"))
    assert get(http, "/v1/users/keeper")["features"]["history"] == ["42", "lamp-1"]
    assert http.put("/v1/items/42", json={"features": {"title": "Back"}}).json() == {"written": 1}
    until(lambda: "42" in ids(get(http, "/v1/popular?k=100")))
    assert get(http, "/v1/items/42")["features"]["title"] == "Back"


def publish_integers(client: rowbank.Client, version: str) -> None:
    """A version of the same model whose users and items are integers."""
    world = NamedWorld("named", items=("lamp-1", "plain"), users=("anna", "bob"))
    items, users = [2**53 + 1, 7], [2**53 + 1, 1]
    for side, numbers, rows in (("user", users, world.user_rows), ("item", items, world.item_rows)):
        table = client.create_table(rowbank.TableSpec(f"named/r3.{side}", dim=DIM, optimizer=rowbank.SGD(0.5)))
        table.upsert(np.asarray(numbers), np.stack(list(rows.values())))
    report = write_catalogue(
        client, "named", version, read_at_s=time.time(), items={item: {"title": f"T{item}"} for item in items},
        users={user: {"history": items[:1]} for user in users},
    )  # fmt: skip
    query, candidate = (
        Tower((TowerInput("rows", f"named/r3.{side}", f"{side}_id", DIM),), "vector", f"{name}.onnx")
        for side, name in (("user", "query"), ("item", "candidate"))
    )
    manifest = world.manifest(
        version, report.views, query=query, candidate=candidate, user_ids="int64", item_ids="int64"
    )
    client.models.publish(manifest, world.files(), rows="frozen")
