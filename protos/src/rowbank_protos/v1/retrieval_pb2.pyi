from rowbank_protos.v1 import features_pb2 as _features_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Filter(_message.Message):
    __slots__ = ("and_filters", "or_filters", "not_filter", "named", "condition")
    AND_FILTERS_FIELD_NUMBER: _ClassVar[int]
    OR_FILTERS_FIELD_NUMBER: _ClassVar[int]
    NOT_FILTER_FIELD_NUMBER: _ClassVar[int]
    NAMED_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    and_filters: FilterList
    or_filters: FilterList
    not_filter: Filter
    named: str
    condition: Condition
    def __init__(self, and_filters: _Optional[_Union[FilterList, _Mapping]] = ..., or_filters: _Optional[_Union[FilterList, _Mapping]] = ..., not_filter: _Optional[_Union[Filter, _Mapping]] = ..., named: _Optional[str] = ..., condition: _Optional[_Union[Condition, _Mapping]] = ...) -> None: ...

class FilterList(_message.Message):
    __slots__ = ("filters",)
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    filters: _containers.RepeatedCompositeFieldContainer[Filter]
    def __init__(self, filters: _Optional[_Iterable[_Union[Filter, _Mapping]]] = ...) -> None: ...

class Condition(_message.Message):
    __slots__ = ("feature", "any", "all", "none", "range", "exists")
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    ANY_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    NONE_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    EXISTS_FIELD_NUMBER: _ClassVar[int]
    feature: str
    any: FeatureValues
    all: FeatureValues
    none: FeatureValues
    range: Range
    exists: bool
    def __init__(self, feature: _Optional[str] = ..., any: _Optional[_Union[FeatureValues, _Mapping]] = ..., all: _Optional[_Union[FeatureValues, _Mapping]] = ..., none: _Optional[_Union[FeatureValues, _Mapping]] = ..., range: _Optional[_Union[Range, _Mapping]] = ..., exists: bool = ...) -> None: ...

class FeatureValues(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedCompositeFieldContainer[_features_pb2.FeatureValue]
    def __init__(self, values: _Optional[_Iterable[_Union[_features_pb2.FeatureValue, _Mapping]]] = ...) -> None: ...

class Range(_message.Message):
    __slots__ = ("gte", "gt", "lte", "lt")
    GTE_FIELD_NUMBER: _ClassVar[int]
    GT_FIELD_NUMBER: _ClassVar[int]
    LTE_FIELD_NUMBER: _ClassVar[int]
    LT_FIELD_NUMBER: _ClassVar[int]
    gte: Bound
    gt: Bound
    lte: Bound
    lt: Bound
    def __init__(self, gte: _Optional[_Union[Bound, _Mapping]] = ..., gt: _Optional[_Union[Bound, _Mapping]] = ..., lte: _Optional[_Union[Bound, _Mapping]] = ..., lt: _Optional[_Union[Bound, _Mapping]] = ...) -> None: ...

class Bound(_message.Message):
    __slots__ = ("integer", "number", "text")
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    integer: int
    number: float
    text: str
    def __init__(self, integer: _Optional[int] = ..., number: _Optional[float] = ..., text: _Optional[str] = ...) -> None: ...

class Boost(_message.Message):
    __slots__ = ("filter", "add", "name")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ADD_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    filter: Filter
    add: float
    name: str
    def __init__(self, filter: _Optional[_Union[Filter, _Mapping]] = ..., add: _Optional[float] = ..., name: _Optional[str] = ...) -> None: ...

class Diversity(_message.Message):
    __slots__ = ("feature", "max_per_value")
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    MAX_PER_VALUE_FIELD_NUMBER: _ClassVar[int]
    feature: str
    max_per_value: int
    def __init__(self, feature: _Optional[str] = ..., max_per_value: _Optional[int] = ...) -> None: ...

class SeenRule(_message.Message):
    __slots__ = ("kinds",)
    KINDS_FIELD_NUMBER: _ClassVar[int]
    kinds: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, kinds: _Optional[_Iterable[str]] = ...) -> None: ...

