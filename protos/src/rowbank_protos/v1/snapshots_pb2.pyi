from rowbank_protos.v1 import common_pb2 as _common_pb2
from rowbank_protos.v1 import rows_pb2 as _rows_pb2
from rowbank_protos.v1 import tables_pb2 as _tables_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BeginSnapshotRequest(_message.Message):
    __slots__ = ("snapshot_id", "hold_ms")
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    HOLD_MS_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    hold_ms: int
    def __init__(self, snapshot_id: _Optional[str] = ..., hold_ms: _Optional[int] = ...) -> None: ...

class BeginSnapshotResponse(_message.Message):
    __slots__ = ("at_ms", "position", "tables")
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    TABLES_FIELD_NUMBER: _ClassVar[int]
    at_ms: int
    position: int
    tables: _containers.RepeatedCompositeFieldContainer[_tables_pb2.TableInfo]
    def __init__(self, at_ms: _Optional[int] = ..., position: _Optional[int] = ..., tables: _Optional[_Iterable[_Union[_tables_pb2.TableInfo, _Mapping]]] = ...) -> None: ...

class ResumeMutationsRequest(_message.Message):
    __slots__ = ("snapshot_id",)
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    def __init__(self, snapshot_id: _Optional[str] = ...) -> None: ...

class ResumeMutationsResponse(_message.Message):
    __slots__ = ("held",)
    HELD_FIELD_NUMBER: _ClassVar[int]
    held: bool
    def __init__(self, held: bool = ...) -> None: ...

class ReadSnapshotRequest(_message.Message):
    __slots__ = ("snapshot_id", "table", "with_slots")
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    WITH_SLOTS_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    table: str
    with_slots: bool
    def __init__(self, snapshot_id: _Optional[str] = ..., table: _Optional[str] = ..., with_slots: bool = ...) -> None: ...

class EndSnapshotRequest(_message.Message):
    __slots__ = ("snapshot_id",)
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    def __init__(self, snapshot_id: _Optional[str] = ...) -> None: ...

class EndSnapshotResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FreezeTableRequest(_message.Message):
    __slots__ = ("snapshot_id", "table", "frozen_name", "value_dtype")
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    FROZEN_NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_DTYPE_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    table: str
    frozen_name: str
    value_dtype: _common_pb2.DataType
    def __init__(self, snapshot_id: _Optional[str] = ..., table: _Optional[str] = ..., frozen_name: _Optional[str] = ..., value_dtype: _Optional[_Union[_common_pb2.DataType, str]] = ...) -> None: ...

class FreezeTableResponse(_message.Message):
    __slots__ = ("table", "step")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    table: _tables_pb2.TableInfo
    step: int
    def __init__(self, table: _Optional[_Union[_tables_pb2.TableInfo, _Mapping]] = ..., step: _Optional[int] = ...) -> None: ...
