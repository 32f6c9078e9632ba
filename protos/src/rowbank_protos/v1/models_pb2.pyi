from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InputKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INPUT_KIND_UNSPECIFIED: _ClassVar[InputKind]
    INPUT_KIND_KEYS: _ClassVar[InputKind]
    INPUT_KIND_TEXT_KEYS: _ClassVar[InputKind]
    INPUT_KIND_WORDS: _ClassVar[InputKind]
    INPUT_KIND_NUMBERS: _ClassVar[InputKind]

class IdType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ID_TYPE_UNSPECIFIED: _ClassVar[IdType]
    ID_TYPE_INT64: _ClassVar[IdType]
    ID_TYPE_STRING: _ClassVar[IdType]

class RowsMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROWS_MODE_UNSPECIFIED: _ClassVar[RowsMode]
    ROWS_MODE_FROZEN: _ClassVar[RowsMode]
    ROWS_MODE_LIVE: _ClassVar[RowsMode]
INPUT_KIND_UNSPECIFIED: InputKind
INPUT_KIND_KEYS: InputKind
INPUT_KIND_TEXT_KEYS: InputKind
INPUT_KIND_WORDS: InputKind
INPUT_KIND_NUMBERS: InputKind
ID_TYPE_UNSPECIFIED: IdType
ID_TYPE_INT64: IdType
ID_TYPE_STRING: IdType
ROWS_MODE_UNSPECIFIED: RowsMode
ROWS_MODE_FROZEN: RowsMode
ROWS_MODE_LIVE: RowsMode

class TowerInput(_message.Message):
    __slots__ = ("name", "table", "feature", "dim", "length", "pad_key", "kind", "newest", "rule")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    PAD_KEY_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NEWEST_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    name: str
    table: str
    feature: str
    dim: int
    length: int
    pad_key: int
    kind: InputKind
    newest: bool
    rule: KeyRule
    def __init__(self, name: _Optional[str] = ..., table: _Optional[str] = ..., feature: _Optional[str] = ..., dim: _Optional[int] = ..., length: _Optional[int] = ..., pad_key: _Optional[int] = ..., kind: _Optional[_Union[InputKind, str]] = ..., newest: bool = ..., rule: _Optional[_Union[KeyRule, _Mapping]] = ...) -> None: ...

class KeyRule(_message.Message):
    __slots__ = ("quotient", "remainder", "bucket")
    class Bucket(_message.Message):
        __slots__ = ("salt_0", "salt_1", "buckets", "first")
        SALT_0_FIELD_NUMBER: _ClassVar[int]
        SALT_1_FIELD_NUMBER: _ClassVar[int]
        BUCKETS_FIELD_NUMBER: _ClassVar[int]
        FIRST_FIELD_NUMBER: _ClassVar[int]
        salt_0: int
        salt_1: int
        buckets: int
        first: int
        def __init__(self, salt_0: _Optional[int] = ..., salt_1: _Optional[int] = ..., buckets: _Optional[int] = ..., first: _Optional[int] = ...) -> None: ...
    QUOTIENT_FIELD_NUMBER: _ClassVar[int]
    REMAINDER_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    quotient: int
    remainder: int
    bucket: KeyRule.Bucket
    def __init__(self, quotient: _Optional[int] = ..., remainder: _Optional[int] = ..., bucket: _Optional[_Union[KeyRule.Bucket, _Mapping]] = ...) -> None: ...

class Tower(_message.Message):
    __slots__ = ("inputs", "output", "file")
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    inputs: _containers.RepeatedCompositeFieldContainer[TowerInput]
    output: str
    file: str
    def __init__(self, inputs: _Optional[_Iterable[_Union[TowerInput, _Mapping]]] = ..., output: _Optional[str] = ..., file: _Optional[str] = ...) -> None: ...

