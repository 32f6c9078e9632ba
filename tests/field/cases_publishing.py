"""What training and publishing do to a model that is served."""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tests.field.case import Case, World

from rowbank import Client

_PROGRAM = (sys.executable, "-c", "from rowbank_trainer.cli import main; main()")
_USERS, _ITEMS, _MET = 60, 40, 20


@functools.cache
def _story(target: str, folder: Path, name: str) -> dict[str, str]:
    """One model that is served, then trained again, tried on another file, and published without its last item."""
    asks = importlib.util.find_spec("rowbank_trainer.two_tower.publication") is not None
    serve = ("--activate",) if asks else ("--publish",)
    said = {}
    with Client(target) as client:
        _train(target, folder, name, _file(folder, "films", _ITEMS), *serve)
        manifest = client.models.get(name).manifest
        table, users = client.table(manifest.query.inputs[0].table), np.arange(_USERS)
        before = table.pull(users)
        history = client.features.read(manifest.user_view, [1])[0].values["history"]
        said["history"] = f"{len(set(history))} of {_MET} items"
        said["retrain"] = _tried(
            lambda: _train(target, folder, name, folder / "films.csv", "--seed", "2", "--no-publish")
        )
        said["retrain"] += ", rows " + ("as before" if np.array_equal(before, table.pull(users)) else "changed")
        _train(target, folder, name, _file(folder, "lamps", 30), "--epochs", "1")
        same = client.models.get(name).manifest.version == manifest.version
        said["trial"] = "the model that was served" if same else "the trial is served"
        _train(target, folder, name, _file(folder, "films", _ITEMS - 1), *serve)
        view = client.models.get(name).manifest.item_view
        item = client.features.read(view, [_ITEMS - 1])[0]
        gone = item.status == "not_found" or item.values.get("_removed", False)
        said["withdrawn"] = "left" if gone else "still in the catalogue"
    return said


def _tried(act: Callable[[], None]) -> str:
    try:
        act()
    except RuntimeError as error:
        return f"refused: {error}"
    return "trained"


def _file(folder: Path, word: str, items: int) -> Path:
    """Users who met `_MET` items each, of `items`."""
    rng = np.random.default_rng(5)
    rows = [
        f"{user},{item},{1_700_000_000 + place},{word} {item}"
        for user in range(_USERS)
        for place, item in enumerate(rng.permutation(items)[:_MET])
    ]
    path = folder / f"{word}.csv"
    path.write_text("user,item,time,title\n" + "\n".join(rows) + "\n")
    return path


def _train(target: str, folder: Path, name: str, file: Path, *options: str) -> None:
    given = ("--interactions", str(file), "--targets", target, "--model-name", name, "--out", str(folder / "out"))
    small = ("--epochs", "2", "--batch-size", "128", "--dim", "4")
    done = subprocess.run(
        [*_PROGRAM, "two-tower", *given, *small, *options], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])


_FIRST: dict[str, tuple[Path, str]] = {}


def _part(world: World, part: str) -> str:
    folder, name = _FIRST.setdefault(world.target, (world.folder, world.name))
    return _story(world.target, folder, name)[part]


CASES = [
    Case("history with what was held out", rf"{_MET} of {_MET} items", lambda world: _part(world, "history")),
    Case("retrain with --no-publish", r"trained, rows as before", lambda world: _part(world, "retrain")),
    Case("trial of one epoch on another file", r"the model that was served", lambda world: _part(world, "trial")),
    Case("publishing again without an item", r"left", lambda world: _part(world, "withdrawn")),
]
