from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EvictionReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVICTION_REASON_UNSPECIFIED: _ClassVar[EvictionReason]
    EVICTION_REASON_CAPACITY: _ClassVar[EvictionReason]
    EVICTION_REASON_BYTES: _ClassVar[EvictionReason]
    EVICTION_REASON_TTL: _ClassVar[EvictionReason]
    EVICTION_REASON_RESTRICT: _ClassVar[EvictionReason]
    EVICTION_REASON_MANUAL: _ClassVar[EvictionReason]

class Score(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCORE_UNSPECIFIED: _ClassVar[Score]
    SCORE_FREQUENCY: _ClassVar[Score]
    SCORE_LAST_USED: _ClassVar[Score]
EVICTION_REASON_UNSPECIFIED: EvictionReason
EVICTION_REASON_CAPACITY: EvictionReason
EVICTION_REASON_BYTES: EvictionReason
EVICTION_REASON_TTL: EvictionReason
EVICTION_REASON_RESTRICT: EvictionReason
EVICTION_REASON_MANUAL: EvictionReason
SCORE_UNSPECIFIED: Score
SCORE_FREQUENCY: Score
SCORE_LAST_USED: Score

class EvictionEvent(_message.Message):
    __slots__ = ("at_ms", "table", "reason", "rows", "bytes", "score_cut", "duration_ms", "rows_left", "shard", "outcome", "ages", "frequencies", "regretted")
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    SCORE_CUT_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    ROWS_LEFT_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    AGES_FIELD_NUMBER: _ClassVar[int]
    FREQUENCIES_FIELD_NUMBER: _ClassVar[int]
    REGRETTED_FIELD_NUMBER: _ClassVar[int]
    at_ms: int
    table: str
    reason: EvictionReason
    rows: int
    bytes: int
    score_cut: float
    duration_ms: float
    rows_left: int
    shard: int
    outcome: str
    ages: _containers.RepeatedScalarFieldContainer[int]
    frequencies: _containers.RepeatedScalarFieldContainer[int]
    regretted: int
    def __init__(self, at_ms: _Optional[int] = ..., table: _Optional[str] = ..., reason: _Optional[_Union[EvictionReason, str]] = ..., rows: _Optional[int] = ..., bytes: _Optional[int] = ..., score_cut: _Optional[float] = ..., duration_ms: _Optional[float] = ..., rows_left: _Optional[int] = ..., shard: _Optional[int] = ..., outcome: _Optional[str] = ..., ages: _Optional[_Iterable[int]] = ..., frequencies: _Optional[_Iterable[int]] = ..., regretted: _Optional[int] = ...) -> None: ...

class RestrictRequest(_message.Message):
    __slots__ = ("table", "num_reserved", "trigger", "score", "reason", "sample_keys", "now_s")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    NUM_RESERVED_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_KEYS_FIELD_NUMBER: _ClassVar[int]
    NOW_S_FIELD_NUMBER: _ClassVar[int]
    table: str
    num_reserved: int
    trigger: int
    score: Score
    reason: EvictionReason
    sample_keys: int
    now_s: int
    def __init__(self, table: _Optional[str] = ..., num_reserved: _Optional[int] = ..., trigger: _Optional[int] = ..., score: _Optional[_Union[Score, str]] = ..., reason: _Optional[_Union[EvictionReason, str]] = ..., sample_keys: _Optional[int] = ..., now_s: _Optional[int] = ...) -> None: ...

class RestrictResponse(_message.Message):
    __slots__ = ("rows_before", "rows_after", "evicted", "bytes", "score_cut", "duration_ms", "sample")
    ROWS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    ROWS_AFTER_FIELD_NUMBER: _ClassVar[int]
    EVICTED_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    SCORE_CUT_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    rows_before: int
    rows_after: int
    evicted: int
    bytes: int
    score_cut: float
    duration_ms: float
    sample: bytes
    def __init__(self, rows_before: _Optional[int] = ..., rows_after: _Optional[int] = ..., evicted: _Optional[int] = ..., bytes: _Optional[int] = ..., score_cut: _Optional[float] = ..., duration_ms: _Optional[float] = ..., sample: _Optional[bytes] = ...) -> None: ...

class Rank(_message.Message):
    __slots__ = ("standing", "lot")
    STANDING_FIELD_NUMBER: _ClassVar[int]
    LOT_FIELD_NUMBER: _ClassVar[int]
    standing: int
    lot: int
    def __init__(self, standing: _Optional[int] = ..., lot: _Optional[int] = ...) -> None: ...

class RankRowsRequest(_message.Message):
    __slots__ = ("table", "score", "now_s", "low", "high", "limit")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    NOW_S_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    table: str
    score: Score
    now_s: int
    low: Rank
    high: Rank
    limit: int
    def __init__(self, table: _Optional[str] = ..., score: _Optional[_Union[Score, str]] = ..., now_s: _Optional[int] = ..., low: _Optional[_Union[Rank, _Mapping]] = ..., high: _Optional[_Union[Rank, _Mapping]] = ..., limit: _Optional[int] = ...) -> None: ...

class RankRowsResponse(_message.Message):
    __slots__ = ("rows", "below", "within", "standings", "lots", "now_s")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    BELOW_FIELD_NUMBER: _ClassVar[int]
    WITHIN_FIELD_NUMBER: _ClassVar[int]
    STANDINGS_FIELD_NUMBER: _ClassVar[int]
    LOTS_FIELD_NUMBER: _ClassVar[int]
    NOW_S_FIELD_NUMBER: _ClassVar[int]
    rows: int
    below: int
    within: int
    standings: bytes
    lots: bytes
    now_s: int
    def __init__(self, rows: _Optional[int] = ..., below: _Optional[int] = ..., within: _Optional[int] = ..., standings: _Optional[bytes] = ..., lots: _Optional[bytes] = ..., now_s: _Optional[int] = ...) -> None: ...

class ListEvictionsRequest(_message.Message):
    __slots__ = ("table", "limit", "since_ms", "until_ms", "reasons")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    UNTIL_MS_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    table: str
    limit: int
    since_ms: int
    until_ms: int
    reasons: _containers.RepeatedScalarFieldContainer[EvictionReason]
    def __init__(self, table: _Optional[str] = ..., limit: _Optional[int] = ..., since_ms: _Optional[int] = ..., until_ms: _Optional[int] = ..., reasons: _Optional[_Iterable[_Union[EvictionReason, str]]] = ...) -> None: ...

class ListEvictionsResponse(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[EvictionEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[EvictionEvent, _Mapping]]] = ...) -> None: ...

