"""The rating job on a small synthetic set, in this process and on a real parameter server."""

from __future__ import annotations

import dataclasses
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import rowbank
from rowbank_trainer.comparison.trials import TableKind
from rowbank_trainer.data import Dataset, load_movielens
from rowbank_trainer.rating.config import Model, RatingConfig
from rowbank_trainer.rating.job import Job, run
from rowbank_trainer.rating.models import build_remote, build_static
from rowbank_trainer.rating.problem import prepare
from rowbank_trainer.schema import MixedDimension

pytestmark = pytest.mark.timeout(600)  # Each trial compiles a graph, which takes its time on a busy machine.
QUICK = RatingConfig(epochs=3, batch_size=256, dim=8, learning_rate=0.01, users_per_bucket=20,
                     block_shares=(0.1, 0.3), block_dims=(8, 4, 2))  # fmt: skip
QUICK_BLOCKS = MixedDimension((0.1, 0.3), (8, 4, 2))
DOCUMENTED_COST = 0.7419 / 0.6808  # MAE of the compact model by that of the baseline, in the comparison we follow.


def run_job(dataset: Dataset, out: Path, config=QUICK, kinds=tuple(TableKind), **options) -> tuple[dict, str]:
    settings = {
        "models": (Model.BASELINE, Model.COMPACT),
        "seeds": (1,),
        "targets": None,
        "prefix": "rating",
        "resume": False,
    }
    text = io.StringIO()
    job = Job(config, kinds, out=out, arguments={}, **(settings | options))
    run(job, dataset, Console(file=text, width=140))
    return json.loads((out / "metrics.json").read_text()), text.getvalue()


@pytest.fixture(scope="module")
def both(small: Dataset, target: str, tmp_path_factory) -> tuple[dict, str, Path]:
    out = tmp_path_factory.mktemp("rating")
    return *run_job(small, out, targets=target, prefix="both"), out


def test_report(both, small: Dataset):
    metrics, text, out = both
    assert [(model["tables"], model["model"]) for model in metrics["models"]] == [
        ("static", "baseline"), ("static", "compact"), ("rowbank", "baseline"), ("rowbank", "compact"),
    ]  # fmt: skip
    assert metrics["dataset"] == {"name": "synthetic", "ratings": len(small.interactions)}
    assert (out / "mae.png").read_bytes().startswith(b"\x89PNG")
    assert "compact on rowbank, seed 1: MAE" in text


def test_parameters_by_hand(both, small: Dataset):
    """200 users, 10 buckets: 20 quotients. Items by shares of 0.1 and 0.3; each block has one spare row."""
    metrics, _, _ = both
    static_baseline, static_compact, remote_baseline, remote_compact = metrics["models"]
    items = len(np.unique(small.interactions.item_ids))
    assert static_baseline["parameters"]["mean"] == (200 + items) * 8
    first, second = round(items * 0.1), round(items * 0.4)
    blocks = (first + 1) * 8 + (second - first + 1) * 4 + (items - second + 1) * 2
    assert static_compact["parameters"]["mean"] == (20 + 10) * 8 + blocks + (4 * 8 + 8) + (2 * 8 + 8)
    # On the server there are no spare rows, and none for items that only the held-out part has.
    train = prepare(small, QUICK, 1).train
    trained = len(np.unique(train.item_ids))
    assert remote_baseline["parameters"]["mean"] == (200 + trained) * 8
    assert remote_compact["parameters"]["mean"] == (
        static_compact["parameters"]["mean"] - 8 - 4 - 2 - (items - trained) * 2 + 8
    ), "ids from 1 to 200 have quotients 0 to 20, places from 0 to 199 one less"


def test_models_learn_on_tables_of_either_kind(both):
    metrics, _, _ = both
    for trial in metrics["trials"]:
        assert trial["epochs"][-1]["val_mae"] < trial["epochs"][0]["val_mae"] - 0.1
    for model in metrics["models"]:
        if model["model"] == "compact":
            assert model["times_fewer_parameters"] > 2
            assert model["mae_against_baseline"] < DOCUMENTED_COST