class RecommendRequest(_message.Message):
    __slots__ = ("user_id", "session", "user_text", "vector", "k", "exclude", "exclude_seen", "min_score", "exclude_texts", "features", "explain", "model", "version", "filter", "boosts", "diversity", "offset", "cursor", "seen_rule")
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
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_SEEN_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_TEXTS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    BOOSTS_FIELD_NUMBER: _ClassVar[int]
    DIVERSITY_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    SEEN_RULE_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    session: SessionItems
    user_text: str
    vector: Vector
    k: int
    exclude: _containers.RepeatedScalarFieldContainer[int]
    exclude_seen: bool
    min_score: float
    exclude_texts: _containers.RepeatedScalarFieldContainer[str]
    features: _containers.MessageMap[str, _features_pb2.FeatureValue]
    explain: bool
    model: str
    version: str
    filter: Filter
    boosts: _containers.RepeatedCompositeFieldContainer[Boost]
    diversity: Diversity
    offset: int
    cursor: str
    seen_rule: SeenRule
    def __init__(self, user_id: _Optional[int] = ..., session: _Optional[_Union[SessionItems, _Mapping]] = ..., user_text: _Optional[str] = ..., vector: _Optional[_Union[Vector, _Mapping]] = ..., k: _Optional[int] = ..., exclude: _Optional[_Iterable[int]] = ..., exclude_seen: bool = ..., min_score: _Optional[float] = ..., exclude_texts: _Optional[_Iterable[str]] = ..., features: _Optional[_Mapping[str, _features_pb2.FeatureValue]] = ..., explain: bool = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., boosts: _Optional[_Iterable[_Union[Boost, _Mapping]]] = ..., diversity: _Optional[_Union[Diversity, _Mapping]] = ..., offset: _Optional[int] = ..., cursor: _Optional[str] = ..., seen_rule: _Optional[_Union[SeenRule, _Mapping]] = ...) -> None: ...

class SessionItems(_message.Message):
    __slots__ = ("item_ids", "item_texts")
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    ITEM_TEXTS_FIELD_NUMBER: _ClassVar[int]
    item_ids: _containers.RepeatedScalarFieldContainer[int]
    item_texts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, item_ids: _Optional[_Iterable[int]] = ..., item_texts: _Optional[_Iterable[str]] = ...) -> None: ...