class GetStatsRequest(_message.Message):
    __slots__ = ("table",)
    TABLE_FIELD_NUMBER: _ClassVar[int]
    table: str
    def __init__(self, table: _Optional[str] = ...) -> None: ...

class TableStats(_message.Message):
    __slots__ = ("table", "rows", "bytes", "dirty_rows", "pulled_rows", "pulled_found", "pulled_initialized", "pulled_not_admitted", "pushed_rows", "inserted_rows", "evicted_rows", "removed_rows", "regretted_rows", "step", "last_write_back_s", "corrupt_rows", "dim", "payload_bytes", "second_chance_rows", "second_chance_bytes", "second_chance_stored", "second_chance_returned", "second_chance_missed", "second_chance_expired")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    DIRTY_ROWS_FIELD_NUMBER: _ClassVar[int]
    PULLED_ROWS_FIELD_NUMBER: _ClassVar[int]
    PULLED_FOUND_FIELD_NUMBER: _ClassVar[int]
    PULLED_INITIALIZED_FIELD_NUMBER: _ClassVar[int]
    PULLED_NOT_ADMITTED_FIELD_NUMBER: _ClassVar[int]
    PUSHED_ROWS_FIELD_NUMBER: _ClassVar[int]
    INSERTED_ROWS_FIELD_NUMBER: _ClassVar[int]
    EVICTED_ROWS_FIELD_NUMBER: _ClassVar[int]
    REMOVED_ROWS_FIELD_NUMBER: _ClassVar[int]
    REGRETTED_ROWS_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    LAST_WRITE_BACK_S_FIELD_NUMBER: _ClassVar[int]
    CORRUPT_ROWS_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    SECOND_CHANCE_ROWS_FIELD_NUMBER: _ClassVar[int]
    SECOND_CHANCE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SECOND_CHANCE_STORED_FIELD_NUMBER: _ClassVar[int]
    SECOND_CHANCE_RETURNED_FIELD_NUMBER: _ClassVar[int]
    SECOND_CHANCE_MISSED_FIELD_NUMBER: _ClassVar[int]
    SECOND_CHANCE_EXPIRED_FIELD_NUMBER: _ClassVar[int]
    table: str
    rows: int
    bytes: int
    dirty_rows: int
    pulled_rows: int
    pulled_found: int
    pulled_initialized: int
    pulled_not_admitted: int
    pushed_rows: int
    inserted_rows: int
    evicted_rows: int
    removed_rows: int
    regretted_rows: int
    step: int
    last_write_back_s: float
    corrupt_rows: int
    dim: int
    payload_bytes: int
    second_chance_rows: int
    second_chance_bytes: int
    second_chance_stored: int
    second_chance_returned: int
    second_chance_missed: int
    second_chance_expired: int
    def __init__(self, table: _Optional[str] = ..., rows: _Optional[int] = ..., bytes: _Optional[int] = ..., dirty_rows: _Optional[int] = ..., pulled_rows: _Optional[int] = ..., pulled_found: _Optional[int] = ..., pulled_initialized: _Optional[int] = ..., pulled_not_admitted: _Optional[int] = ..., pushed_rows: _Optional[int] = ..., inserted_rows: _Optional[int] = ..., evicted_rows: _Optional[int] = ..., removed_rows: _Optional[int] = ..., regretted_rows: _Optional[int] = ..., step: _Optional[int] = ..., last_write_back_s: _Optional[float] = ..., corrupt_rows: _Optional[int] = ..., dim: _Optional[int] = ..., payload_bytes: _Optional[int] = ..., second_chance_rows: _Optional[int] = ..., second_chance_bytes: _Optional[int] = ..., second_chance_stored: _Optional[int] = ..., second_chance_returned: _Optional[int] = ..., second_chance_missed: _Optional[int] = ..., second_chance_expired: _Optional[int] = ...) -> None: ...

