from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class FollowRequest(_message.Message):
    __slots__ = ("tables", "position")
    TABLES_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    tables: _containers.RepeatedScalarFieldContainer[str]
    position: int
    def __init__(self, tables: _Optional[_Iterable[str]] = ..., position: _Optional[int] = ...) -> None: ...

class FollowResponse(_message.Message):
    __slots__ = ("position", "table", "keys", "values", "removed", "at_ms")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    position: int
    table: str
    keys: bytes
    values: bytes
    removed: bytes
    at_ms: int
    def __init__(self, position: _Optional[int] = ..., table: _Optional[str] = ..., keys: _Optional[bytes] = ..., values: _Optional[bytes] = ..., removed: _Optional[bytes] = ..., at_ms: _Optional[int] = ...) -> None: ...
