from rowbank_protos.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TableKeys(_message.Message):
    __slots__ = ("table", "keys")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    table: str
    keys: bytes
    def __init__(self, table: _Optional[str] = ..., keys: _Optional[bytes] = ...) -> None: ...

class PullRequest(_message.Message):
    __slots__ = ("tables", "wire_dtype")
    TABLES_FIELD_NUMBER: _ClassVar[int]
    WIRE_DTYPE_FIELD_NUMBER: _ClassVar[int]
    tables: _containers.RepeatedCompositeFieldContainer[TableKeys]
    wire_dtype: _common_pb2.DataType
    def __init__(self, tables: _Optional[_Iterable[_Union[TableKeys, _Mapping]]] = ..., wire_dtype: _Optional[_Union[_common_pb2.DataType, str]] = ...) -> None: ...

class TableRows(_message.Message):
    __slots__ = ("table", "values", "status")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    table: str
    values: bytes
    status: bytes
    def __init__(self, table: _Optional[str] = ..., values: _Optional[bytes] = ..., status: _Optional[bytes] = ...) -> None: ...

class PullResponse(_message.Message):
    __slots__ = ("tables",)
    TABLES_FIELD_NUMBER: _ClassVar[int]
    tables: _containers.RepeatedCompositeFieldContainer[TableRows]
    def __init__(self, tables: _Optional[_Iterable[_Union[TableRows, _Mapping]]] = ...) -> None: ...

class TableGradients(_message.Message):
    __slots__ = ("table", "keys", "gradients", "counts", "step", "learning_rate", "clip_value", "max_norm")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    GRADIENTS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    CLIP_VALUE_FIELD_NUMBER: _ClassVar[int]
    MAX_NORM_FIELD_NUMBER: _ClassVar[int]
    table: str
    keys: bytes
    gradients: bytes
    counts: bytes
    step: int
    learning_rate: float
    clip_value: float
    max_norm: float
    def __init__(self, table: _Optional[str] = ..., keys: _Optional[bytes] = ..., gradients: _Optional[bytes] = ..., counts: _Optional[bytes] = ..., step: _Optional[int] = ..., learning_rate: _Optional[float] = ..., clip_value: _Optional[float] = ..., max_norm: _Optional[float] = ...) -> None: ...

class PushRequest(_message.Message):
    __slots__ = ("tables", "wire_dtype", "request_id", "returned")
    TABLES_FIELD_NUMBER: _ClassVar[int]
    WIRE_DTYPE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RETURNED_FIELD_NUMBER: _ClassVar[int]
    tables: _containers.RepeatedCompositeFieldContainer[TableGradients]
    wire_dtype: _common_pb2.DataType
    request_id: _common_pb2.RequestId
    returned: _containers.RepeatedCompositeFieldContainer[ReturnedRows]
    def __init__(self, tables: _Optional[_Iterable[_Union[TableGradients, _Mapping]]] = ..., wire_dtype: _Optional[_Union[_common_pb2.DataType, str]] = ..., request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping]] = ..., returned: _Optional[_Iterable[_Union[ReturnedRows, _Mapping]]] = ...) -> None: ...

class ReturnedRows(_message.Message):
    __slots__ = ("part", "keys", "rows")
    PART_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    part: int
    keys: bytes
    rows: bytes
    def __init__(self, part: _Optional[int] = ..., keys: _Optional[bytes] = ..., rows: _Optional[bytes] = ...) -> None: ...

class PushResponse(_message.Message):
    __slots__ = ("repeated_request", "steps")
    REPEATED_REQUEST_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    repeated_request: bool
    steps: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, repeated_request: bool = ..., steps: _Optional[_Iterable[int]] = ...) -> None: ...

class LookupRequest(_message.Message):
    __slots__ = ("table", "keys", "wire_dtype", "with_metadata")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    WIRE_DTYPE_FIELD_NUMBER: _ClassVar[int]
    WITH_METADATA_FIELD_NUMBER: _ClassVar[int]
    table: str
    keys: bytes
    wire_dtype: _common_pb2.DataType
    with_metadata: bool
    def __init__(self, table: _Optional[str] = ..., keys: _Optional[bytes] = ..., wire_dtype: _Optional[_Union[_common_pb2.DataType, str]] = ..., with_metadata: bool = ...) -> None: ...

