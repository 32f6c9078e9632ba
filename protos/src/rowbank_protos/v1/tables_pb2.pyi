from rowbank_protos.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TableSpec(_message.Message):
    __slots__ = ("name", "dim", "value_dtype", "initializer", "optimizer", "admission", "eviction", "durability", "frequency_half_life_s", "track_reads", "frozen")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    VALUE_DTYPE_FIELD_NUMBER: _ClassVar[int]
    INITIALIZER_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    ADMISSION_FIELD_NUMBER: _ClassVar[int]
    EVICTION_FIELD_NUMBER: _ClassVar[int]
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    FREQUENCY_HALF_LIFE_S_FIELD_NUMBER: _ClassVar[int]
    TRACK_READS_FIELD_NUMBER: _ClassVar[int]
    FROZEN_FIELD_NUMBER: _ClassVar[int]
    name: str
    dim: int
    value_dtype: _common_pb2.DataType
    initializer: Initializer
    optimizer: Optimizer
    admission: Admission
    eviction: Eviction
    durability: _common_pb2.Durability
    frequency_half_life_s: float
    track_reads: bool
    frozen: bool
    def __init__(self, name: _Optional[str] = ..., dim: _Optional[int] = ..., value_dtype: _Optional[_Union[_common_pb2.DataType, str]] = ..., initializer: _Optional[_Union[Initializer, _Mapping]] = ..., optimizer: _Optional[_Union[Optimizer, _Mapping]] = ..., admission: _Optional[_Union[Admission, _Mapping]] = ..., eviction: _Optional[_Union[Eviction, _Mapping]] = ..., durability: _Optional[_Union[_common_pb2.Durability, str]] = ..., frequency_half_life_s: _Optional[float] = ..., track_reads: bool = ..., frozen: bool = ...) -> None: ...