class Vector(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class SimilarItemsRequest(_message.Message):
    __slots__ = ("item_ids", "k", "exclude", "item_texts", "exclude_texts", "model", "version", "filter", "boosts", "diversity", "offset", "cursor", "min_score", "explain")
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_FIELD_NUMBER: _ClassVar[int]
    ITEM_TEXTS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_TEXTS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    BOOSTS_FIELD_NUMBER: _ClassVar[int]
    DIVERSITY_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    item_ids: _containers.RepeatedScalarFieldContainer[int]
    k: int
    exclude: _containers.RepeatedScalarFieldContainer[int]
    item_texts: _containers.RepeatedScalarFieldContainer[str]
    exclude_texts: _containers.RepeatedScalarFieldContainer[str]
    model: str
    version: str
    filter: Filter
    boosts: _containers.RepeatedCompositeFieldContainer[Boost]
    diversity: Diversity
    offset: int
    cursor: str
    min_score: float
    explain: bool
    def __init__(self, item_ids: _Optional[_Iterable[int]] = ..., k: _Optional[int] = ..., exclude: _Optional[_Iterable[int]] = ..., item_texts: _Optional[_Iterable[str]] = ..., exclude_texts: _Optional[_Iterable[str]] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., boosts: _Optional[_Iterable[_Union[Boost, _Mapping]]] = ..., diversity: _Optional[_Union[Diversity, _Mapping]] = ..., offset: _Optional[int] = ..., cursor: _Optional[str] = ..., min_score: _Optional[float] = ..., explain: bool = ...) -> None: ...

class ScoredItem(_message.Message):
    __slots__ = ("item_id", "score", "rank", "title", "item_text", "scored", "parts")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    ITEM_TEXT_FIELD_NUMBER: _ClassVar[int]
    SCORED_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    item_id: int
    score: float
    rank: int
    title: str
    item_text: str
    scored: bool
    parts: ScoreParts
    def __init__(self, item_id: _Optional[int] = ..., score: _Optional[float] = ..., rank: _Optional[int] = ..., title: _Optional[str] = ..., item_text: _Optional[str] = ..., scored: bool = ..., parts: _Optional[_Union[ScoreParts, _Mapping]] = ...) -> None: ...

class ScoreParts(_message.Message):
    __slots__ = ("dot", "logit_scale", "boosts", "interactions")
    class BoostsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    DOT_FIELD_NUMBER: _ClassVar[int]
    LOGIT_SCALE_FIELD_NUMBER: _ClassVar[int]
    BOOSTS_FIELD_NUMBER: _ClassVar[int]
    INTERACTIONS_FIELD_NUMBER: _ClassVar[int]
    dot: float
    logit_scale: float
    boosts: _containers.ScalarMap[str, float]
    interactions: int
    def __init__(self, dot: _Optional[float] = ..., logit_scale: _Optional[float] = ..., boosts: _Optional[_Mapping[str, float]] = ..., interactions: _Optional[int] = ...) -> None: ...

class RecommendResponse(_message.Message):
    __slots__ = ("items", "model_version", "index_version", "source", "degraded", "timings_ms", "defaulted", "model", "next_cursor", "explanation")
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
    MODEL_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[ScoredItem]
    model_version: str
    index_version: str
    source: str
    degraded: _containers.RepeatedScalarFieldContainer[str]
    timings_ms: _containers.ScalarMap[str, float]
    defaulted: _containers.RepeatedScalarFieldContainer[str]
    model: str
    next_cursor: str
    explanation: Explanation
    def __init__(self, items: _Optional[_Iterable[_Union[ScoredItem, _Mapping]]] = ..., model_version: _Optional[str] = ..., index_version: _Optional[str] = ..., source: _Optional[str] = ..., degraded: _Optional[_Iterable[str]] = ..., timings_ms: _Optional[_Mapping[str, float]] = ..., defaulted: _Optional[_Iterable[str]] = ..., model: _Optional[str] = ..., next_cursor: _Optional[str] = ..., explanation: _Optional[_Union[Explanation, _Mapping]] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("features", "candidates", "rows", "index", "split")
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    features: _containers.RepeatedCompositeFieldContainer[FeatureUse]
    candidates: _containers.RepeatedCompositeFieldContainer[CandidateCount]
    rows: _containers.RepeatedCompositeFieldContainer[TableUse]
    index: str
    split: str
    def __init__(self, features: _Optional[_Iterable[_Union[FeatureUse, _Mapping]]] = ..., candidates: _Optional[_Iterable[_Union[CandidateCount, _Mapping]]] = ..., rows: _Optional[_Iterable[_Union[TableUse, _Mapping]]] = ..., index: _Optional[str] = ..., split: _Optional[str] = ...) -> None: ...

class FeatureUse(_message.Message):
    __slots__ = ("name", "status", "age_s")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    AGE_S_FIELD_NUMBER: _ClassVar[int]
    name: str
    status: str
    age_s: float
    def __init__(self, name: _Optional[str] = ..., status: _Optional[str] = ..., age_s: _Optional[float] = ...) -> None: ...

class CandidateCount(_message.Message):
    __slots__ = ("step", "before", "after")
    STEP_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    step: str
    before: int
    after: int
    def __init__(self, step: _Optional[str] = ..., before: _Optional[int] = ..., after: _Optional[int] = ...) -> None: ...

class TableUse(_message.Message):
    __slots__ = ("table", "keys", "found", "mode", "step", "age_s")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    AGE_S_FIELD_NUMBER: _ClassVar[int]
    table: str
    keys: int
    found: int
    mode: str
    step: int
    age_s: float
    def __init__(self, table: _Optional[str] = ..., keys: _Optional[int] = ..., found: _Optional[int] = ..., mode: _Optional[str] = ..., step: _Optional[int] = ..., age_s: _Optional[float] = ...) -> None: ...

class RecommendBatchRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[RecommendRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[RecommendRequest, _Mapping]]] = ...) -> None: ...

class RecommendBatchResponse(_message.Message):
    __slots__ = ("answers",)
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    answers: _containers.RepeatedCompositeFieldContainer[RecommendResponse]
    def __init__(self, answers: _Optional[_Iterable[_Union[RecommendResponse, _Mapping]]] = ...) -> None: ...