class LookupResponse(_message.Message):
    __slots__ = ("values", "found", "frequency", "last_used")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    FREQUENCY_FIELD_NUMBER: _ClassVar[int]
    LAST_USED_FIELD_NUMBER: _ClassVar[int]
    values: bytes
    found: bytes
    frequency: bytes
    last_used: bytes
    def __init__(self, values: _Optional[bytes] = ..., found: _Optional[bytes] = ..., frequency: _Optional[bytes] = ..., last_used: _Optional[bytes] = ...) -> None: ...

class UpsertRequest(_message.Message):
    __slots__ = ("table", "keys", "values", "wire_dtype", "request_id")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    WIRE_DTYPE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    table: str
    keys: bytes
    values: bytes
    wire_dtype: _common_pb2.DataType
    request_id: _common_pb2.RequestId
    def __init__(self, table: _Optional[str] = ..., keys: _Optional[bytes] = ..., values: _Optional[bytes] = ..., wire_dtype: _Optional[_Union[_common_pb2.DataType, str]] = ..., request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping]] = ...) -> None: ...

class UpsertResponse(_message.Message):
    __slots__ = ("inserted", "repeated_request")
    INSERTED_FIELD_NUMBER: _ClassVar[int]
    REPEATED_REQUEST_FIELD_NUMBER: _ClassVar[int]
    inserted: int
    repeated_request: bool
    def __init__(self, inserted: _Optional[int] = ..., repeated_request: bool = ...) -> None: ...

class AccumulateRequest(_message.Message):
    __slots__ = ("table", "keys", "deltas", "exists", "wire_dtype", "request_id")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    DELTAS_FIELD_NUMBER: _ClassVar[int]
    EXISTS_FIELD_NUMBER: _ClassVar[int]
    WIRE_DTYPE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    table: str
    keys: bytes
    deltas: bytes
    exists: bytes
    wire_dtype: _common_pb2.DataType
    request_id: _common_pb2.RequestId
    def __init__(self, table: _Optional[str] = ..., keys: _Optional[bytes] = ..., deltas: _Optional[bytes] = ..., exists: _Optional[bytes] = ..., wire_dtype: _Optional[_Union[_common_pb2.DataType, str]] = ..., request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping]] = ...) -> None: ...

class AccumulateResponse(_message.Message):
    __slots__ = ("applied", "repeated_request")
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    REPEATED_REQUEST_FIELD_NUMBER: _ClassVar[int]
    applied: int
    repeated_request: bool
    def __init__(self, applied: _Optional[int] = ..., repeated_request: bool = ...) -> None: ...

class TableStore(_message.Message):
    __slots__ = ("table", "keys", "values", "exists", "touch")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    EXISTS_FIELD_NUMBER: _ClassVar[int]
    TOUCH_FIELD_NUMBER: _ClassVar[int]
    table: str
    keys: bytes
    values: bytes
    exists: bytes
    touch: bool
    def __init__(self, table: _Optional[str] = ..., keys: _Optional[bytes] = ..., values: _Optional[bytes] = ..., exists: _Optional[bytes] = ..., touch: bool = ...) -> None: ...

class StoreRequest(_message.Message):
    __slots__ = ("tables", "wire_dtype", "request_id")
    TABLES_FIELD_NUMBER: _ClassVar[int]
    WIRE_DTYPE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    tables: _containers.RepeatedCompositeFieldContainer[TableStore]
    wire_dtype: _common_pb2.DataType
    request_id: _common_pb2.RequestId
    def __init__(self, tables: _Optional[_Iterable[_Union[TableStore, _Mapping]]] = ..., wire_dtype: _Optional[_Union[_common_pb2.DataType, str]] = ..., request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping]] = ...) -> None: ...

class StoreResponse(_message.Message):
    __slots__ = ("changed", "repeated_request")
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REPEATED_REQUEST_FIELD_NUMBER: _ClassVar[int]
    changed: _containers.RepeatedScalarFieldContainer[int]
    repeated_request: bool
    def __init__(self, changed: _Optional[_Iterable[int]] = ..., repeated_request: bool = ...) -> None: ...

class RemoveRequest(_message.Message):
    __slots__ = ("table", "keys", "request_id", "reason")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    table: str
    keys: bytes
    request_id: _common_pb2.RequestId
    reason: int
    def __init__(self, table: _Optional[str] = ..., keys: _Optional[bytes] = ..., request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping]] = ..., reason: _Optional[int] = ...) -> None: ...

