"""A version is whole: nothing but the version and what callers wrote changes its answers. With real processes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest
import redis
from tests.processes import PsProcess
from tests.retrieval.support import VECTOR_DIM, ApiProcess, get, post, serving, until
from tests.retrieval.versions import Scored, Shop, look_again, refreshes, scored

import rowbank
from rowbank.text import token_key


@dataclass
class Site:
    """A parameter server, and retrieval services of several models beside it."""

    ps: PsProcess
    client: rowbank.Client
    start_ps: Callable[..., PsProcess]
    start_api: Callable[..., tuple[ApiProcess, httpx.Client]]
    connection: redis.Redis
    namespace: str

    def restart_ps(self) -> None:
        assert self.ps.terminate() == 0, self.ps.log
        self.ps = self.start_ps("--bind", self.ps.target)


@pytest.fixture
def site(
    start_ps: Callable[..., PsProcess], start_api: Callable[..., ApiProcess], connection: redis.Redis, namespace: str
) -> Iterator[Site]:
    ps = start_ps()
    opened: list[httpx.Client] = []

    def start(model: str) -> tuple[ApiProcess, httpx.Client]:
        api = start_api(ps.target, namespace, "--popularity-interval-s", "0.1", "--model", model)
        opened.append(httpx.Client(base_url=api.url, timeout=30))
        return api, opened[-1]

    with rowbank.Client(ps.target) as client:
        yield Site(ps, client, start_ps, start, connection, namespace)
    for http in opened:
        http.close()


@pytest.fixture
def shop(site: Site) -> Shop:
    shop = Shop("shop")
    shop.create_tables(site.client)
    return shop


def rebuilt(site: Site, http: httpx.Client) -> None:
    """Waits until the index was compared with what is there now; a look may have begun before, so twice."""
    for _ in range(2):
        before = refreshes(http)
        look_again(site.connection, site.namespace)
        until(lambda before=before: refreshes(http) > before)


def test_a_frozen_version_answers_the_same_whatever_happens_around_it(site: Site, shop: Shop) -> None:
    """Ids, order and scores of 100 users, to the last bit."""
    shop.publish(site.client, "v1")
    api, http = site.start_api("shop")
    serving(http, "v1")
    first = shop.answers(http, version="v1")
    expected = [shop.vector(title) for title in shop.titles.values()]
    scores = np.asarray(expected) @ (shop.user_rows[0] @ shop.user_weights)
    best = np.argsort(-scores)[:10]
    assert [item for item, _ in first[0]] == np.asarray(list(shop.titles))[best].tolist()

    shop.retrain(site.client)
    rebuilt(site, http)
    assert shop.answers(http, version="v1") == first, "a retrain changed what is served"

    films = Shop("films", seed=4)  # The same ids of items and users.
    films.create_tables(site.client)
    films.publish(site.client, "v1")
    _, other = site.start_api("films")
    serving(other, "v1")
    post(other, "/v1/events", {"events": [{"user_id": 1, "item_id": 1003}, {"user_id": 2, "item_id": 1004}]})
    assert other.put("/v1/items/1000", json={"features": {"title": "word1 word2"}}).json() == {"written": 1}
    assert other.delete("/v1/items/1001").status_code == 200
    assert other.put("/v1/users/1", json={"features": {"history": []}}).json() == {"written": 1}
    rebuilt(site, http)
    assert shop.answers(http, version="v1") == first, "a second model changed what is served"

    shop.publish(site.client, "v2")  # Of the retrained rows.
    serving(http, "v2")
    second = shop.answers(http, version="v2")
    assert sum(a == b for a, b in zip(first, second, strict=True)) < 10
    post(http, "/v1/models:rollback", None)
    serving(http, "v1")
    assert shop.answers(http, version="v1") == first, "rolled back, the version is another"
    post(http, "/v1/models/v2/activate", None)
    serving(http, "v2")
    assert shop.answers(http, version="v2") == second
    post(http, "/v1/models:rollback", None)
    serving(http, "v1")

    assert api.terminate() == 0, api.log
    _, http = site.start_api("shop")
    serving(http, "v1")
    assert shop.answers(http, version="v1") == first, "a new process of the service answers otherwise"
    site.restart_ps()
    rebuilt(site, http)
    until(lambda: get(http, "/readyz")["problem"] == "")
    until(lambda: not post(http, "/v1/recommend", {"user_id": 1})["degraded"])
    assert shop.answers(http, version="v1") == first, "a new parameter server answers otherwise"


def test_a_lone_query_gets_the_answer_that_it_gets_in_a_batch(site: Site, shop: Shop) -> None:
    shop.publish(site.client, "v1")
    _, http = site.start_api("shop")
    serving(http, "v1")
    together = shop.answers(http, version="v1")[::2]
    alone = [scored(post(http, "/v1/recommend", {"user_id": int(user)})) for user in shop.users]
    assert alone == together


def test_versions_change_under_load_and_every_answer_is_one_of_them(site: Site, shop: Shop) -> None:
    shop.publish(site.client, "v1")
    _, http = site.start_api("shop")
    serving(http, "v1")
    known: dict[str, dict[int, Scored]] = {}

    def learn(version: str) -> None:
        serving(http, version)
        known[version] = {u: scored(post(http, "/v1/recommend", {"user_id": u})) for u in range(1, 11)}

    learn("v1")
    shop.retrain(site.client)
    shop.publish(site.client, "v2")
    learn("v2")
    got: list[tuple[int, httpx.Response]] = []
    stop = threading.Event()

    def load(user: int) -> None:
        with httpx.Client(base_url=http.base_url, timeout=30) as own:
            while not stop.is_set():
                got.append((user, own.post("/v1/recommend", json={"user_id": user})))

    batches: list[set[str]] = []

    def load_batches() -> None:
        body = {"requests": [{"user_id": int(user), "k": 3} for user in shop.users] * 2}
        with httpx.Client(base_url=http.base_url, timeout=30) as own:
            while not stop.is_set():
                answers = post(own, "/v1/recommend:batch", body)["answers"]
                batches.append({answer["model_version"] for answer in answers})

    threads = [threading.Thread(target=load, args=(user,)) for user in (1, 4, 9)]
    threads.append(threading.Thread(target=load_batches))
    for thread in threads:
        thread.start()
    for version in ("v1", "v2", "v1", "v2"):
        post(http, f"/v1/models/{version}/activate", {"force": True})
        serving(http, version)
        seen = len(got)
        until(lambda seen=seen: len(got) > seen + 30)
        done = len(batches)
        until(lambda done=done: len(batches) > done)
    stop.set()
    for thread in threads:
        thread.join()
    assert {answer.status_code for _, answer in got} == {200}
    assert {len(versions) for versions in batches} == {1}
    for user, answer in got:
        assert scored(answer.json()) == known[answer.json()["model_version"]][user]
        assert not answer.json()["degraded"]
    assert {answer.json()["model_version"] for _, answer in got} == {"v1", "v2"}


def test_what_callers_wrote_survives_a_publication(site: Site, shop: Shop) -> None:
    shop.publish(site.client, "v1")
    _, http = site.start_api("shop")
    serving(http, "v1")
    title = "word5 word7"
    for item, text in ((5000, title), (1002, "word8")):
        assert http.put(f"/v1/items/{item}", json={"features": {"title": text}}).json() == {"written": 1}
    assert http.delete("/v1/items/1003").status_code == 200
    post(http, "/v1/events", {"events": [{"user_id": 1, "item_id": 5000}]})
    shop.titles[1002] = "word9"  # The files say it otherwise, and are read later.
    del shop.titles[1004]
    del shop.titles[1003]
    report = shop.publish(site.client, "v2")
    assert (report.added, report.changed, report.left, report.kept) == (0, 1, 1, 1)
    serving(http, "v2")
    everything = [item["id"] for item in get(http, "/v1/popular?k=1000")["items"]]
    assert sorted(everything) == sorted([*shop.titles, 5000])
    assert get(http, "/v1/items/1002")["features"]["title"] == "word9"
    assert get(http, "/v1/items/5000")["indexed"]
    assert get(http, "/v1/users/1")["features"]["history"] == [*shop.histories[1], 5000]
    answer = post(http, "/v1/recommend", {"user_id": 1, "k": 1000, "exclude_seen": True})
    assert not {5000, *shop.histories[1]} & {item["id"] for item in answer["items"]}
    post(http, "/v1/models:rollback", None)
    serving(http, "v1")
    assert get(http, "/v1/items/1002")["features"]["title"] == "word8"
    gone = {read: http.get(f"/v1/items/{read}").status_code for read in (1003, 1004, 5000)}
    assert gone == {1003: 404, 1004: 200, 5000: 200}


def test_an_item_put_by_title_is_found_and_moves_with_its_title(site: Site, shop: Shop) -> None:
    shop.publish(site.client, "v1")
    _, http = site.start_api("shop")
    serving(http, "v1")

    def put(title: str) -> None:
        assert http.put("/v1/items/5000", json={"features": {"title": title}}).json() == {"written": 1}

    def shown(title: str) -> bool:
        """The item is first near an item of the same words, with the title; its score is the length squared."""
        answer = post(http, "/v1/recommend", {"session_items": [5000], "k": 1000})
        found = {item["id"]: item for item in answer["items"]}.get(5000)
        length = float(shop.vector(title) @ shop.vector(title))
        return found is not None and found["title"] == title and abs(found["score"] - length) < 1e-4 * max(1, length)

    put("word3 word4")
    until(lambda: shown("word3 word4"))
    put("word10")
    until(lambda: shown("word10"))
    assert get(http, "/v1/items/5000")["features"]["title_tokens"] == [token_key("word10")]
    put("?!")
    until(lambda: not get(http, "/v1/items/5000")["indexed"])
    assert "a title without a word" in get(http, "/v1/items/5000")["not_indexed"]
    assert 'rowbank_unindexed_items{model="shop",reason="no_keys"} 1.0' in http.get("/metrics").text
    put("unheard of")
    until(lambda: "none of its keys has a row" in get(http, "/v1/items/5000")["not_indexed"])
    assert 'rowbank_unindexed_items{model="shop",reason="no_rows"} 1.0' in http.get("/metrics").text


def near_history(shop: Shop, user: int) -> list[int]:
    """The ten items nearest to the mean of a user's history, by NumPy."""
    vectors = np.asarray([shop.vector(title) for title in shop.titles.values()]).reshape(-1, VECTOR_DIM)
    items = list(shop.titles)
    mean = vectors[[items.index(item) for item in shop.histories[user]]].mean(axis=0)
    return [items[at] for at in np.argsort(-(vectors @ mean), kind="stable")[:10]]


