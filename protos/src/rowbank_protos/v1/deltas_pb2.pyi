from rowbank_protos.v1 import tables_pb2 as _tables_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FollowDetail(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FOLLOW_DETAIL_UNSPECIFIED: _ClassVar[FollowDetail]
    FOLLOW_DETAIL_KEYS: _ClassVar[FollowDetail]
    FOLLOW_DETAIL_ROWS: _ClassVar[FollowDetail]
    FOLLOW_DETAIL_RECORDS: _ClassVar[FollowDetail]

class FollowStart(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FOLLOW_START_UNSPECIFIED: _ClassVar[FollowStart]
    FOLLOW_START_PICTURE: _ClassVar[FollowStart]
    FOLLOW_START_NOW: _ClassVar[FollowStart]
    FOLLOW_START_POSITION: _ClassVar[FollowStart]

class RemovalReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REMOVAL_REASON_UNSPECIFIED: _ClassVar[RemovalReason]
    REMOVAL_REASON_REMOVED: _ClassVar[RemovalReason]
    REMOVAL_REASON_CLEARED: _ClassVar[RemovalReason]
    REMOVAL_REASON_CAPACITY: _ClassVar[RemovalReason]
    REMOVAL_REASON_BYTES: _ClassVar[RemovalReason]
    REMOVAL_REASON_TTL: _ClassVar[RemovalReason]
    REMOVAL_REASON_RESTRICT: _ClassVar[RemovalReason]
    REMOVAL_REASON_MANUAL: _ClassVar[RemovalReason]
FOLLOW_DETAIL_UNSPECIFIED: FollowDetail
FOLLOW_DETAIL_KEYS: FollowDetail
FOLLOW_DETAIL_ROWS: FollowDetail
FOLLOW_DETAIL_RECORDS: FollowDetail
FOLLOW_START_UNSPECIFIED: FollowStart
FOLLOW_START_PICTURE: FollowStart
FOLLOW_START_NOW: FollowStart
FOLLOW_START_POSITION: FollowStart
REMOVAL_REASON_UNSPECIFIED: RemovalReason
REMOVAL_REASON_REMOVED: RemovalReason
REMOVAL_REASON_CLEARED: RemovalReason
REMOVAL_REASON_CAPACITY: RemovalReason
REMOVAL_REASON_BYTES: RemovalReason
REMOVAL_REASON_TTL: RemovalReason
REMOVAL_REASON_RESTRICT: RemovalReason
REMOVAL_REASON_MANUAL: RemovalReason

class StreamPosition(_message.Message):
    __slots__ = ("server_id", "number")
    SERVER_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    server_id: str
    number: int
    def __init__(self, server_id: _Optional[str] = ..., number: _Optional[int] = ...) -> None: ...

class FollowRequest(_message.Message):
    __slots__ = ("name", "detail", "tables", "start", "since", "complete_tables", "role", "address")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    TABLES_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_TABLES_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    name: str
    detail: FollowDetail
    tables: _containers.RepeatedScalarFieldContainer[str]
    start: FollowStart
    since: StreamPosition
    complete_tables: _containers.RepeatedScalarFieldContainer[int]
    role: str
    address: str
    def __init__(self, name: _Optional[str] = ..., detail: _Optional[_Union[FollowDetail, str]] = ..., tables: _Optional[_Iterable[str]] = ..., start: _Optional[_Union[FollowStart, str]] = ..., since: _Optional[_Union[StreamPosition, _Mapping]] = ..., complete_tables: _Optional[_Iterable[int]] = ..., role: _Optional[str] = ..., address: _Optional[str] = ...) -> None: ...

class FollowResponse(_message.Message):
    __slots__ = ("position", "at_ms", "hello", "tables", "picture_start", "picture_rows", "picture_end", "records", "changes", "write_back", "hand_over", "windows")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    TABLES_FIELD_NUMBER: _ClassVar[int]
    PICTURE_START_FIELD_NUMBER: _ClassVar[int]
    PICTURE_ROWS_FIELD_NUMBER: _ClassVar[int]
    PICTURE_END_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    WRITE_BACK_FIELD_NUMBER: _ClassVar[int]
    HAND_OVER_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    position: StreamPosition
    at_ms: int
    hello: FollowHello
    tables: FollowedTables
    picture_start: PictureStart
    picture_rows: PictureRows
    picture_end: PictureEnd
    records: Records
    changes: RowChanges
    write_back: WriteBackMark
    hand_over: HandOver
    windows: AnswerWindows
    def __init__(self, position: _Optional[_Union[StreamPosition, _Mapping]] = ..., at_ms: _Optional[int] = ..., hello: _Optional[_Union[FollowHello, _Mapping]] = ..., tables: _Optional[_Union[FollowedTables, _Mapping]] = ..., picture_start: _Optional[_Union[PictureStart, _Mapping]] = ..., picture_rows: _Optional[_Union[PictureRows, _Mapping]] = ..., picture_end: _Optional[_Union[PictureEnd, _Mapping]] = ..., records: _Optional[_Union[Records, _Mapping]] = ..., changes: _Optional[_Union[RowChanges, _Mapping]] = ..., write_back: _Optional[_Union[WriteBackMark, _Mapping]] = ..., hand_over: _Optional[_Union[HandOver, _Mapping]] = ..., windows: _Optional[_Union[AnswerWindows, _Mapping]] = ...) -> None: ...

class FollowHello(_message.Message):
    __slots__ = ("server_id", "version", "namespace", "shard", "shard_count", "bucket_count", "epoch", "continued", "source")
    SERVER_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SHARD_COUNT_FIELD_NUMBER: _ClassVar[int]
    BUCKET_COUNT_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CONTINUED_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    server_id: str
    version: str
    namespace: str
    shard: int
    shard_count: int
    bucket_count: int
    epoch: int
    continued: bool
    source: str
    def __init__(self, server_id: _Optional[str] = ..., version: _Optional[str] = ..., namespace: _Optional[str] = ..., shard: _Optional[int] = ..., shard_count: _Optional[int] = ..., bucket_count: _Optional[int] = ..., epoch: _Optional[int] = ..., continued: bool = ..., source: _Optional[str] = ...) -> None: ...

class FollowedTables(_message.Message):
    __slots__ = ("tables",)
    TABLES_FIELD_NUMBER: _ClassVar[int]
    tables: _containers.RepeatedCompositeFieldContainer[FollowedTable]
    def __init__(self, tables: _Optional[_Iterable[_Union[FollowedTable, _Mapping]]] = ...) -> None: ...

class FollowedTable(_message.Message):
    __slots__ = ("table_id", "spec", "created_at_s", "bucket_count", "step")
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_S_FIELD_NUMBER: _ClassVar[int]
    BUCKET_COUNT_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    table_id: int
    spec: _tables_pb2.TableSpec
    created_at_s: int
    bucket_count: int
    step: int
    def __init__(self, table_id: _Optional[int] = ..., spec: _Optional[_Union[_tables_pb2.TableSpec, _Mapping]] = ..., created_at_s: _Optional[int] = ..., bucket_count: _Optional[int] = ..., step: _Optional[int] = ...) -> None: ...

class PictureStart(_message.Message):
    __slots__ = ("table_id", "rows")
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    table_id: int
    rows: int
    def __init__(self, table_id: _Optional[int] = ..., rows: _Optional[int] = ...) -> None: ...

class PictureRows(_message.Message):
    __slots__ = ("table_id", "bucket", "keys", "packed")
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    PACKED_FIELD_NUMBER: _ClassVar[int]
    table_id: int
    bucket: int
    keys: bytes
    packed: bytes
    def __init__(self, table_id: _Optional[int] = ..., bucket: _Optional[int] = ..., keys: _Optional[bytes] = ..., packed: _Optional[bytes] = ...) -> None: ...

class PictureEnd(_message.Message):
    __slots__ = ("table_id", "whole_at", "step", "common_row", "common_position")
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    WHOLE_AT_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    COMMON_ROW_FIELD_NUMBER: _ClassVar[int]
    COMMON_POSITION_FIELD_NUMBER: _ClassVar[int]
    table_id: int
    whole_at: int
    step: int
    common_row: bytes
    common_position: int
    def __init__(self, table_id: _Optional[int] = ..., whole_at: _Optional[int] = ..., step: _Optional[int] = ..., common_row: _Optional[bytes] = ..., common_position: _Optional[int] = ...) -> None: ...

class Records(_message.Message):
    __slots__ = ("records", "oldest_ms")
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    OLDEST_MS_FIELD_NUMBER: _ClassVar[int]
    records: _containers.RepeatedScalarFieldContainer[bytes]
    oldest_ms: int
    def __init__(self, records: _Optional[_Iterable[bytes]] = ..., oldest_ms: _Optional[int] = ...) -> None: ...

class RowChanges(_message.Message):
    __slots__ = ("table", "table_id", "keys", "values", "positions", "removed", "removed_reasons", "oldest_ms", "picture")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    REMOVED_REASONS_FIELD_NUMBER: _ClassVar[int]
    OLDEST_MS_FIELD_NUMBER: _ClassVar[int]
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    table: str
    table_id: int
    keys: bytes
    values: bytes
    positions: bytes
    removed: bytes
    removed_reasons: bytes
    oldest_ms: int
    picture: bool
    def __init__(self, table: _Optional[str] = ..., table_id: _Optional[int] = ..., keys: _Optional[bytes] = ..., values: _Optional[bytes] = ..., positions: _Optional[bytes] = ..., removed: _Optional[bytes] = ..., removed_reasons: _Optional[bytes] = ..., oldest_ms: _Optional[int] = ..., picture: bool = ...) -> None: ...

class WriteBackMark(_message.Message):
    __slots__ = ("stage", "serial", "flush")
    class Stage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STAGE_UNSPECIFIED: _ClassVar[WriteBackMark.Stage]
        STAGE_BEGUN: _ClassVar[WriteBackMark.Stage]
        STAGE_ENDED: _ClassVar[WriteBackMark.Stage]
        STAGE_FAILED: _ClassVar[WriteBackMark.Stage]
    STAGE_UNSPECIFIED: WriteBackMark.Stage
    STAGE_BEGUN: WriteBackMark.Stage
    STAGE_ENDED: WriteBackMark.Stage
    STAGE_FAILED: WriteBackMark.Stage
    STAGE_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    FLUSH_FIELD_NUMBER: _ClassVar[int]
    stage: WriteBackMark.Stage
    serial: int
    flush: int
    def __init__(self, stage: _Optional[_Union[WriteBackMark.Stage, str]] = ..., serial: _Optional[int] = ..., flush: _Optional[int] = ...) -> None: ...

class HandOver(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AnswerWindows(_message.Message):
    __slots__ = ("windows",)
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    windows: _containers.RepeatedCompositeFieldContainer[AnswerWindow]
    def __init__(self, windows: _Optional[_Iterable[_Union[AnswerWindow, _Mapping]]] = ...) -> None: ...

class AnswerWindow(_message.Message):
    __slots__ = ("client_id", "packed")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    PACKED_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    packed: bytes
    def __init__(self, client_id: _Optional[str] = ..., packed: _Optional[bytes] = ...) -> None: ...

class ListFollowersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Follower(_message.Message):
    __slots__ = ("name", "role", "address", "detail", "tables", "position", "lag_records", "lag_s", "source", "sent_bytes", "connected_s")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    TABLES_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    LAG_RECORDS_FIELD_NUMBER: _ClassVar[int]
    LAG_S_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_S_FIELD_NUMBER: _ClassVar[int]
    name: str
    role: str
    address: str
    detail: FollowDetail
    tables: _containers.RepeatedScalarFieldContainer[str]
    position: int
    lag_records: int
    lag_s: float
    source: str
    sent_bytes: int
    connected_s: float
    def __init__(self, name: _Optional[str] = ..., role: _Optional[str] = ..., address: _Optional[str] = ..., detail: _Optional[_Union[FollowDetail, str]] = ..., tables: _Optional[_Iterable[str]] = ..., position: _Optional[int] = ..., lag_records: _Optional[int] = ..., lag_s: _Optional[float] = ..., source: _Optional[str] = ..., sent_bytes: _Optional[int] = ..., connected_s: _Optional[float] = ...) -> None: ...

class ListFollowersResponse(_message.Message):
    __slots__ = ("followers", "position", "ring_bytes", "ring_first")
    FOLLOWERS_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    RING_BYTES_FIELD_NUMBER: _ClassVar[int]
    RING_FIRST_FIELD_NUMBER: _ClassVar[int]
    followers: _containers.RepeatedCompositeFieldContainer[Follower]
    position: int
    ring_bytes: int
    ring_first: int
    def __init__(self, followers: _Optional[_Iterable[_Union[Follower, _Mapping]]] = ..., position: _Optional[int] = ..., ring_bytes: _Optional[int] = ..., ring_first: _Optional[int] = ...) -> None: ...