class ScoreRequest(_message.Message):
    __slots__ = ("user_id", "session", "user_text", "vector", "features", "item_ids", "item_texts", "boosts", "model", "version", "explain")
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
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    ITEM_TEXTS_FIELD_NUMBER: _ClassVar[int]
    BOOSTS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    session: SessionItems
    user_text: str
    vector: Vector
    features: _containers.MessageMap[str, _features_pb2.FeatureValue]
    item_ids: _containers.RepeatedScalarFieldContainer[int]
    item_texts: _containers.RepeatedScalarFieldContainer[str]
    boosts: _containers.RepeatedCompositeFieldContainer[Boost]
    model: str
    version: str
    explain: bool
    def __init__(self, user_id: _Optional[int] = ..., session: _Optional[_Union[SessionItems, _Mapping]] = ..., user_text: _Optional[str] = ..., vector: _Optional[_Union[Vector, _Mapping]] = ..., features: _Optional[_Mapping[str, _features_pb2.FeatureValue]] = ..., item_ids: _Optional[_Iterable[int]] = ..., item_texts: _Optional[_Iterable[str]] = ..., boosts: _Optional[_Iterable[_Union[Boost, _Mapping]]] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., explain: bool = ...) -> None: ...

class ScoreResponse(_message.Message):
    __slots__ = ("items", "unscored", "model", "model_version", "index_version", "source", "degraded", "explanation", "timings_ms")
    class TimingsMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    UNSCORED_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    INDEX_VERSION_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[ScoredItem]
    unscored: _containers.RepeatedCompositeFieldContainer[UnscoredItem]
    model: str
    model_version: str
    index_version: str
    source: str
    degraded: _containers.RepeatedScalarFieldContainer[str]
    explanation: Explanation
    timings_ms: _containers.ScalarMap[str, float]
    def __init__(self, items: _Optional[_Iterable[_Union[ScoredItem, _Mapping]]] = ..., unscored: _Optional[_Iterable[_Union[UnscoredItem, _Mapping]]] = ..., model: _Optional[str] = ..., model_version: _Optional[str] = ..., index_version: _Optional[str] = ..., source: _Optional[str] = ..., degraded: _Optional[_Iterable[str]] = ..., explanation: _Optional[_Union[Explanation, _Mapping]] = ..., timings_ms: _Optional[_Mapping[str, float]] = ...) -> None: ...

