"""Goes on from a published version: its trained tables as they are, its towers and its optimizer's state.

The tables are those that the version was made from, optimizer state and frequencies included, and they are trained in
place. Towers and optimizer come from a file of the version, which holds a checkpoint of TensorFlow's.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rowbank import Client
from rowbank.errors import ModelNotFound, TableNotFound
from rowbank.models import ModelManifest
from rowbank_trainer.errors import TrainerError
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.popularity import POPULARITY_INPUT
from rowbank_trainer.two_tower.problem import Problem
from rowbank_trainer.two_tower.runs import Run, versions
from rowbank_trainer.two_tower.schema_file import SCHEMA_FILE, first_difference, whole_json
from rowbank_trainer.two_tower.tables.remote import named_tables
from rowbank_trainer.two_tower.training import TrainingRun

TRAINING_FILE = "training.npz"
_PARTS = {"index": "dense.index", "data": "dense.data-00000-of-00001"}


@dataclass(frozen=True, slots=True)
class Start:
    """What a training goes on from.

    Attributes:
        run: whose tables they are.
        tables: by short name.
        training: content of the version's training file.
        notes: what to tell about it.
    """

    version: str
    run: Run
    tables: Mapping[str, str]
    training: bytes
    notes: tuple[str, ...] = ()


def training_file(trained: TrainingRun) -> bytes:
    """The towers and the optimizer's state, to go on from."""
    with tempfile.TemporaryDirectory(prefix="rowbank-train-") as folder:
        _checkpoint(trained).write(f"{folder}/dense")
        parts = {name: np.frombuffer((Path(folder) / file).read_bytes(), np.uint8) for name, file in _PARTS.items()}
    facts = json.dumps({"epochs": trained.epochs_done, "steps": trained.steps}).encode()
    stream = io.BytesIO()
    np.savez(stream, facts=np.frombuffer(facts, np.uint8), **parts)
    return stream.getvalue()


def load_training(trained: TrainingRun, training: bytes, folder: Path) -> None:
    """Puts towers, optimizer state and counts of steps and epochs where `training_file` found them.

    Args:
        folder: gets the checkpoint, and must keep it until the first step: what the optimizer keeps of each weight is
            made, and read, only then.
    Raises:
        TrainerError: the towers are of another shape, or the folder cannot be written.
    """
    with np.load(io.BytesIO(training)) as arrays:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, file in _PARTS.items():
                (folder / file).write_bytes(arrays[name].tobytes())
        except OSError as error:
            raise TrainerError(f"{folder}: the version's checkpoint cannot be written: {error.strerror}") from None
        facts = json.loads(arrays["facts"].tobytes())
    try:
        _checkpoint(trained).read(str(folder / "dense")).expect_partial()
    except ValueError as error:
        raise TrainerError(f"--continue: the version's towers are of another shape: {error}") from None
    trained.go_on_after(facts["epochs"], facts["steps"])


def _checkpoint(trained: TrainingRun) -> tf.train.Checkpoint:
    model = trained.model
    return tf.train.Checkpoint(
        user=model.user_tower, item=model.item_tower, optimizer=model.optimizer,
        user_input=model.user_input, item_input=model.item_input,
    )  # fmt: skip


def find_start(client: Client, model: str, which: str, problem: Problem, config: TwoTowerConfig) -> Start:
    """The version to go on from, checked against data and settings.

    Args:
        which: "active", "latest", or a version.
    Raises:
        TrainerError: there is no such version, or it cannot be gone on with; the message says why.
    """
    manifest = _find(client, model, which)
    what = f"--continue: version {manifest.version} of {model}"
    if not manifest.run or TRAINING_FILE not in [file.name for file in manifest.files]:
        raise TrainerError(
            f"{what} holds no {TRAINING_FILE}, which rowbank-train stores with models of --tables rowbank; train a new "
            "run instead, without --continue"
        )
    _require_same_ids(what, manifest, problem)
    stored = _stored_schema(client, manifest)
    if stored is None or not (stored["declared"] or problem.declared):
        _require_alike_settings(what, manifest, problem, config)
    difference = None if stored is None else first_difference(stored, whole_json(problem, config))
    if difference is not None:
        raise TrainerError(
            f"{what} has another schema: {difference}; give the schema and the options that it was trained with, or "
            "train a new run, without --continue"
        )
    _require_width(what, manifest, config)
    run = Run(model, manifest.run.rpartition("/")[2])
    tables = named_tables(run.prefix, problem.plan)
    notes = _check_tables(client, what, run, manifest, tables)
    if stored is None and problem.catalogue.titled:
        notes.append("the padding of short titles had a row in this version's means; from now on it counts nothing")
    training = client.models.read_file(model, manifest.version, TRAINING_FILE)
    return Start(manifest.version, run, tables, training, tuple(notes))


