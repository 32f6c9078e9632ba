"""From files with ids that are texts to recommendations that are asked for and answered with texts."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import httpx
import numpy as np
import pytest
from tests.colliding import FIRST, KEY, SECOND
from tests.processes import PsProcess, until
from tests.retrieval.support import ApiProcess
from tests.trainer.test_resume import train

import rowbank
from rowbank.errors import IdCollision
from rowbank_protos.v1 import retrieval_pb2 as pb
from rowbank_protos.v1 import retrieval_pb2_grpc
from rowbank_trainer.errors import TrainerError

pytestmark = pytest.mark.timeout(300)

SCHEMA = """
[user.columns]
user = "id"
age = { type = "numeric" }
city = { type = "categorical", dim = 4 }
languages = { type = "categorical", many = true, length = 2, dim = 4 }
met = { type = "history", length = 4 }

[item.columns]
item = "id"
price = { type = "numeric", scale = "log" }
colour = { type = "categorical", dim = 4, default = "grey" }
tags = { type = "categorical", many = true, length = 3, dim = 4 }
alike = { type = "related", length = 3 }
"""
USERS = ["anna@home", "bob, the 2nd", "7", "007", "名前", 'quo"te', *(f"u/{n}" for n in range(18))]
ITEMS = ["lamp-1", "a/b c", "100%", "🎈", "42", "042", "O'Neil", *(f"i_{n}" for n in range(13))]


@dataclass
class Files:
    """Two groups of users who like one half of the items each; a third of the cells of columns is empty."""

    folder: Path
    history: dict[str, list[str]]
    items: dict[str, dict[str, str]]

    @classmethod
    def write(cls, folder: Path) -> Files:
        rng = np.random.default_rng(4)
        met = [
            (user, ITEMS[(n % 2) * 10 + place], 1_700_000_000 + 100 * n + at)
            for n, user in enumerate(USERS)
            for at, place in enumerate(rng.permutation(10)[:6].tolist())
        ]
        history: dict[str, list[str]] = {}
        for user, item, _ in met:
            history.setdefault(user, []).append(item)

        def some(*values: object) -> str:
            return str(rng.choice(np.asarray(values, object))) if rng.random() > 1 / 3 else ""

        users = [
            (user, some(20, 31.5, 44), some("Rom", "Bern"), some("de|en", "fr")) for user in (*USERS, "only listed")
        ]
        items = [(item, some(5, 9.5, 120), some("red", "blue"), some("new", "new|old")) for item in ITEMS]
        for name, heading, rows in (
            ("events", ("user", "item", "time"), [met[i] for i in rng.permutation(len(met))]),
            ("users", ("user", "age", "city", "languages"), users),
            ("items", ("item", "price", "colour", "tags"), items),
        ):
            with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([heading, *rows])
        (folder / "shop.toml").write_text(SCHEMA)
        named = {item: dict(zip(("price", "colour", "tags"), rest, strict=True)) for item, *rest in items}
        return cls(folder, history, named)


@dataclass
class Shop:
    """What was trained and is served."""

    files: Files
    target: str
    http: httpx.Client
    stub: retrieval_pb2_grpc.RetrievalServiceStub

    def train(self, *options: object) -> None:
        """As a user types it."""
        given = ("--interactions", self.files.folder / "events.csv") if "--interactions" not in options else ()
        train(
            "two-tower", *given, "--targets", self.target, "--epochs", 2, "--batch-size", 32, "--dim", 8,
            "--model-name", "shop", "--out", self.files.folder / "out", *options,
        )  # fmt: skip

    def post(self, path: str, body: Any) -> Any:
        answer = self.http.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def shop(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("texts")
    files, namespace = Files.write(folder), folder.name
    ps = PsProcess("--namespace", namespace, redis_url=redis_url, log=folder / "ps.log")
    api = None
    try:
        ps.wait_ready()
        api = ApiProcess(
            "--model", "shop", "--grpc-bind", "127.0.0.1:0",
            redis_url=redis_url, target=ps.target, namespace=namespace, log=folder / "api.log",
        )  # fmt: skip
        api.wait_ready()
        address = re.findall(r"gRPC at (127\.0\.0\.1:\d+)", api.log)[0]
        with httpx.Client(base_url=api.url, timeout=30) as http, grpc.insecure_channel(address) as channel:
            made = Shop(files, ps.target, http, retrieval_pb2_grpc.RetrievalServiceStub(channel))
            made.train(
                "--users", folder / "users.csv", "--items", folder / "items.csv", "--schema", folder / "shop.toml",
                "--activate",
            )  # fmt: skip
            until(lambda: http.get("/readyz").status_code == 200, what="the model is served")
            yield made
    finally:
        if api is not None:
            api.close()
        ps.close()


def ids(answer: Any) -> list[Any]:
    return [item["id"] for item in answer["items"]]


@pytest.mark.parametrize("user", USERS[:6])
def test_recommendations_are_asked_for_and_answered_with_texts(shop: Shop, user: str) -> None:
    everything = shop.post("/v1/recommend", {"user_id": user, "k": 100})
    assert sorted(ids(everything)) == sorted(ITEMS)
    assert everything["source"] == "personal"
    unseen = shop.post("/v1/recommend", {"user_id": user, "k": 100, "exclude_seen": True, "exclude": ["i_12"]})
    assert sorted(ids(unseen)) == sorted(set(ITEMS) - {*shop.files.history[user], "i_12"})
    over_grpc = shop.stub.Recommend(pb.RecommendRequest(user_text=user, k=5))
    assert [item.item_text for item in over_grpc.items] == ids(everything)[:5]


def test_users_and_items_are_as_the_files_have_them(shop: Shop) -> None:
    for user, history in shop.files.history.items():
        answer = shop.http.get(f"/v1/users/{quote(user, safe='')}").json()
        assert (answer["id"], answer["features"]["history"]) == (user, history)
    for item, columns in shop.files.items.items():
        answer = shop.http.get(f"/v1/items/{quote(item, safe='')}").json()
        assert (answer["id"], answer["indexed"]) == (item, True)
        features = answer["features"]
        assert features["title"] == item
        assert features["colour"] == (columns["colour"] or "grey")
        assert features["tags"] == (columns["tags"].split("|") if columns["tags"] else [])
        assert set(features["alike"]) <= set(ITEMS) - {item}
        assert len(features["alike"]) == 3
        if columns["price"]:
            assert features["price"] == float(columns["price"])
    listed = shop.http.get("/v1/users/only%20listed").json()
    assert (listed["id"], listed["features"]["history"]) == ("only listed", [])


def test_features_may_come_with_texts(shop: Shop) -> None:
    given = {"met": ["lamp-1", "a/b c"], "city": "Bern", "languages": ["de"], "age": 30.0}
    answer = shop.post("/v1/recommend", {"features": {"history" if k == "met" else k: v for k, v in given.items()}})
    assert answer["source"] == "personal"
    assert set(ids(answer)) <= set(ITEMS)
    new = {"features": {"colour": "red", "price": 5.0, "alike": ["lamp-1", "42"]}}
    assert shop.http.put("/v1/items/new%2Fone", json=new).json() == {"written": 1}
    until(lambda: shop.http.get("/v1/items/new%2Fone").json().get("indexed"), what="the new item is found")
    assert shop.http.get("/v1/items/new%2Fone").json()["features"]["alike"] == ["lamp-1", "42"]
    assert "new/one" in ids(shop.post("/v1/recommend", {"user_id": "7", "k": 100}))
    assert shop.http.delete("/v1/items/new%2Fone").json() == {"id": "new/one"}


def test_a_version_of_texts_is_not_trained_on_with_integers(shop: Shop) -> None:
    path = shop.files.folder / "integers.csv"
    path.write_text("user,item\n" + "".join(f"{n % 24},{n * 7 % 20}\n" for n in range(144)))
    said = "knows users by ids that are texts, and in these data they are integers; give data of the same ids"
    with pytest.raises(TrainerError, match=said):
        shop.train("--interactions", path, "--continue", "active")
    with rowbank.Client(shop.target) as client:
        manifest = client.models.get("shop").manifest
        assert (manifest.user_ids, manifest.item_ids) == ("string", "string")
        assert len(client.models.list("shop")) == 1


def test_nothing_is_published_over_a_text_of_callers_that_hashes_alike(shop: Shop) -> None:
    """A user whom callers knew first, and one of a later file."""
    assert shop.http.put(f"/v1/users/{FIRST}", json={"features": {"city": "Bern"}}).json() == {"written": 1}
    events = shop.files.folder / "events.csv"
    later = shop.files.folder / "later.csv"
    later.write_text(events.read_text(encoding="utf-8") + f"{SECOND},lamp-1,1700000000\n", encoding="utf-8")
    said = f"user ids {FIRST!r}, which is stored, and {SECOND!r} of the new data have the same key, {KEY}; nothing was"
    with rowbank.Client(shop.target) as client:
        with pytest.raises(IdCollision, match=said):
            shop.train("--interactions", later, "--activate")
        assert len(client.models.list("shop")) == 1
