"""A model whose ids are texts, published as a trainer would: keys in tables and histories, texts in the views."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tests.retrieval.support import DIM, F32, VECTOR_DIM, tower_file

import rowbank
from rowbank.catalogue import CatalogueReport, ViewNames, write_catalogue
from rowbank.models import DataFacts, ModelManifest, Tower, TowerInput
from rowbank.text import token_key

USERS = ("anna", "bob", "7", "007", "名前", "user/with?odd#things&more=1")
ITEMS = (
    "lamp-1", "a/b/c", "two words", "50% off", "100%25", "naïve café", "🎈🎉", "nul\x00byte", "x" * 1024, "42", "042",
    "null", " lead", "..", "a+b", "q?x=1#y", "semi;colon", "plain", "quote\"s", "back\\slash",
)  # fmt: skip


@dataclass
class NamedWorld:
    """Users and items by their ids alone; rows and weights are random, with a seed."""

    model: str
    items: tuple[str, ...] = ITEMS
    users: tuple[str, ...] = USERS
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(11)
        self.user_rows = {user: self._floats(DIM) for user in self.users}
        self.item_rows = {item: self._floats(DIM) for item in self.items}
        self.user_weights, self.item_weights = self._floats(DIM, VECTOR_DIM), self._floats(DIM, VECTOR_DIM)
        self.histories = {user: list(self.items[: n + 1]) for n, user in enumerate(self.users)}

    def _floats(self, *shape: int) -> F32:
        return self.rng.standard_normal(shape).astype(np.float32)

    def expected(self, query: F32, k: int, exclude: Any = ()) -> list[str]:
        """The best k items for a vector, by NumPy."""
        scores = {item: float(row @ self.item_weights @ query) for item, row in self.item_rows.items()}
        return sorted((item for item in self.items if item not in set(exclude)), key=lambda i: -scores[i])[:k]

    def for_user(self, user: str, k: int, exclude: Any = ()) -> list[str]:
        """What a user is recommended."""
        return self.expected(self.user_rows[user] @ self.user_weights, k, exclude)

    def near(self, items: list[str], k: int, exclude: Any = ()) -> list[str]:
        """What is near some items."""
        mean = np.mean([self.item_rows[item] @ self.item_weights for item in items], axis=0)
        return self.expected(mean, k, exclude)

    def create_tables(self, client: rowbank.Client) -> None:
        """Makes both tables, with a row for each id."""
        for side, rows in (("user", self.user_rows), ("item", self.item_rows)):
            spec = rowbank.TableSpec(f"{self.model}/r1.{side}", dim=DIM, optimizer=rowbank.SGD(0.5))
            keys = np.asarray([token_key(text) for text in rows], np.int64)
            client.create_table(spec, exist_ok=True).upsert(keys, np.stack(list(rows.values())))

    def publish(self, client: rowbank.Client, version: str, **options: Any) -> CatalogueReport:
        """Writes the version's views and publishes it."""
        report = write_catalogue(
            client, self.model, version, read_at_s=time.time(),
            items={token_key(item): {"title": f"The {item}" if item == "lamp-1" else ""} for item in self.items},
            users={
                token_key(user): {"history": [token_key(item) for item in seen]}
                for user, seen in self.histories.items()
            },
            item_names={token_key(item): item for item in self.items},
            user_names={token_key(user): user for user in self.users},
        )  # fmt: skip
        client.models.publish(self.manifest(version, report.views), self.files(), rows="frozen", **options)
        return report

    def files(self) -> dict[str, bytes]:
        """Both towers."""
        return {
            "query.onnx": tower_file([DIM], self.user_weights),
            "candidate.onnx": tower_file([DIM], self.item_weights),
        }

    def manifest(self, version: str, views: ViewNames, **changes: Any) -> ModelManifest:
        """What a version says it is."""
        query = Tower((TowerInput("rows", f"{self.model}/r1.user", "user_id", DIM),), "vector", "query.onnx")
        candidate = Tower((TowerInput("rows", f"{self.model}/r1.item", "item_id", DIM),), "vector", "candidate.onnx")
        return dataclasses.replace(
            ModelManifest(
                self.model, version, query, candidate, VECTOR_DIM, time.time(), views.item_view, views.user_view,
                item_overlay=views.item_overlay, user_overlay=views.user_overlay,
                data=DataFacts("shop", len(self.users), len(self.items), 100), user_ids="string", item_ids="string",
            ),
            **changes,
        )  # fmt: skip