class UnscoredItem(_message.Message):
    __slots__ = ("item_id", "item_text", "reason")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    ITEM_TEXT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    item_id: int
    item_text: str
    reason: str
    def __init__(self, item_id: _Optional[int] = ..., item_text: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class EmbedRequest(_message.Message):
    __slots__ = ("user_ids", "user_texts", "item_ids", "item_texts", "features", "model", "version")
    class FeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _features_pb2.FeatureValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_features_pb2.FeatureValue, _Mapping]] = ...) -> None: ...
    USER_IDS_FIELD_NUMBER: _ClassVar[int]
    USER_TEXTS_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    ITEM_TEXTS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    user_ids: _containers.RepeatedScalarFieldContainer[int]
    user_texts: _containers.RepeatedScalarFieldContainer[str]
    item_ids: _containers.RepeatedScalarFieldContainer[int]
    item_texts: _containers.RepeatedScalarFieldContainer[str]
    features: _containers.MessageMap[str, _features_pb2.FeatureValue]
    model: str
    version: str
    def __init__(self, user_ids: _Optional[_Iterable[int]] = ..., user_texts: _Optional[_Iterable[str]] = ..., item_ids: _Optional[_Iterable[int]] = ..., item_texts: _Optional[_Iterable[str]] = ..., features: _Optional[_Mapping[str, _features_pb2.FeatureValue]] = ..., model: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class EmbedResponse(_message.Message):
    __slots__ = ("embeddings", "model", "model_version", "index_version", "dim")
    EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    INDEX_VERSION_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    embeddings: _containers.RepeatedCompositeFieldContainer[Embedding]
    model: str
    model_version: str
    index_version: str
    dim: int
    def __init__(self, embeddings: _Optional[_Iterable[_Union[Embedding, _Mapping]]] = ..., model: _Optional[str] = ..., model_version: _Optional[str] = ..., index_version: _Optional[str] = ..., dim: _Optional[int] = ...) -> None: ...

class Embedding(_message.Message):
    __slots__ = ("id", "text", "vector", "reason")
    ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    id: int
    text: str
    vector: bytes
    reason: str
    def __init__(self, id: _Optional[int] = ..., text: _Optional[str] = ..., vector: _Optional[bytes] = ..., reason: _Optional[str] = ...) -> None: ...

class PopularRequest(_message.Message):
    __slots__ = ("k", "model", "version", "filter", "window_s", "kinds", "exclude", "exclude_texts", "offset", "cursor", "diversity", "explain")
    K_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    WINDOW_S_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_TEXTS_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    DIVERSITY_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    k: int
    model: str
    version: str
    filter: Filter
    window_s: float
    kinds: _containers.RepeatedScalarFieldContainer[str]
    exclude: _containers.RepeatedScalarFieldContainer[int]
    exclude_texts: _containers.RepeatedScalarFieldContainer[str]
    offset: int
    cursor: str
    diversity: Diversity
    explain: bool
    def __init__(self, k: _Optional[int] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., window_s: _Optional[float] = ..., kinds: _Optional[_Iterable[str]] = ..., exclude: _Optional[_Iterable[int]] = ..., exclude_texts: _Optional[_Iterable[str]] = ..., offset: _Optional[int] = ..., cursor: _Optional[str] = ..., diversity: _Optional[_Union[Diversity, _Mapping]] = ..., explain: bool = ...) -> None: ...

class GetEntityRequest(_message.Message):
    __slots__ = ("id", "text", "model", "vector")
    ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    id: int
    text: str
    model: str
    vector: bool
    def __init__(self, id: _Optional[int] = ..., text: _Optional[str] = ..., model: _Optional[str] = ..., vector: bool = ...) -> None: ...

class GetItemResponse(_message.Message):
    __slots__ = ("id", "text", "features", "status", "event_time_s", "indexed", "interactions", "not_indexed", "item_lists", "vector")
    class FeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _features_pb2.FeatureValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_features_pb2.FeatureValue, _Mapping]] = ...) -> None: ...
    class ItemListsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _features_pb2.StringList
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_features_pb2.StringList, _Mapping]] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_S_FIELD_NUMBER: _ClassVar[int]
    INDEXED_FIELD_NUMBER: _ClassVar[int]
    INTERACTIONS_FIELD_NUMBER: _ClassVar[int]
    NOT_INDEXED_FIELD_NUMBER: _ClassVar[int]
    ITEM_LISTS_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    id: int
    text: str
    features: _containers.MessageMap[str, _features_pb2.FeatureValue]
    status: str
    event_time_s: float
    indexed: bool
    interactions: int
    not_indexed: str
    item_lists: _containers.MessageMap[str, _features_pb2.StringList]
    vector: bytes
    def __init__(self, id: _Optional[int] = ..., text: _Optional[str] = ..., features: _Optional[_Mapping[str, _features_pb2.FeatureValue]] = ..., status: _Optional[str] = ..., event_time_s: _Optional[float] = ..., indexed: bool = ..., interactions: _Optional[int] = ..., not_indexed: _Optional[str] = ..., item_lists: _Optional[_Mapping[str, _features_pb2.StringList]] = ..., vector: _Optional[bytes] = ...) -> None: ...

class GetUserResponse(_message.Message):
    __slots__ = ("id", "text", "features", "status", "event_time_s", "item_lists")
    class FeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _features_pb2.FeatureValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_features_pb2.FeatureValue, _Mapping]] = ...) -> None: ...
    class ItemListsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _features_pb2.StringList
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_features_pb2.StringList, _Mapping]] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_S_FIELD_NUMBER: _ClassVar[int]
    ITEM_LISTS_FIELD_NUMBER: _ClassVar[int]
    id: int
    text: str
    features: _containers.MessageMap[str, _features_pb2.FeatureValue]
    status: str
    event_time_s: float
    item_lists: _containers.MessageMap[str, _features_pb2.StringList]
    def __init__(self, id: _Optional[int] = ..., text: _Optional[str] = ..., features: _Optional[_Mapping[str, _features_pb2.FeatureValue]] = ..., status: _Optional[str] = ..., event_time_s: _Optional[float] = ..., item_lists: _Optional[_Mapping[str, _features_pb2.StringList]] = ...) -> None: ...

