"""Samples of a manifest are what the trained model answers, and no sound training is refused for them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.trainer.test_two_tower import run_job

from rowbank import Client
from rowbank.errors import ModelDiffers
from rowbank_trainer.data import Dataset
from rowbank_trainer.two_tower import samples
from rowbank_trainer.two_tower.config import TwoTowerConfig, Variant
from rowbank_trainer.two_tower.publication import Publication

pytestmark = pytest.mark.timeout(600)
ACTIVATE = Publication(activate=True)


def test_the_best_of_many_items_are_those_of_a_full_sort(monkeypatch: pytest.MonkeyPatch) -> None:
    """In blocks of a hundred, of which the last is not full; also where there are fewer items than are asked for."""
    monkeypatch.setattr(samples, "_BLOCK", 100)
    rng = np.random.default_rng(4)
    users, items = (rng.standard_normal((count, 8)).astype(np.float32) for count in (5, 1030))
    for count, there in ((20, 1030), (20, 7), (1, 1030)):
        scores = users @ items[:there].T
        expected = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        positions, found = samples.best(users, items[:there], count)
        np.testing.assert_array_equal(positions, expected)
        np.testing.assert_allclose(found, np.take_along_axis(scores, expected, axis=1), rtol=1e-6)


def test_retrainings_of_all_kinds_are_served_and_one_with_anothers_towers_is_not(
    small: Dataset, quick: TwoTowerConfig, tmp_path: Path, target: str
) -> None:
    """Another seed, width, similarity and temperature: every one is tried with its samples and activated."""
    short = dataclasses.replace(quick, epochs=1)
    changes: list[dict[str, Any]] = [
        {},
        {"seed": 11},
        {"dim": 8, "vector_dim": 8},
        {"similarity": "dot", "temperature": 1.0},
        {"popularity_weight": 0.2},
    ]
    with Client(target) as client:
        for number, change in enumerate(changes):
            config = dataclasses.replace(short, **change)
            done, _ = run_job(
                small, config, tmp_path / str(number), Variant.STATIC, targets=target, model_name="sampled",
                publication=ACTIVATE,
            )  # fmt: skip
            entry = client.models.get("sampled")
            assert entry.manifest.version == done["published"]["version"]
            assert len(entry.manifest.samples) == min(samples.USERS, len(np.unique(small.interactions.user_ids)))
            assert {len(one.items) for one in entry.manifest.samples} == {samples.ITEMS}
            assert all(list(one.scores) == sorted(one.scores, reverse=True) for one in entry.manifest.samples)
        first, second = (client.models.list("sampled")[-1 - place].manifest for place in (0, 1))
        mixed = dataclasses.replace(
            first, version="20990101T000000Z-0000", candidate=dataclasses.replace(second.candidate, file="other.onnx"),
            rows="", tables=(), files=(),
        )  # fmt: skip
        files = {name: client.models.read_file("sampled", first.version, name) for name in ("query.onnx",)}
        files["other.onnx"] = client.models.read_file("sampled", second.version, "candidate.onnx")
        renamed = dataclasses.replace(
            mixed,
            query=_from_sources(mixed.query, first),
            candidate=_from_sources(mixed.candidate, second),
            item_view=second.item_view,
            item_overlay=second.item_overlay,
        )
        with pytest.raises(ModelDiffers, match="was tried and does not answer as it should"):
            client.models.publish(renamed, files, rows="live")


def _from_sources(tower: Any, manifest: Any) -> Any:
    """A tower over the tables that a version's copies were made of."""
    sources = {table.name: table.source for table in manifest.tables}
    parts = tuple(dataclasses.replace(part, table=sources[part.table]) for part in tower.inputs)
    return dataclasses.replace(tower, inputs=parts)
