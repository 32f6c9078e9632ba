"""Towers of many columns, and what they make of features, by NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

import rowbank
from rowbank.features import FeatureField, FeatureView
from rowbank.models import BucketKey, ModelManifest, QuotientKey, RemainderKey, Tower, TowerInput
from rowbank.siphash import hash_texts
from rowbank.text import token_key, tokens

MODEL = "columns"
VECTOR_DIM = 5
F32 = npt.NDArray[np.float32]
PAD = -(2**63)
BUCKETS = 11
DIVISOR = 10
GENDERS, TAGS, BRANDS = ("f", "m", "unknown"), ("new", "old", "funny", "sad"), ("acme", "globex", "initech")
WORDS = ("red", "green", "blue", "lamp", "chair", "table")
USER_FIELDS = (
    FeatureField("gender", "string", "unknown"),
    FeatureField("zip", "int64"),
    FeatureField("tags", "string_list"),
    FeatureField("history", "int64_list"),
    FeatureField("age", "double", 30.5),
    FeatureField("premium", "bool"),
    FeatureField("taste", "float_list"),
    FeatureField("brand", "string"),
)
ITEM_FIELDS = (
    FeatureField("title", "string"),
    FeatureField("tags", "string_list", ["new"]),
    FeatureField("price", "double"),
)


def tower_of(inputs: Sequence[TowerInput], weights: F32) -> bytes:
    """An ONNX graph: the mean of each list, all of it after each other, times `weights`."""
    nodes, parts, given = [], [], []
    for part in inputs:
        shape = ["batch", part.length, part.dim] if part.length else ["batch", part.dim]
        given.append(helper.make_tensor_value_info(part.name, TensorProto.FLOAT, shape))
        if part.length:
            nodes.append(helper.make_node("ReduceMean", [part.name], [f"{part.name}/mean"], axes=[1], keepdims=0))
        parts.append(f"{part.name}/mean" if part.length else part.name)
    nodes.append(helper.make_node("Concat", parts, ["all"], axis=1))
    nodes.append(helper.make_node("MatMul", ["all", "weights"], ["vector"]))
    vector = helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["batch", weights.shape[1]])
    graph = helper.make_graph(nodes, "tower", given, [vector], [numpy_helper.from_array(weights, "weights")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(onnx.ModelProto.SerializeToString(model))


@dataclass
class Columns:
    """Users and items of many columns; rows, weights and features are random with a fixed seed."""

    suffix: str
    seed: int = 11
    rng: np.random.Generator = field(init=False)
    rows: dict[str, dict[int, F32]] = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        items, users = range(500, 530), range(1, 41)
        keys: dict[str, tuple[int, list[int]]] = {
            "user": (4, list(users)[:30]),  # Ten users have features alone.
            "gender": (3, [token_key(one) for one in GENDERS]),
            "zip": (2, [*range(22), 101]),
            "tag": (3, [token_key(one) for one in TAGS]),
            "item": (4, [PAD, *list(items)[:25]]),  # The pad key has a row, which counts for nothing.
            "brand": (2, list(range(2 * BUCKETS))),
            "word": (3, [0, *(token_key(one) for one in WORDS)]),
        }
        self.dims = {table: dim for table, (dim, _) in keys.items()}
        self.rows = {table: {key: self.floats(dim) for key in known} for table, (dim, known) in keys.items()}
        self.query, self.candidate = self._query(), self._candidate()
        self.query_weights, self.item_weights = (
            self.floats(sum(part.dim for part in inputs), VECTOR_DIM) for inputs in (self.query, self.candidate)
        )
        self.users = {user: self.user() for user in users}
        self.items = {item: self.item(item) for item in items}

    def floats(self, *shape: int) -> F32:
        return self.rng.standard_normal(shape).astype(np.float32)

    def user(self) -> dict[str, Any]:
        """A user's features; about half of them are missing."""
        rng = self.rng
        every: dict[str, Any] = {
            "gender": str(rng.choice(GENDERS[:2])),
            "zip": int(rng.integers(0, 110)),
            "tags": [str(one) for one in rng.choice([*TAGS, "", "never seen"], rng.integers(0, 6))],
            "history": [int(one) for one in rng.integers(500, 535, rng.integers(0, 8))],
            "age": float(rng.integers(18, 80)),
            "premium": bool(rng.integers(0, 2)),
            "taste": [float(one) for one in self.floats(2)],
            "brand": str(rng.choice([*BRANDS, ""])),
        }
        kept = {name: value for name, value in every.items() if rng.random() < 0.5}
        return kept or {"age": 44.0}

    def item(self, item: int) -> dict[str, Any]:
        every: dict[str, Any] = {
            "title": " ".join(self.rng.choice([*WORDS, "unknown"], self.rng.integers(1, 5))) + f" {item}",
            "tags": [str(one) for one in self.rng.choice(TAGS, self.rng.integers(0, 4))],
            "price": float(self.rng.random()),
        }
        return {name: value for name, value in every.items() if name == "title" or self.rng.random() < 0.5}

    def user_fields(self) -> list[str]:
        """What the query tower takes besides the id, in the order of its inputs."""
        names = [part.feature.rpartition(":")[2] for part in self.query]
        return list(dict.fromkeys(name for name in names if name != "user_id"))

    def table(self, name: str) -> str:
        return f"{self.suffix}/{name}"

    def _query(self) -> tuple[TowerInput, ...]:
        def rows(name: str, table: str, feature: str, **more: Any) -> TowerInput:
            source = feature if feature == "user_id" else f"people:{feature}"
            return TowerInput(name, self.table(table), source, self.dims[table], **more)

        lookups = [BucketKey((3, number), BUCKETS, number * BUCKETS) for number in range(2)]
        return (
            rows("id", "user", "user_id"),
            rows("gender", "gender", "gender", kind="text_keys"),
            rows("zip_q", "zip", "zip", pad_key=PAD, rule=QuotientKey(DIVISOR)),
            rows("zip_r", "zip", "zip", pad_key=PAD, rule=RemainderKey(DIVISOR)),
            rows("tags", "tag", "tags", kind="text_keys", length=3),
            rows("met", "item", "history", length=3, pad_key=PAD, newest=True),
            *(rows(f"brand_{n}", "brand", "brand", kind="text_keys", rule=rule) for n, rule in enumerate(lookups)),
            TowerInput("age", "", "people:age", 1, kind="numbers"),
            TowerInput("premium", "", "people:premium", 1, kind="numbers"),
            TowerInput("taste", "", "people:taste", 2, kind="numbers"),
        )

    def _candidate(self) -> tuple[TowerInput, ...]:
        return (
            TowerInput("id", self.table("item"), "item_id", self.dims["item"]),
            TowerInput("words", self.table("word"), "things:title", self.dims["word"], 3, kind="words"),
            TowerInput("tags", self.table("tag"), "things:tags", self.dims["tag"], 2, kind="text_keys"),
            TowerInput("price", "", "things:price", 1, kind="numbers"),
        )

    def row(self, table: str, key: int | None) -> F32:
        found = None if key is None else self.rows[table].get(key)
        return np.zeros(self.dims[table], np.float32) if found is None else found

    def mean(self, table: str, keys: Sequence[int | None], length: int) -> F32:
        rows = [self.row(table, key) for key in keys]
        total: F32 = np.sum([np.zeros(self.dims[table]), *rows], axis=0) / length
        return total

    def user_vector(self, user: int | None, features: Mapping[str, Any]) -> F32:
        """What the query tower gives, by NumPy: each column worked out here, one by one."""
        zips, brand = features.get("zip"), features.get("brand")
        buckets: list[int | None] = [None, None]
        if brand:
            hashes = [int(hash_texts([brand.encode()], (3, number))[0]) for number in range(2)]
            buckets = [one % BUCKETS + number * BUCKETS for number, one in enumerate(hashes)]
        parts = [
            self.row("user", user),
            self.row("gender", token_key(features.get("gender", "unknown"))),
            self.row("zip", None if zips is None else 2 * (zips // DIVISOR)),
            self.row("zip", None if zips is None else 2 * (zips % DIVISOR) + 1),
            self.mean("tag", [token_key(one) if one else None for one in features.get("tags", [])[:3]], 3),
            self.mean("item", [one if one != PAD else None for one in features.get("history", [])[-3:]], 3),
            *(self.row("brand", bucket) for bucket in buckets),
            [features.get("age", 30.5)],
            [float(features.get("premium", 0.0))],
            features.get("taste", [0.0, 0.0]),
        ]
        vector: F32 = np.concatenate(parts).astype(np.float64) @ self.query_weights
        return vector

    def item_vector(self, item: int, features: Mapping[str, Any]) -> F32:
        parts = [
            self.row("item", item),
            self.mean("word", [token_key(one) for one in tokens(features.get("title", ""))[:3]], 3),
            self.mean("tag", [token_key(one) for one in features.get("tags", ["new"])[:2]], 2),
            [features.get("price", 0.0)],
        ]
        vector: F32 = np.concatenate(parts).astype(np.float64) @ self.item_weights
        return vector

    def best(self, vector: F32, k: int, items: Mapping[int, Any] | None = None) -> tuple[list[int], list[float]]:
        """The best k items and their scores."""
        known = self.items if items is None else items
        scores = {item: float(self.item_vector(item, features) @ vector) for item, features in known.items()}
        order = sorted(scores, key=lambda item: -scores[item])[:k]
        return order, [scores[item] for item in order]

    def create_tables(self, client: rowbank.Client) -> None:
        for name, rows in self.rows.items():
            spec = rowbank.TableSpec(self.table(name), dim=self.dims[name], optimizer=rowbank.SGD(0.1))
            client.create_table(spec, exist_ok=True).upsert(list(rows), np.stack(list(rows.values())))

    def write_features(self, client: rowbank.Client) -> None:
        client.features.put_view(FeatureView("people", "user_id", USER_FIELDS))
        client.features.put_view(FeatureView("things", "item_id", ITEM_FIELDS))
        client.features.write("people", self.users)
        client.features.write("things", self.items)

    def manifest(self, version: str, **changes: Any) -> ModelManifest:
        made = ModelManifest(
            name=MODEL,
            version=version,
            query=Tower(self.query, "vector", "query.onnx"),
            candidate=Tower(self.candidate, "vector", "candidate.onnx"),
            vector_dim=VECTOR_DIM,
            created_at_s=1000.0,
            item_view="things",
            user_view="people",
        )
        return replace(made, **changes)

    def files(self) -> dict[str, bytes]:
        return {
            "query.onnx": tower_of(self.query, self.query_weights),
            "candidate.onnx": tower_of(self.candidate, self.item_weights),
        }

    def publish(self, client: rowbank.Client, version: str, *, rows: str = "frozen", **changes: Any) -> None:
        client.models.publish(self.manifest(version, **changes), self.files(), rows=rows)