class GetStatsResponse(_message.Message):
    __slots__ = ("tables", "shard", "shard_count", "uptime_s", "redis_connected")
    TABLES_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SHARD_COUNT_FIELD_NUMBER: _ClassVar[int]
    UPTIME_S_FIELD_NUMBER: _ClassVar[int]
    REDIS_CONNECTED_FIELD_NUMBER: _ClassVar[int]
    tables: _containers.RepeatedCompositeFieldContainer[TableStats]
    shard: int
    shard_count: int
    uptime_s: float
    redis_connected: bool
    def __init__(self, tables: _Optional[_Iterable[_Union[TableStats, _Mapping]]] = ..., shard: _Optional[int] = ..., shard_count: _Optional[int] = ..., uptime_s: _Optional[float] = ..., redis_connected: bool = ...) -> None: ...

class DescribeRowRequest(_message.Message):
    __slots__ = ("table", "key")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    table: str
    key: int
    def __init__(self, table: _Optional[str] = ..., key: _Optional[int] = ...) -> None: ...

class DescribeRowResponse(_message.Message):
    __slots__ = ("found", "values", "frequency", "last_used", "position", "slots", "bucket", "shard", "score", "dirty")
    class SlotsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    FOUND_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    FREQUENCY_FIELD_NUMBER: _ClassVar[int]
    LAST_USED_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    DIRTY_FIELD_NUMBER: _ClassVar[int]
    found: bool
    values: bytes
    frequency: int
    last_used: int
    position: int
    slots: _containers.ScalarMap[str, bytes]
    bucket: int
    shard: int
    score: float
    dirty: bool
    def __init__(self, found: bool = ..., values: _Optional[bytes] = ..., frequency: _Optional[int] = ..., last_used: _Optional[int] = ..., position: _Optional[int] = ..., slots: _Optional[_Mapping[str, bytes]] = ..., bucket: _Optional[int] = ..., shard: _Optional[int] = ..., score: _Optional[float] = ..., dirty: bool = ...) -> None: ...

class TopRowsRequest(_message.Message):
    __slots__ = ("table", "limit", "score")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    table: str
    limit: int
    score: Score
    def __init__(self, table: _Optional[str] = ..., limit: _Optional[int] = ..., score: _Optional[_Union[Score, str]] = ...) -> None: ...

