"""The whole path from a user's id to items and scores, against a computation beside the service.

What is compared with runs on what anybody can read: features through the client, rows as the tables export them, the
towers' files in a runtime, and NumPy. Scores may differ by 1e-5, as towers add up batches of another size in another
order; ids must be the same, except for items whose scores are nearer to each other than that.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import onnxruntime
import pytest
from tests.processes import PATIENT, UpProcess, closing, until
from tests.trainer.shop import schema, shop
from tests.trainer.test_schema_towers import CONFIG
from tests.trainer.test_two_tower import run_job

import rowbank
from rowbank.features import FeatureField, FeatureView
from rowbank.manifests import ModelManifest, Tower, TowerInput
from rowbank.text import token_key, tokens
from rowbank_trainer.data import Dataset, load_movielens
from rowbank_trainer.schema.spec import Schema
from rowbank_trainer.schema.toml import load_schema
from rowbank_trainer.two_tower.config import TwoTowerConfig, Variant
from rowbank_trainer.two_tower.export import OUTPUT
from rowbank_trainer.two_tower.publication import Publication

TOLERANCE = 1e-5
K = 20
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "movielens.toml"
pytestmark = pytest.mark.timeout(900)

Features = Mapping[int, Mapping[str, Any]]


class Beside:
    """A version computed from what the client reads."""

    def __init__(self, client: rowbank.Client, manifest: ModelManifest) -> None:
        self._client = client
        self._manifest = manifest
        self._tables: dict[str, dict[int, np.ndarray]] = {}
        self.items = self._read(manifest.item_view, manifest.item_overlay)
        self.users = self._read(manifest.user_view, manifest.user_overlay)
        self.item_ids = np.array(sorted(self.items), np.int64)
        self.user_ids = np.array(sorted(self.users), np.int64)
        self._item_vectors = self._vectors(manifest.candidate, self.items, self.item_ids)
        self._user_vectors = self._vectors(manifest.query, self.users, self.user_ids)
        scale = manifest.logit_scale or 1.0
        self.scores = self._user_vectors.astype(np.float64) @ self._item_vectors.astype(np.float64).T * scale

    def expected(self, user: int, passes: np.ndarray, k: int) -> list[tuple[int, float]]:
        """The best k items that pass and that the user has not met, and their scores."""
        scores = self.scores[np.searchsorted(self.user_ids, user)]
        met = np.isin(self.item_ids, self.users[user].get("history") or ())
        eligible = np.flatnonzero(passes & ~met)
        order = eligible[np.lexsort((self.item_ids[eligible], -scores[eligible]))][:k]
        return [(int(self.item_ids[i]), float(scores[i])) for i in order]

    def passing(self, condition: Callable[[Mapping[str, Any]], bool]) -> np.ndarray:
        return np.array([condition(self.items[int(item)]) for item in self.item_ids], np.bool_)

    def _read(self, view: str, overlay: str) -> Features:
        """What is stored of each entity, or the view's default; None where there is neither."""
        views = {one.name: one for one in self._client.features.list_views()}
        defaults = {field.name: field.default for name in (overlay, view) for field in views[name].fields}
        entities = np.union1d(self._client.features.entities(view), self._client.features.entities(overlay))
        found = {}
        for read in self._client.features.read_layers(view, overlay, entities.tolist()):
            if read.status == "present":
                given = {name: defaults.get(name) if name in read.absent else read.values[name] for name in read.values}
                found[read.entity] = given
        return found

    def _vectors(self, tower: Tower, features: Features, ids: np.ndarray) -> np.ndarray:
        file = self._client.models.read_file(self._manifest.name, self._manifest.version, tower.file)
        fed = {part.name: self._fed(part, features, ids.tolist()) for part in tower.inputs}
        return np.asarray(onnxruntime.InferenceSession(file).run([OUTPUT], fed)[0])

    def _fed(self, part: TowerInput, features: Features, ids: Sequence[int]) -> np.ndarray:
        _, _, name = part.feature.rpartition(":")
        own = ":" not in part.feature
        values = [one if own else features[one].get(name) for one in ids]
        if part.kind == "numbers":
            return np.array([np.zeros(part.dim) if one is None else np.atleast_1d(one) for one in values], np.float32)
        made = np.zeros((len(ids), part.length or 1, part.dim), np.float32)
        rows = self._rows(part.table)
        for place, value in enumerate(values):
            keys = _keys(part, value, own=own)
            for at, key in enumerate(keys):
                if key is not None and key in rows:
                    made[place, at] = rows[key]
        return made if part.length else made[:, 0]

    def _rows(self, table: str) -> dict[int, np.ndarray]:
        if table not in self._tables:
            chunks = list(self._client.table(table).export())
            self._tables[table] = {
                int(key): row for chunk in chunks for key, row in zip(chunk.keys, chunk.values, strict=True)
            }
        return self._tables[table]


def _keys(part: TowerInput, value: Any, *, own: bool) -> list[int | None]:
    """The keys of a value; None is padding."""
    if value is None:
        return []
    if part.kind == "words":
        return [token_key(word) for word in tokens(value)[: part.length]]
    several = list(value) if isinstance(value, (list, tuple)) else [value]
    if part.length:
        several = (
            several[-part.length :] if part.newest or part.feature.endswith(":history") else several[: part.length]
        )
    if part.kind == "text_keys":
        return [token_key(one) if one else None for one in several]
    return [int(one) if own or one != part.pad_key else None for one in several]


class Filtered(NamedTuple):
    """A filter as callers write it, and what it means."""

    json: Any
    passes: Callable[[Mapping[str, Any]], bool]


