"""Optimizers that the server applies to pushed gradients, their state stored with each row.

Formulas, epsilon placement and defaults are Keras's (tf_keras 2.16), in the sparse form: only pushed rows move, and
bias correction uses the table's step. A learning rate of 0 freezes a table. Each class checks itself and raises
`InvalidSpec`; every number is a float32.

All take, by name, `clip_value` (each element of the summed gradient is clipped to [-clip_value, clip_value]; 0: not
clipped) and `max_norm` (the summed gradient of a row is scaled down to this L2 norm; 0: not scaled).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from rowbank import _checks
from rowbank.errors import InvalidSpec
from rowbank_protos.v1 import tables_pb2

_NOT_NEGATIVE: dict[str, Any] = {"expected": "a number of at least 0", "low": 0.0}
_FRACTION: dict[str, Any] = {"expected": "a number in [0, 1)", "low": 0.0, "below": 1.0}

_RANGES: dict[str, dict[str, Any]] = {
    "epsilon": {"expected": "a number above 0", "above": 0.0},
    "momentum": _FRACTION,
    "beta_1": _FRACTION,
    "beta_2": _FRACTION,
    "rho": _FRACTION,
    "learning_rate_power": {"expected": "a number of at most 0", "high": 0.0},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """What all optimizers share; use one of the subclasses."""

    kind: ClassVar[str] = ""
    clip_value: float = 0.0
    max_norm: float = 0.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            what, value = f"{type(self).__name__}.{field.name}", getattr(self, field.name)
            if isinstance(field.default, bool):
                settled: float = _checks.flag(what, value)
            else:
                settled = _checks.float32(what, value, **_RANGES.get(field.name, _NOT_NEGATIVE))
            object.__setattr__(self, field.name, settled)

    def hyperparameters(self) -> dict[str, float]:
        """Every number by name, flags as 0.0 or 1.0."""
        return {field.name: float(getattr(self, field.name)) for field in dataclasses.fields(self)}


@dataclass(frozen=True, slots=True)
class SGD(Optimizer):
    """w -= learning_rate * g."""

    kind: ClassVar[str] = "sgd"
    learning_rate: float = 0.01


@dataclass(frozen=True, slots=True)
class Momentum(Optimizer):
    """SGD with a velocity per element: v = momentum * v - learning_rate * g."""

    kind: ClassVar[str] = "momentum"
    learning_rate: float = 0.01
    momentum: float = 0.9
    nesterov: bool = False


@dataclass(frozen=True, slots=True)
class Adagrad(Optimizer):
    """Divides by the root of the sum of squared gradients, per element."""

    kind: ClassVar[str] = "adagrad"
    learning_rate: float = 0.001
    initial_accumulator: float = 0.1
    epsilon: float = 1e-7


@dataclass(frozen=True, slots=True)
class RowwiseAdagrad(Optimizer):
    """Adagrad with one accumulator per row: the mean of the squared gradient's elements."""

    kind: ClassVar[str] = "rowwise_adagrad"
    learning_rate: float = 0.001
    initial_accumulator: float = 0.1
    epsilon: float = 1e-7


@dataclass(frozen=True, slots=True)
class Adam(Optimizer):
    """Adam; with `amsgrad` the largest second moment so far is used."""

    kind: ClassVar[str] = "adam"
    learning_rate: float = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    amsgrad: bool = False


@dataclass(frozen=True, slots=True)
class AdamW(Optimizer):
    """Adam with decoupled weight decay, of the pushed rows only."""

    kind: ClassVar[str] = "adamw"
    learning_rate: float = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    amsgrad: bool = False
    weight_decay: float = 0.004


@dataclass(frozen=True, slots=True)
class RMSprop(Optimizer):
    """Divides by the root of a moving mean of squared gradients."""

    kind: ClassVar[str] = "rmsprop"
    learning_rate: float = 0.001
    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-7
    centered: bool = False


@dataclass(frozen=True, slots=True)
class FTRL(Optimizer):
    """Follow the regularized leader, with L1 and L2 and shrinkage."""

    kind: ClassVar[str] = "ftrl"
    learning_rate: float = 0.001
    learning_rate_power: float = -0.5
    initial_accumulator: float = 0.1
    l1: float = 0.0
    l2: float = 0.0
    l2_shrinkage: float = 0.0
    beta: float = 0.0


_CLASSES: tuple[type[Optimizer], ...] = (SGD, Momentum, Adagrad, RowwiseAdagrad, Adam, AdamW, RMSprop, FTRL)
_BY_KIND: dict[str, type[Optimizer]] = {cls.kind: cls for cls in _CLASSES}


def optimizer_to_proto(optimizer: Optimizer) -> tables_pb2.Optimizer:
    """The message for `optimizer`."""
    if not isinstance(optimizer, _CLASSES):
        names = ", ".join(cls.__name__ for cls in _CLASSES)
        raise InvalidSpec(f"optimizer: expected one of {names}, got {optimizer!r}")
    message = tables_pb2.Optimizer(clip_value=optimizer.clip_value, max_norm=optimizer.max_norm)
    part = getattr(message, optimizer.kind)
    part.SetInParent()
    for field in part.DESCRIPTOR.fields:
        setattr(part, field.name, getattr(optimizer, field.name))
    return message


def optimizer_from_proto(message: tables_pb2.Optimizer) -> Optimizer:
    """The optimizer in `message`; none set means `SGD(0.01)`, with its clipping. Raises `InvalidSpec`."""
    clipping = {"clip_value": message.clip_value, "max_norm": message.max_norm}
    kind = message.WhichOneof("kind")
    if kind is None:
        return SGD(**clipping)
    part = getattr(message, kind)
    numbers = {field.name: getattr(part, field.name) for field in part.DESCRIPTOR.fields}
    return _BY_KIND[kind](**numbers, **clipping)
