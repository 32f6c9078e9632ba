"""A small two-tower world with known numbers, and the processes that serve it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from tests.processes import READY_TIMEOUT_S, ServerProcess

import rowbank
from rowbank.features import FeatureField, FeatureView
from rowbank.models import ModelManifest, Tower, TowerInput

DIM = 8
VECTOR_DIM = 5
LENGTH = 4
PAD = 0
MODEL = "two_tower"
F32 = npt.NDArray[np.float32]


def tower_file(shape: list[Any], weights: F32, *, name: str = "rows", output: str = "vector") -> bytes:
    """An ONNX graph: the mean over the keys of an entity, if there are several, times `weights` [dim, vector_dim]."""
    rows = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])
    vector = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", weights.shape[1]])
    nodes = []
    pooled = name
    if len(shape) == 2:
        nodes.append(helper.make_node("ReduceMean", [name], ["pooled"], axes=[1], keepdims=0))
        pooled = "pooled"
    nodes.append(helper.make_node("MatMul", [pooled, "weights"], [output]))
    graph = helper.make_graph(nodes, "tower", [rows], [vector], [numpy_helper.from_array(weights, "weights")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(onnx.ModelProto.SerializeToString(model))


@dataclass
class World:
    """Users with one key, items with a list of keys; rows and weights are random with a fixed seed."""

    suffix: str  # Makes table names unique on a shared server.
    item_count: int = 40
    user_count: int = 12
    seed: int = 7
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.user_table, self.token_table = f"user-{self.suffix}", f"token-{self.suffix}"
        self.items = np.arange(100, 100 + self.item_count, dtype=np.int64)
        self.users = np.arange(1, 1 + self.user_count, dtype=np.int64)
        self.user_rows = self._floats(self.user_count, DIM)
        self.tokens = np.arange(0, 60, dtype=np.int64)  # 0 pads, and reads zeros although it has a row.
        self.token_rows = self._floats(len(self.tokens), DIM)
        self.user_weights = self._floats(DIM, VECTOR_DIM)
        self.item_weights = self._floats(DIM, VECTOR_DIM)
        lengths = self.rng.integers(1, LENGTH + 3, self.item_count)  # Some lists are longer than LENGTH and are cut.
        self.item_tokens = {
            int(i): self.rng.integers(1, 60, n).tolist() for i, n in zip(self.items, lengths, strict=True)
        }
        # User u has seen the first u items: item 100 is the most popular.
        self.histories = {int(u): self.items[: int(u)].tolist() for u in self.users}

    def _floats(self, *shape: int) -> F32:
        return self.rng.standard_normal(shape).astype(np.float32)

    def title(self, item: int) -> str:
        return f"Title {item}"

    def vectors(self, items: Any = None) -> F32:
        """What the candidate tower gives: [N, VECTOR_DIM], computed by NumPy."""
        out = []
        for item in self.items if items is None else items:
            keys = (self.item_tokens[int(item)] + [PAD] * LENGTH)[:LENGTH]
            rows = np.where(np.equal(keys, PAD)[:, None], np.float32(0), self.token_rows[keys])
            out.append(rows.mean(axis=0) @ self.item_weights)
        return np.asarray(out, np.float32).reshape(-1, VECTOR_DIM)

    def user_vector(self, user: int) -> F32:
        vector: F32 = self.user_rows[user - 1] @ self.user_weights
        return vector

    def expected(self, query: F32, k: int, exclude: Any = ()) -> tuple[list[int], list[float]]:
        """The best k items and their scores, by NumPy in float64."""
        scores = self.vectors().astype(np.float64) @ query.astype(np.float64)
        order = [i for i in np.argsort(-scores, kind="stable") if self.items[i] not in set(exclude)][:k]
        return [int(self.items[i]) for i in order], [float(scores[i]) for i in order]

    def create_tables(self, client: rowbank.Client) -> None:
        for name, keys, rows in (
            (self.user_table, self.users, self.user_rows),
            (self.token_table, self.tokens, self.token_rows),
        ):
            table = client.create_table(rowbank.TableSpec(name, dim=DIM, optimizer=rowbank.SGD(0.1)), exist_ok=True)
            table.upsert(keys, rows)

    def write_features(self, client: rowbank.Client, *, max_age_s: float = 0.0) -> None:
        client.features.put_view(
            FeatureView(
                "items",
                "item_id",
                (FeatureField("title", "string"), FeatureField("title_tokens", "int64_list")),
            )
        )
        client.features.put_view(
            FeatureView("users", "user_id", (FeatureField("history", "int64_list"),), max_age_s=max_age_s)
        )
        client.features.write(
            "items", {i: {"title": self.title(i), "title_tokens": keys} for i, keys in self.item_tokens.items()}
        )
        client.features.write("users", {u: {"history": seen} for u, seen in self.histories.items()})

    def manifest(self, version: str, **changes: Any) -> ModelManifest:
        query = Tower((TowerInput("rows", self.user_table, "user_id", DIM, 0, 0),), "vector", "query.onnx")
        candidate = Tower(
            (TowerInput("rows", self.token_table, "items:title_tokens", DIM, LENGTH, PAD),), "vector", "candidate.onnx"
        )
        values = {
            "name": MODEL,
            "version": version,
            "query": query,
            "candidate": candidate,
            "vector_dim": VECTOR_DIM,
            "created_at_s": 1000.0,
            "item_view": "items",
            "user_view": "users",
            "metrics": {"top_100": 0.5},
            **changes,
        }
        return ModelManifest(**values)

    def files(self) -> dict[str, bytes]:
        return {
            "query.onnx": tower_file([DIM], self.user_weights),
            "candidate.onnx": tower_file([LENGTH, DIM], self.item_weights),
        }

    def publish(
        self, client: rowbank.Client, version: str, *, rows: str = "live", activate: bool = True, **changes: Any
    ) -> None:
        client.models.publish(self.manifest(version, **changes), self.files(), rows=rows, activate=activate)


class ApiProcess(ServerProcess):
    """The retrieval service as a user would start it."""

    def __init__(
        self,
        *arguments: str,
        redis_url: str,
        target: str,
        namespace: str,
        log: Path,
        environment: dict[str, str] | None = None,
    ) -> None:
        options = ["--bind", "127.0.0.1:0", "--targets", target, "--redis", redis_url, "--namespace", namespace]
        if "--query-budget-ms" not in arguments:  # What other work on the machine delays is not what tests look at.
            options += ["--query-budget-ms", "10000", "--row-timeout-s", "10"]
        super().__init__("api", *options, *arguments, log=log, environment=environment)
        self.url = ""
        self.grpc_target = ""  # Where gRPC is on.

    def wait_ready(self) -> ApiProcess:
        ready, name, self.url, *over_grpc = self.ready_line().split()
        assert (ready, name) == ("ready", "rowbank-api")
        self.grpc_target = "".join(over_grpc).removeprefix("grpc=")
        return self

    def is_ready(self) -> bool:
        """Whether it, or all of its workers, serves a model."""
        return httpx.get(self.url + "/readyz", timeout=30).status_code == 200


def get(http: httpx.Client, path: str) -> Any:
    answer = http.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def post(http: httpx.Client, path: str, body: Any) -> Any:
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def until(condition: Any, *, timeout_s: float = READY_TIMEOUT_S) -> Any:
    """Asks until `condition` gives something true; returns that."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {condition}"
        time.sleep(0.01)


def serving(http: httpx.Client, version: str) -> Any:
    """Waits until `version` is in service; the answer of /readyz."""

    def ready() -> Any:
        answer = http.get("/readyz")
        return answer.status_code == 200 and answer.json()["model_version"] == version and answer.json()

    return until(ready)
