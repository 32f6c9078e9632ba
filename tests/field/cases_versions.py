"""What a model version is made of, and who may change it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from tests.field.case import Case, World

from rowbank import Client


def _http(world: World, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(world.http_url + path, data=data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def _wait(condition: Callable[[], Any], within_s: float) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _served(world: World, client: Client, publish: Mapping[str, Any] = MappingProxyType({}), **changes: Any) -> Any:
    """A hand-made model that is in service, published with the defaults; its users, items and rows are known."""
    from tests.retrieval.support import World as Known

    from rowbank.text import token_key

    known = Known(world.name)
    known.create_tables(client)
    client.table(known.token_table).upsert([token_key("alpha"), token_key("omega")], known.token_rows[1:3])
    known.write_features(client)
    version = f"v-{world.name.replace('_', '-')}"
    client.models.publish(known.manifest(version, **changes), known.files(), activate=False, **publish)
    status, answer = _http(world, "POST", f"/v1/models/{version}/activate", {"force": True, "model": "two_tower"})
    assert status == 200, answer
    assert _wait(lambda: _http(world, "GET", "/readyz")[1].get("model_version") == version, 30)
    return known


def _top(world: World, users: Any) -> list[list[int]]:
    requests = [{"user_id": int(user)} for user in users]
    answers = _http(world, "POST", "/v1/recommend:batch", {"requests": requests})[1]["answers"]
    return [[item["id"] for item in answer["items"]] for answer in answers]


def _retrain(world: World) -> str:
    with Client(world.target) as client:
        known = _served(world, client)
        before = _top(world, known.users)
        client.table(known.user_table).upsert(known.users, -known.user_rows)
        after = _top(world, known.users)
    same = sum(len(set(a) & set(b)) for a, b in zip(before, after, strict=True))
    return f"overlap {same / sum(map(len, before)):.3f}"


def _drop_served(world: World) -> str:
    with Client(world.target) as client:
        known = _served(world, client)
        client.drop_table(str(client.models.get("two_tower").manifest.query.inputs[0].table))
        before = _http(world, "POST", "/v1/recommend", {"user_id": int(known.users[0])})[1]
    return f"dropped; answers are {before['source']}, degraded {before['degraded']}"


def _made_anew(world: World) -> str:
    """A live table is dropped, made anew and filled with other rows, by somebody who insists."""
    try:
        from rowbank.models import VersionTable  # noqa: F401

        live: dict[str, Any] = {"rows": "live"}
    except ImportError:
        live = {}
    insist = {"force": True} if live else {}
    with Client(world.target) as client:
        known = _served(world, client, publish=live)
        client.drop_table(known.user_table, **insist)
        known.user_rows = -known.user_rows
        known.create_tables(client)
        _wait(lambda: _http(world, "GET", "/readyz")[1]["problem"], 2)
        answer = _http(world, "POST", "/v1/recommend", {"user_id": 4})[1]
        problem = _http(world, "GET", "/readyz")[1]["problem"]
    return f"{answer['source']} {answer['degraded']}, problem: {problem or 'none'}"


def _recommend(world: World, body: Any) -> str:
    with Client(world.target) as client:
        _served(world, client)
    status, answer = _http(world, "POST", "/v1/recommend", body)
    return str(answer["detail"]) if status != 200 else f"{len(answer['items'])} items"


def _features_alone(world: World) -> str:
    return _recommend(world, {"features": {"user_id": 4}, "exclude_seen": True})


def _features_with_user(world: World) -> str:
    with Client(world.target) as client:
        known = _served(world, client)
    body = {"user_id": 4, "features": {"user_id": 4}, "k": 30, "exclude_seen": True}
    status, answer = _http(world, "POST", "/v1/recommend", body)
    if status != 200:
        return str(answer["detail"])
    seen = set(known.histories[4]) & {item["id"] for item in answer["items"]}
    return f"{len(seen)} seen items of {len(answer['items'])}"


def _popular_unseen(world: World) -> str:
    status, answer = _http(world, "GET", "/v1/popular?k=3&exclude_seen=true")
    return str(answer["detail"]) if status != 200 else "answered with what was seen"


def _transforms() -> dict[str, Any]:
    """The transform of titles, where versions can have it."""
    try:
        from rowbank.models import TitleTokens, Transform
    except ImportError:
        return {}
    return {"transforms": (Transform("title", "title_tokens", TitleTokens(4)),)}


def _put_title(world: World) -> str:
    """An item is given a title and nothing else."""
    with Client(world.target) as client:
        _served(world, client, **_transforms())
    _http(world, "PUT", "/v1/items/77001", {"features": {"title": "Alpha!"}})
    _wait(lambda: _http(world, "GET", "/v1/items/77001")[1]["indexed"], 1.5)
    return "found by a search" if _http(world, "GET", "/v1/items/77001")[1]["indexed"] else "never found"


def _change_title(world: World) -> str:
    """The title of an item changes."""
    from rowbank.text import token_key

    with Client(world.target) as client:
        _served(world, client, **_transforms())
    names = {token_key("alpha"): "alpha", token_key("omega"): "omega"}
    first = {"title": "alpha", "title_tokens": [token_key("alpha")]}
    for features in (first, {"title": "omega"}):
        _http(world, "PUT", "/v1/items/77002", {"features": features})
    features = _http(world, "GET", "/v1/items/77002")[1]["features"]
    return f"title {features['title']}, words {[names.get(key, key) for key in features['title_tokens']]}"


def _no_words(world: World) -> str:
    """An item's title has no word in it."""
    with Client(world.target) as client:
        _served(world, client, **_transforms())
    _http(world, "PUT", "/v1/items/77003", {"features": {"title": "?!"}})
    _wait(lambda: "title without a word" in _http(world, "GET", "/v1/items/77003")[1].get("not_indexed", ""), 1.5)
    answer = _http(world, "GET", "/v1/items/77003")[1]
    return f"indexed {answer['indexed']}: {answer.get('not_indexed', 'nobody says why')}"


CASES = [
    Case("a retrain under a served version", r"overlap 1\.000", _retrain),
    Case("drop_table of what is served", r"TableHeld: .*held by model two_tower .*\(active\).*", _drop_served),
    Case(
        "a served live table made anew",
        r"session \['rows:table_dropped'\], problem: .*was dropped since it was published.*",
        _made_anew,
    ),
    Case("exclude_seen with features alone", r".*give user_id as well.*", _features_alone),
    Case("exclude_seen with features and a user", r"0 seen items of 30", _features_with_user),
    Case("exclude_seen of what is popular", r".*POST /v1/recommend with a user_id.*", _popular_unseen),
    Case("PUT of an item by title", r"found by a search", _put_title),
    Case("PUT of another title", r"title omega, words \['omega'\]", _change_title),
    Case("PUT of a title without a word", r"indexed False: .*a title without a word.*", _no_words),
]
