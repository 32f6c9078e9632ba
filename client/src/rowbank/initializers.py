"""What a row holds before it is first trained.

An initial value is a function of (seed, table name, key): an unseen key reads the same on every shard, every time,
before and after it is stored. Each class checks itself and raises `InvalidSpec`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rowbank import _checks
from rowbank.errors import InvalidSpec
from rowbank_protos.v1 import tables_pb2

_SEED_MAX = 2**64 - 1
_LOW, _HIGH = -0.05, 0.05


@dataclass(frozen=True, slots=True)
class Zeros:
    """All zero."""

    kind: ClassVar[str] = "zeros"


@dataclass(frozen=True, slots=True)
class Constant:
    """All `value`."""

    kind: ClassVar[str] = "constant"
    value: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", _checks.float32("Constant.value", self.value, "a finite number"))


@dataclass(frozen=True, slots=True)
class Uniform:
    """Evenly spread over [low, high); keras.initializers.RandomUniform's default range."""

    kind: ClassVar[str] = "uniform"
    low: float = _LOW
    high: float = _HIGH
    seed: int = 0

    def __post_init__(self) -> None:
        low = _checks.float32("Uniform.low", self.low, "a finite number")
        high = _checks.float32("Uniform.high", self.high, "a finite number")
        if low > high:
            given = ", ".join(
                f"{name} = {value}{' (the default)' if value == default else ''}"
                for name, value, default in (("low", low, _LOW), ("high", high, _HIGH))
            )
            raise InvalidSpec(f"Uniform: expected low to be at most high, got {given}")
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)
        object.__setattr__(self, "seed", _checks.integer("Uniform.seed", self.seed, low=0, high=_SEED_MAX))


@dataclass(frozen=True, slots=True)
class Normal:
    """Normally distributed."""

    kind: ClassVar[str] = "normal"
    mean: float = 0.0
    stddev: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        _settle_normal(self, "Normal")


@dataclass(frozen=True, slots=True)
class TruncatedNormal:
    """Normally distributed, cut at two standard deviations from the mean."""

    kind: ClassVar[str] = "truncated_normal"
    mean: float = 0.0
    stddev: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        _settle_normal(self, "TruncatedNormal")


Initializer = Zeros | Constant | Uniform | Normal | TruncatedNormal

_CLASSES: tuple[type[Initializer], ...] = (Zeros, Constant, Uniform, Normal, TruncatedNormal)
_BY_KIND: dict[str, type[Initializer]] = {cls.kind: cls for cls in _CLASSES}


def _settle_normal(spec: Normal | TruncatedNormal, name: str) -> None:
    mean = _checks.float32(f"{name}.mean", spec.mean, "a finite number")
    stddev = _checks.float32(f"{name}.stddev", spec.stddev, "a finite number of at least 0", low=0.0)
    object.__setattr__(spec, "mean", mean)
    object.__setattr__(spec, "stddev", stddev)
    object.__setattr__(spec, "seed", _checks.integer(f"{name}.seed", spec.seed, low=0, high=_SEED_MAX))


def initializer_to_proto(initializer: Initializer) -> tables_pb2.Initializer:
    """The message for `initializer`."""
    if not isinstance(initializer, _CLASSES):
        names = ", ".join(cls.__name__ for cls in _CLASSES)
        raise InvalidSpec(f"initializer: expected one of {names}, got {initializer!r}")
    message = tables_pb2.Initializer()
    part = getattr(message, initializer.kind)
    part.SetInParent()
    for field in part.DESCRIPTOR.fields:
        setattr(part, field.name, getattr(initializer, field.name))
    return message


def initializer_from_proto(message: tables_pb2.Initializer) -> Initializer:
    """The initializer in `message`; none set means `Zeros()`. Raises `InvalidSpec`."""
    kind = message.WhichOneof("kind")
    if kind is None:
        return Zeros()
    part = getattr(message, kind)
    return _BY_KIND[kind](**{field.name: getattr(part, field.name) for field in part.DESCRIPTOR.fields})
