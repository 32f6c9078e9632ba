"""Runs: tables of their own, going on from a version, and what publishing asks."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from tests.trainer.test_two_tower import run_job

import rowbank
from rowbank import Client, TableSpec
from rowbank.errors import TableHeld
from rowbank_trainer.data import Dataset
from rowbank_trainer.errors import PublishError, TrainerError
from rowbank_trainer.two_tower.config import TwoTowerConfig, Variant
from rowbank_trainer.two_tower.problem import prepare
from rowbank_trainer.two_tower.publication import Publication
from rowbank_trainer.two_tower.publish import say_wordless
from rowbank_trainer.two_tower.runs import RunTables, check_run_name

pytestmark = pytest.mark.timeout(600)
PUBLISH, ACTIVATE = Publication(publish=True), Publication(activate=True)


def test_runs_that_begin_at_once_get_different_numbers(target: str, table_name: str) -> None:
    def begin(_: int) -> str:
        with Client(target) as client, RunTables.begin(client, table_name) as own:
            name = f"{own.run.prefix}.user"
            own.hold([name])
            client.create_table(TableSpec(name, dim=2))
            with pytest.raises(TableHeld, match=f"run {own.run.name} of {table_name}"):
                client.drop_table(name)
            return own.run.name

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(begin, range(4))) == ["1", "2", "3", "4"]
    with Client(target) as client:
        names = [info.spec.name for info in client.list_tables() if info.spec.name.startswith(f"{table_name}/")]
        assert names == [f"{table_name}/{number}.user" for number in (1, 2, 3, 4)]
        client.drop_table(names[0])  # Nobody holds it any more.
        with pytest.raises(TrainerError, match=r"--run: run 2 of \S+ has tables or a stored version already"):
            RunTables.begin(client, table_name, "2")
    with pytest.raises(
        TrainerError, match=r"--run: expected 1 to 64 letters, digits, dashes or underscores, got 'a\.b'"
    ):
        check_run_name("a.b")


def test_going_on_from_a_version_is_training_on(
    small: Dataset, quick: TwoTowerConfig, tmp_path: Path, target: str
) -> None:
    """Two epochs, a version, and two more are four epochs; the version's own rows stay as they were."""
    short = dataclasses.replace(quick, epochs=2)
    options = {"targets": target, "model_name": "going-on"}
    whole, _ = run_job(small, dataclasses.replace(quick, epochs=4), tmp_path / "whole", Variant.ROWBANK, **options)
    first, text = run_job(small, short, tmp_path / "a", Variant.ROWBANK, publication=PUBLISH, **options)
    assert (whole["run"], first["run"], first["published"]["run"]) == ("1", "2", "2")
    assert f"To serve it: rowbank models activate going-on {first['published']['version']}" in text
    with Client(target) as client:
        (entry,) = client.models.list("going-on")
        assert not entry.active
        frozen = entry.manifest.query.inputs[0].table
        users = np.unique(small.interactions.user_ids)
        before = client.table(frozen).pull(users)
        second, text = run_job(
            small, short, tmp_path / "b", Variant.ROWBANK, publication=ACTIVATE, going_on="latest", **options
        )
        assert "Goes on from version" in text
        assert second["run"] == "2"
        assert second["variants"][0]["tables"] == first["variants"][0]["tables"]
        assert second["variants"][0]["accuracy"] == whole["variants"][0]["accuracy"]
        assert [epoch["epoch"] for epoch in second["variants"][0]["epochs"]] == [3, 4]
        np.testing.assert_array_equal(client.table(frozen).pull(users), before)
        manifest = client.models.get("going-on").manifest
        assert (manifest.run, manifest.version) == ("going-on/2", second["published"]["version"])
        # The same job again, resumed: nothing is left to train.
        again, _ = run_job(small, short, tmp_path / "b", Variant.ROWBANK, going_on="latest", resume=True, **options)
        assert again["variants"][0]["epochs"] == second["variants"][0]["epochs"]
        _, text = run_job(
            small, dataclasses.replace(short, epochs=1), tmp_path / "c", Variant.ROWBANK,
            going_on=first["published"]["version"], **options,
        )  # fmt: skip
        assert "was trained on from step" in text
        for change, message in (
            ({"dim": 8, "vector_dim": 8}, r"has user rows of 16 numbers; got --dim 8"),
            (
                {"max_tokens": 3},
                "knows items by the first 6 words of their titles, and these data by the first 3 words",
            ),
        ):
            with pytest.raises(TrainerError, match=message):
                run_job(small, dataclasses.replace(short, **change), tmp_path / "d", Variant.ROWBANK,
                        going_on="active", **options)  # fmt: skip
        client.drop_table("going-on/2.user", force=True)
        with pytest.raises(TrainerError, match=r"was made from table 'going-on/2.user', which is gone"):
            run_job(small, short, tmp_path / "d", Variant.ROWBANK, going_on="active", **options)
    with pytest.raises(TrainerError, match="--continue latest: model 'nowhere' has no version; train and publish one"):
        run_job(small, short, tmp_path / "d", Variant.ROWBANK, targets=target, model_name="nowhere", going_on="latest")