def drop(site: Site, shop: Shop) -> None:
    site.client.drop_table(shop.tables["user"], force=True)


def make_anew(site: Site, shop: Shop) -> None:
    drop(site, shop)
    shop.create_tables(site.client)


def clear(site: Site, shop: Shop) -> None:
    site.client.table(shop.tables["user"]).clear(force=True)


def restore(site: Site, shop: Shop) -> None:
    table = site.client.table(shop.tables["user"])
    table.import_rows(list(table.export(with_slots=True)))


def train(site: Site, shop: Shop) -> None:
    with site.client.hold_tables("another run", list(shop.tables.values()), run="r2"):
        shop.retrain(site.client)


@pytest.mark.parametrize(
    ("damage", "reason", "words"),
    [
        (drop, "table_dropped", "table 'shop/r1.user' was dropped since it was published"),
        (make_anew, "table_dropped", "table 'shop/r1.user' was dropped since it was published"),
        (clear, "table_changed", "table 'shop/r1.user' was cleared, restored or imported into since"),
        (restore, "table_changed", "table 'shop/r1.user' was cleared, restored or imported into since"),
        (train, "trained_by_another_run", "table 'shop/r1.title' was trained by another run"),
    ],
)
def test_live_rows_that_are_not_the_versions_any_more_are_not_read_and_it_says_so(
    site: Site, shop: Shop, damage: Callable[[Site, Shop], None], reason: str, words: str
) -> None:
    shop.publish(site.client, "v1", rows="live")
    api, http = site.start_api("shop")
    serving(http, "v1")
    near = scored(post(http, "/v1/similar", {"item_ids": [1000]}))
    damage(site, shop)

    def told(http: httpx.Client) -> Any:
        return words in get(http, "/readyz")["problem"] and get(http, "/readyz")

    assert until(lambda: told(http))["status"] == "ready"
    answer = post(http, "/v1/recommend", {"user_id": 5})
    assert (answer["source"], answer["degraded"]) == ("session", [f"rows:{reason}"])
    assert [item["id"] for item in answer["items"]] == near_history(shop, 5)
    rebuilt(site, http)
    kept = post(http, "/v1/similar", {"item_ids": [1000]})
    assert (scored(kept), kept["degraded"]) == (near, [f"rows:{reason}"])  # The index is that of the version's rows.
    stranger = post(http, "/v1/recommend", {"user_id": 31337})
    assert (stranger["source"], stranger["degraded"]) == ("popular", [f"rows:{reason}"])
    assert get(http, "/v1/popular")["source"] == "popular"
    lost = 2.0 if damage is train else 1.0
    assert f'rowbank_api_tables_lost{{reason="{reason}"}} {lost}' in http.get("/metrics").text
    assert http.delete("/v1/items/1000").status_code == 200  # What needs no rows goes on.
    until(lambda: 1000 not in [item["id"] for item in get(http, "/v1/popular?k=1000")["items"]])

    assert api.terminate() == 0, api.log
    _, http = site.start_api("shop")
    assert until(lambda: http.get("/readyz").status_code == 200 and told(http))["model_version"] == "v1"
    assert post(http, "/v1/recommend", {"user_id": 5})["degraded"] == [f"rows:{reason}"]
    shop.create_tables(site.client)
    shop.publish(site.client, "v2", rows="live")
    serving(http, "v2")
    assert get(http, "/readyz")["problem"] == ""
    fresh = post(http, "/v1/recommend", {"user_id": 5})
    assert (fresh["source"], fresh["degraded"]) == ("personal", [])
    assert f'rowbank_api_tables_lost{{reason="{reason}"}} 0.0' in http.get("/metrics").text


