"""Versions are tried before they are activated: what would be served is compared with what the publisher said."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from tests.processes import PsProcess
from tests.retrieval.support import DIM, LENGTH, ApiProcess, serving, tower_file
from tests.retrieval.versions import Shop

import rowbank
from rowbank.errors import InvalidModel, ModelDiffers
from rowbank.models import ModelManifest, SampleQuery

MODEL = "shop"


class Sampled(Shop):
    """A shop whose publisher says what its own model answers."""

    def scores(self, users: Any = None) -> np.ndarray[Any, Any]:
        """[U, I] of users and items, by NumPy."""
        vectors = np.asarray([self.vector(title) for title in self.titles.values()])
        rows = self.user_rows if users is None else self.user_rows[np.asarray(users) - 1]
        return (rows @ self.user_weights) @ vectors.T

    def samples(self, count: int = 20, items: int = 10) -> tuple[SampleQuery, ...]:
        ids, found = list(self.titles), []
        for user, scores in zip(self.users[:count].tolist(), self.scores(self.users[:count]), strict=True):
            order = np.argsort(-scores, kind="stable")[:items]
            found.append(SampleQuery(user, tuple(ids[i] for i in order), tuple(float(scores[i]) for i in order)))
        return tuple(found)

    def manifest(self, *arguments: Any) -> ModelManifest:
        return dataclasses.replace(super().manifest(*arguments), samples=self.samples())


@pytest.fixture
def ps(start_ps: Callable[..., PsProcess]) -> PsProcess:
    return start_ps()


@pytest.fixture
def client(ps: PsProcess) -> Iterator[rowbank.Client]:
    with rowbank.Client(ps.target) as client:
        yield client


@pytest.fixture
def shop(client: rowbank.Client) -> Sampled:
    shop = Sampled(MODEL)
    shop.create_tables(client)
    return shop


def swap_towers(shop: Sampled, client: rowbank.Client) -> None:
    """As if each side had the other's file."""
    shop.user_weights, shop.item_weights = shop.item_weights, shop.user_weights


def other_rows(shop: Sampled, client: rowbank.Client) -> None:
    """As if the tables were those of another run."""
    shop.retrain(client)


def shuffle(shop: Sampled, client: rowbank.Client) -> None:
    """As if the titles had been written under other items' ids."""
    titles = list(shop.titles.values())
    shop.titles = dict(zip(shop.titles, titles[1:] + titles[:1], strict=True))


def publish(shop: Sampled, client: rowbank.Client, version: str, damage: Any, **options: Any) -> None:
    """Publishes with the samples of the sound model what was damaged after it was trained."""
    samples = shop.samples()
    damage(shop, client)
    shop.samples = lambda *counts: samples  # type: ignore[method-assign]
    shop.publish(client, version, **options)


@pytest.mark.parametrize("damage", [swap_towers, other_rows, shuffle])
@pytest.mark.parametrize("is_first", [True, False], ids=["first", "over-a-sound-one"])
def test_what_does_not_belong_together_is_refused(
    client: rowbank.Client, shop: Sampled, damage: Any, is_first: bool
) -> None:
    if not is_first:
        shop.publish(client, "v1")
    with pytest.raises(ModelDiffers, match="come out highest here") as refused:
        publish(shop, client, "v2", damage)
    assert refused.value.metadata["version"] == "v2"
    stored = {entry.manifest.version: entry.active for entry in client.models.list(MODEL)}
    assert stored == ({"v2": False} if is_first else {"v1": True, "v2": False})
    client.models.activate(MODEL, "v2", force=True)
    assert client.models.get(MODEL).manifest.version == "v2"


def test_what_belongs_together_is_served(client: rowbank.Client, shop: Sampled) -> None:
    """Trained on, from another seed, as float16, live."""
    shop.publish(client, "v1")
    shop.publish(client, "v2", value_dtype="float16")
    shop.publish(client, "v3", rows="live")
    other = Sampled(MODEL, seed=9)
    other.tables = {side: name.replace("r1", "r2") for side, name in shop.tables.items()}
    other.titles, other.histories = shop.titles, shop.histories
    other.create_tables(client)
    other.publish(client, "v4")
    assert client.models.get(MODEL).manifest.version == "v4"
    client.models.activate(MODEL, "v1")


def test_a_scale_that_was_forgotten_is_refused(client: rowbank.Client, shop: Sampled) -> None:
    """The order is right, the scores are not: callers' min_score would mean something else."""
    said = tuple(dataclasses.replace(one, scores=tuple(20 * score for score in one.scores)) for one in shop.samples())
    shop.samples = lambda *counts: said  # type: ignore[method-assign]
    mean = np.mean([score for one in said for score in one.scores])
    with pytest.raises(ModelDiffers, match=rf"score {mean / 20:.4g} on average .* its publisher said {mean:.4g}"):
        shop.publish(client, "v1")


