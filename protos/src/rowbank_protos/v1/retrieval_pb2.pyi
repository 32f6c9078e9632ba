from rowbank_protos.v1 import features_pb2 as _features_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RecommendRequest(_message.Message):
    __slots__ = ("user_id", "session", "user_text", "k", "exclude", "exclude_seen", "min_score", "exclude_texts", "features", "explain")
    class FeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _features_pb2.FeatureValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_features_pb2.FeatureValue, _Mapping]] = ...) -> None: ...
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    USER_TEXT_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_SEEN_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_TEXTS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    session: SessionItems
    user_text: str
    k: int
    exclude: _containers.RepeatedScalarFieldContainer[int]
    exclude_seen: bool
    min_score: float
    exclude_texts: _containers.RepeatedScalarFieldContainer[str]
    features: _containers.MessageMap[str, _features_pb2.FeatureValue]
    explain: bool
    def __init__(self, user_id: _Optional[int] = ..., session: _Optional[_Union[SessionItems, _Mapping]] = ..., user_text: _Optional[str] = ..., k: _Optional[int] = ..., exclude: _Optional[_Iterable[int]] = ..., exclude_seen: bool = ..., min_score: _Optional[float] = ..., exclude_texts: _Optional[_Iterable[str]] = ..., features: _Optional[_Mapping[str, _features_pb2.FeatureValue]] = ..., explain: bool = ...) -> None: ...

class SessionItems(_message.Message):
    __slots__ = ("item_ids", "item_texts")
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    ITEM_TEXTS_FIELD_NUMBER: _ClassVar[int]
    item_ids: _containers.RepeatedScalarFieldContainer[int]
    item_texts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, item_ids: _Optional[_Iterable[int]] = ..., item_texts: _Optional[_Iterable[str]] = ...) -> None: ...

class SimilarItemsRequest(_message.Message):
    __slots__ = ("item_ids", "k", "exclude", "item_texts", "exclude_texts")
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_FIELD_NUMBER: _ClassVar[int]
    ITEM_TEXTS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_TEXTS_FIELD_NUMBER: _ClassVar[int]
    item_ids: _containers.RepeatedScalarFieldContainer[int]
    k: int
    exclude: _containers.RepeatedScalarFieldContainer[int]
    item_texts: _containers.RepeatedScalarFieldContainer[str]
    exclude_texts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, item_ids: _Optional[_Iterable[int]] = ..., k: _Optional[int] = ..., exclude: _Optional[_Iterable[int]] = ..., item_texts: _Optional[_Iterable[str]] = ..., exclude_texts: _Optional[_Iterable[str]] = ...) -> None: ...

class ScoredItem(_message.Message):
    __slots__ = ("item_id", "score", "rank", "title", "item_text")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    ITEM_TEXT_FIELD_NUMBER: _ClassVar[int]
    item_id: int
    score: float
    rank: int
    title: str
    item_text: str
    def __init__(self, item_id: _Optional[int] = ..., score: _Optional[float] = ..., rank: _Optional[int] = ..., title: _Optional[str] = ..., item_text: _Optional[str] = ...) -> None: ...

class RecommendResponse(_message.Message):
    __slots__ = ("items", "model_version", "index_version", "source", "degraded", "timings_ms", "defaulted")
    class TimingsMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    INDEX_VERSION_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    DEFAULTED_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[ScoredItem]
    model_version: str
    index_version: str
    source: str
    degraded: _containers.RepeatedScalarFieldContainer[str]
    timings_ms: _containers.ScalarMap[str, float]
    defaulted: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, items: _Optional[_Iterable[_Union[ScoredItem, _Mapping]]] = ..., model_version: _Optional[str] = ..., index_version: _Optional[str] = ..., source: _Optional[str] = ..., degraded: _Optional[_Iterable[str]] = ..., timings_ms: _Optional[_Mapping[str, float]] = ..., defaulted: _Optional[_Iterable[str]] = ...) -> None: ...
