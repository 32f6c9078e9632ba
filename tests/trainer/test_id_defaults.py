"""Settings for data whose items are known by their ids: chosen where nothing else was asked for, and said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rowbank_trainer.cli import app
from rowbank_trainer.data import Catalogue
from rowbank_trainer.schema import load_schema
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.default_schema import default_schema
from rowbank_trainer.two_tower.id_defaults import as_options, id_defaults, with_defaults

RECIPE = (
    "--hidden none --no-output-layer --row-dropout 0 --temperature 0.1 --logq-positive uncorrected --history 200 "
    "--related 20 --popularity-weight 0.03 --learning-rate-schedule cosine --epochs 8"
)


def chosen(workers: bool = False, catalogue: int = 10_000, **settings) -> str:
    """What is chosen beside given settings, as it is typed."""
    config = TwoTowerConfig(**settings)
    found = id_defaults(config, set(settings), catalogue=catalogue, workers=workers)
    with_defaults(config, found)  # Must fit together.
    return as_options(found)


def without(*options: str) -> str:
    """The recipe without some of its options."""
    kept = [part for part in RECIPE.split(" --") if part.removeprefix("--").split()[0] not in options]
    text = " --".join(kept)
    return text if text.startswith("--") else f"--{text}"


def test_all_of_it() -> None:
    assert chosen() == RECIPE
    given = TwoTowerConfig(dim=16, vector_dim=8)
    assert with_defaults(given, id_defaults(given, (), catalogue=10_000, workers=False)) == TwoTowerConfig(
        dim=16, vector_dim=16, hidden=(), output_layer=False, row_dropout=0.0, temperature=0.1,
        logq_positive="uncorrected", history=200, related=20, popularity_weight=0.03, schedule="cosine", epochs=8,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({"epochs": 3, "history": 0}, without("epochs", "history")),
        ({"hidden": (32,)}, without("hidden", "no-output-layer", "row-dropout")),
        ({"output_layer": True}, without("hidden", "no-output-layer", "row-dropout")),
        ({"similarity": "dot"}, without("temperature", "popularity-weight")),
        ({"logq": "none"}, without("logq-positive", "popularity-weight")),
        ({"logq": "table"}, without("history", "related")),
        ({"loss": "bpr"}, without("logq-positive")),
    ],
)
def test_what_is_given_stays_and_the_rest_fits_it(settings: dict, left: str) -> None:
    assert chosen(**settings) == left


def test_few_items_keep_their_temperature() -> None:
    assert chosen(catalogue=9_999) == without("temperature")


def test_several_workers_train_at_a_constant_rate() -> None:
    assert chosen(workers=True) == without("learning-rate-schedule")


def test_the_example_of_a_schema_is_what_they_make() -> None:
    """Lengths, weights and tables; ours gives no separator and no dropout, either."""
    written = load_schema(Path(__file__).parents[2] / "docs" / "examples" / "gowalla.toml")
    catalogue = Catalogue(np.arange(3), ("0", "1", "2"), ((),) * 3, (0,) * 3, titled=False)
    config = with_defaults(TwoTowerConfig(), id_defaults(TwoTowerConfig(), (), catalogue=10**5, workers=False))
    made = default_schema(catalogue, config)
    for side in ("user", "item"):
        assert written.side(side).combine == made.side(side).combine == "mean"
        for one, other in zip(written.side(side).columns, made.side(side).columns, strict=True):
            assert (one.name, one.type, one.table, one.length) == (other.name, other.type, other.table, other.length)
            assert one.weight == pytest.approx(other.weight)


@pytest.fixture
def events(tmp_path: Path) -> Path:
    rng = np.random.default_rng(4)
    users, items = rng.integers(0, 60, 1500), np.minimum(rng.geometric(0.08, 1500), 40)
    pq.write_table(pa.table({"user": users, "item": items, "time": np.arange(1500)}), tmp_path / "events.parquet")
    return tmp_path / "events.parquet"


def train(*arguments) -> None:
    app([str(argument) for argument in arguments], standalone_mode=False)


def test_a_command_uses_them_and_says_so(events: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("two-tower", "--interactions", events, "--tables", "static", "--dim", 8, "--batch-size", 128, "--epochs", 2,
          "--out", tmp_path / "out")  # fmt: skip
    said = " ".join(capsys.readouterr().out.split())
    assert (
        f"Items go by id, so what is not given is as suits that (docs/two-tower.md): {without('epochs', 'temperature')}"
        in said
    )
    config = json.loads((tmp_path / "out" / "metrics.json").read_text())["config"]
    assert (config["history"], config["related"], config["epochs"], config["vector_dim"]) == (200, 20, 2, 8)


def test_a_search_tries_one_of_them_and_keeps_the_others(
    events: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train("two-tower", "--interactions", events, "--tables", "static", "--dim", 8, "--batch-size", 128, "--epochs", 1,
          "--try", "related=0,5", "--out", tmp_path / "out")  # fmt: skip
    said = " ".join(capsys.readouterr().out.split())
    assert without("epochs", "related", "temperature") in said
    configs = [json.loads(path.read_text())["config"] for path in tmp_path.glob("out/trial-*/metrics.json")]
    assert sorted((config["related"], config["history"], config["logq_positive"]) for config in configs) == [
        (0, 200, "uncorrected"), (5, 200, "uncorrected")]  # fmt: skip
