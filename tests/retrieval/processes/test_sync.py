"""What one worker is told is known to all: real processes, each of which is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from tests.processes import until
from tests.retrieval.processes.conftest import Published
from tests.retrieval.support import MODEL, ApiProcess

from rowbank.traffic import Traffic, version_of

Start = Callable[..., ApiProcess]


class Workers:
    """A connection to each of two workers, found by opening connections until both are met."""

    def __init__(self, url: str) -> None:
        self.of: dict[int, httpx.Client] = {}
        while len(self.of) < 2:
            http = httpx.Client(base_url=url, timeout=30)
            number = int(http.get("/healthz").headers["x-rowbank-worker"])
            if number in self.of:
                http.close()
            else:
                self.of[number] = http

    def ask(self, worker: int, method: str, path: str, body: Any = None) -> Any:
        answer = self.of[worker].request(method, path, json=body)
        assert answer.headers["x-rowbank-worker"] == str(worker)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def close(self) -> None:
        for http in self.of.values():
            http.close()


@pytest.fixture
def workers(start_workers: Start) -> Iterator[Workers]:
    api = start_workers()
    workers = Workers(api.url)
    yield workers
    workers.close()
    assert api.terminate() == 0, api.log


def ids(answer: Any) -> list[int]:
    return [item["id"] for item in answer["items"]]


def test_items_written_through_one_are_found_by_all(workers: Workers, published: Published) -> None:
    world = published.world
    best = world.expected(world.user_vector(4), 1)[0][0]
    twin = {"features": {"title": "A twin", "title_tokens": world.item_tokens[best]}}
    asked = {"user_id": 4, "k": 3}
    before = ids(workers.ask(1, "POST", "/v1/recommend", asked))
    for place, item in enumerate((7001, 7002, 7003)):
        writer, reader = place % 2, 1 - place % 2
        workers.ask(writer, "PUT", f"/v1/items/{item}", twin)
        for worker in (reader, writer):
            until(
                lambda worker=worker, item=item: item in ids(workers.ask(worker, "POST", "/v1/recommend", asked)),
                what=f"item {item} in worker {worker}",
            )
        workers.ask(reader, "DELETE", f"/v1/items/{item}")
        for worker in (writer, reader):
            until(
                lambda worker=worker: ids(workers.ask(worker, "POST", "/v1/recommend", asked)) == before,
                what=f"end of item {item} in worker {worker}",
            )


def test_a_user_and_what_they_saw_are_known_to_all_at_once(workers: Workers, published: Published) -> None:
    world = published.world
    first, second, *_ = world.expected(world.user_vector(6), 10)[0]
    asked = {"user_id": 6, "k": 40, "exclude_seen": True}
    events = [{"user_id": 6, "item_id": first}, {"user_id": 6, "item_id": second}]
    workers.ask(0, "POST", "/v1/events", {"events": events})
    for worker in (0, 1):  # Features are read for each query, so nobody has to be told.
        assert not {first, second} & set(ids(workers.ask(worker, "POST", "/v1/recommend", asked)))
    workers.ask(1, "PUT", "/v1/users/6", {"features": {"history": []}})
    for worker in (0, 1):
        assert first in ids(workers.ask(worker, "POST", "/v1/recommend", asked))


def test_an_activation_reaches_all(workers: Workers, published: Published) -> None:
    published.world.publish(published.client, "v2", activate=False)
    workers.ask(0, "POST", "/v1/models/v2/activate", {"force": True})
    asked = {"user_id": 4, "k": 3}
    try:
        for worker in (0, 1):
            until(
                lambda worker=worker: workers.ask(worker, "POST", "/v1/recommend", asked)["model_version"] == "v2",
                what=f"v2 in worker {worker}",
            )
        health = workers.ask(1, "GET", "/readyz")
        assert [one["model_version"] for one in health["workers"]] == ["v2", "v2"]
    finally:
        workers.ask(1, "POST", "/v1/models:rollback")
    for worker in (0, 1):
        until(
            lambda worker=worker: workers.ask(worker, "POST", "/v1/recommend", asked)["model_version"] == "v1",
            what=f"v1 in worker {worker}",
        )
    answers = workers.ask(0, "POST", "/v1/recommend:batch", {"requests": [asked] * 5})["answers"]
    assert {answer["model_version"] for answer in answers} == {"v1"}


def test_a_stored_filter_is_known_to_all(workers: Workers, published: Published) -> None:
    world = published.world
    named = {"user_id": 4, "k": 40, "filter": {"named": "chosen"}}
    for place, item in enumerate(world.items[:4].tolist()):
        writer = place % 2
        stored = {"filter": {"feature": "title", "any": [world.title(item)]}}
        workers.ask(writer, "PUT", "/v1/filters/chosen", stored)
        for worker in (writer, 1 - writer):
            until(
                lambda worker=worker, item=item: known(workers, worker, named) == [item],
                what=f"filter for {item} in worker {worker}",
            )
    workers.ask(0, "DELETE", "/v1/filters/chosen")
    for worker in (0, 1):
        until(lambda worker=worker: known(workers, worker, named) is None, what=f"end of the filter in worker {worker}")


def known(workers: Workers, worker: int, asked: Any) -> list[int] | None:
    """Whom a question with a stored filter finds; None where there is no such filter."""
    answer = workers.of[worker].post("/v1/recommend", json=asked)
    return ids(answer.json()) if answer.status_code == 200 else None


def test_a_split_of_traffic_is_alike_in_all(workers: Workers, published: Published) -> None:
    published.world.publish(published.client, "v3", activate=False)
    users = published.world.users.tolist()
    workers.ask(0, "PUT", "/v1/models:traffic", {"shares": {"v3": 0.5}})
    split = Traffic({"v3": 0.5}, active="v1")
    expected = {user: version_of(MODEL, user, split) for user in users}
    assert set(expected.values()) == {"v1", "v3"}

    def served(worker: int) -> dict[int, str]:
        asked = {"requests": [{"user_id": user, "k": 1} for user in users]}
        answers = workers.ask(worker, "POST", "/v1/recommend:batch", asked)["answers"]
        return {user: answer["model_version"] for user, answer in zip(users, answers, strict=True)}

    try:
        for worker in (0, 1):
            until(lambda worker=worker: served(worker) == expected, what=f"split in worker {worker}")
    finally:
        workers.ask(1, "PUT", "/v1/models:traffic", {"shares": {}})
    for worker in (0, 1):
        until(lambda worker=worker: set(served(worker).values()) == {"v1"}, what=f"end of the split in worker {worker}")