class Entity(_message.Message):
    __slots__ = ("id", "text", "features", "item_lists")
    class FeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _features_pb2.FeatureValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_features_pb2.FeatureValue, _Mapping]] = ...) -> None: ...
    class ItemListsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _features_pb2.StringList
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_features_pb2.StringList, _Mapping]] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    ITEM_LISTS_FIELD_NUMBER: _ClassVar[int]
    id: int
    text: str
    features: _containers.MessageMap[str, _features_pb2.FeatureValue]
    item_lists: _containers.MessageMap[str, _features_pb2.StringList]
    def __init__(self, id: _Optional[int] = ..., text: _Optional[str] = ..., features: _Optional[_Mapping[str, _features_pb2.FeatureValue]] = ..., item_lists: _Optional[_Mapping[str, _features_pb2.StringList]] = ...) -> None: ...

class UpsertEntitiesRequest(_message.Message):
    __slots__ = ("entities", "model")
    ENTITIES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    entities: _containers.RepeatedCompositeFieldContainer[Entity]
    model: str
    def __init__(self, entities: _Optional[_Iterable[_Union[Entity, _Mapping]]] = ..., model: _Optional[str] = ...) -> None: ...

class UpsertEntitiesResponse(_message.Message):
    __slots__ = ("written", "outdated", "errors")
    WRITTEN_FIELD_NUMBER: _ClassVar[int]
    OUTDATED_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    written: int
    outdated: int
    errors: _containers.RepeatedCompositeFieldContainer[EntityError]
    def __init__(self, written: _Optional[int] = ..., outdated: _Optional[int] = ..., errors: _Optional[_Iterable[_Union[EntityError, _Mapping]]] = ...) -> None: ...

class EntityError(_message.Message):
    __slots__ = ("index", "reason", "message")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    index: int
    reason: str
    message: str
    def __init__(self, index: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class DeleteItemRequest(_message.Message):
    __slots__ = ("id", "text", "model")
    ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    id: int
    text: str
    model: str
    def __init__(self, id: _Optional[int] = ..., text: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class DeleteItemResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Event(_message.Message):
    __slots__ = ("user_id", "user_text", "item_id", "item_text", "kind", "weight", "time_s", "id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    USER_TEXT_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    ITEM_TEXT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_S_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    user_text: str
    item_id: int
    item_text: str
    kind: str
    weight: float
    time_s: float
    id: str
    def __init__(self, user_id: _Optional[int] = ..., user_text: _Optional[str] = ..., item_id: _Optional[int] = ..., item_text: _Optional[str] = ..., kind: _Optional[str] = ..., weight: _Optional[float] = ..., time_s: _Optional[float] = ..., id: _Optional[str] = ...) -> None: ...

class RecordEventsRequest(_message.Message):
    __slots__ = ("events", "model")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    model: str
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., model: _Optional[str] = ...) -> None: ...

class RecordEventsResponse(_message.Message):
    __slots__ = ("users", "events", "repeats")
    USERS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    REPEATS_FIELD_NUMBER: _ClassVar[int]
    users: int
    events: int
    repeats: int
    def __init__(self, users: _Optional[int] = ..., events: _Optional[int] = ..., repeats: _Optional[int] = ...) -> None: ...

class ListServedModelsRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class ListServedModelsResponse(_message.Message):
    __slots__ = ("models", "default_model")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_MODEL_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ServedModel]
    default_model: str
    def __init__(self, models: _Optional[_Iterable[_Union[ServedModel, _Mapping]]] = ..., default_model: _Optional[str] = ...) -> None: ...

class ServedModel(_message.Message):
    __slots__ = ("name", "version", "active", "serving", "created_at_s", "vector_dim", "metrics", "share", "shadow", "index_version", "items", "index", "memory_bytes", "load_s", "warm_up_s", "problem", "previous")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_S_FIELD_NUMBER: _ClassVar[int]
    VECTOR_DIM_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    INDEX_VERSION_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOAD_S_FIELD_NUMBER: _ClassVar[int]
    WARM_UP_S_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    active: bool
    serving: bool
    created_at_s: float
    vector_dim: int
    metrics: _containers.ScalarMap[str, float]
    share: float
    shadow: bool
    index_version: str
    items: int
    index: str
    memory_bytes: int
    load_s: float
    warm_up_s: float
    problem: str
    previous: bool
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., active: bool = ..., serving: bool = ..., created_at_s: _Optional[float] = ..., vector_dim: _Optional[int] = ..., metrics: _Optional[_Mapping[str, float]] = ..., share: _Optional[float] = ..., shadow: bool = ..., index_version: _Optional[str] = ..., items: _Optional[int] = ..., index: _Optional[str] = ..., memory_bytes: _Optional[int] = ..., load_s: _Optional[float] = ..., warm_up_s: _Optional[float] = ..., problem: _Optional[str] = ..., previous: bool = ...) -> None: ...

