"""Whole jobs on a small synthetic set: in this process, and on a real parameter server."""

from __future__ import annotations

import dataclasses
import io
import json
import os
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from rich.console import Console
from tests.processes import PATIENT, UpProcess, closing, until

import rowbank
from rowbank_trainer.data import Dataset, load_movielens
from rowbank_trainer.errors import TrainerError
from rowbank_trainer.evaluation import Evaluator, vector_scorer
from rowbank_trainer.progress import Progress
from rowbank_trainer.two_tower.batches import BatchSource
from rowbank_trainer.two_tower.config import TwoTowerConfig, Variant
from rowbank_trainer.two_tower.export import OUTPUT
from rowbank_trainer.two_tower.job import Job, run
from rowbank_trainer.two_tower.problem import prepare
from rowbank_trainer.two_tower.publication import Publication
from rowbank_trainer.two_tower.runs import RunTables
from rowbank_trainer.two_tower.tables.opening import open_tables
from rowbank_trainer.two_tower.training import TrainingRun

ACTIVATE = Publication(activate=True)
pytestmark = pytest.mark.timeout(600)  # Each job compiles a graph, which takes its time on a busy machine.
PNG = b"\x89PNG\r\n\x1a\n"


def run_job(dataset: Dataset, config: TwoTowerConfig, out: Path, *variants: Variant, **options) -> tuple[dict, str]:
    """Runs a job; returns its metrics and what it printed."""
    settings: dict[str, Any] = {
        "restrict": False,
        "targets": None,
        "publication": Publication(),
        "model_name": "two_tower",
        "arguments": {},
    }
    text = io.StringIO()
    run(Job(config, variants, out=out, **(settings | options)), dataset, Console(file=text, width=140))
    return json.loads((out / "metrics.json").read_text()), text.getvalue()


@pytest.fixture(scope="module")
def everything(small: Dataset, quick: TwoTowerConfig, target: str, tmp_path_factory) -> tuple[dict, str, Path]:
    """All variants side by side, with and without restrictions: metrics, text and folder of the one job."""
    out = tmp_path_factory.mktemp("everything") / "new" / "folder"
    metrics, text = run_job(small, quick, out, *Variant, restrict=True, targets=target, model_name="everything")
    return metrics, text, out


def by_label(metrics: dict) -> dict[str, dict]:
    return {variant["label"]: variant for variant in metrics["variants"]}


def top_50(variant: dict) -> float:
    return variant["accuracy"]["unseen"]["top_50"]