class ModelFile(_message.Message):
    __slots__ = ("name", "size", "sha256")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    name: str
    size: int
    sha256: str
    def __init__(self, name: _Optional[str] = ..., size: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class ModelManifest(_message.Message):
    __slots__ = ("name", "version", "query", "candidate", "vector_dim", "files", "metrics", "created_at_s", "item_view", "user_view", "logit_scale", "rows", "tables", "transforms", "item_overlay", "user_overlay", "data", "quality_metric", "run", "user_ids", "item_ids", "samples")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_FIELD_NUMBER: _ClassVar[int]
    VECTOR_DIM_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_S_FIELD_NUMBER: _ClassVar[int]
    ITEM_VIEW_FIELD_NUMBER: _ClassVar[int]
    USER_VIEW_FIELD_NUMBER: _ClassVar[int]
    LOGIT_SCALE_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    TABLES_FIELD_NUMBER: _ClassVar[int]
    TRANSFORMS_FIELD_NUMBER: _ClassVar[int]
    ITEM_OVERLAY_FIELD_NUMBER: _ClassVar[int]
    USER_OVERLAY_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    QUALITY_METRIC_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    USER_IDS_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    query: Tower
    candidate: Tower
    vector_dim: int
    files: _containers.RepeatedCompositeFieldContainer[ModelFile]
    metrics: _containers.ScalarMap[str, float]
    created_at_s: float
    item_view: str
    user_view: str
    logit_scale: float
    rows: RowsMode
    tables: _containers.RepeatedCompositeFieldContainer[VersionTable]
    transforms: _containers.RepeatedCompositeFieldContainer[Transform]
    item_overlay: str
    user_overlay: str
    data: DataFacts
    quality_metric: str
    run: str
    user_ids: IdType
    item_ids: IdType
    samples: _containers.RepeatedCompositeFieldContainer[SampleQuery]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., query: _Optional[_Union[Tower, _Mapping]] = ..., candidate: _Optional[_Union[Tower, _Mapping]] = ..., vector_dim: _Optional[int] = ..., files: _Optional[_Iterable[_Union[ModelFile, _Mapping]]] = ..., metrics: _Optional[_Mapping[str, float]] = ..., created_at_s: _Optional[float] = ..., item_view: _Optional[str] = ..., user_view: _Optional[str] = ..., logit_scale: _Optional[float] = ..., rows: _Optional[_Union[RowsMode, str]] = ..., tables: _Optional[_Iterable[_Union[VersionTable, _Mapping]]] = ..., transforms: _Optional[_Iterable[_Union[Transform, _Mapping]]] = ..., item_overlay: _Optional[str] = ..., user_overlay: _Optional[str] = ..., data: _Optional[_Union[DataFacts, _Mapping]] = ..., quality_metric: _Optional[str] = ..., run: _Optional[str] = ..., user_ids: _Optional[_Union[IdType, str]] = ..., item_ids: _Optional[_Union[IdType, str]] = ..., samples: _Optional[_Iterable[_Union[SampleQuery, _Mapping]]] = ...) -> None: ...

class SampleQuery(_message.Message):
    __slots__ = ("user", "items", "scores")
    USER_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    user: int
    items: _containers.RepeatedScalarFieldContainer[int]
    scores: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, user: _Optional[int] = ..., items: _Optional[_Iterable[int]] = ..., scores: _Optional[_Iterable[float]] = ...) -> None: ...

class VersionTable(_message.Message):
    __slots__ = ("name", "source", "table_id", "step", "rows", "bytes", "lineage", "trained_by")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    TRAINED_BY_FIELD_NUMBER: _ClassVar[int]
    name: str
    source: str
    table_id: int
    step: int
    rows: int
    bytes: int
    lineage: int
    trained_by: str
    def __init__(self, name: _Optional[str] = ..., source: _Optional[str] = ..., table_id: _Optional[int] = ..., step: _Optional[int] = ..., rows: _Optional[int] = ..., bytes: _Optional[int] = ..., lineage: _Optional[int] = ..., trained_by: _Optional[str] = ...) -> None: ...

class Transform(_message.Message):
    __slots__ = ("input", "output", "title_tokens", "hash_text")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    TITLE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    HASH_TEXT_FIELD_NUMBER: _ClassVar[int]
    input: str
    output: str
    title_tokens: TitleTokens
    hash_text: HashText
    def __init__(self, input: _Optional[str] = ..., output: _Optional[str] = ..., title_tokens: _Optional[_Union[TitleTokens, _Mapping]] = ..., hash_text: _Optional[_Union[HashText, _Mapping]] = ...) -> None: ...