def test_live_rows_that_go_on_in_their_own_run_are_followed(site: Site, shop: Shop) -> None:
    with site.client.hold_tables("the run", list(shop.tables.values()), run="r1"):
        shop.publish(site.client, "v1", rows="live")
        _, http = site.start_api("shop")
        serving(http, "v1")
        first = shop.answers(http, version="v1")
        shop.retrain(site.client)
        until(lambda: shop.answers(http, version="v1") != first)
        assert get(http, "/readyz")["problem"] == ""


def test_a_frozen_table_that_was_dropped_by_force_is_noticed(site: Site, shop: Shop) -> None:
    shop.publish(site.client, "v1")
    _, http = site.start_api("shop")
    serving(http, "v1")
    site.client.drop_table("shop/v1.title", force=True)
    until(lambda: "table 'shop/v1.title' was dropped" in get(http, "/readyz")["problem"])
    answer = post(http, "/v1/recommend", {"user_id": 5})
    assert (answer["source"], answer["degraded"]) == ("personal", ["rows:table_dropped"])  # The index is kept.
    shop.publish(site.client, "v2", activate=False)
    post(http, "/v1/models/v2/activate", None)
    serving(http, "v2")
    refused = http.post("/v1/models/v1/activate")
    assert refused.status_code == 200
    until(lambda: "'shop': version v1: table 'shop/v1.title' was dropped" in get(http, "/readyz")["problem"])
    answer = post(http, "/v1/recommend", {"user_id": 5})
    assert (answer["model_version"], answer["degraded"]) == ("v2", [])  # What can be served whole stays.
