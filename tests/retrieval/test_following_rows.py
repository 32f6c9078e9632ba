"""Rows that training moves reach the answers of the service's processes, whichever process of a shard serves them."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator

import httpx
import numpy as np
import pytest
from tests.processes import PsProcess, stand_still
from tests.retrieval.catalogue.own_rows import OwnRows
from tests.retrieval.support import ApiProcess, World, post, serving, until

import rowbank
from rowbank.features import FeatureField, FeatureView


@pytest.fixture
def world(namespace: str) -> World:
    return World(namespace, item_count=1)


@pytest.fixture
def rows(namespace: str) -> OwnRows:
    return OwnRows(namespace)


@pytest.fixture
def ps(start_ps: Callable[..., PsProcess]) -> PsProcess:
    return start_ps()


@pytest.fixture
def client(ps: PsProcess, world: World, rows: OwnRows) -> Iterator[rowbank.Client]:
    with rowbank.Client(ps.target) as client:
        world.create_tables(client)
        world.write_features(client)
        rows.publish(client, world, "v1")
        yield client


def lag_counts(http: httpx.Client) -> dict[str, float]:
    """By worker, how often items whose own rows moved were taken in."""
    text = http.get("/metrics").text
    found = re.findall(r'^rowbank_index_row_lag_seconds_count\{(.*rows="own".*)\} (\S+)$', text, re.M)
    return {labels: float(value) for labels, value in found}


def finds_what_numpy_finds(http: httpx.Client, rows: OwnRows) -> Callable[[], bool]:
    """Whether a search by a vector gives the best items."""

    def look() -> bool:
        vector = np.linspace(-1, 1, rows.weights.shape[1]).astype(np.float32)
        answer = post(http, "/v1/recommend", {"vector": vector.tolist(), "k": 10})
        scores = rows.vectors() @ vector
        expected = rows.ids[np.argsort(-scores, kind="stable")[:10]]
        found = {item["id"]: item["score"] for item in answer["items"]}
        return list(found) == expected.tolist() and np.allclose(
            list(found.values()), np.sort(scores)[::-1][:10], rtol=1e-3, atol=1e-3
        )

    return look


def test_every_worker_follows(
    ps: PsProcess, client: rowbank.Client, start_api: Callable[..., ApiProcess], namespace: str, rows: OwnRows
) -> None:
    api = start_api(ps.target, namespace, "--workers", "2")
    with httpx.Client(base_url=api.url, timeout=30) as http:
        serving(http, "v1")
        looks = finds_what_numpy_finds(http, rows)
        until(looks)
        for at in range(3):
            rows.push(client, rows.ids[10 * at : 10 * at + 10])
            until(lambda: all(looks() for _ in range(8)))
        counts = until(lambda: (found := lag_counts(http)) and len(found) == 2 and found)
        assert all(count >= 1 for count in counts.values())
    assert api.terminate() == 0, api.log


@pytest.mark.parametrize("mode", ["live", "frozen"])
def test_a_default_of_a_feature_that_came_to_a_view_is_shown_by_every_worker_at_once(
    ps: PsProcess,
    client: rowbank.Client,
    start_api: Callable[..., ApiProcess],
    namespace: str,
    rows: OwnRows,
    world: World,
    mode: str,
) -> None:
    """Of a frozen version one worker makes the index for all."""
    rows.publish(client, world, "v2", rows=mode)
    api = start_api(ps.target, namespace, "--workers", "2")
    with httpx.Client(base_url=api.url, timeout=30) as http:
        serving(http, "v2")
        known = next(view for view in client.features.list_views() if view.name == "goods")
        year = FeatureField("year", "int64", default=1999)
        client.features.put_view(FeatureView("goods", "goods_id", (*known.fields, year)))
        query = {"vector": [1.0] * rows.weights.shape[1], "k": 1000, "filter": {"feature": "year", "any": [1999]}}

        def all_are_found() -> bool:
            answer = http.post("/v1/recommend", json=query)
            return answer.status_code == 200 and len(answer.json()["items"]) == len(rows.ids)

        until(lambda: all(all_are_found() for _ in range(8)))
    assert api.terminate() == 0, api.log


def test_a_standby_that_takes_over_is_followed_on(
    ps: PsProcess,
    client: rowbank.Client,
    start_ps: Callable[..., PsProcess],
    start_api: Callable[..., ApiProcess],
    namespace: str,
    rows: OwnRows,
) -> None:
    standby = start_ps("--standby")
    targets = f"{ps.target}|{standby.target}"
    api = start_api(targets, namespace)
    with httpx.Client(base_url=api.url, timeout=30) as http, rowbank.Client(targets) as both:
        serving(http, "v1")
        looks = finds_what_numpy_finds(http, rows)
        rows.push(both, rows.ids[:10])
        until(looks)
        ps.kill()
        ps.wait()
        rows.push(both, rows.ids[5:25])  # Waits for the standby, and is done once.
        until(looks)
        rows.push(both, rows.ids[:3])
        until(looks)
    assert api.terminate() == 0, api.log


def test_queries_read_from_replicas_and_the_index_from_the_owner(
    ps: PsProcess,
    client: rowbank.Client,
    start_ps: Callable[..., PsProcess],
    start_api: Callable[..., ApiProcess],
    namespace: str,
    rows: OwnRows,
    world: World,
) -> None:
    replica = start_ps("--replica")
    api = start_api(f"{ps.target}|{replica.target}", namespace, "--max-staleness-s", "60")
    with httpx.Client(base_url=api.url, timeout=30) as http:
        serving(http, "v1")
        looks = finds_what_numpy_finds(http, rows)
        for at in range(5):
            rows.push(client, rows.ids[at : at + 7])
            until(looks)
        answer = post(http, "/v1/recommend", {"user_id": 3, "k": 10})
        assert (answer["source"], answer["degraded"]) == ("personal", [])
        scores = rows.vectors() @ world.user_vector(3)
        best = rows.ids[np.argsort(-scores, kind="stable")[:10]]
        assert [item["id"] for item in answer["items"]] == best.tolist()
        stand_still(ps.pid)
        try:  # The owner answers nothing now.
            answer = post(http, "/v1/recommend", {"user_id": 4, "k": 10})
        finally:
            os.kill(ps.pid, signal.SIGCONT)
        assert (answer["source"], answer["degraded"]) == ("personal", [])
        replica.kill()
        replica.wait()
        until(lambda: post(http, "/v1/recommend", {"user_id": 3})["degraded"] == [])
    assert api.terminate() == 0, api.log
