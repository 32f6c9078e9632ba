from rowbank_protos.v1 import admin_pb2 as _admin_pb2
from rowbank_protos.v1 import deltas_pb2 as _deltas_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WhatIf(_message.Message):
    __slots__ = ("policy", "max_rows", "max_bytes", "low_watermark", "ttl_s", "half_life_s", "min_count")
    class Policy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        POLICY_UNSPECIFIED: _ClassVar[WhatIf.Policy]
        POLICY_NONE: _ClassVar[WhatIf.Policy]
        POLICY_LFU: _ClassVar[WhatIf.Policy]
        POLICY_LRU: _ClassVar[WhatIf.Policy]
    POLICY_UNSPECIFIED: WhatIf.Policy
    POLICY_NONE: WhatIf.Policy
    POLICY_LFU: WhatIf.Policy
    POLICY_LRU: WhatIf.Policy
    POLICY_FIELD_NUMBER: _ClassVar[int]
    MAX_ROWS_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOW_WATERMARK_FIELD_NUMBER: _ClassVar[int]
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    HALF_LIFE_S_FIELD_NUMBER: _ClassVar[int]
    MIN_COUNT_FIELD_NUMBER: _ClassVar[int]
    policy: WhatIf.Policy
    max_rows: int
    max_bytes: int
    low_watermark: float
    ttl_s: float
    half_life_s: float
    min_count: int
    def __init__(self, policy: _Optional[_Union[WhatIf.Policy, str]] = ..., max_rows: _Optional[int] = ..., max_bytes: _Optional[int] = ..., low_watermark: _Optional[float] = ..., ttl_s: _Optional[float] = ..., half_life_s: _Optional[float] = ..., min_count: _Optional[int] = ...) -> None: ...

class SimulateEvictionRequest(_message.Message):
    __slots__ = ("table", "what_ifs")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    WHAT_IFS_FIELD_NUMBER: _ClassVar[int]
    table: str
    what_ifs: _containers.RepeatedCompositeFieldContainer[WhatIf]
    def __init__(self, table: _Optional[str] = ..., what_ifs: _Optional[_Iterable[_Union[WhatIf, _Mapping]]] = ...) -> None: ...

class SimulatedPolicy(_message.Message):
    __slots__ = ("policy", "pulls", "pull_hits", "pushes", "push_hits", "all_pulls", "all_pushes", "rate", "counted_s", "evicted", "regretted", "rows_at_end", "rows_kept_now", "live_pull_hits", "live_push_hits")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    PULLS_FIELD_NUMBER: _ClassVar[int]
    PULL_HITS_FIELD_NUMBER: _ClassVar[int]
    PUSHES_FIELD_NUMBER: _ClassVar[int]
    PUSH_HITS_FIELD_NUMBER: _ClassVar[int]
    ALL_PULLS_FIELD_NUMBER: _ClassVar[int]
    ALL_PUSHES_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    COUNTED_S_FIELD_NUMBER: _ClassVar[int]
    EVICTED_FIELD_NUMBER: _ClassVar[int]
    REGRETTED_FIELD_NUMBER: _ClassVar[int]
    ROWS_AT_END_FIELD_NUMBER: _ClassVar[int]
    ROWS_KEPT_NOW_FIELD_NUMBER: _ClassVar[int]
    LIVE_PULL_HITS_FIELD_NUMBER: _ClassVar[int]
    LIVE_PUSH_HITS_FIELD_NUMBER: _ClassVar[int]
    policy: WhatIf
    pulls: int
    pull_hits: int
    pushes: int
    push_hits: int
    all_pulls: float
    all_pushes: float
    rate: float
    counted_s: float
    evicted: int
    regretted: int
    rows_at_end: float
    rows_kept_now: int
    live_pull_hits: int
    live_push_hits: int
    def __init__(self, policy: _Optional[_Union[WhatIf, _Mapping]] = ..., pulls: _Optional[int] = ..., pull_hits: _Optional[int] = ..., pushes: _Optional[int] = ..., push_hits: _Optional[int] = ..., all_pulls: _Optional[float] = ..., all_pushes: _Optional[float] = ..., rate: _Optional[float] = ..., counted_s: _Optional[float] = ..., evicted: _Optional[int] = ..., regretted: _Optional[int] = ..., rows_at_end: _Optional[float] = ..., rows_kept_now: _Optional[int] = ..., live_pull_hits: _Optional[int] = ..., live_push_hits: _Optional[int] = ...) -> None: ...

class SimulateEvictionResponse(_message.Message):
    __slots__ = ("rows", "row_bytes", "accesses", "rate", "sampled_s", "policies", "approximations")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ROW_BYTES_FIELD_NUMBER: _ClassVar[int]
    ACCESSES_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    SAMPLED_S_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    APPROXIMATIONS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    row_bytes: int
    accesses: int
    rate: float
    sampled_s: float
    policies: _containers.RepeatedCompositeFieldContainer[SimulatedPolicy]
    approximations: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, rows: _Optional[int] = ..., row_bytes: _Optional[int] = ..., accesses: _Optional[int] = ..., rate: _Optional[float] = ..., sampled_s: _Optional[float] = ..., policies: _Optional[_Iterable[_Union[SimulatedPolicy, _Mapping]]] = ..., approximations: _Optional[_Iterable[str]] = ...) -> None: ...

class ExplainRowRequest(_message.Message):
    __slots__ = ("table", "key")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    table: str
    key: int
    def __init__(self, table: _Optional[str] = ..., key: _Optional[int] = ...) -> None: ...