class RemoveResponse(_message.Message):
    __slots__ = ("removed", "repeated_request")
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    REPEATED_REQUEST_FIELD_NUMBER: _ClassVar[int]
    removed: int
    repeated_request: bool
    def __init__(self, removed: _Optional[int] = ..., repeated_request: bool = ...) -> None: ...

class ClearRequest(_message.Message):
    __slots__ = ("table", "request_id", "force")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    table: str
    request_id: _common_pb2.RequestId
    force: bool
    def __init__(self, table: _Optional[str] = ..., request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping]] = ..., force: bool = ...) -> None: ...

class ClearResponse(_message.Message):
    __slots__ = ("removed", "repeated_request")
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    REPEATED_REQUEST_FIELD_NUMBER: _ClassVar[int]
    removed: int
    repeated_request: bool
    def __init__(self, removed: _Optional[int] = ..., repeated_request: bool = ...) -> None: ...

class SizeRequest(_message.Message):
    __slots__ = ("table",)
    TABLE_FIELD_NUMBER: _ClassVar[int]
    table: str
    def __init__(self, table: _Optional[str] = ...) -> None: ...

class SizeResponse(_message.Message):
    __slots__ = ("rows",)
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    def __init__(self, rows: _Optional[int] = ...) -> None: ...

class TouchRequest(_message.Message):
    __slots__ = ("table", "keys", "counts", "request_id")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    table: str
    keys: bytes
    counts: bytes
    request_id: _common_pb2.RequestId
    def __init__(self, table: _Optional[str] = ..., keys: _Optional[bytes] = ..., counts: _Optional[bytes] = ..., request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping]] = ...) -> None: ...

class TouchResponse(_message.Message):
    __slots__ = ("touched", "repeated_request")
    TOUCHED_FIELD_NUMBER: _ClassVar[int]
    REPEATED_REQUEST_FIELD_NUMBER: _ClassVar[int]
    touched: int
    repeated_request: bool
    def __init__(self, touched: _Optional[int] = ..., repeated_request: bool = ...) -> None: ...

class ExportRequest(_message.Message):
    __slots__ = ("table", "with_slots", "chunk_rows")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    WITH_SLOTS_FIELD_NUMBER: _ClassVar[int]
    CHUNK_ROWS_FIELD_NUMBER: _ClassVar[int]
    table: str
    with_slots: bool
    chunk_rows: int
    def __init__(self, table: _Optional[str] = ..., with_slots: bool = ..., chunk_rows: _Optional[int] = ...) -> None: ...

class ExportResponse(_message.Message):
    __slots__ = ("keys", "values", "frequency", "last_used", "slots", "slot_width")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    FREQUENCY_FIELD_NUMBER: _ClassVar[int]
    LAST_USED_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    SLOT_WIDTH_FIELD_NUMBER: _ClassVar[int]
    keys: bytes
    values: bytes
    frequency: bytes
    last_used: bytes
    slots: bytes
    slot_width: int
    def __init__(self, keys: _Optional[bytes] = ..., values: _Optional[bytes] = ..., frequency: _Optional[bytes] = ..., last_used: _Optional[bytes] = ..., slots: _Optional[bytes] = ..., slot_width: _Optional[int] = ...) -> None: ...

class ImportRequest(_message.Message):
    __slots__ = ("table", "keys", "values", "frequency", "last_used", "slots", "slot_width", "step")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    FREQUENCY_FIELD_NUMBER: _ClassVar[int]
    LAST_USED_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    SLOT_WIDTH_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    table: str
    keys: bytes
    values: bytes
    frequency: bytes
    last_used: bytes
    slots: bytes
    slot_width: int
    step: int
    def __init__(self, table: _Optional[str] = ..., keys: _Optional[bytes] = ..., values: _Optional[bytes] = ..., frequency: _Optional[bytes] = ..., last_used: _Optional[bytes] = ..., slots: _Optional[bytes] = ..., slot_width: _Optional[int] = ..., step: _Optional[int] = ...) -> None: ...

class ImportResponse(_message.Message):
    __slots__ = ("imported",)
    IMPORTED_FIELD_NUMBER: _ClassVar[int]
    imported: int
    def __init__(self, imported: _Optional[int] = ...) -> None: ...