class ActivateVersionRequest(_message.Message):
    __slots__ = ("model", "version", "force")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    force: bool
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., force: bool = ...) -> None: ...

class ActivateVersionResponse(_message.Message):
    __slots__ = ("version", "previous_version")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_VERSION_FIELD_NUMBER: _ClassVar[int]
    version: str
    previous_version: str
    def __init__(self, version: _Optional[str] = ..., previous_version: _Optional[str] = ...) -> None: ...

class RollBackRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class Traffic(_message.Message):
    __slots__ = ("model", "shares", "shadow", "active")
    class SharesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    model: str
    shares: _containers.ScalarMap[str, float]
    shadow: str
    active: str
    def __init__(self, model: _Optional[str] = ..., shares: _Optional[_Mapping[str, float]] = ..., shadow: _Optional[str] = ..., active: _Optional[str] = ...) -> None: ...

class GetTrafficRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class SetTrafficRequest(_message.Message):
    __slots__ = ("traffic",)
    TRAFFIC_FIELD_NUMBER: _ClassVar[int]
    traffic: Traffic
    def __init__(self, traffic: _Optional[_Union[Traffic, _Mapping]] = ...) -> None: ...

class NamedFilter(_message.Message):
    __slots__ = ("name", "filter")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    name: str
    filter: Filter
    def __init__(self, name: _Optional[str] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ...) -> None: ...

class ListFiltersRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class ListFiltersResponse(_message.Message):
    __slots__ = ("filters",)
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    filters: _containers.RepeatedCompositeFieldContainer[NamedFilter]
    def __init__(self, filters: _Optional[_Iterable[_Union[NamedFilter, _Mapping]]] = ...) -> None: ...

class PutFilterRequest(_message.Message):
    __slots__ = ("model", "filter")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    model: str
    filter: NamedFilter
    def __init__(self, model: _Optional[str] = ..., filter: _Optional[_Union[NamedFilter, _Mapping]] = ...) -> None: ...

class PutFilterResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DeleteFilterRequest(_message.Message):
    __slots__ = ("model", "name")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    model: str
    name: str
    def __init__(self, model: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class DeleteFilterResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ProbeIndexRequest(_message.Message):
    __slots__ = ("model", "version", "queries", "k", "filter")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    queries: int
    k: int
    filter: Filter
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., queries: _Optional[int] = ..., k: _Optional[int] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ...) -> None: ...

class ProbeIndexResponse(_message.Message):
    __slots__ = ("model_version", "index_version", "index", "queries", "k", "recall", "worst_recall", "served_p50_ms", "exact_p50_ms", "items", "eligible")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    INDEX_VERSION_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    WORST_RECALL_FIELD_NUMBER: _ClassVar[int]
    SERVED_P50_MS_FIELD_NUMBER: _ClassVar[int]
    EXACT_P50_MS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    ELIGIBLE_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    index_version: str
    index: str
    queries: int
    k: int
    recall: float
    worst_recall: float
    served_p50_ms: float
    exact_p50_ms: float
    items: int
    eligible: int
    def __init__(self, model_version: _Optional[str] = ..., index_version: _Optional[str] = ..., index: _Optional[str] = ..., queries: _Optional[int] = ..., k: _Optional[int] = ..., recall: _Optional[float] = ..., worst_recall: _Optional[float] = ..., served_p50_ms: _Optional[float] = ..., exact_p50_ms: _Optional[float] = ..., items: _Optional[int] = ..., eligible: _Optional[int] = ...) -> None: ...