class TitleTokens(_message.Message):
    __slots__ = ("max_tokens",)
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    max_tokens: int
    def __init__(self, max_tokens: _Optional[int] = ...) -> None: ...

class HashText(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DataFacts(_message.Message):
    __slots__ = ("name", "users", "items", "interactions", "read_at_s")
    NAME_FIELD_NUMBER: _ClassVar[int]
    USERS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    INTERACTIONS_FIELD_NUMBER: _ClassVar[int]
    READ_AT_S_FIELD_NUMBER: _ClassVar[int]
    name: str
    users: int
    items: int
    interactions: int
    read_at_s: float
    def __init__(self, name: _Optional[str] = ..., users: _Optional[int] = ..., items: _Optional[int] = ..., interactions: _Optional[int] = ..., read_at_s: _Optional[float] = ...) -> None: ...

class FileChunk(_message.Message):
    __slots__ = ("name", "data")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    name: str
    data: bytes
    def __init__(self, name: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...

class PublishModelRequest(_message.Message):
    __slots__ = ("manifest", "chunk", "activate", "force", "dry_run")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    ACTIVATE_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    manifest: ModelManifest
    chunk: FileChunk
    activate: bool
    force: bool
    dry_run: bool
    def __init__(self, manifest: _Optional[_Union[ModelManifest, _Mapping]] = ..., chunk: _Optional[_Union[FileChunk, _Mapping]] = ..., activate: bool = ..., force: bool = ..., dry_run: bool = ...) -> None: ...

class PublishModelResponse(_message.Message):
    __slots__ = ("version", "activated")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ACTIVATED_FIELD_NUMBER: _ClassVar[int]
    version: str
    activated: bool
    def __init__(self, version: _Optional[str] = ..., activated: bool = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ModelEntry(_message.Message):
    __slots__ = ("manifest", "active")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    manifest: ModelManifest
    active: bool
    def __init__(self, manifest: _Optional[_Union[ModelManifest, _Mapping]] = ..., active: bool = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ModelEntry]
    def __init__(self, models: _Optional[_Iterable[_Union[ModelEntry, _Mapping]]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("manifest", "active")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    manifest: ModelManifest
    active: bool
    def __init__(self, manifest: _Optional[_Union[ModelManifest, _Mapping]] = ..., active: bool = ...) -> None: ...

class ActivateModelRequest(_message.Message):
    __slots__ = ("name", "version", "force", "previous")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    force: bool
    previous: bool
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., force: bool = ..., previous: bool = ...) -> None: ...

class ActivateModelResponse(_message.Message):
    __slots__ = ("previous_version", "version")
    PREVIOUS_VERSION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    previous_version: str
    version: str
    def __init__(self, previous_version: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class ModelTraffic(_message.Message):
    __slots__ = ("name", "shares", "shadow", "active")
    class SharesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    name: str
    shares: _containers.ScalarMap[str, float]
    shadow: str
    active: str
    def __init__(self, name: _Optional[str] = ..., shares: _Optional[_Mapping[str, float]] = ..., shadow: _Optional[str] = ..., active: _Optional[str] = ...) -> None: ...

class GetModelTrafficRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class PruneModelsRequest(_message.Message):
    __slots__ = ("name", "keep", "dry_run")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    name: str
    keep: int
    dry_run: bool
    def __init__(self, name: _Optional[str] = ..., keep: _Optional[int] = ..., dry_run: bool = ...) -> None: ...

class PruneModelsResponse(_message.Message):
    __slots__ = ("versions", "tables", "bytes")
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    TABLES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedScalarFieldContainer[str]
    tables: _containers.RepeatedScalarFieldContainer[str]
    bytes: int
    def __init__(self, versions: _Optional[_Iterable[str]] = ..., tables: _Optional[_Iterable[str]] = ..., bytes: _Optional[int] = ...) -> None: ...

class ReadModelFileRequest(_message.Message):
    __slots__ = ("name", "version", "file")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    file: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., file: _Optional[str] = ...) -> None: ...