def selective(count: int) -> list[Filtered]:
    """About 50, 10, 1 and 0.1 % of the items, by a feature that was written for it, and none of it at last."""
    made = []
    for share in (0.5, 0.1, 0.01, 0.001):
        most = max(1, round(share * count))
        made.append(Filtered({"feature": "draw", "lt": most}, functools.partial(_is_below, most)))
    return made


def _is_below(most: int, item: Mapping[str, Any]) -> bool:
    return bool(item["draw"] < most)


def write_draws(client: rowbank.Client, http: httpx.Client, manifest: ModelManifest, items: Sequence[int]) -> None:
    """Gives each item a number, 0 to N - 1 in no order, and a label; waits until filters know them."""
    overlay = next(view for view in client.features.list_views() if view.name == manifest.item_overlay)
    more = (FeatureField("draw", "int64"), FeatureField("labels", "string_list"))
    client.features.put_view(FeatureView(overlay.name, overlay.entity, (*overlay.fields, *more)))
    draws = np.random.default_rng(3).permutation(len(items)).tolist()
    lines = [
        json.dumps({"id": item, "features": {"draw": draw, "labels": ["even" if draw % 2 == 0 else "odd", "all"]}})
        for item, draw in zip(items, draws, strict=True)
    ]
    every = {"k": 1000, "filter": {"feature": "draw", "gte": 0}}

    def written() -> bool:
        answer = http.post("/v1/items:import", content="\n".join(lines)).json()
        return bool(answer.get("written") == len(items))

    until(written, what="the new features of the view")

    def found() -> bool:
        answer = http.post("/v1/popular", json=every)
        return answer.status_code == 200 and len(answer.json()["items"]) == min(1000, len(items))

    until(found, what="the index to have taken the items in")


def compare(http: httpx.Client, beside: Beside, filters: Sequence[Filtered]) -> dict[str, float]:
    """Asks for every user under every filter; what was compared, and the largest differences."""
    compared, furthest, swapped = 0, 0.0, 0
    for filtered in filters:
        passes = beside.passing(filtered.passes)
        for start in range(0, len(beside.user_ids), 128):
            users = beside.user_ids[start : start + 128].tolist()
            requests = [{"user_id": u, "k": K, "exclude_seen": True, "filter": filtered.json} for u in users]
            answers = http.post("/v1/recommend:batch", json={"requests": requests})
            assert answers.status_code == 200, answers.text
            for user, answer in zip(users, answers.json()["answers"], strict=True):
                assert (answer["source"], answer["degraded"]) == ("personal", [])
                got = [(item["id"], item["score"]) for item in answer["items"]]
                expected = beside.expected(user, passes, K)
                assert len(got) == len(expected), (user, filtered.json)
                mine = beside.scores[np.searchsorted(beside.user_ids, user)]
                for (item, score), (other, best) in zip(got, expected, strict=True):
                    own = float(mine[np.searchsorted(beside.item_ids, item)])
                    furthest = max(furthest, abs(score - own), abs(own - best))
                    swapped += item != other
                    compared += 1
                assert len({item for item, _ in got}) == len(got)
                assert all(passes[np.searchsorted(beside.item_ids, item)] for item, _ in got)
    assert furthest <= TOLERANCE
    return {"compared": compared, "furthest": furthest, "swapped": swapped}


def serve_and_compare(
    tmp_path: Path, data: Dataset, config: TwoTowerConfig, columns: Schema, filters: Sequence[Filtered] = ()
) -> dict[str, float]:
    server = UpProcess("--data-dir", str(tmp_path / "data"), log=tmp_path / "log", environment=PATIENT)
    with closing(server), httpx.Client(timeout=120) as http:
        server.wait_ready()
        http.base_url = httpx.URL(server.http_url)
        run_job(
            data,
            config,
            tmp_path / "out",
            Variant.ROWBANK,
            targets=server.target,
            schema=columns,
            publication=Publication(activate=True),
        )
        until(lambda: http.get("/readyz").status_code == 200, what="a model in service")
        with rowbank.Client(server.target) as client:
            manifest = next(entry for entry in client.models.list("two_tower") if entry.active).manifest
            items = client.features.entities(manifest.item_view).tolist()
            write_draws(client, http, manifest, items)
            beside = Beside(client, manifest)
            return compare(http, beside, [*selective(len(items)), *filters])


def test_answers_are_what_is_computed_beside_the_service(tmp_path: Path) -> None:
    """A small shop with columns of every type, for every user."""
    by_label = Filtered(
        {"and": [{"feature": "labels", "all": ["even", "all"]}, {"feature": "price", "lt": 30.0}]},
        lambda item: "even" in item["labels"] and item["price"] is not None and item["price"] < 30.0,
    )
    report = serve_and_compare(tmp_path, shop(), CONFIG, schema(), [by_label])
    print(report)
    assert report["compared"] > 500


@pytest.mark.skipif("MOVIELENS_100K" not in os.environ, reason="MOVIELENS_100K names no MovieLens 100k folder")
def test_answers_on_movielens_are_what_is_computed_beside_the_service(tmp_path: Path) -> None:
    """With gender, age, occupation, genres and years, for all 943 users and 1,682 items."""
    columns = load_schema(EXAMPLE)
    data = load_movielens(Path(os.environ["MOVIELENS_100K"]), columns)
    config = TwoTowerConfig(epochs=2, batch_size=2048, dim=16, vector_dim=16, hidden=(32,), log_every=20)
    drama = Filtered(
        {"and": [{"feature": "genres", "any": ["Drama", "War"]}, {"feature": "year", "gte": 1990, "lt": 1996}]},
        lambda item: (
            bool({"Drama", "War"} & set(item["genres"] or ()))
            and item["year"] is not None
            and 1990 <= item["year"] < 1996
        ),
    )
    report = serve_and_compare(tmp_path, data, config, columns, [drama])
    print(report)
    assert report["compared"] > 943 * 2 * K