def test_job_leaves_its_report(everything, quick: TwoTowerConfig) -> None:
    metrics, text, out = everything
    assert metrics["config"]["seed"] == quick.seed
    assert metrics["versions"]["tensorflow"].startswith("2.")
    assert metrics["published"] is None
    for name in ("accuracy.png", "sizes.png"):
        assert (out / name).read_bytes().startswith(PNG)
    for name in ("query.onnx", "candidate.onnx"):
        onnxruntime.InferenceSession((out / name).read_bytes(), providers=["CPUExecutionProvider"])
    for label, variant in by_label(metrics).items():
        assert label in text
        assert len(variant["epochs"]) == quick.epochs
        assert variant["steps"] == quick.epochs * (metrics["dataset"]["train"] // quick.batch_size)


def test_every_variant_beats_popularity(everything) -> None:
    metrics, _, _ = everything
    baseline = metrics["baseline"]
    for variant in metrics["variants"]:
        assert top_50(variant) > 1.3 * baseline["unseen"]["top_50"]
        assert variant["accuracy"]["all_items"]["top_100"] > baseline["all_items"]["top_100"]


def test_where_rows_live_makes_no_difference(everything) -> None:
    """TFRA trains on Rowbank as in this process; Rowbank's own layers and Keras's differ in initial rows only."""
    metrics, _, _ = everything
    variants = by_label(metrics)
    assert top_50(variants["rowbank-tfra"]) == pytest.approx(top_50(variants["tfra-local"]), abs=0.005)
    assert top_50(variants["rowbank"]) == pytest.approx(top_50(variants["static"]), abs=0.05)
    for label in ("tfra-local", "rowbank-tfra", "rowbank"):
        assert variants[label]["rows"] == metrics["dataset"]["vocabulary"]
        assert variants[label]["evictions"] == 0


@pytest.mark.parametrize("label", ["tfra-local", "rowbank-tfra", "rowbank"])
def test_restricted_tables_shrink_and_grow_again(everything, quick: TwoTowerConfig, label: str) -> None:
    metrics, _, _ = everything
    vocabulary = metrics["dataset"]["vocabulary"]
    restricted = by_label(metrics)[f"{label}, restricted"]
    assert restricted["evictions"] == sum(e["rows_before"] - e["rows_after"] for e in restricted["restrictions"]) > 0
    for event in restricted["restrictions"]:
        assert event["step"] % quick.restrict_every == 0
        assert event["rows_before"] > int(quick.restrict_trigger * vocabulary[event["table"]])
        assert event["rows_after"] == int(quick.restrict_keep * vocabulary[event["table"]])
    titles = [reading["item"] for reading in restricted["sizes"]]
    fell = [i for i in range(1, len(titles)) if titles[i] < titles[i - 1]]
    assert fell
    assert max(titles[fell[0] :]) > titles[fell[0]]  # Grown again.


def test_a_job_repeats_itself(small: Dataset, quick: TwoTowerConfig, tmp_path: Path) -> None:
    short = dataclasses.replace(quick, epochs=1)
    first, _ = run_job(small, short, tmp_path / "a", Variant.STATIC)
    second, _ = run_job(small, short, tmp_path / "b", Variant.STATIC)
    assert first["variants"][0]["epochs"] == second["variants"][0]["epochs"]


def test_rerun_starts_from_empty_tables(small: Dataset, quick: TwoTowerConfig, tmp_path: Path, target: str) -> None:
    short = dataclasses.replace(quick, epochs=1)
    variants = (Variant.ROWBANK, Variant.ROWBANK_TFRA)
    first, _ = run_job(small, short, tmp_path, *variants, targets=target, model_name="rerun")
    second, _ = run_job(small, short, tmp_path, *variants, targets=target, model_name="rerun")
    for before, after in zip(first["variants"], second["variants"], strict=True):
        assert after["sizes"] == before["sizes"]
        assert after["accuracy"] == before["accuracy"]


@pytest.mark.parametrize("variant", [Variant.STATIC, Variant.ROWBANK_TFRA, Variant.ROWBANK])
def test_published_model_ranks_as_the_trained_one(
    small: Dataset, quick: TwoTowerConfig, tmp_path: Path, start_ps, variant: Variant
) -> None:
    """Rows from the server through the published towers, over the published features, give the reported accuracy."""
    address = start_ps().target
    config = dataclasses.replace(quick, epochs=1)
    metrics, text = run_job(
        small, config, tmp_path, variant, targets=address, publication=ACTIVATE, model_name="movies"
    )
    assert "Published movies" in text
    problem = prepare(small, config)
    with rowbank.Client(address) as client:
        entry = client.models.get("movies")
        assert entry.active
        assert entry.manifest.version == metrics["published"]["version"]
        assert entry.manifest.logit_scale == pytest.approx(1 / config.temperature)
        items = client.features.read(entry.manifest.item_view, problem.catalogue.item_ids)
        tokens = np.array([item.values["title_tokens"] for item in items])
        np.testing.assert_array_equal(tokens, problem.item_keys)
        assert items[0].values["title"] == problem.catalogue.titles[0]
        # What was held out was met, too; the history says so, by time.
        met = small.interactions.take(np.flatnonzero(small.interactions.user_ids == 1))
        history = client.features.read(entry.manifest.user_view, [1])[0].values["history"]
        assert sorted(history) == sorted(met.item_ids)
        moments = dict(zip(met.item_ids.tolist(), met.times.tolist(), strict=True))
        assert [moments[item] for item in history] == sorted(moments[item] for item in history)
        query, candidate = entry.manifest.query.inputs[0], entry.manifest.candidate.inputs[0]
        assert (candidate.length, candidate.pad_key, candidate.feature) == (
            6,
            0,
            f"{entry.manifest.item_view}:title_tokens",
        )
        user_rows = client.table(query.table).pull(problem.user_keys)
        item_rows = client.table(candidate.table).lookup(tokens).values
    scorer = vector_scorer(
        problem.user_keys, vectors(tmp_path / "query.onnx", user_rows), vectors(tmp_path / "candidate.onnx", item_rows)
    )
    served = Evaluator(problem.catalogue, problem.train, problem.held_out).evaluate(scorer).as_json()
    reported = metrics["variants"][0]["accuracy"]
    assert served["unseen"]["top_50"] == pytest.approx(reported["unseen"]["top_50"], abs=0.005)


def test_published_model_is_served_over_http(small: Dataset, quick: TwoTowerConfig, tmp_path: Path) -> None:
    """What the retrieval service recommends is what the trained model ranks first among unseen items."""
    config = dataclasses.replace(quick, epochs=1)
    problem = prepare(small, config)
    user = int(problem.user_keys[7])
    server = UpProcess("--data-dir", str(tmp_path / "data"), log=tmp_path / "log", environment=PATIENT)
    with closing(server):
        server.wait_ready()
        run_job(small, config, tmp_path / "out", Variant.ROWBANK, targets=server.target, publication=ACTIVATE)
        until(lambda: httpx.get(f"{server.http_url}/readyz").status_code == 200, what="the model is served")
        body = {"user_id": user, "k": 10, "exclude_seen": True}
        answer = httpx.post(f"{server.http_url}/v1/recommend", json=body).json()
        with rowbank.Client(server.target) as client:
            user_rows = client.table("two_tower/1.user").pull([user])
            item_rows = client.table("two_tower/1.title").lookup(problem.item_keys).values
    scores = (
        vectors(tmp_path / "out" / "candidate.onnx", item_rows) @ vectors(tmp_path / "out" / "query.onnx", user_rows)[0]
    )
    scores[problem.catalogue.positions(problem.known.item_ids[problem.known.user_ids == user])] = -np.inf
    best = np.argsort(-scores)[:10]
    assert answer["source"] == "personal"
    assert [item["id"] for item in answer["items"]] == problem.catalogue.item_ids[best].tolist()
    assert [item["title"] for item in answer["items"]] == [problem.catalogue.titles[row] for row in best]
    logits = scores[best] / config.temperature
    np.testing.assert_allclose([item["score"] for item in answer["items"]], logits, rtol=1e-3)


def vectors(path: Path, rows: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return session.run([OUTPUT], {session.get_inputs()[0].name: np.ascontiguousarray(rows)})[0]


def test_a_server_that_refuses_a_step_ends_training_with_its_words(
    small: Dataset, quick: TwoTowerConfig, target: str
) -> None:
    problem = prepare(small, quick)
    with rowbank.Client(target) as client:
        for variant in (Variant.ROWBANK, Variant.ROWBANK_TFRA):
            with RunTables.begin(client, "refused") as own:
                tables = open_tables(variant, problem, quick, own, restrict=False)
            tables.layers["item"](tf.constant([1], tf.int64))  # The layer has opened its table.
            client.drop_table(tables.table_names["item"], force=True)
            batches = BatchSource(problem, tables, quick).batches(np.arange(1000), drop_remainder=True)
            run = TrainingRun("refused", problem, tables, quick, limits=None)
            with pytest.raises(
                TrainerError, match=r"^training stopped: table 'refused\S*title\S*' does not exist"
            ) as caught:
                run.fit(batches, Progress(Console(file=io.StringIO())))
            assert "\n" not in str(caught.value)


def test_unwritable_folder_is_refused_before_training(small: Dataset, quick: TwoTowerConfig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainerError, match="cannot be created"):
        run_job(small, quick, tmp_path / "file" / "out", Variant.STATIC)


@pytest.mark.slow
@pytest.mark.skipif("MOVIELENS_100K" not in os.environ, reason="MOVIELENS_100K names no MovieLens 100k folder")
def test_real_interactions_are_learned(tmp_path: Path) -> None:
    dataset = load_movielens(Path(os.environ["MOVIELENS_100K"]))
    assert (len(dataset.interactions), len(dataset.catalogue)) == (100_000, 1682)
    metrics, _ = run_job(dataset, TwoTowerConfig(epochs=4), tmp_path, Variant.STATIC)
    assert metrics["dataset"]["users"] == 943
    learned = metrics["variants"][0]["accuracy"]["unseen"]["top_100"]
    assert learned > 1.25 * metrics["baseline"]["unseen"]["top_100"]