class Initializer(_message.Message):
    __slots__ = ("zeros", "constant", "uniform", "normal", "truncated_normal")
    class Zeros(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class Constant(_message.Message):
        __slots__ = ("value",)
        VALUE_FIELD_NUMBER: _ClassVar[int]
        value: float
        def __init__(self, value: _Optional[float] = ...) -> None: ...
    class Uniform(_message.Message):
        __slots__ = ("low", "high", "seed")
        LOW_FIELD_NUMBER: _ClassVar[int]
        HIGH_FIELD_NUMBER: _ClassVar[int]
        SEED_FIELD_NUMBER: _ClassVar[int]
        low: float
        high: float
        seed: int
        def __init__(self, low: _Optional[float] = ..., high: _Optional[float] = ..., seed: _Optional[int] = ...) -> None: ...
    class Normal(_message.Message):
        __slots__ = ("mean", "stddev", "seed")
        MEAN_FIELD_NUMBER: _ClassVar[int]
        STDDEV_FIELD_NUMBER: _ClassVar[int]
        SEED_FIELD_NUMBER: _ClassVar[int]
        mean: float
        stddev: float
        seed: int
        def __init__(self, mean: _Optional[float] = ..., stddev: _Optional[float] = ..., seed: _Optional[int] = ...) -> None: ...
    class TruncatedNormal(_message.Message):
        __slots__ = ("mean", "stddev", "seed")
        MEAN_FIELD_NUMBER: _ClassVar[int]
        STDDEV_FIELD_NUMBER: _ClassVar[int]
        SEED_FIELD_NUMBER: _ClassVar[int]
        mean: float
        stddev: float
        seed: int
        def __init__(self, mean: _Optional[float] = ..., stddev: _Optional[float] = ..., seed: _Optional[int] = ...) -> None: ...
    ZEROS_FIELD_NUMBER: _ClassVar[int]
    CONSTANT_FIELD_NUMBER: _ClassVar[int]
    UNIFORM_FIELD_NUMBER: _ClassVar[int]
    NORMAL_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_NORMAL_FIELD_NUMBER: _ClassVar[int]
    zeros: Initializer.Zeros
    constant: Initializer.Constant
    uniform: Initializer.Uniform
    normal: Initializer.Normal
    truncated_normal: Initializer.TruncatedNormal
    def __init__(self, zeros: _Optional[_Union[Initializer.Zeros, _Mapping]] = ..., constant: _Optional[_Union[Initializer.Constant, _Mapping]] = ..., uniform: _Optional[_Union[Initializer.Uniform, _Mapping]] = ..., normal: _Optional[_Union[Initializer.Normal, _Mapping]] = ..., truncated_normal: _Optional[_Union[Initializer.TruncatedNormal, _Mapping]] = ...) -> None: ...

class Optimizer(_message.Message):
    __slots__ = ("sgd", "momentum", "adagrad", "rowwise_adagrad", "adam", "adamw", "rmsprop", "ftrl", "clip_value", "max_norm")
    class SGD(_message.Message):
        __slots__ = ("learning_rate",)
        LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
        learning_rate: float
        def __init__(self, learning_rate: _Optional[float] = ...) -> None: ...
    class Momentum(_message.Message):
        __slots__ = ("learning_rate", "momentum", "nesterov")
        LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
        MOMENTUM_FIELD_NUMBER: _ClassVar[int]
        NESTEROV_FIELD_NUMBER: _ClassVar[int]
        learning_rate: float
        momentum: float
        nesterov: bool
        def __init__(self, learning_rate: _Optional[float] = ..., momentum: _Optional[float] = ..., nesterov: bool = ...) -> None: ...
    class Adagrad(_message.Message):
        __slots__ = ("learning_rate", "initial_accumulator", "epsilon")
        LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
        INITIAL_ACCUMULATOR_FIELD_NUMBER: _ClassVar[int]
        EPSILON_FIELD_NUMBER: _ClassVar[int]
        learning_rate: float
        initial_accumulator: float
        epsilon: float
        def __init__(self, learning_rate: _Optional[float] = ..., initial_accumulator: _Optional[float] = ..., epsilon: _Optional[float] = ...) -> None: ...
    class RowwiseAdagrad(_message.Message):
        __slots__ = ("learning_rate", "initial_accumulator", "epsilon")
        LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
        INITIAL_ACCUMULATOR_FIELD_NUMBER: _ClassVar[int]
        EPSILON_FIELD_NUMBER: _ClassVar[int]
        learning_rate: float
        initial_accumulator: float
        epsilon: float
        def __init__(self, learning_rate: _Optional[float] = ..., initial_accumulator: _Optional[float] = ..., epsilon: _Optional[float] = ...) -> None: ...
    class Adam(_message.Message):
        __slots__ = ("learning_rate", "beta_1", "beta_2", "epsilon", "amsgrad")
        LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
        BETA_1_FIELD_NUMBER: _ClassVar[int]
        BETA_2_FIELD_NUMBER: _ClassVar[int]
        EPSILON_FIELD_NUMBER: _ClassVar[int]
        AMSGRAD_FIELD_NUMBER: _ClassVar[int]
        learning_rate: float
        beta_1: float
        beta_2: float
        epsilon: float
        amsgrad: bool
        def __init__(self, learning_rate: _Optional[float] = ..., beta_1: _Optional[float] = ..., beta_2: _Optional[float] = ..., epsilon: _Optional[float] = ..., amsgrad: bool = ...) -> None: ...
    class AdamW(_message.Message):
        __slots__ = ("learning_rate", "beta_1", "beta_2", "epsilon", "amsgrad", "weight_decay")
        LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
        BETA_1_FIELD_NUMBER: _ClassVar[int]
        BETA_2_FIELD_NUMBER: _ClassVar[int]
        EPSILON_FIELD_NUMBER: _ClassVar[int]
        AMSGRAD_FIELD_NUMBER: _ClassVar[int]
        WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
        learning_rate: float
        beta_1: float
        beta_2: float
        epsilon: float
        amsgrad: bool
        weight_decay: float
        def __init__(self, learning_rate: _Optional[float] = ..., beta_1: _Optional[float] = ..., beta_2: _Optional[float] = ..., epsilon: _Optional[float] = ..., amsgrad: bool = ..., weight_decay: _Optional[float] = ...) -> None: ...
    class RMSprop(_message.Message):
        __slots__ = ("learning_rate", "rho", "momentum", "epsilon", "centered")
        LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
        RHO_FIELD_NUMBER: _ClassVar[int]
        MOMENTUM_FIELD_NUMBER: _ClassVar[int]
        EPSILON_FIELD_NUMBER: _ClassVar[int]
        CENTERED_FIELD_NUMBER: _ClassVar[int]
        learning_rate: float
        rho: float
        momentum: float
        epsilon: float
        centered: bool
        def __init__(self, learning_rate: _Optional[float] = ..., rho: _Optional[float] = ..., momentum: _Optional[float] = ..., epsilon: _Optional[float] = ..., centered: bool = ...) -> None: ...
    class FTRL(_message.Message):
        __slots__ = ("learning_rate", "learning_rate_power", "initial_accumulator", "l1", "l2", "l2_shrinkage", "beta")
        LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
        LEARNING_RATE_POWER_FIELD_NUMBER: _ClassVar[int]
        INITIAL_ACCUMULATOR_FIELD_NUMBER: _ClassVar[int]
        L1_FIELD_NUMBER: _ClassVar[int]
        L2_FIELD_NUMBER: _ClassVar[int]
        L2_SHRINKAGE_FIELD_NUMBER: _ClassVar[int]
        BETA_FIELD_NUMBER: _ClassVar[int]
        learning_rate: float
        learning_rate_power: float
        initial_accumulator: float
        l1: float
        l2: float
        l2_shrinkage: float
        beta: float
        def __init__(self, learning_rate: _Optional[float] = ..., learning_rate_power: _Optional[float] = ..., initial_accumulator: _Optional[float] = ..., l1: _Optional[float] = ..., l2: _Optional[float] = ..., l2_shrinkage: _Optional[float] = ..., beta: _Optional[float] = ...) -> None: ...
    SGD_FIELD_NUMBER: _ClassVar[int]
    MOMENTUM_FIELD_NUMBER: _ClassVar[int]
    ADAGRAD_FIELD_NUMBER: _ClassVar[int]
    ROWWISE_ADAGRAD_FIELD_NUMBER: _ClassVar[int]
    ADAM_FIELD_NUMBER: _ClassVar[int]
    ADAMW_FIELD_NUMBER: _ClassVar[int]
    RMSPROP_FIELD_NUMBER: _ClassVar[int]
    FTRL_FIELD_NUMBER: _ClassVar[int]
    CLIP_VALUE_FIELD_NUMBER: _ClassVar[int]
    MAX_NORM_FIELD_NUMBER: _ClassVar[int]
    sgd: Optimizer.SGD
    momentum: Optimizer.Momentum
    adagrad: Optimizer.Adagrad
    rowwise_adagrad: Optimizer.RowwiseAdagrad
    adam: Optimizer.Adam
    adamw: Optimizer.AdamW
    rmsprop: Optimizer.RMSprop
    ftrl: Optimizer.FTRL
    clip_value: float
    max_norm: float
    def __init__(self, sgd: _Optional[_Union[Optimizer.SGD, _Mapping]] = ..., momentum: _Optional[_Union[Optimizer.Momentum, _Mapping]] = ..., adagrad: _Optional[_Union[Optimizer.Adagrad, _Mapping]] = ..., rowwise_adagrad: _Optional[_Union[Optimizer.RowwiseAdagrad, _Mapping]] = ..., adam: _Optional[_Union[Optimizer.Adam, _Mapping]] = ..., adamw: _Optional[_Union[Optimizer.AdamW, _Mapping]] = ..., rmsprop: _Optional[_Union[Optimizer.RMSprop, _Mapping]] = ..., ftrl: _Optional[_Union[Optimizer.FTRL, _Mapping]] = ..., clip_value: _Optional[float] = ..., max_norm: _Optional[float] = ...) -> None: ...

class Admission(_message.Message):
    __slots__ = ("min_count",)
    MIN_COUNT_FIELD_NUMBER: _ClassVar[int]
    min_count: int
    def __init__(self, min_count: _Optional[int] = ...) -> None: ...

class Eviction(_message.Message):
    __slots__ = ("policy", "max_rows", "max_bytes", "low_watermark", "ttl_s", "second_chance_bytes")
    class Policy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        POLICY_UNSPECIFIED: _ClassVar[Eviction.Policy]
        POLICY_NONE: _ClassVar[Eviction.Policy]
        POLICY_LFU: _ClassVar[Eviction.Policy]
        POLICY_LRU: _ClassVar[Eviction.Policy]
    POLICY_UNSPECIFIED: Eviction.Policy
    POLICY_NONE: Eviction.Policy
    POLICY_LFU: Eviction.Policy
    POLICY_LRU: Eviction.Policy
    POLICY_FIELD_NUMBER: _ClassVar[int]
    MAX_ROWS_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOW_WATERMARK_FIELD_NUMBER: _ClassVar[int]
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    SECOND_CHANCE_BYTES_FIELD_NUMBER: _ClassVar[int]
    policy: Eviction.Policy
    max_rows: int
    max_bytes: int
    low_watermark: float
    ttl_s: float
    second_chance_bytes: int
    def __init__(self, policy: _Optional[_Union[Eviction.Policy, str]] = ..., max_rows: _Optional[int] = ..., max_bytes: _Optional[int] = ..., low_watermark: _Optional[float] = ..., ttl_s: _Optional[float] = ..., second_chance_bytes: _Optional[int] = ...) -> None: ...

class TableInfo(_message.Message):
    __slots__ = ("spec", "table_id", "created_at_s", "rows", "bytes", "step", "bucket_count", "slots")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_S_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    BUCKET_COUNT_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    spec: TableSpec
    table_id: int
    created_at_s: int
    rows: int
    bytes: int
    step: int
    bucket_count: int
    slots: _containers.RepeatedCompositeFieldContainer[Slot]
    def __init__(self, spec: _Optional[_Union[TableSpec, _Mapping]] = ..., table_id: _Optional[int] = ..., created_at_s: _Optional[int] = ..., rows: _Optional[int] = ..., bytes: _Optional[int] = ..., step: _Optional[int] = ..., bucket_count: _Optional[int] = ..., slots: _Optional[_Iterable[_Union[Slot, _Mapping]]] = ...) -> None: ...

class Slot(_message.Message):
    __slots__ = ("name", "width")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    name: str
    width: int
    def __init__(self, name: _Optional[str] = ..., width: _Optional[int] = ...) -> None: ...

class CreateTableRequest(_message.Message):
    __slots__ = ("spec", "exist_ok")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    EXIST_OK_FIELD_NUMBER: _ClassVar[int]
    spec: TableSpec
    exist_ok: bool
    def __init__(self, spec: _Optional[_Union[TableSpec, _Mapping]] = ..., exist_ok: bool = ...) -> None: ...

class CreateTableResponse(_message.Message):
    __slots__ = ("table", "created")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    table: TableInfo
    created: bool
    def __init__(self, table: _Optional[_Union[TableInfo, _Mapping]] = ..., created: bool = ...) -> None: ...

class GetTableRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetTableResponse(_message.Message):
    __slots__ = ("table",)
    TABLE_FIELD_NUMBER: _ClassVar[int]
    table: TableInfo
    def __init__(self, table: _Optional[_Union[TableInfo, _Mapping]] = ...) -> None: ...

class ListTablesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListTablesResponse(_message.Message):
    __slots__ = ("tables",)
    TABLES_FIELD_NUMBER: _ClassVar[int]
    tables: _containers.RepeatedCompositeFieldContainer[TableInfo]
    def __init__(self, tables: _Optional[_Iterable[_Union[TableInfo, _Mapping]]] = ...) -> None: ...

class UpdateTableRequest(_message.Message):
    __slots__ = ("spec",)
    SPEC_FIELD_NUMBER: _ClassVar[int]
    spec: TableSpec
    def __init__(self, spec: _Optional[_Union[TableSpec, _Mapping]] = ...) -> None: ...

class UpdateTableResponse(_message.Message):
    __slots__ = ("table",)
    TABLE_FIELD_NUMBER: _ClassVar[int]
    table: TableInfo
    def __init__(self, table: _Optional[_Union[TableInfo, _Mapping]] = ...) -> None: ...

class DropTableRequest(_message.Message):
    __slots__ = ("name", "missing_ok", "force")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MISSING_OK_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    missing_ok: bool
    force: bool
    def __init__(self, name: _Optional[str] = ..., missing_ok: bool = ..., force: bool = ...) -> None: ...

class DropTableResponse(_message.Message):
    __slots__ = ("dropped",)
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    dropped: bool
    def __init__(self, dropped: bool = ...) -> None: ...

class HoldTablesRequest(_message.Message):
    __slots__ = ("holder", "tables", "ttl_s", "run")
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    TABLES_FIELD_NUMBER: _ClassVar[int]
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    holder: str
    tables: _containers.RepeatedScalarFieldContainer[str]
    ttl_s: float
    run: str
    def __init__(self, holder: _Optional[str] = ..., tables: _Optional[_Iterable[str]] = ..., ttl_s: _Optional[float] = ..., run: _Optional[str] = ...) -> None: ...

class HoldTablesResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReleaseTablesRequest(_message.Message):
    __slots__ = ("holder",)
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    holder: str
    def __init__(self, holder: _Optional[str] = ...) -> None: ...

class ReleaseTablesResponse(_message.Message):
    __slots__ = ("held",)
    HELD_FIELD_NUMBER: _ClassVar[int]
    held: bool
    def __init__(self, held: bool = ...) -> None: ...

class ListHoldersRequest(_message.Message):
    __slots__ = ("table",)
    TABLE_FIELD_NUMBER: _ClassVar[int]
    table: str
    def __init__(self, table: _Optional[str] = ...) -> None: ...

class ListHoldersResponse(_message.Message):
    __slots__ = ("holders",)
    HOLDERS_FIELD_NUMBER: _ClassVar[int]
    holders: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, holders: _Optional[_Iterable[str]] = ...) -> None: ...
