"""From a push to the search that finds what it changed, while training goes on."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import numpy as np

from rowbank import Client

from .arrays import Array
from .report import Figure, Settings, notice
from .services import running_ps, running_redis
from .serving_workloads import ITEM_TABLE, publish_rows, wait_until_ready

_ITEMS = 20_000
_SAMPLES = 1_000
_SAMPLES_BEFORE = 20  # Of a release that reads everything anew every ten seconds.
_REFRESH_S = 10.0
_BATCH = 1024  # Keys of one push of the training.
_PUSHES_PER_S = 10.0
_LENGTH = 100.0  # Of the vectors that samples are given; all others have about the length 8.
_ASK_EVERY_S = 0.002
_USERS = 100
_WAIT_S = 120.0
_BEFORE = "FRESHNESS_BEFORE"


def freshness(settings: Settings) -> list[Figure]:
    """Push to changed search result over HTTP, 1,000 items one after the other beside 10 pushes of 1,024 keys a second.

    With FRESHNESS_BEFORE=/path/to/python of an installed older release, that one is measured in the same run, too, for
    20 items; else what it could reach at best is taken: half of its ten seconds in the middle.
    """
    waits = _measured(settings, sys.executable, _SAMPLES, spread_s=0.1)
    before_s, name = _REFRESH_S / 2, "a refresh every 10 s, half of it"
    detail = {}
    if before := os.environ.get(_BEFORE, ""):
        old = _measured(settings, before, _SAMPLES_BEFORE, spread_s=_REFRESH_S)
        before_s, name = float(np.median(old)), "a refresh every 10 s"
        detail = _figures("before_", old)
    else:
        notice(f"freshness: {_BEFORE} names no older release; its figure is the arithmetic one")
    p99 = float(np.quantile(waits, 0.99))
    return [
        Figure("freshness, p50", "push to search", name, before_s / float(np.median(waits)), None, _figures("", waits)),
        Figure("freshness, p99 below 1 s", "push to search", "1 s", 1.0 / p99, 1.0, detail),
    ]


def _figures(prefix: str, waits: Array) -> dict[str, float]:
    return {
        f"{prefix}p50_ms": float(np.median(waits)) * 1e3,
        f"{prefix}p99_ms": float(np.quantile(waits, 0.99)) * 1e3,
        f"{prefix}max_ms": float(waits.max()) * 1e3,
        f"{prefix}samples": float(len(waits)),
    }


def _measured(settings: Settings, python: str, samples: int, *, spread_s: float) -> Array:
    """Seconds [samples] from the call of each push until an answer shows it; before each, up to `spread_s` are waited,
    so that no sample is in step with what the service does."""
    random = np.random.default_rng(settings.seed)
    vectors = random.standard_normal((_ITEMS, settings.dim), dtype=np.float32)
    users = random.standard_normal((_USERS, settings.dim), dtype=np.float32)
    directions = random.standard_normal((samples, settings.dim))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        running_redis() as redis_port,
        running_ps(redis_port, python=python) as target,
    ):
        publish_rows(target, vectors, users, Path(folder), durability="journaled")
        with _service(python, redis_port, target) as address, Client(target, timeout_s=30) as client:
            wait_until_ready(address)
            with _training(target, settings, _ITEMS - samples):
                waits = []
                for number, direction in enumerate(directions.astype(np.float32)):
                    time.sleep(random.uniform(0.0, spread_s))
                    waits.append(_sample(client, address, _ITEMS - samples + number, vectors, direction))
                return np.array(waits)


def _sample(client: Client, address: str, item: int, vectors: Array, direction: Array) -> float:
    """Moves an item's row by a push until a query finds it first; then out of the way of others."""
    table = client.table(ITEM_TABLE)
    rate = 0.1  # Of the table's SGD.
    wanted = direction * np.float32(_LENGTH)
    connection = HTTPConnection(address, timeout=30)
    body = json.dumps({"vector": direction.tolist(), "k": 1})
    began = time.perf_counter()
    table.push([item], (vectors[item] - wanted)[None, :] / np.float32(rate))
    while True:
        connection.request("POST", "/v1/recommend", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        found = json.loads(answer.read())
        took = time.perf_counter() - began
        if answer.status == 200 and found["items"][0]["id"] == item:
            break
        if took > _WAIT_S:
            raise RuntimeError(f"item {item} was not found within {_WAIT_S:g} s: {found}")
        time.sleep(_ASK_EVERY_S)
    connection.close()
    table.push([item], (wanted - vectors[item])[None, :] / np.float32(rate))
    return took


@contextlib.contextmanager
def _training(target: str, settings: Settings, items: int) -> Iterator[None]:
    """Small pushes to the other items, at a steady rate."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def train() -> None:
        random = np.random.default_rng(settings.seed + 1)
        try:
            with Client(target, timeout_s=30) as client:
                table = client.table(ITEM_TABLE)
                while not stop.wait(1 / _PUSHES_PER_S):
                    keys = random.choice(items, _BATCH, replace=False)
                    table.push(keys, random.standard_normal((_BATCH, settings.dim), dtype=np.float32) * 1e-3)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=train)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if failures:
        raise failures[0]


@contextlib.contextmanager
def _service(python: str, redis_port: int, target: str) -> Iterator[str]:
    """A retrieval service with the settings that it comes with; gives its address."""
    options = ["--bind", "127.0.0.1:0", "--redis", f"redis://127.0.0.1:{redis_port}", "--targets", target]
    process = subprocess.Popen(
        [python, "-m", "rowbank_server", "api", *options],
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stdout is not None
        ready = process.stdout.readline().split()
        if ready[:1] != ["ready"]:
            raise RuntimeError(f"the retrieval service did not start; it printed {ready}")
        yield ready[2].removeprefix("http://")
    finally:
        process.terminate()
        process.wait()
