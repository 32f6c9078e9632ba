"""What a manifest must say for a model to be served."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence

from rowbank.errors import InvalidFeature, InvalidModel, ViewNotFound
from rowbank.manifests import BucketKey, KeyRule, TowerInput, tower_from_proto
from rowbank_protos.v1 import models_pb2
from rowbank_server.features import FeatureStore, LayeredView
from rowbank_server.registry.sources import source_field
from rowbank_server.registry.store import check_files
from rowbank_server.registry.towers import TowerGraph

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_FEATURE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(:[A-Za-z_][A-Za-z0-9_]*)?")
MAX_DIM = 4096
MAX_SAMPLES = 256
MAX_SAMPLE_ITEMS = 1000

_LARGEST_DIVISOR = 2**62

TableDim = Callable[[str], "int | None"]


def validate(
    manifest: models_pb2.ModelManifest, files: Mapping[str, bytes], table_exists: TableDim, store: FeatureStore
) -> None:
    """Checks a model before it is stored.

    Args:
        table_exists: the dim of a table; None if there is no such table.
        store: where the features are. A view that is not there yet may come later: the model waits for it.
    Raises:
        InvalidModel: the first thing that is wrong, named.
    """
    for what, text in (("name", manifest.name), ("version", manifest.version)):
        if not _NAME.fullmatch(text):
            raise InvalidModel(f"model {what} {text!r} must be 1 to 128 letters, digits, dots, dashes or underscores")
    what = f"model {manifest.name!r} {manifest.version}"
    if not 1 <= manifest.vector_dim <= MAX_DIM:
        raise InvalidModel(f"{what}: vector_dim must be 1 to {MAX_DIM}, got {manifest.vector_dim}")
    if not manifest.item_view:
        raise InvalidModel(f"{what}: item_view is empty; name the feature view that lists the candidates")
    check_files(manifest, files)
    sides = (("query", manifest.query), ("candidate", manifest.candidate))
    for side, tower in sides:
        if not tower.inputs:
            raise InvalidModel(f"{what}: the {side} tower has no input")
        _check_known(f"{what}, {side} tower", tower)
        for tower_input in tower_from_proto(tower).inputs:
            _check_input(f"{what}, {side} tower, input {tower_input.name!r}", tower_input, table_exists)
        if tower.file not in files:
            raise InvalidModel(f"{what}: the {side} tower's file {tower.file!r} is not among {sorted(files)}")
    _check_samples(what, manifest.samples)
    _check_sources(what, manifest, store)
    for _, tower in sides:
        TowerGraph(tower, files[tower.file], manifest.vector_dim)


def _check_samples(what: str, samples: Sequence[models_pb2.SampleQuery]) -> None:
    if len(samples) > MAX_SAMPLES:
        raise InvalidModel(f"{what}: samples: expected at most {MAX_SAMPLES}, got {len(samples)}")
    for place, sample in enumerate(samples):
        where = f"{what}, sample {place}"
        if not 1 <= len(sample.items) <= MAX_SAMPLE_ITEMS:
            raise InvalidModel(f"{where}: expected 1 to {MAX_SAMPLE_ITEMS} items, got {len(sample.items)}")
        if len(set(sample.items)) != len(sample.items):
            raise InvalidModel(f"{where}: an item is named twice")
        if len(sample.scores) != len(sample.items) or not all(map(math.isfinite, sample.scores)):
            raise InvalidModel(f"{where}: expected a finite score for each of its {len(sample.items)} items")


def _check_sources(what: str, manifest: models_pb2.ModelManifest, store: FeatureStore) -> None:
    """Refuses features that a view lacks, or that are not what an input takes."""
    sides = (
        ("query", manifest.query, manifest.user_view, manifest.user_overlay),
        ("candidate", manifest.candidate, manifest.item_view, manifest.item_overlay),
    )
    for side, tower, base, overlay in sides:
        _check_features(f"{what}, {side} tower", tower, LayeredView(store, base, overlay) if base else None)


def _check_features(what: str, tower: models_pb2.Tower, layers: LayeredView | None) -> None:
    try:
        definition = layers.definition() if layers else None
        for part in tower_from_proto(tower).inputs:
            source_field(what, part, definition)
    except ViewNotFound:
        return
    except InvalidFeature as error:
        raise InvalidModel(error.message) from error


def _check_known(what: str, tower: models_pb2.Tower) -> None:
    """Refuses what a newer release may say: it must not be taken for something else."""
    for part in tower.inputs:
        if part.kind not in models_pb2.InputKind.values():
            raise InvalidModel(f"{what}, input {part.name!r}: kind {part.kind} is none that this server knows")
        if part.HasField("rule") and part.rule.WhichOneof("rule") is None:
            raise InvalidModel(f"{what}, input {part.name!r}: its rule is none that this server knows")


def _check_input(what: str, tower_input: TowerInput, table_exists: TableDim) -> None:
    if not _FEATURE.fullmatch(tower_input.feature):
        raise InvalidModel(f"{what}: feature {tower_input.feature!r} must be <view>:<feature> or a join key")
    if not 1 <= tower_input.dim <= MAX_DIM:
        raise InvalidModel(f"{what}: dim must be 1 to {MAX_DIM}, got {tower_input.dim}")
    own_id = ":" not in tower_input.feature
    if own_id and (tower_input.kind not in ("keys", "") or tower_input.length):
        raise InvalidModel(
            f"{what}: {tower_input.feature!r} is the entity's own id, which is one key: expected kind keys and length "
            f"0, got kind {tower_input.kind} and length {tower_input.length}"
        )
    if tower_input.kind == "numbers":
        if tower_input.table or tower_input.length or tower_input.rule is not None:
            raise InvalidModel(f"{what}: numbers come of no table: expected no table, no length and no rule")
        return
    if tower_input.kind == "words" and not tower_input.length:
        raise InvalidModel(f"{what}: kind words needs a length: how many words count")
    _check_rule(what, tower_input.rule)
    _check_table(what, tower_input, table_exists)


def _check_rule(what: str, rule: KeyRule | None) -> None:
    if rule is None:
        return
    if not isinstance(rule, BucketKey):
        if not 2 <= rule.divisor <= _LARGEST_DIVISOR:
            raise InvalidModel(f"{what}: rule: divisor must be 2 to 2**62, got {rule.divisor}")
    elif rule.buckets < 1 or rule.first + rule.buckets > 2**63:
        raise InvalidModel(
            f"{what}: rule: expected at least 1 bucket, all below 2**63, got {rule.buckets} from {rule.first}"
        )


def _check_table(what: str, tower_input: TowerInput, table_exists: TableDim) -> None:
    if not tower_input.table:
        raise InvalidModel(f"{what}: table is empty; only numbers come of no table")
    dim = table_exists(tower_input.table)
    if dim is None:
        raise InvalidModel(
            f"{what}: table {tower_input.table!r} does not exist; create it before publishing",
            metadata={"table": tower_input.table},
        )
    if dim != tower_input.dim:
        raise InvalidModel(
            f"{what}: table {tower_input.table!r} has dim {dim}, the manifest says {tower_input.dim}",
            metadata={"table": tower_input.table},
        )
