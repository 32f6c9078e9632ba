"""A system with something in it: films and users whose ids are texts, a model in two versions, tables that evict."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tests.processes import PATIENT, UpProcess, until
from tests.retrieval.named import NamedWorld

import rowbank
from rowbank.catalogue import CatalogueReport, write_catalogue
from rowbank.features import FeatureField, FeatureView
from rowbank.models import DataFacts
from rowbank.text import token_key

MODEL = "two_tower"
FIRST, SECOND = "20260131T093000Z-1f3a", "20260201T093000Z-7c20"
_FIELDS = (
    FeatureField("title", "string"),
    FeatureField("genres", "string_list"),
    FeatureField("year", "int64"),
)
_GENRES = ("Drama", "Comedy", "War", "Thriller", "Romance")
_CALM = {**PATIENT, "ROWBANK_PS_LEASE_S": "20"}  # On a busy machine, too, the owner stays the owner.
_TABLES = {"user": f"{MODEL}/r1.user", "item": f"{MODEL}/r1.item", "clicks": "clicks"}


class Films(NamedWorld):
    """60 films and 40 users."""

    def __init__(self) -> None:
        items = tuple(f"film-{number:03}" for number in range(1, 61))
        users = ("anna", "bob", "carla", *(f"user-{number:03}" for number in range(4, 41)))
        super().__init__(MODEL, items, users)
        # Each user has seen some films in a row.
        self.histories = {
            user: [items[(3 * place + one) % len(items)] for one in range(1 + place % 7)]
            for place, user in enumerate(users)
        }

    def features(self, item: str) -> dict[str, Any]:
        number = int(item[-3:])
        genres = [_GENRES[number % 5], *(["Children"] if number % 7 == 0 else [])]
        return {"title": f"The film number {number}", "genres": genres, "year": 1960 + number}

    def publish(self, client: rowbank.Client, version: str, **options: Any) -> CatalogueReport:
        changes = options.pop("changes", {})
        report = write_catalogue(
            client, self.model, version, read_at_s=time.time(), item_fields=_FIELDS,
            items={token_key(item): self.features(item) for item in self.items},
            users={
                token_key(user): {"history": [token_key(item) for item in seen]}
                for user, seen in self.histories.items()
            },
            item_names={token_key(item): item for item in self.items},
            user_names={token_key(user): user for user in self.users},
        )  # fmt: skip
        facts = DataFacts("films", len(self.users), len(self.items), sum(map(len, self.histories.values())))
        manifest = self.manifest(version, report.views, data=facts, run="r1", **changes)
        client.models.publish(manifest, self.files(), rows="frozen", **options)
        return report


@dataclass
class Loaded:
    """The running system: its addresses, and what commands are run with."""

    up: UpProcess
    films: Films
    client: rowbank.Client
    data_dir: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ROWBANK_")}
        return {
            **kept,
            "ROWBANK_TARGETS": f"{self.up.target}|{self.up.standby}",
            "ROWBANK_RETRIEVAL": self.up.retrieval_target,
            "NO_COLOR": "1",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        }

    @property
    def addresses(self) -> dict[str, str]:
        """Those of the shard's processes, and what they are by default; either of them may be the owner."""
        owner = next(one.address for one in self.client.shards() if one.role == "owner")
        (standby,) = {self.up.target, self.up.standby} - {owner}
        return {owner: "127.0.0.1:7700", standby: "127.0.0.1:7702"}

    def step(self, rng: np.random.Generator) -> None:
        """What a training job and its callers do, once."""
        for side, ids in (("user", self.films.users), ("item", self.films.items)):
            places = rng.zipf(1.5, 64) % len(ids)
            keys = np.asarray([token_key(ids[place]) for place in places], np.int64)
            table = self.client.table(_TABLES[side])
            table.pull(keys)
            table.push(keys, rng.normal(0, 0.01, (len(keys), table.dim)).astype(np.float32))
        keys = rng.zipf(1.1, 512) % 20_000
        clicks = self.client.table(_TABLES["clicks"])
        clicks.push(keys.astype(np.int64), rng.normal(0, 0.01, (len(keys), clicks.dim)).astype(np.float32))


@contextlib.contextmanager
def training(loaded: Loaded) -> Iterator[None]:
    """Steps in the background, as of a training job, until the block ends."""
    stop = threading.Event()

    def run() -> None:
        rng = np.random.default_rng(3)
        while not stop.wait(0.02):
            loaded.step(rng)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def loaded_system(folder: Path) -> Iterator[Loaded]:
    """Everything on one machine, with a standby, until the block ends."""
    films = Films()
    up = UpProcess("--data-dir", str(folder / "data"), "--standby", log=folder / "log", environment=_CALM)
    try:
        up.wait_ready()
        with rowbank.Client(up.target) as client:
            loaded = Loaded(up, films, client, folder / "data")
            _fill(loaded)
            yield loaded
    finally:
        up.close()
        shutil.rmtree(folder / "data", ignore_errors=True)


def _fill(loaded: Loaded) -> None:
    client, films = loaded.client, loaded.films
    films.create_tables(client)
    client.create_table(
        rowbank.TableSpec(
            _TABLES["clicks"],
            dim=16,
            initializer=rowbank.Uniform(-0.05, 0.05, seed=7),
            optimizer=rowbank.Adagrad(0.1),
            eviction=rowbank.Eviction("lfu", max_rows=3000),
        )
    )
    rng = np.random.default_rng(5)
    for _ in range(20):
        loaded.step(rng)
    until(lambda: client.stats(_TABLES["clicks"])[0].evicted_rows > 0, what="something is evicted")
    quality = {"metrics": {"recall@20": 0.31}, "quality_metric": "recall@20"}
    films.publish(client, FIRST, changes=quality)
    films.publish(client, SECOND, changes={**quality, "metrics": {"recall@20": 0.33}})
    client.features.put_view(
        FeatureView("shop_users", "user_id", (FeatureField("age", "int64"), FeatureField("city", "string")))
    )
    client.features.write(
        "shop_users", {token_key("anna"): {"age": 31, "city": "Graz"}, token_key("bob"): {"age": 47, "city": "Linz"}}
    )
    with rowbank.RetrievalClient(loaded.up.retrieval_target, timeout_s=60) as retrieval:
        until(lambda: any(one.active and one.serving for one in retrieval.models().models), what="the model is served")