def test_a_model_that_differs_is_stored_and_not_served(
    small: Dataset, quick: TwoTowerConfig, tmp_path: Path, target: str
) -> None:
    options = {"targets": target, "model_name": "asked"}
    short = dataclasses.replace(quick, epochs=1)
    run_job(small, short, tmp_path, Variant.STATIC, publication=ACTIVATE, **options)
    other = dataclasses.replace(small, name="another set")
    half = dataclasses.replace(ACTIVATE, frozen_dtype="float16")
    with pytest.raises(PublishError, match=r"trained on 'another set'.* rowbank models activate asked \S+ --force$"):
        run_job(other, short, tmp_path, Variant.STATIC, publication=half, **options)
    published = json.loads((tmp_path / "metrics.json").read_text())["published"]
    assert (published["activated"], published["run"]) == (False, "2")
    assert published["catalogue"]["added"] == 0
    with Client(target) as client:
        newest, oldest = client.models.list("asked")
        assert (newest.manifest.version, newest.active, oldest.active) == (published["version"], False, True)
        assert client.table(newest.manifest.query.inputs[0].table).spec.value_dtype == "float16"
        named = dataclasses.replace(ACTIVATE, data_name=oldest.manifest.data.name, rows="live", keep=2)
        metrics, text = run_job(other, short, tmp_path, Variant.ROWBANK, publication=named, **options)
        live = client.models.get("asked").manifest
        assert (live.rows, live.query.inputs[0].table) == ("live", "asked/3.user")
        assert live.tables[0].trained_by == "asked/3"
        assert "Pruned" not in text  # The newest two stay, and the one before the active one.
        # A checkpoint cannot be put back under a version that reads the tables.
        with pytest.raises(TrainerError, match=r"reads table asked/3\.title live"):
            run_job(other, short, tmp_path, Variant.ROWBANK, resume=True, **options)
    assert metrics["published"]["catalogue"]["views"]["item_view"] == live.item_view


def test_an_unpublished_run_can_be_published_later(
    small: Dataset, quick: TwoTowerConfig, tmp_path: Path, target: str
) -> None:
    short = dataclasses.replace(quick, epochs=1)
    options = {"targets": target, "model_name": "later"}
    metrics, text = run_job(small, short, tmp_path, Variant.ROWBANK, **options)
    assert metrics["published"] is None
    assert "Not published. To store this model: the same command with --resume and --publish" in text
    later, _ = run_job(small, short, tmp_path, Variant.ROWBANK, publication=ACTIVATE, resume=True, **options)
    assert later["published"]["run"] == metrics["run"] == "1"
    assert later["variants"][0]["accuracy"] == metrics["variants"][0]["accuracy"]
    with rowbank.Client(target) as client:
        assert client.models.get("later").active


def test_titles_without_a_word_are_named(small: Dataset, quick: TwoTowerConfig, capsys) -> None:
    from rich.console import Console

    titles = ("!!!", "", *small.catalogue.titles[2:])
    bare = dataclasses.replace(small, catalogue=dataclasses.replace(small.catalogue, titles=titles))
    problem = prepare(bare, quick)
    assert problem.wordless == ["!!!", ""]
    say_wordless(Console(width=200), problem)
    assert "2 items have a title without a word" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": "cold"}, "--rows: expected frozen or live, got 'cold'"),
        ({"frozen_dtype": "int8"}, "--frozen-dtype: expected float32 or float16, got 'int8'"),
        ({"rows": "live", "frozen_dtype": "float16"}, "--frozen-dtype float16 is for frozen rows"),
        ({"force": True, "publish": True}, "--force says to serve a model however it differs; give --activate, too"),
        ({"keep": 0}, "versions to keep: expected at least 1, got 0"),
    ],
)
def test_wrong_wishes_are_refused(options: dict, message: str) -> None:
    with pytest.raises(TrainerError) as caught:
        Publication(**options)
    assert message in str(caught.value)
