from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_OK: _ClassVar[Verdict]
    VERDICT_WARN: _ClassVar[Verdict]
    VERDICT_FAIL: _ClassVar[Verdict]
    VERDICT_UNKNOWN: _ClassVar[Verdict]
VERDICT_UNSPECIFIED: Verdict
VERDICT_OK: Verdict
VERDICT_WARN: Verdict
VERDICT_FAIL: Verdict
VERDICT_UNKNOWN: Verdict

class GetHealthRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetHealthResponse(_message.Message):
    __slots__ = ("shard", "server_id", "at_ms", "uptime_s", "methods", "journal_bytes", "journal_max_bytes", "journal_pending_bytes", "journal_lag_s", "journal_failure", "corrupt_records", "write_back_lag_s", "dirty_rows", "max_dirty_rows", "resident_bytes", "redis")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SERVER_ID_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    UPTIME_S_FIELD_NUMBER: _ClassVar[int]
    METHODS_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_PENDING_BYTES_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_LAG_S_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_FAILURE_FIELD_NUMBER: _ClassVar[int]
    CORRUPT_RECORDS_FIELD_NUMBER: _ClassVar[int]
    WRITE_BACK_LAG_S_FIELD_NUMBER: _ClassVar[int]
    DIRTY_ROWS_FIELD_NUMBER: _ClassVar[int]
    MAX_DIRTY_ROWS_FIELD_NUMBER: _ClassVar[int]
    RESIDENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    REDIS_FIELD_NUMBER: _ClassVar[int]
    shard: int
    server_id: str
    at_ms: int
    uptime_s: float
    methods: _containers.RepeatedCompositeFieldContainer[MethodTimes]
    journal_bytes: int
    journal_max_bytes: int
    journal_pending_bytes: int
    journal_lag_s: float
    journal_failure: str
    corrupt_records: int
    write_back_lag_s: float
    dirty_rows: int
    max_dirty_rows: int
    resident_bytes: int
    redis: RedisHealth
    def __init__(self, shard: _Optional[int] = ..., server_id: _Optional[str] = ..., at_ms: _Optional[int] = ..., uptime_s: _Optional[float] = ..., methods: _Optional[_Iterable[_Union[MethodTimes, _Mapping]]] = ..., journal_bytes: _Optional[int] = ..., journal_max_bytes: _Optional[int] = ..., journal_pending_bytes: _Optional[int] = ..., journal_lag_s: _Optional[float] = ..., journal_failure: _Optional[str] = ..., corrupt_records: _Optional[int] = ..., write_back_lag_s: _Optional[float] = ..., dirty_rows: _Optional[int] = ..., max_dirty_rows: _Optional[int] = ..., resident_bytes: _Optional[int] = ..., redis: _Optional[_Union[RedisHealth, _Mapping]] = ...) -> None: ...

class MethodTimes(_message.Message):
    __slots__ = ("method", "failed", "upper_s", "requests")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    UPPER_S_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    method: str
    failed: int
    upper_s: _containers.RepeatedScalarFieldContainer[float]
    requests: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, method: _Optional[str] = ..., failed: _Optional[int] = ..., upper_s: _Optional[_Iterable[float]] = ..., requests: _Optional[_Iterable[int]] = ...) -> None: ...

class RedisHealth(_message.Message):
    __slots__ = ("reachable", "failure", "version", "policy", "used_bytes", "max_bytes")
    REACHABLE_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    reachable: bool
    failure: str
    version: str
    policy: str
    used_bytes: int
    max_bytes: int
    def __init__(self, reachable: bool = ..., failure: _Optional[str] = ..., version: _Optional[str] = ..., policy: _Optional[str] = ..., used_bytes: _Optional[int] = ..., max_bytes: _Optional[int] = ...) -> None: ...

class DiagnoseRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DiagnoseResponse(_message.Message):
    __slots__ = ("findings", "shard", "server_id", "version", "role", "at_ms")
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SERVER_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    shard: int
    server_id: str
    version: str
    role: str
    at_ms: int
    def __init__(self, findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ..., shard: _Optional[int] = ..., server_id: _Optional[str] = ..., version: _Optional[str] = ..., role: _Optional[str] = ..., at_ms: _Optional[int] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("check", "verdict", "detail", "remedy")
    CHECK_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    REMEDY_FIELD_NUMBER: _ClassVar[int]
    check: str
    verdict: Verdict
    detail: str
    remedy: str
    def __init__(self, check: _Optional[str] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., detail: _Optional[str] = ..., remedy: _Optional[str] = ...) -> None: ...
