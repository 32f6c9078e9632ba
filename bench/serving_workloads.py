"""The retrieval service under load, beside an endpoint that does nothing and beside the search alone."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rowbank import SGD, Client, TableSpec
from rowbank.features import FeatureField, FeatureView
from rowbank.models import ModelManifest, Tower, TowerInput
from rowbank_server import _core

from . import sockets
from .arrays import Array
from .processor_time import processor_s
from .report import Figure, Settings
from .services import running_ps, running_redis

ITEM_TABLE = "load_item"
_SIZES = (10_000, 100_000)
_LARGE_SIZES = (1_000_000, 5_000_000)
_USERS = 10_000
_K = 10
_SECONDS = 5.0
_ROUNDS = 3
_UPSERT = 100_000
_FILTER = {"feature": "bucket", "any": [7]}  # Of 100 buckets: one item in a hundred.


@dataclass(frozen=True, slots=True)
class _Load:
    """Medians of several turns. `cpu_us`: what the server's process computed per request, on whatever core.

    Bytes are those of a request and of an answer as they go over the wire, and between the server and those that it
    asks for a request itself, in both directions.
    """

    rps: float
    p50_ms: float
    p99_ms: float
    sent_bytes: float
    received_bytes: float
    cpu_us: float
    inner_bytes: float


def recommend_load(settings: Settings) -> list[Figure]:
    """POST /v1/recommend on one core over 16 connections, beside a bare endpoint; 10 k and 100 k items."""
    return [figure for size in _SIZES for figure in _measured(settings, size)]


def recommend_load_large(settings: Settings) -> list[Figure]:
    """The same with 1 M and 5 M items: 12 GB of memory and a quarter of an hour."""
    return [figure for size in _LARGE_SIZES for figure in _measured(settings, size)]


def _measured(settings: Settings, size: int) -> list[Figure]:
    random = np.random.default_rng(settings.seed)
    vectors = random.standard_normal((size, settings.dim), dtype=np.float32)
    users = random.standard_normal((_USERS, settings.dim), dtype=np.float32)
    bodies = [{"user_id": int(user), "k": _K} for user in random.integers(0, _USERS, 4096)]
    with tempfile.TemporaryDirectory() as folder, running_redis() as redis_port, running_ps(redis_port) as target:
        publish_rows(target, vectors, users, Path(folder), durability="relaxed")
        plain = Path(folder) / "plain"
        plain.write_text("\n".join(json.dumps(body) for body in bodies))
        filtered = Path(folder) / "filtered"
        filtered.write_text("\n".join(json.dumps({**body, "filter": _FILTER}) for body in bodies))
        options = ["api", "--bind", "127.0.0.1:0", "--redis", f"redis://127.0.0.1:{redis_port}", "--targets", target]
        options += ["--popularity-interval-s", "86400"]
        with _pinned("rowbank_server", *options) as service, _pinned("bench.bare_endpoint") as bare:
            wait_until_ready(service.address)
            loads = _take_turns(
                {"recommend": (service, plain), "1 % filter": (service, filtered), "bare": (bare, plain)}
            )
    searched = _search_alone(vectors, users)
    figures = []
    for name in ("recommend", "1 % filter"):
        ours, bare_load = loads[name], loads["bare"]
        detail = {
            "rps": ours.rps, "p50_ms": ours.p50_ms, "p99_ms": ours.p99_ms, "cpu_us": ours.cpu_us,
            "sent_bytes": ours.sent_bytes, "received_bytes": ours.received_bytes, "inner_bytes": ours.inner_bytes,
            "reference_rps": bare_load.rps, "reference_cpu_us": bare_load.cpu_us, "search_us": searched * 1e6,
        }  # fmt: skip
        at_least = 0.2 if (size, name) == (100_000, "recommend") else None
        what = f"recommend_load, {size} items" + ("" if name == "recommend" else f", {name}")
        figures.append(Figure(what, "POST /v1/recommend", "bare endpoint", ours.rps / bare_load.rps, at_least, detail))
    return figures


def _take_turns(candidates: dict[str, tuple[_Process, Path]]) -> dict[str, _Load]:
    turns: dict[str, list[_Load]] = {name: [] for name in candidates}
    for _ in range(_ROUNDS):
        for name, (process, bodies) in candidates.items():
            before, inner = process.cpu_s(), process.inner_bytes()
            command = [sys.executable, "-m", "bench.http_load", process.address, "/v1/recommend", str(bodies)]
            loaded = subprocess.run(
                [*_on_core(1), *command, str(_SECONDS)], check=True, stdout=subprocess.PIPE, text=True
            )
            told = json.loads(loaded.stdout)
            requests = told["rps"] * _SECONDS * 6 / 5
            cpu_us = (process.cpu_s() - before) / requests * 1e6
            inner_bytes = (process.inner_bytes() - inner) / requests
            turns[name].append(_Load(**told, cpu_us=cpu_us, inner_bytes=inner_bytes))
    return {
        name: _Load(*(float(np.median([getattr(load, field) for load in loads])) for field in _Load.__slots__))
        for name, loads in turns.items()
    }


@dataclass(frozen=True, slots=True)
class _Process:
    """A server and where it listens."""

    pid: int
    address: str

    def cpu_s(self) -> float:
        """What it computed so far."""
        return sum(processor_s(self.pid))

    def inner_bytes(self) -> float:
        """What its connections to others carried so far, which stay open; NaN if the kernel does not tell."""
        try:
            return sockets.carried_within([self.pid], beside_local_port=int(self.address.rpartition(":")[2]))
        except OSError:
            return float("nan")


def _on_core(core: int) -> list[str]:
    return ["taskset", "-c", str(core)] if (os.cpu_count() or 1) > 1 else []


@contextlib.contextmanager
def _pinned(module: str, *arguments: str) -> Iterator[_Process]:
    """A server on core 0, where everything it needs runs beside the load on core 1."""
    process = subprocess.Popen(
        [*_on_core(0), sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        ready = process.stdout.readline().split()
        if ready[:1] != ["ready"]:
            raise RuntimeError(f"{module} did not start; it printed {ready}")
        yield _Process(process.pid, ready[2].removeprefix("http://"))
    finally:
        process.terminate()
        process.wait()


def wait_until_ready(address: str, *, within_s: float = 900.0) -> None:
    """Waits until a service answers queries."""
    until = time.monotonic() + within_s
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{address}/readyz"):
            return
        if time.monotonic() > until:
            raise RuntimeError(f"the service was not ready within {within_s:g} s")
        time.sleep(0.1)


def publish_rows(target: str, vectors: Array, users: Array, folder: Path, *, durability: str) -> None:
    """A model whose towers give the rows of users and items as they are."""
    import pyarrow
    import pyarrow.parquet

    from rowbank import feature_files

    size, dim = vectors.shape
    with Client(target, timeout_s=60) as client:
        for name, rows in (("load_user", users), (ITEM_TABLE, vectors)):
            table = client.create_table(TableSpec(name, dim=dim, optimizer=SGD(0.1), durability=durability))
            for start in range(0, len(rows), _UPSERT):
                table.upsert(np.arange(start, min(start + _UPSERT, len(rows))), rows[start : start + _UPSERT])
        client.features.put_view(
            FeatureView("load_items", "item_id", (FeatureField("title", "string"), FeatureField("bucket", "int64")))
        )
        client.features.put_view(FeatureView("load_users", "user_id", (FeatureField("history", "int64_list"),)))
        path = folder / "items.parquet"
        ids = np.arange(size)
        titles = pyarrow.array([f"Item {item}" for item in range(size)])
        pyarrow.parquet.write_table(pyarrow.table({"item_id": ids, "title": titles, "bucket": ids % 100}), path)
        feature_files.import_features(client, "load_items", str(path))
        client.features.write("load_users", {user: {"history": [user, user + 1]} for user in range(len(users))})
        query = Tower((TowerInput("rows", "load_user", "user_id", dim, 0, 0),), "vector", "tower.onnx")
        candidate = Tower((TowerInput("rows", ITEM_TABLE, "item_id", dim, 0, 0),), "vector", "tower.onnx")
        manifest = ModelManifest(
            name="two_tower", version="load", query=query, candidate=candidate, vector_dim=dim, created_at_s=1000.0,
            item_view="load_items", user_view="load_users", metrics={},
        )  # fmt: skip
        client.models.publish(manifest, {"tower.onnx": _identity(dim)}, rows="live", activate=True)


def _identity(dim: int) -> bytes:
    """A tower of one layer, so that a run costs what running one does."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["batch", dim])
    vector = helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["batch", dim])
    weights = numpy_helper.from_array(np.eye(dim, dtype=np.float32), "weights")
    node = helper.make_node("MatMul", ["rows", "weights"], ["vector"])
    graph = helper.make_graph([node], "tower", [rows], [vector], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(onnx.ModelProto.SerializeToString(model))


def _search_alone(vectors: Array, users: Array, *, batch: int = 16) -> float:
    """Seconds of the exact search for one query, in batches as the load makes them."""
    index = _core.FlatIndex(vectors)
    took = []
    for start in range(0, 50 * batch, batch):
        began = time.perf_counter()
        index.search(users[start : start + batch], _K)
        took.append(time.perf_counter() - began)
    return float(np.median(took)) / batch
