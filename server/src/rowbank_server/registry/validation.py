"""What a manifest must say for a model to be served."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from rowbank.errors import InvalidModel
from rowbank_protos.v1 import models_pb2
from rowbank_server.registry.store import check_files
from rowbank_server.registry.towers import TowerGraph

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_FEATURE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(:[A-Za-z_][A-Za-z0-9_]*)?")
MAX_DIM = 4096

TableDim = Callable[[str], "int | None"]


def validate(manifest: models_pb2.ModelManifest, files: Mapping[str, bytes], table_exists: TableDim) -> None:
    """Checks a model before it is stored.

    Args:
        table_exists: the dim of a table; None if there is no such table.
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
    for side, tower in (("query", manifest.query), ("candidate", manifest.candidate)):
        if not tower.inputs:
            raise InvalidModel(f"{what}: the {side} tower has no input")
        for tower_input in tower.inputs:
            _check_input(f"{what}, {side} tower, input {tower_input.name!r}", tower_input, table_exists)
        if tower.file not in files:
            raise InvalidModel(f"{what}: the {side} tower's file {tower.file!r} is not among {sorted(files)}")
        TowerGraph(tower, files[tower.file], manifest.vector_dim)


def _check_input(what: str, tower_input: models_pb2.TowerInput, table_exists: TableDim) -> None:
    if not _FEATURE.fullmatch(tower_input.feature):
        raise InvalidModel(f"{what}: feature {tower_input.feature!r} must be <view>:<feature> or a join key")
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
