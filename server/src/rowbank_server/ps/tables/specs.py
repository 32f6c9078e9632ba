"""Checks a table's spec, fills in what it leaves open, and builds the native table from it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.message import Message

from rowbank.errors import InvalidSpec, TableExists
from rowbank_protos.columns import ColumnError, data_type_name
from rowbank_protos.v1 import common_pb2, tables_pb2
from rowbank_server import _core

MAX_DIM = 4096
MAX_MIN_COUNT = 255
MIN_SECOND_CHANCE_BYTES = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9_./:\-]{1,128}")
_DEFAULT_LEARNING_RATE = 0.01
_DEFAULT_LOW_WATERMARK = 0.9
_Check = tuple[str, Callable[[float], bool]]

_NOT_NEGATIVE: _Check = ("at least 0", lambda value: value >= 0)
_POSITIVE: _Check = ("above 0", lambda value: value > 0)
_NOT_POSITIVE: _Check = ("at most 0", lambda value: value <= 0)
_DECAY: _Check = ("in [0, 1)", lambda value: 0 <= value < 1)

# Ranges of the numbers of optimizers and initializers; what is not named here may be any finite number.
_RANGES: dict[str, _Check] = {
    "learning_rate": _NOT_NEGATIVE,
    "momentum": _DECAY,
    "initial_accumulator": _NOT_NEGATIVE,
    "epsilon": _POSITIVE,
    "beta_1": _DECAY,
    "beta_2": _DECAY,
    "rho": _DECAY,
    "weight_decay": _NOT_NEGATIVE,
    "learning_rate_power": _NOT_POSITIVE,
    "l1": _NOT_NEGATIVE,
    "l2": _NOT_NEGATIVE,
    "l2_shrinkage": _NOT_NEGATIVE,
    "beta": _NOT_NEGATIVE,
    "stddev": _NOT_NEGATIVE,
}
# What an update may change: numbers that no stored row depends on.
_UPDATABLE = ("optimizer", "admission", "eviction", "durability")


def canonical(spec: tables_pb2.TableSpec) -> tables_pb2.TableSpec:
    """A copy of `spec` that is checked and says everything: two specs mean the same if and only if they are equal.

    Raises:
        InvalidSpec: a field is out of range, or asks for what this server does not do.
    """
    if not _NAME.fullmatch(spec.name):
        raise InvalidSpec(
            f"table name: expected 1 to 128 characters of A-Z a-z 0-9 _ . / : -, got {spec.name!r}",
            metadata={"field": "name"},
        )
    if not 1 <= spec.dim <= MAX_DIM:
        raise _invalid(spec, "dim", f"1 to {MAX_DIM}", spec.dim)
    result = tables_pb2.TableSpec()
    result.CopyFrom(spec)
    try:
        data_type_name(spec.value_dtype)
    except ColumnError:
        raise _invalid(spec, "value_dtype", "FLOAT32, FLOAT16 or BFLOAT16", spec.value_dtype) from None
    result.value_dtype = spec.value_dtype or common_pb2.DATA_TYPE_FLOAT32
    _fill_initializer(result)
    _fill_optimizer(result)
    _fill_policies(result)
    if spec.durability not in common_pb2.Durability.values():
        raise _invalid(spec, "durability", "RELAXED, JOURNALED or SYNCED", spec.durability)
    result.durability = spec.durability or common_pb2.DURABILITY_JOURNALED
    return result


def build_optimizer(spec: tables_pb2.TableSpec) -> _core.Optimizer:
    """The native optimizer of a canonical spec.

    Raises:
        InvalidSpec: the core refuses it.
    """
    kind = str(spec.optimizer.WhichOneof("kind"))
    numbers = _numbers(getattr(spec.optimizer, kind))
    try:
        return _core.Optimizer(kind, clip_value=spec.optimizer.clip_value, max_norm=spec.optimizer.max_norm, **numbers)
    except (TypeError, ValueError) as error:
        raise InvalidSpec(f"table {spec.name!r}: optimizer.{kind}: {error}", metadata={"field": "optimizer"}) from None


def build_table(spec: tables_pb2.TableSpec, *, bucket_count: int) -> _core.RowTable:
    """An empty native table of a canonical spec.

    Raises:
        InvalidSpec: the core refuses it.
    """
    kind = str(spec.initializer.WhichOneof("kind"))
    numbers = _numbers(getattr(spec.initializer, kind))
    seed = int(numbers.pop("seed", 0))
    first, second = [*numbers.values(), 0.0, 0.0][:2]  # The .proto declares them in the core's order.
    try:
        return _core.RowTable(
            name=spec.name,
            dim=spec.dim,
            value_dtype=data_type_name(spec.value_dtype),
            initializer=_core.Initializer(kind, first, second, seed=seed),
            optimizer=build_optimizer(spec),
            bucket_count=bucket_count,
            half_life_s=spec.frequency_half_life_s,
            track_reads=spec.track_reads,
            min_count=spec.admission.min_count,
        )
    except (TypeError, ValueError) as error:
        raise InvalidSpec(f"table {spec.name!r}: {error}") from None


def differing_fields(one: tables_pb2.TableSpec, other: tables_pb2.TableSpec) -> list[str]:
    """The fields in which two canonical specs differ."""
    names = [field.name for field in tables_pb2.TableSpec.DESCRIPTOR.fields]
    return [name for name in names if getattr(one, name) != getattr(other, name)]


def differences(one: tables_pb2.TableSpec, other: tables_pb2.TableSpec) -> list[str]:
    """In words, what canonical spec `one` has and `other` asks for: "dim is 8, asked for 16"."""
    has, asks = dict(_leaves(one)), dict(_leaves(other))
    paths = [path for path in {**has, **asks} if has.get(path) != asks.get(path)]
    # Another kind of optimizer has other numbers, which say nothing beside the kinds.
    kinds = [path for path in paths if path in has and path in asks]
    return [f"{path} is {has[path]}, asked for {asks[path]}" for path in kinds]


def _leaves(message: Message, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every number and name in a spec by its path; a choice of kinds is itself one."""
    for field in message.DESCRIPTOR.fields:
        path, value = prefix + field.name, getattr(message, field.name)
        if field.containing_oneof is not None:
            if not message.HasField(field.name):
                continue
            yield prefix.rstrip("."), field.name
        if field.message_type is not None:
            yield from _leaves(value, f"{path}.")
        elif field.enum_type is not None:
            yield path, field.enum_type.values_by_number[value].name.rpartition("_")[2].lower()
        else:
            yield path, f"{value:.6g}" if isinstance(value, float) else repr(value)


