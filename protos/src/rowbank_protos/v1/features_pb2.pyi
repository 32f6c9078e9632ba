from rowbank_protos.v1 import models_pb2 as _models_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FeatureType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FEATURE_TYPE_UNSPECIFIED: _ClassVar[FeatureType]
    FEATURE_TYPE_INT64: _ClassVar[FeatureType]
    FEATURE_TYPE_DOUBLE: _ClassVar[FeatureType]
    FEATURE_TYPE_STRING: _ClassVar[FeatureType]
    FEATURE_TYPE_BOOL: _ClassVar[FeatureType]
    FEATURE_TYPE_INT64_LIST: _ClassVar[FeatureType]
    FEATURE_TYPE_FLOAT_LIST: _ClassVar[FeatureType]
    FEATURE_TYPE_STRING_LIST: _ClassVar[FeatureType]

class FeatureStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FEATURE_STATUS_UNSPECIFIED: _ClassVar[FeatureStatus]
    FEATURE_STATUS_PRESENT: _ClassVar[FeatureStatus]
    FEATURE_STATUS_NOT_FOUND: _ClassVar[FeatureStatus]
    FEATURE_STATUS_OUTSIDE_MAX_AGE: _ClassVar[FeatureStatus]
FEATURE_TYPE_UNSPECIFIED: FeatureType
FEATURE_TYPE_INT64: FeatureType
FEATURE_TYPE_DOUBLE: FeatureType
FEATURE_TYPE_STRING: FeatureType
FEATURE_TYPE_BOOL: FeatureType
FEATURE_TYPE_INT64_LIST: FeatureType
FEATURE_TYPE_FLOAT_LIST: FeatureType
FEATURE_TYPE_STRING_LIST: FeatureType
FEATURE_STATUS_UNSPECIFIED: FeatureStatus
FEATURE_STATUS_PRESENT: FeatureStatus
FEATURE_STATUS_NOT_FOUND: FeatureStatus
FEATURE_STATUS_OUTSIDE_MAX_AGE: FeatureStatus

class Int64List(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, values: _Optional[_Iterable[int]] = ...) -> None: ...

class FloatList(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class StringList(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Iterable[str]] = ...) -> None: ...

class FeatureValue(_message.Message):
    __slots__ = ("int64_value", "double_value", "string_value", "bool_value", "int64_list", "float_list", "string_list")
    INT64_VALUE_FIELD_NUMBER: _ClassVar[int]
    DOUBLE_VALUE_FIELD_NUMBER: _ClassVar[int]
    STRING_VALUE_FIELD_NUMBER: _ClassVar[int]
    BOOL_VALUE_FIELD_NUMBER: _ClassVar[int]
    INT64_LIST_FIELD_NUMBER: _ClassVar[int]
    FLOAT_LIST_FIELD_NUMBER: _ClassVar[int]
    STRING_LIST_FIELD_NUMBER: _ClassVar[int]
    int64_value: int
    double_value: float
    string_value: str
    bool_value: bool
    int64_list: Int64List
    float_list: FloatList
    string_list: StringList
    def __init__(self, int64_value: _Optional[int] = ..., double_value: _Optional[float] = ..., string_value: _Optional[str] = ..., bool_value: bool = ..., int64_list: _Optional[_Union[Int64List, _Mapping]] = ..., float_list: _Optional[_Union[FloatList, _Mapping]] = ..., string_list: _Optional[_Union[StringList, _Mapping]] = ...) -> None: ...

class FeatureField(_message.Message):
    __slots__ = ("name", "type", "default_value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: FeatureType
    default_value: FeatureValue
    def __init__(self, name: _Optional[str] = ..., type: _Optional[_Union[FeatureType, str]] = ..., default_value: _Optional[_Union[FeatureValue, _Mapping]] = ...) -> None: ...

class FeatureView(_message.Message):
    __slots__ = ("name", "entity", "fields", "max_age_s")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ENTITY_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    MAX_AGE_S_FIELD_NUMBER: _ClassVar[int]
    name: str
    entity: str
    fields: _containers.RepeatedCompositeFieldContainer[FeatureField]
    max_age_s: float
    def __init__(self, name: _Optional[str] = ..., entity: _Optional[str] = ..., fields: _Optional[_Iterable[_Union[FeatureField, _Mapping]]] = ..., max_age_s: _Optional[float] = ...) -> None: ...

class PutViewRequest(_message.Message):
    __slots__ = ("view",)
    VIEW_FIELD_NUMBER: _ClassVar[int]
    view: FeatureView
    def __init__(self, view: _Optional[_Union[FeatureView, _Mapping]] = ...) -> None: ...

class PutViewResponse(_message.Message):
    __slots__ = ("changed",)
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    changed: bool
    def __init__(self, changed: bool = ...) -> None: ...

class ListViewsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListViewsResponse(_message.Message):
    __slots__ = ("views",)
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    views: _containers.RepeatedCompositeFieldContainer[FeatureView]
    def __init__(self, views: _Optional[_Iterable[_Union[FeatureView, _Mapping]]] = ...) -> None: ...

class FeatureRow(_message.Message):
    __slots__ = ("entity", "values")
    class ValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: FeatureValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[FeatureValue, _Mapping]] = ...) -> None: ...
    ENTITY_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    entity: int
    values: _containers.MessageMap[str, FeatureValue]
    def __init__(self, entity: _Optional[int] = ..., values: _Optional[_Mapping[str, FeatureValue]] = ...) -> None: ...