def _find(client: Client, model: str, which: str) -> ModelManifest:
    if which == "latest":
        found = versions(client, model)
        if not found:
            raise TrainerError(f"--continue latest: model {model!r} has no version; train and publish one first")
        return found[0]
    try:
        return client.models.get(model, "" if which == "active" else which).manifest
    except ModelNotFound as error:
        raise TrainerError(f"--continue {which}: {error}; rowbank models list {model} shows what there is") from None


def _stored_schema(client: Client, manifest: ModelManifest) -> dict[str, Any] | None:
    """The version's schema; None if it is from before versions had one."""
    if SCHEMA_FILE not in [file.name for file in manifest.files]:
        return None
    found: dict[str, Any] = json.loads(client.models.read_file(manifest.name, manifest.version, SCHEMA_FILE))
    return found


def _check_tables(client: Client, what: str, run: Run, manifest: ModelManifest, tables: Mapping[str, str]) -> list[str]:
    """What to tell about the tables that are gone on with. Raises TrainerError."""
    steps = {table.source: table.step for table in manifest.tables}
    notes = []
    for table in tables.values():
        if table not in steps:
            raise TrainerError(
                f"{what} was not made from a table {table!r}; train a new run instead, without --continue"
            )
        try:
            step = client.table_info(table).step
        except TableNotFound:
            raise TrainerError(
                f"{what} was made from table {table!r}, which is gone; train a new run instead, without --continue"
            ) from None
        then = steps[table]
        if step < then:
            raise TrainerError(
                f"{what} was made from table {table!r} at step {then}, and the table is at step {step} now: it was "
                "emptied or made anew; train a new run instead, without --continue"
            )
        if step > then:
            notes.append(f"table {table} was trained on from step {then} to {step} since version {manifest.version}")
        busy = [holder for holder in client.holders(table) if holder.startswith(run.title)]
        if busy:
            raise TrainerError(
                f"{what}: its table {table!r} is being trained by {busy[0]}; wait until that ends (a minute, if it was "
                "killed), or train a new run, without --continue"
            )
    return notes


def _require_width(what: str, manifest: ModelManifest, config: TwoTowerConfig) -> None:
    popular = any(part.name == POPULARITY_INPUT for part in manifest.candidate.inputs)  # No part of what is trained.
    width = manifest.vector_dim - popular
    if width != config.vector_dim:
        raise TrainerError(f"{what} has vectors of {width} numbers; got {config.vector_dim}")


def _require_same_ids(what: str, manifest: ModelManifest, problem: Problem) -> None:
    for field, kind in problem.id_kinds.items():
        if getattr(manifest, field) != kind:
            role, kinds = field.partition("_")[0], {"int64": "integers", "string": "texts"}
            raise TrainerError(
                f"{what} knows {role}s by ids that are {kinds[getattr(manifest, field)]}, and in these data they are "
                f"{kinds[kind]}; give data of the same ids (--id-type int or text says how they are read), or train a "
                "new run, without --continue"
            )


def _require_alike_settings(what: str, manifest: ModelManifest, problem: Problem, config: TwoTowerConfig) -> None:
    """What makes the schema where nobody declared one, in the words of the options."""
    inputs = {"user": manifest.query.inputs[0], "item": manifest.candidate.inputs[0]}
    for kind, part in inputs.items():
        if part.dim != config.dim:
            raise TrainerError(f"{what} has {kind} rows of {part.dim} numbers; got --dim {config.dim}")
    history = sum(part.length for part in manifest.query.inputs[1:])
    if history != config.history:
        raise TrainerError(f"{what} takes the last {history} items of a user; got --history {config.history}")
    length = inputs["item"].length
    wanted = problem.item_keys.shape[1] if problem.catalogue.titled else 0
    if length != wanted:
        names = [f"the first {words} words of their titles" if words else "their ids" for words in (length, wanted)]
        raise TrainerError(f"{what} knows items by {names[0]}, and these data by {names[1]}; train a new run instead")
