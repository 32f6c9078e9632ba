"""What an online model learns and is judged by: the past alone, and as it was; judged as it is served."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
from pathlib import Path

import httpx
import numpy as np
import pytest
from rich.console import Console
from tests.processes import PATIENT, UpProcess, closing, until
from tests.trainer.shop import schema, shop

from rowbank_trainer.data import Dataset, Interactions
from rowbank_trainer.errors import UsageError
from rowbank_trainer.online.config import OnlineConfig
from rowbank_trainer.online.job import OnlineJob, run
from rowbank_trainer.online.met import MetBefore
from rowbank_trainer.online.periods import timeline
from rowbank_trainer.online.stream import Stream, train_periods
from rowbank_trainer.progress import Progress
from rowbank_trainer.schema.spec import Column, MixedDimension, Side, TableOptions
from rowbank_trainer.two_tower.config import TwoTowerConfig, Variant
from rowbank_trainer.two_tower.popularity import popularity
from rowbank_trainer.two_tower.problem import Problem
from rowbank_trainer.two_tower.publication import Publication
from rowbank_trainer.two_tower.tables.static import StaticTables
from rowbank_trainer.two_tower.training import TrainingRun

pytestmark = pytest.mark.timeout(600)
MODEL = TwoTowerConfig(batch_size=64, dim=6, vector_dim=6, hidden=(8,), learning_rate=0.02, popularity_weight=0.3,
                       popularity_half_life_days=0.002)  # fmt: skip
ONLINE = OnlineConfig(periods=4, replay=0.5)


@pytest.fixture(scope="module")
def stream() -> Stream:
    """A shop's interactions, within half an hour, by quarters, with columns of every type."""
    return opened(shop())


def opened(dataset: Dataset, online: OnlineConfig = ONLINE) -> Stream:
    return Stream(dataset, timeline(dataset, online), MODEL, online, schema())


def test_a_history_is_what_was_met_before() -> None:
    users, items = [1, 2, 1, 1, 2, 3], [10, 20, 11, 12, 21, 30]
    times = np.arange(6)
    before = MetBefore(Interactions(np.array(users), np.array(items), np.ones(6, np.float32), times))
    rows = np.array([3, 0, 4, 2, 5])
    lists = before.take(rows, 0)
    assert lists.values.tolist() == [10, 11, 20, 10]
    assert lists.starts.tolist() == [0, 2, 2, 3, 4, 4]
    newest = before.take(rows, 1)
    assert newest.values.tolist() == [11, 20, 10]


def test_a_pass_takes_a_period_and_as_many_earlier_interactions_as_asked(stream: Stream) -> None:
    line, known = stream.line, stream.known_after(2)
    first, end = line.first(2), int(line.ends[2])
    train = stream.pass_over(2, 7, known).problem.train
    assert len(train) == end - first + round(0.5 * (end - first))
    replayed = train.take(np.arange(len(train) - (end - first)))
    assert replayed.times.max() < line.period(2).times.min()
    assert len(np.unique(replayed.times)) == len(replayed)  # The shop's times are all different.
    assert np.array_equal(train.take(np.arange(len(replayed), len(train))).times, line.period(2).times)
    # Drawn anew by each pass, and the same again for the same one.
    assert np.array_equal(stream.pass_over(2, 7, known).problem.train.times, train.times)
    assert not np.array_equal(stream.pass_over(2, 8, known).problem.train.times, train.times)
    # There is nothing before the first period, and never more than there is.
    assert len(stream.pass_over(0, 1, known).problem.train) == line.ends[0]
    many = opened(shop(), dataclasses.replace(ONLINE, replay=50.0))
    assert len(many.pass_over(1, 1, known).problem.train) == many.line.ends[1]
    with pytest.raises(UsageError, match=r"--replay must be at least 0, got -1\.0"):
        OnlineConfig(replay=-1.0)


def arriving() -> Dataset:
    """The shop, to which a sixth of the users (of whom the file knows) and an item of each group come at last."""
    dataset = shop()
    old = dataset.interactions
    late = (old.user_ids % 6 == 1) | (old.item_ids % 10 == 9)
    return dataclasses.replace(dataset, interactions=dataclasses.replace(old, times=old.times + 10_000 * late))


