"""What a table is made of. Every class is a frozen value that checks itself and raises `InvalidSpec` (a `ValueError`).

The server reads specs through `TableSpec.from_proto`, so both ends accept and reject the same ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from rowbank import _checks
from rowbank.errors import InvalidSpec
from rowbank.initializers import (
    Constant,
    Initializer,
    Normal,
    TruncatedNormal,
    Uniform,
    Zeros,
    initializer_from_proto,
    initializer_to_proto,
)
from rowbank.optimizers import (
    FTRL,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Momentum,
    Optimizer,
    RMSprop,
    RowwiseAdagrad,
    optimizer_from_proto,
    optimizer_to_proto,
)
from rowbank_protos import columns
from rowbank_protos.v1 import common_pb2, tables_pb2

__all__ = [
    "FTRL", "MAX_DIM", "SGD", "Adagrad", "Adam", "AdamW", "Admission", "Constant", "Eviction", "Initializer",
    "Momentum", "Normal", "Optimizer", "RMSprop", "RowwiseAdagrad", "TableSpec", "TruncatedNormal", "Uniform", "Zeros",
]  # fmt: skip

MAX_DIM = 4096
MIN_SECOND_CHANCE_BYTES = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9_.\-/:]{1,128}")
_UINT32_MAX = 2**32 - 1
_ROWS_MAX = 2**63 - 1

_POLICIES = {
    "none": tables_pb2.Eviction.POLICY_NONE,
    "lfu": tables_pb2.Eviction.POLICY_LFU,
    "lru": tables_pb2.Eviction.POLICY_LRU,
}
_DURABILITIES = {
    None: common_pb2.DURABILITY_UNSPECIFIED,
    "relaxed": common_pb2.DURABILITY_RELAXED,
    "journaled": common_pb2.DURABILITY_JOURNALED,
    "synced": common_pb2.DURABILITY_SYNCED,
}


@dataclass(frozen=True, slots=True)
class Admission:
    """When an unseen key gets a row of its own: at its `min_count`-th occurrence."""

    min_count: int = 1

    def __post_init__(self) -> None:
        count = _checks.integer("Admission.min_count", self.min_count, low=1, high=_UINT32_MAX)
        object.__setattr__(self, "min_count", count)


@dataclass(frozen=True, slots=True)
class Eviction:
    """Which rows go when a table is too large or a row too old.

    Attributes:
        policy: "lfu" (the least frequent go first), "lru" (the least recently used) or "none".
        max_rows, max_bytes: caps over all shards; 0 means no cap. With "none", max_bytes is a budget: nothing goes, and
            what would add rows beyond it is refused with `MemoryLimit`.
        low_watermark: fraction of the cap that a cycle evicts down to.
        ttl_s: seconds without use after which a row expires; 0 means never.
        second_chance_bytes: of Redis, over all shards, for evicted rows, which come back trained when their keys are
            pushed or pulled again; 0 means that they are forgotten, else at least 1 MiB.
    """

    policy: str = "none"
    max_rows: int = 0
    max_bytes: int = 0
    low_watermark: float = 0.9
    ttl_s: float = 0.0
    second_chance_bytes: int = 0

    def __post_init__(self) -> None:
        if self.policy not in _POLICIES:
            raise InvalidSpec(f"Eviction.policy: expected one of {', '.join(_POLICIES)}, got {self.policy!r}")
        rows = _checks.integer("Eviction.max_rows", self.max_rows, low=0, high=_ROWS_MAX)
        size = _checks.integer("Eviction.max_bytes", self.max_bytes, low=0, high=_ROWS_MAX)
        mark = _checks.number("Eviction.low_watermark", self.low_watermark, "a fraction in (0, 1]", above=0.0, high=1.0)
        ttl_s = _checks.number("Eviction.ttl_s", self.ttl_s, "seconds of at least 0", low=0.0)
        if self.policy == "none" and rows:
            raise InvalidSpec(
                f"Eviction: max_rows = {rows} needs a policy that says which rows go; "
                "expected policy 'lfu' or 'lru', got 'none'"
            )
        chance = _checks.integer("Eviction.second_chance_bytes", self.second_chance_bytes, low=0, high=_ROWS_MAX)
        if 0 < chance < MIN_SECOND_CHANCE_BYTES:
            raise InvalidSpec(
                f"Eviction.second_chance_bytes: expected 0, or at least {MIN_SECOND_CHANCE_BYTES}, got {chance}"
            )
        checked = {"max_rows": rows, "max_bytes": size, "low_watermark": mark, "ttl_s": ttl_s}
        for name, value in {**checked, "second_chance_bytes": chance}.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class TableSpec:
    """A table of rows of `dim` numbers under int64 keys.

    Attributes:
        name: 1 to 128 of `[A-Za-z0-9_.-/:]`, unique in the server's namespace.
        dim: width of a row, 1 to 4096.
        value_dtype: how the server keeps values: "float32", "float16" or "bfloat16"; optimizer state is float32.
        durability: when a push is acknowledged: "relaxed", "journaled" or "synced"; None is the server's default.
        frequency_half_life_s: seconds in which an unused row's frequency halves; 0 means it never decays.
        track_reads: whether a pull renews `last_used` too.
    Raises:
        InvalidSpec: a part is out of range or contradicts another.
    """

    name: str
    dim: int
    value_dtype: str = "float32"
    initializer: Initializer = Zeros()  # noqa: RUF009 - frozen
    optimizer: Optimizer = SGD()  # noqa: RUF009 - frozen
    admission: Admission = Admission()
    eviction: Eviction = Eviction()
    durability: str | None = None
    frequency_half_life_s: float = 0.0
    track_reads: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise InvalidSpec(f"name: expected 1 to 128 of [A-Za-z0-9_.-/:], got {self.name!r}")
        if not isinstance(self.value_dtype, str) or self.value_dtype not in ("float32", "float16", "bfloat16"):
            raise InvalidSpec(f"value_dtype: expected 'float32', 'float16' or 'bfloat16', got {self.value_dtype!r}")
        if self.durability not in _DURABILITIES:
            names = ", ".join(repr(name) for name in _DURABILITIES if name)
            raise InvalidSpec(f"durability: expected one of {names}, or None, got {self.durability!r}")
        _check_class("admission", self.admission, Admission)
        _check_class("eviction", self.eviction, Eviction)
        initializer_to_proto(self.initializer)
        optimizer_to_proto(self.optimizer)
        half_life_s = _checks.number(
            "frequency_half_life_s", self.frequency_half_life_s, "seconds of at least 0", low=0.0
        )
        object.__setattr__(self, "dim", _checks.integer("dim", self.dim, low=1, high=MAX_DIM))
        object.__setattr__(self, "frequency_half_life_s", half_life_s)
        object.__setattr__(self, "track_reads", _checks.flag("track_reads", self.track_reads))

    def to_proto(self) -> tables_pb2.TableSpec:
        """The message for this spec, every part of it set."""
        return tables_pb2.TableSpec(
            name=self.name,
            dim=self.dim,
            value_dtype=columns.data_type(self.value_dtype),
            initializer=initializer_to_proto(self.initializer),
            optimizer=optimizer_to_proto(self.optimizer),
            admission=tables_pb2.Admission(min_count=self.admission.min_count),
            eviction=tables_pb2.Eviction(
                policy=_POLICIES[self.eviction.policy],
                max_rows=self.eviction.max_rows,
                max_bytes=self.eviction.max_bytes,
                low_watermark=self.eviction.low_watermark,
                ttl_s=self.eviction.ttl_s,
                second_chance_bytes=self.eviction.second_chance_bytes,
            ),
            durability=_DURABILITIES[self.durability],
            frequency_half_life_s=self.frequency_half_life_s,
            track_reads=self.track_reads,
        )

    @classmethod
    def from_proto(cls, message: tables_pb2.TableSpec) -> TableSpec:
        """The spec in `message`, the wire's defaults filled in.

        Raises:
            InvalidSpec: as for the class, and for an unknown enum value.
        """
        eviction = message.eviction
        policy = eviction.policy or tables_pb2.Eviction.POLICY_NONE
        try:
            value_dtype = columns.data_type_name(message.value_dtype)
        except columns.ColumnError as error:
            raise InvalidSpec(f"value_dtype: {error}") from None
        return cls(
            name=message.name,
            dim=message.dim,
            value_dtype=value_dtype,
            initializer=initializer_from_proto(message.initializer),
            optimizer=optimizer_from_proto(message.optimizer),
            admission=Admission(message.admission.min_count or 1),
            eviction=Eviction(
                policy=_name_of("eviction.policy", _POLICIES, policy),
                max_rows=eviction.max_rows,
                max_bytes=eviction.max_bytes,
                low_watermark=eviction.low_watermark or 0.9,
                ttl_s=eviction.ttl_s,
                second_chance_bytes=eviction.second_chance_bytes,
            ),
            durability=_name_of("durability", _DURABILITIES, message.durability),
            frequency_half_life_s=message.frequency_half_life_s,
            track_reads=message.track_reads,
        )


def _check_class(what: str, value: Any, expected: type) -> None:
    if not isinstance(value, expected):
        raise InvalidSpec(f"{what}: expected an {expected.__name__}, got {value!r}")


def _name_of(what: str, names: dict[Any, Any], number: int) -> Any:
    for name, value in names.items():
        if value == number:
            return name
    raise InvalidSpec(f"{what}: expected one of {sorted(names.values())}, got {number}")