def test_without_samples_vectors_and_the_spread_of_scores_are_looked_at(client: rowbank.Client, shop: Sampled) -> None:
    shop.samples = lambda *counts: ()  # type: ignore[method-assign]
    shop.publish(client, "v1")
    weights = shop.item_weights
    shop.item_weights = weights * np.float32(2)
    shop.publish(client, "v2")
    shop.item_weights = weights * np.float32(100)
    with pytest.raises(ModelDiffers, match=r"its scores are .* with a deviation of .*, those of the active one"):
        shop.publish(client, "v3")
    shop.item_weights = weights * np.float32(np.inf)
    with pytest.raises(ModelDiffers, match=r"of \d+ vectors of its towers are no finite numbers"):
        shop.publish(client, "v4")
    assert client.models.get(MODEL).manifest.version == "v2"


def test_what_nobody_stored_is_no_answer(client: rowbank.Client, shop: Sampled) -> None:
    """Users and items that the version does not know."""
    samples = tuple(dataclasses.replace(one, user=one.user + 5000) for one in shop.samples())
    shop.samples = lambda *counts: samples  # type: ignore[method-assign]
    with pytest.raises(ModelDiffers, match="of 20 users that its publisher names, its rows and views know 0"):
        shop.publish(client, "v1")
    samples = tuple(dataclasses.replace(one, items=tuple(item + 5000 for item in one.items)) for one in samples)
    samples = tuple(dataclasses.replace(one, user=one.user - 5000) for one in samples)
    with pytest.raises(ModelDiffers, match=r"of \d+ items that its publisher names, its rows and views know 0"):
        shop.publish(client, "v2")


def test_a_version_that_cannot_be_tried_yet_is_let_through(client: rowbank.Client, shop: Sampled) -> None:
    """Its views come later: the service waits for them with the version before in service."""
    report = shop.publish(client, "v1")
    manifest = shop.manifest("v2", report.views, time.time())
    later = dataclasses.replace(manifest, user_view="later", user_overlay="")
    files = {
        "query.onnx": tower_file([DIM], shop.user_weights),
        "candidate.onnx": tower_file([LENGTH, DIM], shop.item_weights),
    }
    client.models.publish(later, files, rows="live")
    assert client.models.get(MODEL).manifest.version == "v2"


def test_a_version_over_nothing_is_let_through(client: rowbank.Client, shop: Sampled) -> None:
    """No items, and then nobody of whom anything is known."""
    shop.samples = lambda *counts: ()  # type: ignore[method-assign]
    titles, shop.titles = shop.titles, {}
    shop.publish(client, "v1")
    shop.titles, shop.histories = titles, {}
    shop.publish(client, "v2")
    assert client.models.get(MODEL).manifest.version == "v2"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: {"items": (), "scores": ()}, "expected 1 to 1000 items, got 0"),
        (lambda one: {"scores": one.scores[1:]}, "expected a finite score for each of its 10 items"),
        (lambda one: {"scores": (float("nan"), *one.scores[1:])}, "expected a finite score"),
        (lambda one: {"items": (one.items[1], *one.items[1:])}, "an item is named twice"),
    ],
    ids=["empty", "short", "nan", "twice"],
)
def test_samples_that_say_nothing_are_refused_at_publication(
    client: rowbank.Client, shop: Sampled, change: Any, message: str
) -> None:
    first, *rest = shop.samples()
    samples = (dataclasses.replace(first, **change(first)), *rest)
    shop.samples = lambda *counts: samples  # type: ignore[method-assign]
    with pytest.raises(InvalidModel, match=message):
        shop.publish(client, "v1", activate=False)
    many = tuple(rest * 20)
    shop.samples = lambda *counts: many  # type: ignore[method-assign]
    with pytest.raises(InvalidModel, match="samples: expected at most 256, got 380"):
        shop.publish(client, "v2", activate=False)


def test_it_is_refused_over_http_and_the_command_line_as_well(
    client: rowbank.Client,
    shop: Sampled,
    ps: PsProcess,
    start_api: Callable[..., ApiProcess],
    namespace: str,
    tmp_path: Path,
) -> None:
    shop.publish(client, "v1")
    publish(shop, client, "v2", swap_towers, activate=False)
    api = start_api(ps.target, namespace, "--model", MODEL)
    with httpx.Client(base_url=api.url, timeout=30) as http:
        serving(http, "v1")
        refused = http.post("/v1/models/v2/activate")
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:rowbank:problem:model-differs")
        assert "come out highest here" in refused.json()["detail"]
        assert http.get("/readyz").json()["model_version"] == "v1"
        forced = http.post("/v1/models/v2/activate", json={"force": True})
        assert forced.json() == {"version": "v2", "previous_version": "v1"}
        serving(http, "v2")
    client.models.roll_back(MODEL)
    with pytest.raises(ModelDiffers) as over_grpc:
        client.models.activate(MODEL, "v2")
    assert over_grpc.value.code is grpc.StatusCode.FAILED_PRECONDITION
    command = [sys.executable, "-m", "rowbank.cli", "models", "activate", MODEL, "v2", "--target", ps.target]
    typed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert typed.returncode == 1
    assert "come out highest here" in " ".join(typed.stderr.split())
