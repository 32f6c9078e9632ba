"""Recommendations for everybody in a file: what the service answers over HTTP for the same version, user by user."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.processes import PATIENT, UpProcess, closing, until
from tests.trainer.test_cli import rowbank_train
from tests.trainer.test_resume import train

import rowbank

pytestmark = pytest.mark.timeout(600)
MODEL = "two_tower"
USERS, ITEMS = 100, 80


def events(path: Path) -> Path:
    """100 users who like one of four groups of 20 items each; no two titles have the same words."""
    rng = np.random.default_rng(1)
    users = np.repeat(np.arange(1, USERS + 1), 20)
    items = (users % 4) * 20 + rng.integers(0, 20, len(users)) + 1
    times = 1_700_000_000 + rng.permutation(len(users))
    lines = [f"{u},{i},{t},n{i % 20} g{i // 20}" for u, i, t in zip(users, items, times, strict=True)]
    path.write_text("user,item,time,title\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpProcess]:
    """Serves a small model of titles, with a user, items and events that callers wrote after it was published."""
    folder = tmp_path_factory.mktemp("served")
    started = UpProcess("--data-dir", str(folder / "data"), log=folder / "up.log", environment=PATIENT)
    with closing(started):
        started.wait_ready()
        train(
            "two-tower", "--interactions", events(folder / "films.csv"), "--targets", started.target,
            "--epochs", 3, "--batch-size", 128, "--dim", 8, "--activate", "--out", folder / "out",
        )  # fmt: skip
        with httpx.Client(base_url=started.http_url) as http:
            until(lambda: http.get("/readyz").status_code == 200, what="a model is served")
            http.put("/v1/items/901", json={"features": {"title": "n3 g4"}}).raise_for_status()
            http.delete("/v1/items/5").raise_for_status()
            written = [
                {"user_id": 1, "item_id": 7},
                {"user_id": 999, "item_id": 12},
                {"user_id": 999, "item_id": 901},
                {"user_id": 999, "item_id": 30},
            ]
            http.post("/v1/events", json={"events": written}).raise_for_status()
            until(lambda: http.get("/v1/items/901").json()["indexed"], what="the new item can be found")
            until(lambda: http.get("/v1/items/5").status_code == 404, what="the item is gone")
            until(lambda: 5 not in ids(http, {"user_id": 1, "k": ITEMS}), what="it is gone from answers")
        yield started


def ids(http: httpx.Client, body: dict[str, Any]) -> list[int]:
    return [item["id"] for item in http.post("/v1/recommend", json=body).json()["items"]]


def recommend(server: UpProcess, out: Path, *options: object) -> list[dict[str, Any]]:
    done = rowbank_train("recommend-all", MODEL, "--out", str(out), "--targets", server.target, *map(str, options))
    assert done.returncode == 0, done.stderr
    return pq.read_table(out).to_pylist()


def in_time(http: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to a query, asked again while a slow machine keeps the service from reading all it needs in time."""
    answers: list[dict[str, Any]] = []

    def is_whole() -> bool:
        answers.append(http.post("/v1/recommend", json=body).json())
        return not any(reason.endswith(":unavailable") for reason in answers[-1]["degraded"])

    until(is_whole, what="an answer within its budget")
    return answers[-1]


def require_as_served(server: UpProcess, rows: list[dict[str, Any]], *, exclude_seen: bool) -> None:
    with httpx.Client(base_url=server.http_url) as http:
        for row in rows:
            body = {"user_id": row["user_id"], "k": len(row["item_ids"]), "exclude_seen": exclude_seen}
            answer = in_time(http, body)
            assert answer["source"] == row["source"], answer
            served = [item["score"] for item in answer["items"]]
            np.testing.assert_allclose(row["scores"], served, rtol=1e-5, atol=1e-5)
            # Only what has the same score to 1e-5 may stand in another place.
            ours = dict(zip(row["item_ids"], row["scores"], strict=True))
            expected = [ours.get(item["id"], row["scores"][-1]) for item in answer["items"]]
            np.testing.assert_allclose(expected, served, rtol=1e-5, atol=1e-5)


def test_everybody_gets_what_the_service_answers(server: UpProcess, tmp_path: Path) -> None:
    rows = recommend(server, tmp_path / "deep" / "all.parquet", "--k", 10)
    assert [row["user_id"] for row in rows] == [*range(1, USERS + 1), 999]
    assert {row["source"] for row in rows[:-1]} == {"personal"}
    assert rows[-1]["source"] == "session"  # Nobody trained on them, but they met something.
    assert all(len(row["item_ids"]) == 10 for row in rows)
    assert not {item for row in rows for item in row["item_ids"]} & {5}
    assert 7 not in rows[0]["item_ids"]
    require_as_served(server, rows, exclude_seen=True)
    metadata = pq.read_schema(tmp_path / "deep" / "all.parquet").metadata
    with rowbank.Client(server.target) as client:
        version = client.models.get(MODEL).manifest.version
    assert metadata[b"rowbank.version"].decode() == version
    assert metadata[b"rowbank.k"] == b"10"