class Departure(_message.Message):
    __slots__ = ("at_s", "reason", "score_cut", "frequency", "last_used", "came_back")
    AT_S_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SCORE_CUT_FIELD_NUMBER: _ClassVar[int]
    FREQUENCY_FIELD_NUMBER: _ClassVar[int]
    LAST_USED_FIELD_NUMBER: _ClassVar[int]
    CAME_BACK_FIELD_NUMBER: _ClassVar[int]
    at_s: int
    reason: _deltas_pb2.RemovalReason
    score_cut: float
    frequency: int
    last_used: int
    came_back: bool
    def __init__(self, at_s: _Optional[int] = ..., reason: _Optional[_Union[_deltas_pb2.RemovalReason, str]] = ..., score_cut: _Optional[float] = ..., frequency: _Optional[int] = ..., last_used: _Optional[int] = ..., came_back: bool = ...) -> None: ...

class Emptying(_message.Message):
    __slots__ = ("at_s", "dropped", "rows")
    AT_S_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    at_s: int
    dropped: bool
    rows: int
    def __init__(self, at_s: _Optional[int] = ..., dropped: bool = ..., rows: _Optional[int] = ...) -> None: ...

class ExplainRowResponse(_message.Message):
    __slots__ = ("row", "rows", "rows_before", "score", "ranked_by_last_used", "min_count", "seen", "departures", "emptyings", "known_since_s", "departures_unknown", "client_id", "caller", "expires_in_s", "policy", "cold")
    ROW_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ROWS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    RANKED_BY_LAST_USED_FIELD_NUMBER: _ClassVar[int]
    MIN_COUNT_FIELD_NUMBER: _ClassVar[int]
    SEEN_FIELD_NUMBER: _ClassVar[int]
    DEPARTURES_FIELD_NUMBER: _ClassVar[int]
    EMPTYINGS_FIELD_NUMBER: _ClassVar[int]
    KNOWN_SINCE_S_FIELD_NUMBER: _ClassVar[int]
    DEPARTURES_UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_IN_S_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    COLD_FIELD_NUMBER: _ClassVar[int]
    row: _admin_pb2.DescribeRowResponse
    rows: int
    rows_before: int
    score: float
    ranked_by_last_used: bool
    min_count: int
    seen: int
    departures: _containers.RepeatedCompositeFieldContainer[Departure]
    emptyings: _containers.RepeatedCompositeFieldContainer[Emptying]
    known_since_s: int
    departures_unknown: bool
    client_id: str
    caller: str
    expires_in_s: float
    policy: str
    cold: bool
    def __init__(self, row: _Optional[_Union[_admin_pb2.DescribeRowResponse, _Mapping]] = ..., rows: _Optional[int] = ..., rows_before: _Optional[int] = ..., score: _Optional[float] = ..., ranked_by_last_used: bool = ..., min_count: _Optional[int] = ..., seen: _Optional[int] = ..., departures: _Optional[_Iterable[_Union[Departure, _Mapping]]] = ..., emptyings: _Optional[_Iterable[_Union[Emptying, _Mapping]]] = ..., known_since_s: _Optional[int] = ..., departures_unknown: bool = ..., client_id: _Optional[str] = ..., caller: _Optional[str] = ..., expires_in_s: _Optional[float] = ..., policy: _Optional[str] = ..., cold: bool = ...) -> None: ...

class CountFrequenciesRequest(_message.Message):
    __slots__ = ("table",)
    TABLE_FIELD_NUMBER: _ClassVar[int]
    table: str
    def __init__(self, table: _Optional[str] = ...) -> None: ...

class CountFrequenciesResponse(_message.Message):
    __slots__ = ("rows", "frequencies", "ages")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    FREQUENCIES_FIELD_NUMBER: _ClassVar[int]
    AGES_FIELD_NUMBER: _ClassVar[int]
    rows: int
    frequencies: _containers.RepeatedScalarFieldContainer[int]
    ages: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, rows: _Optional[int] = ..., frequencies: _Optional[_Iterable[int]] = ..., ages: _Optional[_Iterable[int]] = ...) -> None: ...

class GetAdviceRequest(_message.Message):
    __slots__ = ("table",)
    TABLE_FIELD_NUMBER: _ClassVar[int]
    table: str
    def __init__(self, table: _Optional[str] = ...) -> None: ...

class Advice(_message.Message):
    __slots__ = ("table", "at_s", "regret_share", "regret_below", "max_rows_now", "max_rows", "regret_then", "more_bytes", "text")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    AT_S_FIELD_NUMBER: _ClassVar[int]
    REGRET_SHARE_FIELD_NUMBER: _ClassVar[int]
    REGRET_BELOW_FIELD_NUMBER: _ClassVar[int]
    MAX_ROWS_NOW_FIELD_NUMBER: _ClassVar[int]
    MAX_ROWS_FIELD_NUMBER: _ClassVar[int]
    REGRET_THEN_FIELD_NUMBER: _ClassVar[int]
    MORE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    table: str
    at_s: int
    regret_share: float
    regret_below: float
    max_rows_now: int
    max_rows: int
    regret_then: float
    more_bytes: int
    text: str
    def __init__(self, table: _Optional[str] = ..., at_s: _Optional[int] = ..., regret_share: _Optional[float] = ..., regret_below: _Optional[float] = ..., max_rows_now: _Optional[int] = ..., max_rows: _Optional[int] = ..., regret_then: _Optional[float] = ..., more_bytes: _Optional[int] = ..., text: _Optional[str] = ...) -> None: ...

class GetAdviceResponse(_message.Message):
    __slots__ = ("advice",)
    ADVICE_FIELD_NUMBER: _ClassVar[int]
    advice: _containers.RepeatedCompositeFieldContainer[Advice]
    def __init__(self, advice: _Optional[_Iterable[_Union[Advice, _Mapping]]] = ...) -> None: ...