def require_updatable(old: tables_pb2.TableSpec, new: tables_pb2.TableSpec) -> None:
    """Raises InvalidSpec unless canonical `new` differs from `old` only in what may change while rows exist."""
    for name in differing_fields(old, new):
        if name not in _UPDATABLE:
            raise _invalid(new, name, f"the same as before (only {', '.join(_UPDATABLE)} can change)", "another")
    old_kind, new_kind = (spec.optimizer.WhichOneof("kind") for spec in (old, new))
    if old_kind != new_kind:
        raise _invalid(new, "optimizer", f"the same kind, {old_kind}", new_kind)


def _fill_initializer(spec: tables_pb2.TableSpec) -> None:
    kind = spec.initializer.WhichOneof("kind")
    if kind is None:
        spec.initializer.zeros.SetInParent()
        return
    message = getattr(spec.initializer, kind)
    _check_numbers(spec, f"initializer.{kind}", message)
    if kind == "uniform" and message.low > message.high:
        raise _invalid(spec, "initializer.uniform.low", f"at most high = {message.high}", message.low)


def _fill_optimizer(spec: tables_pb2.TableSpec) -> None:
    kind = spec.optimizer.WhichOneof("kind")
    if kind is None:
        spec.optimizer.sgd.learning_rate = _DEFAULT_LEARNING_RATE
        kind = "sgd"
    _check_numbers(spec, f"optimizer.{kind}", getattr(spec.optimizer, kind))
    for name in ("clip_value", "max_norm"):
        value = getattr(spec.optimizer, name)
        if not (math.isfinite(value) and value >= 0):
            raise _invalid(spec, f"optimizer.{name}", "at least 0 (0: off)", value)


