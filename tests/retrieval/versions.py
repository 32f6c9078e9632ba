"""A model whose versions own what they are made of, published as a trainer would: views, tables and transforms."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import redis
from tests.retrieval.support import DIM, F32, LENGTH, PAD, VECTOR_DIM, post, tower_file

import rowbank
from rowbank.catalogue import CatalogueReport, ViewNames, write_catalogue
from rowbank.features import FeatureField
from rowbank.models import DataFacts, ModelManifest, TitleTokens, Tower, TowerInput, Transform
from rowbank.text import token_key
from rowbank_server.features import layout

WORDS = tuple(f"word{n}" for n in range(60))
ITEM_FIELDS = (
    FeatureField("title", "string"),
    FeatureField("title_tokens", "int64_list"),
)

Scored = list[tuple[int, float | None]]


@dataclass
class Shop:
    """A model over titled items: users by id, items by the words of their titles. All random, with a seed."""

    model: str
    seed: int = 3
    user_count: int = 100
    item_count: int = 150
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.tables = {side: f"{self.model}/r1.{side}" for side in ("user", "title")}
        self.users = np.arange(1, 1 + self.user_count, dtype=np.int64)
        self.words = np.asarray([token_key(word) for word in WORDS], dtype=np.int64)
        self.user_rows, self.word_rows = self._floats(self.user_count, DIM), self._floats(len(WORDS), DIM)
        self.user_weights, self.item_weights = self._floats(DIM, VECTOR_DIM), self._floats(DIM, VECTOR_DIM)
        self.titles = {int(item): self.new_title() for item in range(1000, 1000 + self.item_count)}
        items = list(self.titles)
        self.histories = {int(u): self.rng.choice(items, 5, replace=False).tolist() for u in self.users}

    def _floats(self, *shape: int) -> F32:
        return self.rng.standard_normal(shape).astype(np.float32)

    def new_title(self) -> str:
        return " ".join(self.rng.choice(WORDS, int(self.rng.integers(1, LENGTH + 1)), replace=False))

    def vector(self, title: str) -> F32:
        """What the candidate tower makes of a title, by NumPy; words that it does not know, and padding, are zeros."""
        rows = np.zeros((LENGTH, DIM), np.float32)
        for at, word in enumerate(title.split()[:LENGTH]):
            if word in WORDS:
                rows[at] = self.word_rows[WORDS.index(word)]
        vector: F32 = rows.mean(axis=0) @ self.item_weights
        return vector

    def create_tables(self, client: rowbank.Client) -> None:
        for side, keys, rows in (("user", self.users, self.user_rows), ("title", self.words, self.word_rows)):
            spec = rowbank.TableSpec(self.tables[side], dim=DIM, optimizer=rowbank.SGD(0.5))
            client.create_table(spec, exist_ok=True).upsert(keys, rows)

    def retrain(self, client: rowbank.Client) -> None:
        """Moves every row a long way, by pushes, as training does."""
        for side, keys in (("user", self.users), ("title", self.words)):
            for _ in range(5):
                client.table(self.tables[side]).push(keys, self._floats(len(keys), DIM))

    def publish(self, client: rowbank.Client, version: str, *, rows: str = "frozen", **options: Any) -> CatalogueReport:
        """Writes the version's views as its files say, and publishes it."""
        read_at_s = time.time()
        items = {
            item: {"title": title, "title_tokens": [token_key(word) for word in title.split()]}
            for item, title in self.titles.items()
        }
        histories = {user: {"history": seen} for user, seen in self.histories.items()}
        report = write_catalogue(
            client, self.model, version, items=items, users=histories, read_at_s=read_at_s, item_fields=ITEM_FIELDS
        )
        files = {
            "query.onnx": tower_file([DIM], self.user_weights),
            "candidate.onnx": tower_file([LENGTH, DIM], self.item_weights),
        }
        client.models.publish(self.manifest(version, report.views, read_at_s), files, rows=rows, **options)
        return report

    def manifest(self, version: str, views: ViewNames, read_at_s: float) -> ModelManifest:
        tokens = f"{views.item_view}:title_tokens"
        query = Tower((TowerInput("rows", self.tables["user"], "user_id", DIM, 0, 0),), "vector", "query.onnx")
        title = TowerInput("rows", self.tables["title"], tokens, DIM, LENGTH, PAD)
        return ModelManifest(
            name=self.model,
            version=version,
            query=query,
            candidate=Tower((title,), "vector", "candidate.onnx"),
            vector_dim=VECTOR_DIM,
            created_at_s=1000.0,
            transforms=(Transform("title", "title_tokens", TitleTokens(LENGTH)),),
            data=DataFacts("made up", self.user_count, self.item_count, 5 * self.user_count, read_at_s),
            **dataclasses.asdict(views),
        )

    def answers(self, http: httpx.Client, *, version: str) -> list[Scored]:
        """What every user is recommended, ids and scores, with and without what they have seen."""
        requests = [
            {"user_id": int(user), "k": 10, "exclude_seen": unseen} for user in self.users for unseen in (False, True)
        ]
        answers = post(http, "/v1/recommend:batch", {"requests": requests})["answers"]
        assert {(answer["model_version"], answer["source"], *answer["degraded"]) for answer in answers} == {
            (version, "personal")
        }
        return [scored(answer) for answer in answers]


def scored(answer: Any) -> Scored:
    return [(item["id"], item["score"]) for item in answer["items"]]


def look_again(connection: redis.Redis, namespace: str) -> None:
    """Has everybody who follows a view look at all of it, as programs may that note nothing of what they write."""
    for key in connection.scan_iter(layout.changes_key(namespace, "*")):
        connection.delete(key)


def refreshes(http: httpx.Client) -> float:
    """How often the process has looked at everything that is stored."""
    lines = http.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("rowbank_index_refreshes_total"))
