"""Online jobs: periods, cuts at the trigger, versions in the registry, going on after a kill."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console
from tests.trainer.test_resume import state

import rowbank
from rowbank_trainer.data import Catalogue, Dataset, Interactions
from rowbank_trainer.errors import DataError, TrainerError
from rowbank_trainer.online.config import OnlineConfig
from rowbank_trainer.online.job import OnlineJob, run
from rowbank_trainer.online.periods import timeline
from rowbank_trainer.progress import Progress
from rowbank_trainer.two_tower.config import TwoTowerConfig, Variant
from rowbank_trainer.two_tower.publication import Publication
from rowbank_trainer.two_tower.training import TrainingRun

pytestmark = pytest.mark.timeout(600)
_DAY_S = 86_400
_FIT = TrainingRun.fit


@pytest.fixture(scope="module")
def growing() -> Dataset:
    """Ten days on which 60 users come back; each day brings 15 new users, who like one of three groups of items."""
    rng = np.random.default_rng(4)
    users, days = [], []
    for day in range(10):
        known = rng.integers(0, 60 + 15 * day, 150)
        users.append(np.concatenate([known, np.repeat(np.arange(60 + 15 * day, 75 + 15 * day), 4)]))
        days.append(np.full(len(users[-1]), day))
    user_ids, times = np.concatenate(users), np.concatenate(days) * _DAY_S + 1_700_000_000
    items = (user_ids % 3) * 40 + rng.integers(0, 40, len(user_ids))
    catalogue = Catalogue(np.arange(120), tuple(map(str, range(120))), ((),) * 120, (0,) * 120, titled=False)
    return Dataset("growing", Interactions(user_ids, items, np.ones(len(items), np.float32), times), catalogue)


def job(out: Path, target: str, **changes) -> OnlineJob:
    model = TwoTowerConfig(batch_size=32, dim=8, vector_dim=8, hidden=(16,), learning_rate=0.02, log_every=2,
                           restrict_every=3)  # fmt: skip
    online = OnlineConfig(passes=2, steps_per_restrict=3, trigger=0.6)
    settings = {
        "variants": (Variant.ROWBANK,),
        "restrict": True,
        "publication": Publication(activate=True, keep=20),
        "model_name": "stream",
    }
    return OnlineJob(model, online, targets=target, out=out, arguments={}, **(settings | changes))


def test_periods_are_days_or_equal_parts(growing: Dataset) -> None:
    line = timeline(growing, OnlineConfig())
    assert len(line) == 10
    assert all(len(np.unique(line.period(index).times)) == 1 for index in range(10))
    assert len(line.until(3)) == sum(len(line.period(index)) for index in range(4))
    assert len(timeline(growing, OnlineConfig(days=3.0))) == 4
    halves = timeline(growing, OnlineConfig(periods=2))
    assert len(halves.period(0)) == len(halves.period(1)) == len(growing.interactions) // 2


def test_data_without_time_or_of_one_period_are_refused(growing: Dataset) -> None:
    with pytest.raises(DataError, match="online training needs times; name their column with --time-column"):
        timeline(Dataset("bare", growing.interactions, growing.catalogue, timed=False), OnlineConfig())
    with pytest.raises(DataError, match="expected at least 2 periods, got 1 of 2100 interactions"):
        timeline(growing, OnlineConfig(days=100.0))
    with pytest.raises(TrainerError, match="periods must be at least 2"):
        OnlineConfig(periods=1)
    with pytest.raises(TrainerError, match=r"trigger must be above 0 and at most 1, got 1\.5"):
        OnlineConfig(trigger=1.5)


@pytest.fixture(scope="module")
def whole(growing: Dataset, target: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a job that was never stopped, and published after every period."""
    out = tmp_path_factory.mktemp("whole")
    run(job(out, target), growing, Console(file=io.StringIO(), width=140))
    return out


def test_tables_fall_at_the_trigger_and_grow_again(whole: Path, target: str) -> None:
    metrics = json.loads((whole / "metrics.json").read_text())
    for name in ("accuracy.png", "sizes.png"):
        assert (whole / name).read_bytes().startswith(b"\x89PNG")
    free, cut = metrics["variants"]
    limit, vocabulary = metrics["limits"]["user"], metrics["dataset"]["vocabulary"]
    assert limit == {"trigger": int(0.6 * vocabulary["user"]), "num_reserved": int(0.8 * int(0.6 * vocabulary["user"]))}
    # Without restriction a table only grows, up to the vocabulary.
    rows = [reading["user"] for reading in free["sizes"]]
    assert rows == sorted(rows)
    assert free["periods"][-1]["rows"] == vocabulary
    # With it, it falls to what is kept whenever it is found above the trigger, and grows again.
    cuts = [event for event in cut["restrictions"] if event["table"] == "user"]
    assert len(cuts) >= 2
    for event in cuts:
        assert event["rows_before"] > limit["trigger"]
        assert event["rows_after"] == limit["num_reserved"]
    for first, second in itertools.pairwise(cuts):
        assert second["rows_before"] > first["rows_after"]
    assert len(free["periods"]) == len(cut["periods"]) == 10
    assert [period["judged"] is None for period in cut["periods"]] == [False] * 9 + [True]
    # Users who were met before are served better than by popularity in the end.
    known = [period["judged"]["known"]["recall"]["top_20"] for period in free["periods"][5:9]]
    plain = [judged["known"]["recall"]["top_20"] for judged in metrics["popularity"][5:9]]
    assert np.mean(known) > 1.3 * np.mean(plain)
    # Every period was published, from the tables that are cut, and the last is served.
    versions = [period["version"] for period in cut["periods"]]
    assert all(versions)
    assert not any(period["version"] for period in free["periods"])
    with rowbank.Client(target) as client:
        listed = {entry.manifest.version: entry for entry in client.models.list() if entry.manifest.name == "stream"}
        assert set(versions) <= set(listed)
        assert listed[versions[-1]].active
        assert {entry.manifest.rows for entry in listed.values()} == {"frozen"}
        (source,) = [table.source for table in listed[versions[-1]].manifest.tables if table.source.endswith(".user")]
        assert source == f"stream/{metrics['run']}.restricted.user"


