"""A catalogue whose items have rows of their own, beside rows of genres that many of them share; vectors by NumPy."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from tests.retrieval.catalogue.following import served
from tests.retrieval.columns import tower_of
from tests.retrieval.support import DIM, F32, VECTOR_DIM, World, tower_file

import rowbank
from rowbank.features import FeatureField, FeatureView
from rowbank.manifests import KeyRule
from rowbank.models import ModelManifest, QuotientKey, RemainderKey, Tower, TowerInput
from rowbank.siphash import hash_integers
from rowbank.text import token_key
from rowbank_server.retrieval.follower import Follower

GENRES = ("drama", "comedy", "horror", "western")


@dataclass
class OwnRows:
    """Items by id and genre.

    Attributes:
        rule: makes keys of ids; None: these are the keys.
        keys: every key of the items' table, with its row in `rows`.
        texts: by id, the texts that callers know the items by; none where ids are integers.
    """

    suffix: str
    item_count: int = 60
    rule: KeyRule | None = None
    has_texts: bool = False
    durability: str = "journaled"
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(5)
        self.names = [f"item number {at}" for at in range(self.item_count)] if self.has_texts else []
        ids = [token_key(name) for name in self.names] or range(1000, 1000 + self.item_count)
        self.ids = np.sort(np.array(ids, np.int64))
        self.texts = {token_key(name): name for name in self.names}
        self.genres = {int(item): GENRES[at % len(GENRES)] for at, item in enumerate(self.ids)}
        self.rows = {int(key): self._floats(DIM) for key in np.unique(self.keys_of(self.ids))}
        self.genre_rows = {genre: self._floats(DIM) for genre in GENRES}
        self.weights = self._floats(2 * DIM, VECTOR_DIM)
        self.table, self.genre_table = f"own-{self.suffix}", f"genre-{self.suffix}"

    def _floats(self, *shape: int) -> F32:
        return self.rng.standard_normal(shape).astype(np.float32)

    def keys_of(self, ids: np.ndarray) -> np.ndarray:
        """What the rule makes of ids, as the manifest's documentation says."""
        if self.rule is None:
            return ids
        if isinstance(self.rule, QuotientKey):
            return 2 * (ids // self.rule.divisor)
        if isinstance(self.rule, RemainderKey):
            return 2 * (ids % self.rule.divisor) + 1
        hashed = hash_integers(ids, self.rule.salt) % np.uint64(self.rule.buckets)
        return hashed.astype(np.int64) + self.rule.first

    def vectors(self) -> F32:
        """[N, VECTOR_DIM] of all items, by their ids."""
        keys = self.keys_of(self.ids).tolist()
        own = np.array([self.rows.get(key, np.zeros(DIM)) for key in keys], np.float32)
        shared = np.array([self.genre_rows[self.genres[item]] for item in self.ids.tolist()], np.float32)
        vectors: F32 = np.concatenate([own, shared], axis=1) @ self.weights
        return vectors

    def publish(self, client: rowbank.Client, world: World, version: str, *, rows: str = "live") -> None:
        """Creates what is missing, and the version."""
        spec = rowbank.TableSpec(self.table, dim=DIM, optimizer=rowbank.SGD(1.0), durability=self.durability)
        client.create_table(spec, exist_ok=True).upsert(list(self.rows), np.array(list(self.rows.values())))
        genres = client.create_table(
            rowbank.TableSpec(self.genre_table, dim=DIM, optimizer=rowbank.SGD(1.0)), exist_ok=True
        )
        genres.upsert([token_key(genre) for genre in GENRES], np.array(list(self.genre_rows.values())))
        fields = [FeatureField("title", "string"), FeatureField("genre", "string")]
        fields += [FeatureField("_id", "string")] if self.has_texts else []
        client.features.put_view(FeatureView("goods", "goods_id", tuple(fields)))
        features = {item: {"title": f"T{item}", "genre": genre} for item, genre in self.genres.items()}
        if self.has_texts:
            client.features.write("goods", {self.texts[item]: row for item, row in features.items()}, text_ids=True)
        else:
            client.features.write("goods", features)
        inputs = (
            TowerInput("own", self.table, "goods_id", DIM, rule=self.rule),
            TowerInput("genre", self.genre_table, "goods:genre", DIM, kind="text_keys"),
        )
        manifest = ModelManifest(
            name="two_tower",
            version=version,
            query=Tower((TowerInput("rows", world.user_table, "user_id", DIM),), "vector", "query.onnx"),
            candidate=Tower(inputs, "vector", "candidate.onnx"),
            vector_dim=VECTOR_DIM,
            created_at_s=1000.0,
            item_view="goods",
            user_view="users",
            item_ids="string" if self.has_texts else "int64",
        )
        files = {
            "query.onnx": tower_file([DIM], world.user_weights),
            "candidate.onnx": tower_of(inputs, self.weights),
        }
        client.models.publish(manifest, files, rows=rows, activate=True)

    def push(self, client: rowbank.Client, keys: np.ndarray) -> None:
        """Moves the rows of some keys by gradients, as training does."""
        gradients = self._floats(len(keys), DIM)
        for key, gradient in zip(keys.tolist(), gradients, strict=True):
            self.rows[key] = self.rows.get(key, np.zeros(DIM, np.float32)) - gradient
        client.table(self.table).push(keys, gradients)

    def push_genre(self, client: rowbank.Client, genre: str) -> None:
        """Moves the row of a genre."""
        gradient = self._floats(1, DIM)
        self.genre_rows[genre] = self.genre_rows[genre] - gradient[0]
        client.table(self.genre_table).push([token_key(genre)], gradient)


def shows_rows(follower: Follower, rows: OwnRows) -> bool:
    """Whether what is served is what NumPy makes of the rows."""
    generation = served(follower)
    positions = generation.positions(rows.ids)
    return len(positions) == len(rows.ids) and np.allclose(
        generation.vectors_at(positions), rows.vectors(), rtol=1e-4, atol=1e-4
    )