def vectors_after(stream: Stream, periods: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Vectors of users and items and the items' popularity after each of the first periods."""
    run = TrainingRun("static", stream.known_after(0), StaticTables(stream.whole, MODEL), MODEL, limits=None)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def look(trained: TrainingRun, period: int, known: Problem) -> str:
        model, tables, features = trained.model, trained.tables, known.features
        users = model.user_vectors(tables, features, known.user_keys)
        found.append((users, model.item_vectors(tables, features), popularity(known, MODEL)))
        return ""

    readings = train_periods(run, stream, 0, Progress(Console(file=io.StringIO())), look)
    for _ in itertools.islice(readings, periods):
        pass
    return found


def test_nothing_that_comes_later_is_known(stream: Stream) -> None:
    """With the same users and items in another order after the second quarter, all is the same until then."""
    dataset = shop()
    ordered = dataset.interactions.take(np.argsort(dataset.interactions.times))
    end = int(stream.line.ends[1])
    rng = np.random.default_rng(3)
    users, items = ordered.user_ids.copy(), ordered.item_ids.copy()
    users[end:], items[end:] = rng.permutation(users[end:]), rng.permutation(items[end:])
    shuffled = dataclasses.replace(ordered, user_ids=users, item_ids=items)
    other = opened(dataclasses.replace(dataset, interactions=shuffled))
    for one, two in zip(vectors_after(stream, 2), vectors_after(other, 2), strict=True):
        for first, second in zip(one, two, strict=True):
            np.testing.assert_array_equal(first, second)


def test_rows_of_those_who_were_not_met_yet_are_missing() -> None:
    """Static tables have a row for each of them from the start, which is not what serves a new user or item."""
    stream = opened(arriving())
    tables = StaticTables(stream.whole, MODEL)
    known = stream.known_after(0)
    tables.reached(known)
    met = np.isin(known.user_keys, known.train.user_ids)
    assert not met.all()
    assert np.array_equal(tables.rows("user", known.user_keys).any(axis=1), met)


def test_what_is_judged_is_what_is_served(tmp_path: Path) -> None:
    """The figures of the last quarter are those of the answers over HTTP, of new users and items by their features."""
    dataset = arriving()
    server = UpProcess(
        "--data-dir", str(tmp_path / "data"), "--model", "stream", log=tmp_path / "log", environment=PATIENT
    )
    with closing(server):
        server.wait_ready()
        job = OnlineJob(
            MODEL, ONLINE, (Variant.ROWBANK,), False, server.target, Publication(activate=True, force=True),
            tmp_path / "out", "stream", {}, schema=schema(),
        )  # fmt: skip
        run(job, dataset, Console(file=io.StringIO(), width=140))
        periods = json.loads((tmp_path / "out" / "metrics.json").read_text())["variants"][0]["periods"]
        judged, version = periods[-2]["judged"], periods[-2]["version"]
        activate = f"{server.http_url}/v1/models/{version}/activate"
        until(lambda: httpx.post(activate, json={"force": True}, timeout=30.0).status_code == 200, what="it is served")
        ready = f"{server.http_url}/readyz"
        until(lambda: httpx.get(ready).json().get("model_version") == version, what="it answers")
        line = timeline(dataset, ONLINE)
        before, after = line.until(2), line.period(3)
        met = {(int(user), int(item)) for user, item in zip(before.user_ids, before.item_ids, strict=True)}
        recalls = {}
        for user in np.unique(after.user_ids).tolist():
            wanted = {item for item in after.item_ids[after.user_ids == user].tolist() if (user, item) not in met}
            if not wanted:
                continue
            body = {"user_id": user, "k": 10, "exclude_seen": True}
            answer = httpx.post(f"{server.http_url}/v1/recommend", json=body, timeout=30.0).json()
            assert (answer["source"], answer["model_version"]) == ("personal", version), answer
            recalls[user] = len(wanted & {item["id"] for item in answer["items"]}) / len(wanted)
    new = [recall for user, recall in recalls.items() if user not in before.user_ids]
    assert len(new) >= 5
    assert judged["everybody"]["recall"]["top_10"] == pytest.approx(np.mean(list(recalls.values())), abs=1e-9)
    assert judged["new"]["recall"]["top_10"] == pytest.approx(np.mean(new), abs=1e-9)


def test_tables_by_frequency_are_refused() -> None:
    """How frequent a value will have been in the end, a stream does not know."""
    whole = schema()
    mixed = TableOptions(embedding=MixedDimension(shares=(0.5,), dims=(4, 2)), dim=4)
    dataset = shop()
    with pytest.raises(UsageError, match="table 'user' is mixed_dimension, whose widths go by how frequent values are"):
        Stream(
            dataset, timeline(dataset, ONLINE), MODEL, ONLINE,
            dataclasses.replace(whole, tables={**whole.tables, "user": mixed}),
        )  # fmt: skip


def test_columns_that_cannot_be_published_are_refused_before_training(tmp_path: Path) -> None:
    dataset = shop()
    assert dataset.users is not None
    named = dataclasses.replace(dataset.users, numbers={"a b": dataset.users.numbers["age"]})
    users = Side((Column("user_id", "id", table="user"), Column("a b", "numeric")))
    job = OnlineJob(
        MODEL, ONLINE, (Variant.ROWBANK,), False, "127.0.0.1:1", Publication(publish=True), tmp_path, "stream", {},
        schema=schema(user=users, tables={}),
    )  # fmt: skip
    with pytest.raises(UsageError, match="names of features are letters, digits and '_'"):
        run(job, dataclasses.replace(dataset, users=named), Console(file=io.StringIO()))