def test_some_users_with_what_they_met(server: UpProcess, tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("name,user_id\na,3\nb,999\nc,3\nd,123456\n")
    rows = recommend(
        server, tmp_path / "some.parquet", "--users", tmp_path / "users.csv", "--include-seen", "--k", ITEMS,
        "--version", "latest",
    )  # fmt: skip
    assert [row["user_id"] for row in rows] == [3, 999]  # Nothing is known of 123456.
    assert all(len(row["item_ids"]) == ITEMS for row in rows)  # One of 80 is gone, one is new.
    require_as_served(server, rows, exclude_seen=False)


SCHEMA = """
[user.columns]
user_id = "id"
plan = { type = "categorical", dim = 4, default = "basic" }
age = { type = "numeric" }
[item.columns]
item_id = "id"
tags = { type = "categorical", many = true, length = 3, dim = 4 }
price = { type = "numeric", scale = "log" }
"""


def test_texts_as_ids_and_the_columns_of_a_schema(tmp_path: Path) -> None:
    """Users go by their columns, too: one whom nobody trained on is known by them."""
    rng = np.random.default_rng(2)
    users, items = np.repeat(np.arange(60), 15), rng.integers(0, 40, 900)
    lines = [f"u-{user},i-{item},{at}" for at, (user, item) in enumerate(zip(users, items, strict=True))]
    (tmp_path / "events.csv").write_text("user_id,item_id,time\n" + "\n".join(lines) + "\n")
    rows = [f"u-{user},{('gold', '', 'basic')[user % 3]},{20 + user if user % 5 else ''}" for user in range(65)]
    (tmp_path / "users.csv").write_text("user_id,plan,age\n" + "\n".join(rows) + "\n")
    rows = [f"i-{item},t{item % 7}|t{item % 4},{item / 2}" for item in range(40)]
    (tmp_path / "items.csv").write_text("item_id,tags,price\n" + "\n".join(rows) + "\n")
    (tmp_path / "schema.toml").write_text(SCHEMA)
    started = UpProcess(
        "--data-dir", str(tmp_path / "data"), "--model", "named", log=tmp_path / "up.log", environment=PATIENT
    )
    with closing(started):
        started.wait_ready()
        train(
            "two-tower", "--interactions", tmp_path / "events.csv", "--users", tmp_path / "users.csv", "--items",
            tmp_path / "items.csv", "--schema", tmp_path / "schema.toml", "--targets", started.target, "--epochs", 2,
            "--batch-size", 128, "--dim", 8, "--model-name", "named", "--activate", "--out", tmp_path / "out",
        )  # fmt: skip
        done = rowbank_train(
            "recommend-all", "named", "--out", str(tmp_path / "all.parquet"), "--targets", started.target, "--k", "10"
        )
        assert done.returncode == 0, done.stderr
        found = pq.read_table(tmp_path / "all.parquet").to_pylist()
        assert {row["user_id"] for row in found} == {f"u-{user}" for user in range(65)}
        assert {row["source"] for row in found} == {"personal"}
        assert all(item.startswith("i-") for row in found for item in row["item_ids"])
        until(lambda: httpx.get(f"{started.http_url}/readyz").status_code == 200, what="the model is served")
        require_as_served(started, found, exclude_seen=True)


def test_what_is_wrong_is_said_in_a_line_and_nothing_is_written(server: UpProcess, tmp_path: Path) -> None:
    out = tmp_path / "all.parquet"
    out.write_text("as it was")
    (tmp_path / "words.csv").write_text("user_id\n1\nada\n")
    (tmp_path / "columns.csv").write_text("id,name\n1,a\n")
    (tmp_path / "file").write_text("")
    for arguments, message in (
        (["two_towers", "--out", out], "model 'two_towers' does not exist; did you mean two_tower?; models that there "
         "are: two_tower"),
        ([MODEL, "--out", out, "--version", "9"], "--version 9: model 'two_tower' has no such version; there are 2"),
        ([MODEL, "--out", out, "--k", 81], "--k 81: the version has 80 items that can be found; give"),
        ([MODEL, "--out", out, "--k", 0], "--k must be at least 1, got 0"),
        ([MODEL, "--out", tmp_path], f"--out {tmp_path}: cannot be written: it is a folder; name a file in it"),
        ([MODEL, "--out", tmp_path / "file" / "a.parquet"], f"--out {tmp_path}/file/a.parquet: cannot be written: "),
        ([MODEL, "--out", out, "--users", tmp_path / "words.csv"], f"{tmp_path}/words.csv: line 3: column 'user_id': "
         "expected an integer, got 'ada'"),
        ([MODEL, "--out", out, "--users", tmp_path / "columns.csv"], f"{tmp_path}/columns.csv: expected a column "
         "'user_id', got id, name"),
        ([MODEL, "--out", out, "--users", tmp_path / "no.csv"], f"{tmp_path}/no.csv: no such file"),
    ):  # fmt: skip
        done = rowbank_train("recommend-all", *map(str, arguments), "--targets", server.target)
        assert done.stderr.startswith(f"error: {message}"), done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert done.returncode == (2 if "--k" in arguments else 1)
    assert out.read_text() == "as it was"
    assert not list(tmp_path.glob("*.partial"))