class TopRowsResponse(_message.Message):
    __slots__ = ("keys", "frequency", "last_used")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    FREQUENCY_FIELD_NUMBER: _ClassVar[int]
    LAST_USED_FIELD_NUMBER: _ClassVar[int]
    keys: bytes
    frequency: bytes
    last_used: bytes
    def __init__(self, keys: _Optional[bytes] = ..., frequency: _Optional[bytes] = ..., last_used: _Optional[bytes] = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ("version", "namespace", "shard", "shard_count", "bucket_count", "max_keys_per_request", "max_message_bytes", "server_id", "redis_eviction_policy", "redis_may_evict", "role", "state", "epoch", "position", "members", "memory_used_bytes", "memory_limit_bytes", "growth_refused", "fastest_growing_table", "native_address")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SHARD_COUNT_FIELD_NUMBER: _ClassVar[int]
    BUCKET_COUNT_FIELD_NUMBER: _ClassVar[int]
    MAX_KEYS_PER_REQUEST_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SERVER_ID_FIELD_NUMBER: _ClassVar[int]
    REDIS_EVICTION_POLICY_FIELD_NUMBER: _ClassVar[int]
    REDIS_MAY_EVICT_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    GROWTH_REFUSED_FIELD_NUMBER: _ClassVar[int]
    FASTEST_GROWING_TABLE_FIELD_NUMBER: _ClassVar[int]
    NATIVE_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    version: str
    namespace: str
    shard: int
    shard_count: int
    bucket_count: int
    max_keys_per_request: int
    max_message_bytes: int
    server_id: str
    redis_eviction_policy: str
    redis_may_evict: bool
    role: str
    state: str
    epoch: int
    position: int
    members: _containers.RepeatedCompositeFieldContainer[ShardMember]
    memory_used_bytes: int
    memory_limit_bytes: int
    growth_refused: bool
    fastest_growing_table: str
    native_address: str
    def __init__(self, version: _Optional[str] = ..., namespace: _Optional[str] = ..., shard: _Optional[int] = ..., shard_count: _Optional[int] = ..., bucket_count: _Optional[int] = ..., max_keys_per_request: _Optional[int] = ..., max_message_bytes: _Optional[int] = ..., server_id: _Optional[str] = ..., redis_eviction_policy: _Optional[str] = ..., redis_may_evict: bool = ..., role: _Optional[str] = ..., state: _Optional[str] = ..., epoch: _Optional[int] = ..., position: _Optional[int] = ..., members: _Optional[_Iterable[_Union[ShardMember, _Mapping]]] = ..., memory_used_bytes: _Optional[int] = ..., memory_limit_bytes: _Optional[int] = ..., growth_refused: bool = ..., fastest_growing_table: _Optional[str] = ..., native_address: _Optional[str] = ...) -> None: ...

class ShardMember(_message.Message):
    __slots__ = ("server_id", "role", "state", "address", "epoch", "position", "age_s", "rows", "version", "at_ms")
    SERVER_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    AGE_S_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    server_id: str
    role: str
    state: str
    address: str
    epoch: int
    position: int
    age_s: float
    rows: int
    version: str
    at_ms: int
    def __init__(self, server_id: _Optional[str] = ..., role: _Optional[str] = ..., state: _Optional[str] = ..., address: _Optional[str] = ..., epoch: _Optional[int] = ..., position: _Optional[int] = ..., age_s: _Optional[float] = ..., rows: _Optional[int] = ..., version: _Optional[str] = ..., at_ms: _Optional[int] = ...) -> None: ...

class FlushRequest(_message.Message):
    __slots__ = ("wait_ms", "number")
    WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    wait_ms: int
    number: int
    def __init__(self, wait_ms: _Optional[int] = ..., number: _Optional[int] = ...) -> None: ...

class FlushResponse(_message.Message):
    __slots__ = ("rows", "number", "transactions", "waiting_rows")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TRANSACTIONS_FIELD_NUMBER: _ClassVar[int]
    WAITING_ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    number: int
    transactions: int
    waiting_rows: int
    def __init__(self, rows: _Optional[int] = ..., number: _Optional[int] = ..., transactions: _Optional[int] = ..., waiting_rows: _Optional[int] = ...) -> None: ...