def stopping_fit(number: int) -> Callable[..., float]:
    """`TrainingRun.fit` that is interrupted when called the `number`-th time, after two steps of no checkpoint."""
    numbers = itertools.count(1)

    def fit(run: TrainingRun, batches: tf.data.Dataset, progress: Progress) -> float:
        if next(numbers) < number:
            return _FIT(run, batches, progress)
        _FIT(run, batches.take(2), progress)
        raise KeyboardInterrupt

    return fit


def periods(variant: dict) -> list[dict]:
    return [{**period, "version": None} for period in variant["periods"]]


def rows_of(target: str, name: str) -> dict[int, tuple[bytes, ...]]:
    """Everything that a table holds of each key."""
    found: dict[int, tuple[bytes, ...]] = {}
    with rowbank.Client(target) as client:
        for rows in client.table(name).export(with_slots=True):
            assert rows.slots is not None
            columns = (rows.values, rows.frequency, rows.last_used, rows.slots)
            found |= {key: tuple(column[row].tobytes() for column in columns) for row, key in enumerate(rows.keys)}
    return found


def test_a_stopped_stream_goes_on_after_its_last_period(
    growing: Dataset, whole: Path, tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = io.StringIO()
    resumed = job(tmp_path, target, publication=Publication(), resume=True)
    # Two passes a period: first in the sixth period of the tables that only grow, then in the fourth of the others.
    for number in (12, 10 + 8):
        monkeypatch.setattr(TrainingRun, "fit", stopping_fit(number))
        with pytest.raises(KeyboardInterrupt):
            run(resumed, growing, Console(file=text, width=140))
    monkeypatch.undo()
    checkpoint = state(tmp_path, "rowbank-restricted")
    run(resumed, growing, Console(file=text, width=140))
    said = [line for line in text.getvalue().splitlines() if "goes on after" in line]
    assert said == [f"rowbank: goes on after period {done}" for done in (5, 10)] + [
        "rowbank, restricted: goes on after period 3"
    ]
    free, cut = json.loads((tmp_path / "metrics.json").read_text())["variants"]
    uninterrupted = json.loads((whole / "metrics.json").read_text())["variants"]
    assert periods(free) == periods(uninterrupted[0])
    assert free["sizes"] == uninterrupted[0]["sizes"]
    # Which of equally frequent rows a cut takes depends on the second of their last use, so later figures may differ.
    assert cut["periods"][:3] == checkpoint["periods"]
    assert len(cut["periods"]) == 10
    assert cut["steps"] == uninterrupted[1]["steps"]
    assert max(event["step"] for event in cut["restrictions"]) > checkpoint["steps"]


def test_resuming_puts_restricted_tables_back(growing: Dataset, whole: Path, target: str) -> None:
    name = f"stream/{json.loads((whole / 'metrics.json').read_text())['run']}.restricted.user"
    again = job(whole, target, resume=True)
    run(again, growing, Console(file=io.StringIO()))
    saved = rows_of(target, name)
    evicted = next(key for key in growing.interactions.user_ids.tolist() if key not in saved)
    with rowbank.Client(target) as client:
        table = client.table(name)
        table.push([evicted, *list(saved)[:3]], np.ones((4, 8), np.float32))
        table.remove(list(saved)[5:9])
    assert rows_of(target, name) != saved
    run(again, growing, Console(file=io.StringIO()))
    assert rows_of(target, name) == saved


def test_periods_are_logged_once_each(growing: Dataset, tmp_path: Path) -> None:
    settings = {"variants": (Variant.STATIC,), "restrict": False, "publication": Publication()}
    made = job(tmp_path / "out", "", **settings, log_dir=tmp_path / "logs")
    made = dataclasses.replace(made, online=OnlineConfig(periods=3))
    run(made, growing, Console(file=io.StringIO()))
    (variant,) = json.loads((tmp_path / "out" / "metrics.json").read_text())["variants"]
    lines = [json.loads(line) for line in (tmp_path / "logs" / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]  # Nothing comes after the third.
    judged = [period["judged"]["everybody"] for period in variant["periods"][:2]]
    assert [line["recall"] for line in lines] == [one["recall"] for one in judged]
    assert [line["step"] for line in lines] == [period["step"] for period in variant["periods"][:2]]
    run(dataclasses.replace(made, resume=True), growing, Console(file=io.StringIO()))
    assert len((tmp_path / "logs" / "log.jsonl").read_text().splitlines()) == 2
