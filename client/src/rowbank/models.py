"""The registry of two-tower models: publish, list, activate, roll back, prune."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rowbank import admin
from rowbank.calls import methods
from rowbank.calls.freezing import drop_copies, freeze_tables
from rowbank.calls.verbs import Calls
from rowbank.errors import InvalidModel, InvalidRequest, ModelNotFound, RequestError
from rowbank.manifests import (
    ROWS_MODES,
    BucketKey,
    DataFacts,
    HashText,
    ModelFile,
    ModelManifest,
    QuotientKey,
    RemainderKey,
    SampleQuery,
    TitleTokens,
    Tower,
    TowerInput,
    Transform,
    VersionTable,
    manifest_from_proto,
    manifest_to_proto,
)
from rowbank.traffic import Traffic
from rowbank_protos import columns
from rowbank_protos.v1 import common_pb2, models_pb2, tables_pb2

__all__ = [
    "BucketKey",
    "DataFacts",
    "FrozenCost",
    "HashText",
    "ModelEntry",
    "ModelFile",
    "ModelManifest",
    "Models",
    "PruneReport",
    "QuotientKey",
    "RemainderKey",
    "SampleQuery",
    "TitleTokens",
    "Tower",
    "TowerInput",
    "Transform",
    "VersionTable",
    "frozen_names",
    "manifest_from_proto",
    "manifest_to_proto",
]

_CHUNK_BYTES = 1 << 20
_MAX_TABLE_NAME = 128
_DTYPE_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
_VALUE_DTYPES = tuple(_DTYPE_BYTES)
# Measured: key, metadata and index of a row, with the room that tables keep for growing; an empty bucket.
_ROW_OVERHEAD_BYTES = 50
_BUCKET_BYTES = 192


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A published version, and whether it is the active one."""

    manifest: ModelManifest
    active: bool

    @property
    def bytes(self) -> int:
        """What the version holds for itself: RAM of its frozen tables, and its files."""
        manifest = self.manifest
        tables = sum(table.bytes for table in manifest.tables) if manifest.rows == "frozen" else 0
        return tables + sum(file.size for file in manifest.files)


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What a pruning removed, or would remove: versions, tables, and the tables' bytes of RAM."""

    versions: tuple[str, ...]
    tables: tuple[str, ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class FrozenCost:
    """What a version's copies of tables take: rows, and about how many bytes of RAM, over all shards."""

    rows: int
    bytes: int


class Models:
    """The model registry: `client.models`. Thread-safe."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def publish(
        self,
        manifest: ModelManifest,
        files: Mapping[str, bytes | Path],
        *,
        rows: str = "frozen",
        value_dtype: str = "",
        activate: bool = True,
        force: bool = False,
        timeout_s: float = 300.0,
    ) -> str:
        """Stores a model version with its files and rows, whole or not at all.

        Args:
            manifest: its `files`, `rows` and `tables` are filled in here, sizes and checksums included.
            files: name -> content, or the path to read it from; the names that the towers use.
            rows: "frozen": the version gets read-only copies of the tables that its towers name, as they are at one
                moment, called as `frozen_names` says, and its answers do not move with training. A copy costs the bytes
                of its values and about 50 bytes a row in RAM; pushes go on meanwhile. "live": the version reads the
                tables themselves.
            value_dtype: of frozen values: "float32", "float16" or "bfloat16"; "": as each table's own.
            activate: whether to serve this version from now on.
            force: activate it even over a version that differs strongly.
            timeout_s: deadline of the whole transfer, and of each table's copy. It is not retried.
        Returns:
            The version.
        Raises:
            InvalidModel: the version exists, a table or a tower's file does not, or dims disagree.
            NotReady, RedisUnavailable: a table cannot be copied; NotReady: a snapshot is being saved.
            ModelDiffers: it was stored, but not activated: it differs strongly from the active version.
        """
        if rows not in ROWS_MODES:
            raise InvalidModel(f"rows: expected one of {', '.join(ROWS_MODES)}, got {rows!r}")
        if value_dtype and value_dtype not in _VALUE_DTYPES:
            raise InvalidModel(f"value_dtype: expected one of {', '.join(_VALUE_DTYPES)}, got {value_dtype!r}")
        for tower in (manifest.query, manifest.candidate):
            if tower.file not in files:
                raise InvalidModel(f"model {manifest.name!r}: expected a file {tower.file!r}, got {sorted(files)}")
        contents = {name: data if isinstance(data, bytes) else Path(data).read_bytes() for name, data in files.items()}
        # Everything is checked before rows are copied, which may take a while.
        self._upload(manifest, contents, activate=False, force=False, dry_run=True, timeout_s=timeout_s)
        if rows == "live":
            bound = dataclasses.replace(manifest, rows=rows, tables=tuple(self._live_tables(manifest)))
            return self._upload(bound, contents, activate=activate, force=force, timeout_s=timeout_s)
        bound = self._frozen(manifest, value_dtype, timeout_s)
        try:
            return self._upload(bound, contents, activate=activate, force=force, timeout_s=timeout_s)
        except BaseException:
            if not self._stored(bound):
                drop_copies(self._calls.transport, [table.name for table in bound.tables])
            raise

    def frozen_cost(self, tables: Iterable[str], value_dtype: str = "") -> FrozenCost:
        """What frozen copies of tables would take now. Raises `TableNotFound`.

        Args:
            value_dtype: as for `publish`.
        """
        infos = [self._info(table) for table in tables]
        widths = [_DTYPE_BYTES[value_dtype or info.spec.value_dtype] for info in infos]
        return FrozenCost(
            sum(info.rows for info in infos),
            sum(
                info.rows * (info.spec.dim * width + _ROW_OVERHEAD_BYTES) + info.bucket_count * _BUCKET_BYTES
                for info, width in zip(infos, widths, strict=True)
            ),
        )

    def list(self, name: str = "") -> list[ModelEntry]:
        """All versions of the model `name`, or of all models, newest first. Raises `ModelNotFound`."""
        answer = self._calls.transport.one(methods.LIST_MODELS, 0, models_pb2.ListModelsRequest(name=name))
        return [ModelEntry(manifest_from_proto(entry.manifest), entry.active) for entry in answer.models]

    def get(self, name: str, version: str = "") -> ModelEntry:
        """One version; "" is the active one. Raises `ModelNotFound`."""
        request = models_pb2.GetModelRequest(name=name, version=version)
        answer = self._calls.transport.one(methods.GET_MODEL, 0, request)
        return ModelEntry(manifest_from_proto(answer.manifest), answer.active)

    def read_file(self, name: str, version: str, file: str) -> bytes:
        """One file of a version, such as a tower; "" is the active version. Raises `ModelNotFound`."""
        request = models_pb2.ReadModelFileRequest(name=name, version=version, file=file)
        chunks = self._calls.transport.stream(methods.READ_MODEL_FILE, 0, request, timeout_s=None)
        return b"".join(chunk.data for chunk in chunks)

    def activate(self, name: str, version: str, *, force: bool = False) -> str:
        """Serves that version from now on; returns the one before, "" if there was none.

        Raises:
            ModelNotFound: there is no such version.
            ModelDiffers: it differs strongly from the active one in its data, catalogue or quality, and not `force`.
        """
        request = models_pb2.ActivateModelRequest(name=name, version=version, force=force)
        return self._calls.transport.one(methods.ACTIVATE_MODEL, 0, request, retry=False).previous_version

    def roll_back(self, name: str) -> str:
        """Serves the version again that was active before the present one; returns it. Raises `ModelNotFound`."""
        request = models_pb2.ActivateModelRequest(name=name, previous=True)
        return self._calls.transport.one(methods.ACTIVATE_MODEL, 0, request, retry=False).version

    def prune(self, name: str, *, keep: int = 5, dry_run: bool = False) -> PruneReport:
        """Removes old versions with what only they have: frozen tables, views, files; and tables of forgotten runs.

        The `keep` newest versions stay, and so do the active one and the one before it. Of the runs
        (`<model>/<run>.<table>`), those stay that a kept version or a running job holds, and the `keep` newest.

        Raises:
            ModelNotFound: there is no such model.
        """
        if not 1 <= keep < 2**31:
            raise InvalidRequest(f"keep: expected an integer of at least 1, got {keep!r}")
        request = models_pb2.PruneModelsRequest(name=name, keep=keep, dry_run=dry_run)
        answer = self._calls.transport.one(methods.PRUNE_MODELS, 0, request, retry=False)
        return PruneReport(tuple(answer.versions), tuple(answer.tables), answer.bytes)

    def _live_tables(self, manifest: ModelManifest) -> Iterator[VersionTable]:
        for table in manifest.table_names:
            info = self._info(table)
            yield VersionTable(table, table, info.table_id, info.step, info.rows, info.bytes)

    def traffic(self, name: str) -> Traffic:
        """Who gets which version of a model. Raises `ModelNotFound`."""
        request = models_pb2.GetModelTrafficRequest(name=name)
        return _traffic(self._calls.transport.one(methods.GET_MODEL_TRAFFIC, 0, request))

    def set_traffic(self, name: str, shares: Mapping[str, float] | None = None, *, shadow: str = "") -> Traffic:
        """Says who gets which version from now on, instead of what was said before; without shares, everybody gets the
        active one. Returns that.

        Args:
            shares: of the users, 0 to 1, by version; what they leave is the active version's. With 0 a version is
                loaded, for requests that name it.
            shadow: a version that is asked the same in the background, and whose answers are only compared.
        Raises:
            ModelNotFound: there is no such model or version.
            InvalidRequest: a share is not from 0 to 1, or they are more than 1 together, or a version cannot stand in
                for the active one.
        """
        try:
            request = models_pb2.ModelTraffic(name=name, shares=dict(shares or {}), shadow=shadow)
        except (TypeError, ValueError) as error:
            raise InvalidRequest(f"shares: expected numbers by version, got {shares!r}") from error
        return _traffic(self._calls.transport.one(methods.SET_MODEL_TRAFFIC, 0, request))

    def _info(self, table: str) -> admin.TableInfo:
        answers = self._calls.transport.each(methods.GET_TABLE, tables_pb2.GetTableRequest(name=table))
        return admin.merge_table_infos([answer.table for answer in answers])

    def _frozen(self, manifest: ModelManifest, value_dtype: str, timeout_s: float) -> ModelManifest:
        names = frozen_names(manifest.name, manifest.version, manifest.table_names)
        dtype = columns.data_type(value_dtype) if value_dtype else common_pb2.DATA_TYPE_UNSPECIFIED
        copies = freeze_tables(self._calls.transport, names, dtype, timeout_s=timeout_s)
        tables = tuple(
            VersionTable(names[table], table, copy.table_id, step, copy.rows, copy.bytes)
            for table, (copy, step) in copies.items()
        )
        return dataclasses.replace(manifest.renamed(names), rows="frozen", tables=tables)

    def _upload(
        self,
        manifest: ModelManifest,
        contents: Mapping[str, bytes],
        *,
        activate: bool,
        force: bool,
        timeout_s: float,
        dry_run: bool = False,
    ) -> str:
        first = models_pb2.PublishModelRequest(
            manifest=manifest_to_proto(manifest, contents), activate=activate, force=force, dry_run=dry_run
        )
        parts = _parts(first, contents)
        answer = self._calls.transport.upload(methods.PUBLISH_MODEL, 0, parts, timeout_s=timeout_s)
        return answer.version

    def _stored(self, manifest: ModelManifest) -> bool:
        """Whether the version got into the registry; where that cannot be told, its tables are left for pruning."""
        try:
            return any(entry.manifest.version == manifest.version for entry in self.list(manifest.name))
        except ModelNotFound:
            return False
        except RequestError:
            return True


def _traffic(message: models_pb2.ModelTraffic) -> Traffic:
    return Traffic(dict(message.shares), message.shadow, message.active)


def frozen_names(model: str, version: str, tables: Sequence[str]) -> dict[str, str]:
    """What a version's copies of tables are called: `<model>/<version>.<last part>`, numbered if equal."""
    names: dict[str, str] = {}
    for number, table in enumerate(tables):
        name = f"{model}/{version}.{table.rpartition('/')[2].rpartition('.')[2]}"
        if name in names.values() or len(name) > _MAX_TABLE_NAME:
            name = f"{model}/{version}.{number}"
        if len(name) > _MAX_TABLE_NAME:
            raise InvalidModel(
                f"model {model!r}: expected a name short enough for its tables' names, at most {_MAX_TABLE_NAME} "
                f"characters such as {name!r}; got {len(name)}"
            )
        names[table] = name
    return names


def _parts(
    first: models_pb2.PublishModelRequest, contents: Mapping[str, bytes]
) -> Iterator[models_pb2.PublishModelRequest]:
    yield first
    for name, data in contents.items():
        for start in range(0, max(1, len(data)), _CHUNK_BYTES):
            chunk = models_pb2.FileChunk(name=name, data=data[start : start + _CHUNK_BYTES])
            yield models_pb2.PublishModelRequest(chunk=chunk)