def test_equal_rows_give_equal_predictions(small: Dataset, target: str):
    """The plain layers and those on the server compute the same."""
    problem = prepare(small, QUICK, 1)
    static = build_static(Model.COMPACT, problem, QUICK).model
    with rowbank.Client(target) as client:
        remote = build_remote(Model.COMPACT, problem, QUICK, client, prefix="equal", seed=1).model
        user, item = remote.get_layer("user"), remote.get_layer("item")
        plain_user, plain_item = static.get_layer("user").layer, static.get_layer("item").layer
        user.table.upsert(2 * np.arange(20), plain_user.quotients.get_weights()[0])
        user.table.upsert(2 * np.arange(10) + 1, plain_user.remainders.get_weights()[0])
        by_rank = rowbank.keras.MDEmbedding.blocks_from(
            (problem.item_ids, problem.item_counts), QUICK_BLOCKS.boundaries(len(problem.item_ids))
        )
        for number, ids in enumerate(by_rank):
            item.tables[number].upsert(ids, plain_item.embeddings[number].get_weights()[0][1:])
            if number:
                item.projections[number].set_weights(plain_item.projections[number].get_weights())
        places = np.arange(200)
        inputs = {"user_id": problem.user_ids[places], "item_id": problem.item_ids[places]}
        expected = static.predict(inputs, verbose=0)
        # Places begin at 0 and ids at 1: the server's quotients are of the ids themselves.
        inputs["user_id"] = places
        np.testing.assert_allclose(remote.predict(inputs, verbose=0), expected, rtol=1e-5)


def test_a_job_repeats_itself(small: Dataset, target: str, tmp_path: Path):
    """On the server too: tables start empty at every run."""
    short = dataclasses.replace(QUICK, epochs=1)
    runs = [run_job(small, tmp_path, short, (TableKind.ROWBANK,), models=(Model.COMPACT,), targets=target,
                    prefix="repeats")[0] for _ in range(2)]  # fmt: skip
    first, second = (metrics["trials"][0] for metrics in runs)
    assert first["epochs"][0]["val_mae"] == pytest.approx(second["epochs"][0]["val_mae"], abs=1e-6)


def test_a_resumed_job_reports_as_one_that_never_stopped(small: Dataset, tmp_path: Path):
    """What an interrupted job leaves is the state of its finished trials."""
    short = dataclasses.replace(QUICK, epochs=1)
    options = {"config": short, "kinds": (TableKind.STATIC,), "models": (Model.BASELINE,)}
    whole, _ = run_job(small, tmp_path / "whole", seeds=(1, 2), **options)
    run_job(small, tmp_path / "stopped", seeds=(1,), **options)
    (tmp_path / "stopped" / "metrics.json").unlink()
    resumed, text = run_job(small, tmp_path / "stopped", seeds=(1, 2), resume=True, **options)
    assert text.count("(kept)") == 1
    assert [trial["epochs"] for trial in resumed["trials"]] == [trial["epochs"] for trial in whole["trials"]]
    _, anew = run_job(small, tmp_path / "stopped", seeds=(1,), **options)
    assert "(kept)" not in anew


def test_blocks_and_buckets_of_few_ids():
    blocks = MixedDimension(RatingConfig().block_shares, RatingConfig().block_dims)
    assert blocks.boundaries(1682) == [101, 606]
    assert blocks.boundaries(3) == [1, 2]
    assert MixedDimension((), (8,)).boundaries(1682) == []
    assert RatingConfig().buckets(943) == 18
    assert RatingConfig().buckets(60) == 2


def test_an_absent_server_is_named(small: Dataset, tmp_path: Path):
    with pytest.raises(rowbank.RowbankError, match=r"127\.0\.0\.1:1"):
        run_job(small, tmp_path, kinds=(TableKind.ROWBANK,), targets="127.0.0.1:1")


@pytest.mark.slow
@pytest.mark.skipif("MOVIELENS_100K" not in os.environ, reason="MOVIELENS_100K names no MovieLens 100k folder")
def test_five_times_fewer_parameters_at_a_small_cost(target: str, tmp_path: Path):
    dataset = load_movielens(Path(os.environ["MOVIELENS_100K"]))
    metrics, _ = run_job(dataset, tmp_path, RatingConfig(), (TableKind.ROWBANK,), targets=target, prefix="real")
    baseline, compact = metrics["models"]
    assert baseline["mae"]["mean"] < 0.78
    assert compact["times_fewer_parameters"] > 5
    assert compact["mae_against_baseline"] <= DOCUMENTED_COST