class WriteFeaturesRequest(_message.Message):
    __slots__ = ("view", "rows", "event_time_s")
    VIEW_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_S_FIELD_NUMBER: _ClassVar[int]
    view: str
    rows: _containers.RepeatedCompositeFieldContainer[FeatureRow]
    event_time_s: float
    def __init__(self, view: _Optional[str] = ..., rows: _Optional[_Iterable[_Union[FeatureRow, _Mapping]]] = ..., event_time_s: _Optional[float] = ...) -> None: ...

class WriteFeaturesResponse(_message.Message):
    __slots__ = ("written",)
    WRITTEN_FIELD_NUMBER: _ClassVar[int]
    written: int
    def __init__(self, written: _Optional[int] = ...) -> None: ...

class FeatureColumn(_message.Message):
    __slots__ = ("name", "type", "present", "counts", "numbers", "texts", "text_bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    PRESENT_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    TEXT_BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: FeatureType
    present: bytes
    counts: bytes
    numbers: bytes
    texts: bytes
    text_bytes: bytes
    def __init__(self, name: _Optional[str] = ..., type: _Optional[_Union[FeatureType, str]] = ..., present: _Optional[bytes] = ..., counts: _Optional[bytes] = ..., numbers: _Optional[bytes] = ..., texts: _Optional[bytes] = ..., text_bytes: _Optional[bytes] = ...) -> None: ...

class WriteColumnsRequest(_message.Message):
    __slots__ = ("view", "entities", "columns", "event_times_us")
    VIEW_FIELD_NUMBER: _ClassVar[int]
    ENTITIES_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIMES_US_FIELD_NUMBER: _ClassVar[int]
    view: str
    entities: bytes
    columns: _containers.RepeatedCompositeFieldContainer[FeatureColumn]
    event_times_us: bytes
    def __init__(self, view: _Optional[str] = ..., entities: _Optional[bytes] = ..., columns: _Optional[_Iterable[_Union[FeatureColumn, _Mapping]]] = ..., event_times_us: _Optional[bytes] = ...) -> None: ...

class WriteColumnsResponse(_message.Message):
    __slots__ = ("written", "outdated")
    WRITTEN_FIELD_NUMBER: _ClassVar[int]
    OUTDATED_FIELD_NUMBER: _ClassVar[int]
    written: int
    outdated: int
    def __init__(self, written: _Optional[int] = ..., outdated: _Optional[int] = ...) -> None: ...

class FeatureOverlay(_message.Message):
    __slots__ = ("view", "transforms", "united")
    VIEW_FIELD_NUMBER: _ClassVar[int]
    TRANSFORMS_FIELD_NUMBER: _ClassVar[int]
    UNITED_FIELD_NUMBER: _ClassVar[int]
    view: str
    transforms: _containers.RepeatedCompositeFieldContainer[_models_pb2.Transform]
    united: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, view: _Optional[str] = ..., transforms: _Optional[_Iterable[_Union[_models_pb2.Transform, _Mapping]]] = ..., united: _Optional[_Iterable[str]] = ...) -> None: ...

class ReadFeaturesRequest(_message.Message):
    __slots__ = ("view", "entities", "names", "overlay")
    VIEW_FIELD_NUMBER: _ClassVar[int]
    ENTITIES_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    OVERLAY_FIELD_NUMBER: _ClassVar[int]
    view: str
    entities: _containers.RepeatedScalarFieldContainer[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    overlay: FeatureOverlay
    def __init__(self, view: _Optional[str] = ..., entities: _Optional[_Iterable[int]] = ..., names: _Optional[_Iterable[str]] = ..., overlay: _Optional[_Union[FeatureOverlay, _Mapping]] = ...) -> None: ...

class FeatureResult(_message.Message):
    __slots__ = ("entity", "values", "status", "event_time_s", "absent")
    class ValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: FeatureValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[FeatureValue, _Mapping]] = ...) -> None: ...
    ENTITY_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_S_FIELD_NUMBER: _ClassVar[int]
    ABSENT_FIELD_NUMBER: _ClassVar[int]
    entity: int
    values: _containers.MessageMap[str, FeatureValue]
    status: FeatureStatus
    event_time_s: float
    absent: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, entity: _Optional[int] = ..., values: _Optional[_Mapping[str, FeatureValue]] = ..., status: _Optional[_Union[FeatureStatus, str]] = ..., event_time_s: _Optional[float] = ..., absent: _Optional[_Iterable[str]] = ...) -> None: ...

class ReadFeaturesResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[FeatureResult]
    def __init__(self, results: _Optional[_Iterable[_Union[FeatureResult, _Mapping]]] = ...) -> None: ...

class ListEntitiesRequest(_message.Message):
    __slots__ = ("view",)
    VIEW_FIELD_NUMBER: _ClassVar[int]
    view: str
    def __init__(self, view: _Optional[str] = ...) -> None: ...

class ListEntitiesResponse(_message.Message):
    __slots__ = ("entities",)
    ENTITIES_FIELD_NUMBER: _ClassVar[int]
    entities: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, entities: _Optional[_Iterable[int]] = ...) -> None: ...

class DropViewRequest(_message.Message):
    __slots__ = ("view",)
    VIEW_FIELD_NUMBER: _ClassVar[int]
    view: str
    def __init__(self, view: _Optional[str] = ...) -> None: ...

class DropViewResponse(_message.Message):
    __slots__ = ("dropped",)
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    dropped: bool
    def __init__(self, dropped: bool = ...) -> None: ...
