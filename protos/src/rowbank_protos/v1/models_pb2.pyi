from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TowerInput(_message.Message):
    __slots__ = ("name", "table", "feature", "dim", "length", "pad_key")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    PAD_KEY_FIELD_NUMBER: _ClassVar[int]
    name: str
    table: str
    feature: str
    dim: int
    length: int
    pad_key: int
    def __init__(self, name: _Optional[str] = ..., table: _Optional[str] = ..., feature: _Optional[str] = ..., dim: _Optional[int] = ..., length: _Optional[int] = ..., pad_key: _Optional[int] = ...) -> None: ...

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
    __slots__ = ("name", "version", "query", "candidate", "vector_dim", "files", "metrics", "created_at_s", "item_view", "user_view", "logit_scale")
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
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., query: _Optional[_Union[Tower, _Mapping]] = ..., candidate: _Optional[_Union[Tower, _Mapping]] = ..., vector_dim: _Optional[int] = ..., files: _Optional[_Iterable[_Union[ModelFile, _Mapping]]] = ..., metrics: _Optional[_Mapping[str, float]] = ..., created_at_s: _Optional[float] = ..., item_view: _Optional[str] = ..., user_view: _Optional[str] = ..., logit_scale: _Optional[float] = ...) -> None: ...

class FileChunk(_message.Message):
    __slots__ = ("name", "data")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    name: str
    data: bytes
    def __init__(self, name: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...

class PublishModelRequest(_message.Message):
    __slots__ = ("manifest", "chunk", "activate")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    ACTIVATE_FIELD_NUMBER: _ClassVar[int]
    manifest: ModelManifest
    chunk: FileChunk
    activate: bool
    def __init__(self, manifest: _Optional[_Union[ModelManifest, _Mapping]] = ..., chunk: _Optional[_Union[FileChunk, _Mapping]] = ..., activate: bool = ...) -> None: ...

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
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class ActivateModelResponse(_message.Message):
    __slots__ = ("previous_version",)
    PREVIOUS_VERSION_FIELD_NUMBER: _ClassVar[int]
    previous_version: str
    def __init__(self, previous_version: _Optional[str] = ...) -> None: ...