def _check_numbers(spec: tables_pb2.TableSpec, path: str, message: Message) -> None:
    for name, value in _numbers(message).items():
        if not math.isfinite(value):
            raise _invalid(spec, f"{path}.{name}", "a finite number", value)
        expected, holds = _RANGES.get(name, ("", lambda _: True))
        if not holds(value):
            raise _invalid(spec, f"{path}.{name}", expected, value)


def _fill_policies(spec: tables_pb2.TableSpec) -> None:
    if spec.admission.min_count > MAX_MIN_COUNT:
        raise _invalid(spec, "admission.min_count", f"at most {MAX_MIN_COUNT}", spec.admission.min_count)
    spec.admission.min_count = spec.admission.min_count or 1
    eviction = spec.eviction
    if eviction.policy not in tables_pb2.Eviction.Policy.values():
        raise _invalid(spec, "eviction.policy", "NONE, LFU or LRU", eviction.policy)
    eviction.policy = eviction.policy or tables_pb2.Eviction.POLICY_NONE
    if eviction.max_rows and eviction.policy == tables_pb2.Eviction.POLICY_NONE:
        expected = "0, or a policy (LFU or LRU) that says which rows go"
        raise _invalid(spec, "eviction.max_rows", expected, eviction.max_rows)
    eviction.low_watermark = eviction.low_watermark or _DEFAULT_LOW_WATERMARK
    if not 0 < eviction.low_watermark <= 1:
        raise _invalid(spec, "eviction.low_watermark", "in (0, 1], or 0 for 0.9", eviction.low_watermark)
    chance = eviction.second_chance_bytes
    if chance and chance < MIN_SECOND_CHANCE_BYTES:
        expected = f"0, or at least {MIN_SECOND_CHANCE_BYTES}"
        raise _invalid(spec, "eviction.second_chance_bytes", expected, chance)
    if chance and spec.frozen:
        raise _invalid(spec, "eviction.second_chance_bytes", "0 for a table that does not change", chance)
    for path, value in (("eviction.ttl_s", eviction.ttl_s), ("frequency_half_life_s", spec.frequency_half_life_s)):
        if not (math.isfinite(value) and value >= 0):
            raise _invalid(spec, path, "a finite number of at least 0", value)


def _numbers(message: Message) -> dict[str, Any]:
    """All fields of an optimizer or initializer, set or not, in the order of the .proto; booleans as numbers."""
    return {field.name: getattr(message, field.name) for field in message.DESCRIPTOR.fields}


def _invalid(spec: tables_pb2.TableSpec, field: str, expected: str, got: object) -> InvalidSpec:
    return InvalidSpec(
        f"table {spec.name!r}: {field}: expected {expected}, got {got}",
        metadata={"table": spec.name, "field": field},
    )


def require_equal(existing: tables_pb2.TableSpec, asked: tables_pb2.TableSpec, *, exist_ok: bool) -> None:
    """Refuses a name that is taken, by another spec or without `exist_ok`. Raises TableExists."""
    fields = differing_fields(existing, asked)
    if fields:
        raise TableExists(
            f"table {asked.name!r} exists with another spec: {'; '.join(differences(existing, asked))}; "
            "ask for what it is, choose another name, or drop it first",
            metadata={"table": asked.name, "fields": ",".join(fields)},
        )
    if not exist_ok:
        raise TableExists(
            f"table {asked.name!r} exists, with an equal spec; exist_ok=True (--exist-ok) accepts it",
            metadata={"table": asked.name},
        )


def require_durable(spec: tables_pb2.TableSpec, synced_supported: Callable[[], bool]) -> None:
    """Raises InvalidSpec for a synced table where Redis cannot confirm what is on disk."""
    if spec.durability == common_pb2.DURABILITY_SYNCED and not synced_supported():
        raise InvalidSpec(
            f"table {spec.name!r}: durability: SYNCED needs a Redis that can confirm what is on disk: WAITAOF "
            "(Redis 7.2, Valkey 7.2 or newer, with appendonly yes and appendfsync always or everysec; rowbank up "
            "has --appendfsync always), or at least one replica for WAIT; this one has neither",
            metadata={"table": spec.name, "field": "durability"},
        )
