"""What is served is the version that was activated, whatever is trained or published beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.processes import PATIENT, UpProcess, closing, until
from tests.trainer.test_resume import train

import rowbank

pytestmark = pytest.mark.timeout(300)
USERS, ITEMS = 100, 80
Answers = dict[int, list[int]]


def events(path: Path, seed: int, word: str) -> Path:
    """100 users who like one of four groups of 20 items each, with a title of three words."""
    rng = np.random.default_rng(seed)
    users = np.repeat(np.arange(1, USERS + 1), 20)
    items = (users % 4) * 20 + rng.integers(0, 20, len(users)) + 1
    times = 1_700_000_000 + rng.permutation(len(users))
    lines = [f"{u},{i},{t},{word} {i % 20} of {i // 20}" for u, i, t in zip(users, items, times, strict=True)]
    path.write_text("user,item,time,title\n" + "\n".join(lines) + "\n")
    return path


def answers(server: UpProcess) -> tuple[Answers, set[str]]:
    """Everybody's best ten, and the versions that gave them."""
    best, versions = {}, set()
    with httpx.Client(base_url=server.http_url) as client:
        for user in range(1, USERS + 1):
            answer = client.post("/v1/recommend", json={"user_id": user, "k": 10, "exclude_seen": True}).json()
            assert answer["source"] == "personal", answer
            assert answer["degraded"] == []
            best[user] = [item["id"] for item in answer["items"]]
            versions.add(answer["model_version"])
    return best, versions


def overlap(first: Answers, later: Answers) -> float:
    return float(np.mean([len(set(first[user]) & set(later[user])) / 10 for user in first]))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[UpProcess]:
    started = UpProcess("--data-dir", str(tmp_path / "data"), log=tmp_path / "up.log", environment=PATIENT)
    with closing(started):
        yield started.wait_ready()


def test_a_version_answers_as_at_first_whatever_is_trained_and_published(server: UpProcess, tmp_path: Path) -> None:
    films, lamps = events(tmp_path / "films.csv", 1, "film"), events(tmp_path / "lamps.csv", 2, "lamp")

    def trained(file: Path, *options: object) -> None:
        train(
            "two-tower", "--interactions", file, "--targets", server.target, "--epochs", 3, "--batch-size", 128,
            "--dim", 8, "--learning-rate", 0.03, "--out", tmp_path / "out", *options,
        )  # fmt: skip

    def serving(version: str) -> bool:
        answer = httpx.post(f"{server.http_url}/v1/recommend", json={"user_id": 1, "k": 1}).json()
        return bool(answer.get("model_version") == version)

    trained(films, "--activate")
    with rowbank.Client(server.target) as client:
        first_version = client.models.get("two_tower").manifest.version
        until(lambda: serving(first_version), what="the first version is served")
        first, _ = answers(server)
        trained(films, "--seed", 2, "--no-publish")
        assert overlap(first, answers(server)[0]) == 1.0
        trained(films, "--seed", 3, "--publish")
        trained(lamps, "--model-name", "shop", "--activate")
        until(lambda: client.models.get("shop").active, what="the other model is active")
        later, versions = answers(server)
        assert versions == {first_version}
        assert overlap(first, later) == 1.0
        titles = httpx.post(f"{server.http_url}/v1/recommend", json={"user_id": 1, "k": ITEMS}).json()["items"]
        assert {item["title"].split()[0] for item in titles} == {"film"}
        trained(films, "--seed", 4, "--activate")
        second_version = client.models.get("two_tower").manifest.version
        until(lambda: serving(second_version), what="the second version is served")
        assert overlap(first, answers(server)[0]) < 1.0
        assert client.models.roll_back("two_tower") == first_version
        until(lambda: serving(first_version), what="the first version is served again")
        assert overlap(first, answers(server)[0]) == 1.0
        # Every run has tables of its own, and none was emptied.
        sizes = {info.spec.name: info.rows for info in client.list_tables() if not info.frozen}
        assert set(sizes) == {f"{run}.{kind}" for run in ("shop/1", "two_tower/1", "two_tower/2", "two_tower/3",
                                                          "two_tower/4") for kind in ("user", "title")}  # fmt: skip
        assert all(sizes.values())
    assert server.terminate() == 0
    again = UpProcess("--data-dir", str(tmp_path / "data"), log=tmp_path / "again.log", environment=PATIENT)
    with closing(again):
        again.wait_ready()
        until(lambda: httpx.get(f"{again.http_url}/readyz").status_code == 200, what="the service is ready again")
        later, versions = answers(again)
        assert versions == {first_version}
        assert overlap(first, later) == 1.0
