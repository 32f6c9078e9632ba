"""What a user says of tables and features; nothing here talks to a server or needs a training framework."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

from rowbank.errors import InvalidSpec
from rowbank.initializers import Initializer, TruncatedNormal
from rowbank.optimizers import SGD, Optimizer
from rowbank.specs import Admission, Eviction, TableSpec

COMBINERS = ("mean", "sum", "sqrtn")


@dataclass(frozen=True)
class TableConfig:
    """One table; features that name the same configuration share it.

    Attributes:
        name: the table's name on the server.
        dim: width of a row.
        vocabulary_size: how many rows are expected, ids then being 0 to vocabulary_size - 1. A table on the server
            needs none and takes any int64; one that stays in the trainer (`PartialRemoteEmbedding`) does.
        initializer: None: `TruncatedNormal` with a standard deviation of 1 / sqrt(dim).
        optimizer: None: the one given to the embedding.
        combiner: "mean", "sum" or "sqrtn": how the rows of one example of a ragged or sparse feature become one.
        value_dtype, admission, eviction, durability, frequency_half_life_s, track_reads: as for `rowbank.TableSpec`.
        max_unique_rows: how many distinct ids of this table one batch may hold, over all its features: the static
            number of rows of a compiled step. None: the power of two that the batches so far needed.
    Raises:
        ValueError: a part is out of range.
    """

    name: str
    dim: int
    _: KW_ONLY
    vocabulary_size: int | None = None
    initializer: Initializer | None = None
    optimizer: Optimizer | None = None
    combiner: str = "mean"
    value_dtype: str = "float32"
    admission: Admission = Admission()  # noqa: RUF009 - frozen
    eviction: Eviction = Eviction()  # noqa: RUF009 - frozen
    durability: str | None = None
    frequency_half_life_s: float = 0.0
    track_reads: bool = False
    max_unique_rows: int | None = None

    def __post_init__(self) -> None:
        if self.combiner not in COMBINERS:
            raise ValueError(
                f"table {self.name!r}: combiner: expected one of {', '.join(COMBINERS)}, got {self.combiner!r}"
            )
        if not isinstance(self.name, str):
            raise ValueError(f"table: name: expected a string, got {self.name!r}")
        for what in ("vocabulary_size", "max_unique_rows"):
            _at_least(f"table {self.name!r}: {what}", getattr(self, what), 1)
        try:
            TableSpec("name", dim=self.dim)
            self._spec("name", SGD())
        except InvalidSpec as error:
            raise InvalidSpec(f"table {self.name!r}: {error.message}") from None

    def spec(self, optimizer: Optimizer) -> TableSpec:
        """The server's table, `optimizer` being used where this configuration names none.

        Raises:
            InvalidSpec: the server could not make it.
        """
        return self._spec(self.name, optimizer)

    def _spec(self, name: str, optimizer: Optimizer) -> TableSpec:
        return TableSpec(
            name,
            dim=self.dim,
            value_dtype=self.value_dtype,
            initializer=self.initializer or TruncatedNormal(stddev=1.0 / math.sqrt(self.dim)),
            optimizer=self.optimizer or optimizer,
            admission=self.admission,
            eviction=self.eviction,
            durability=self.durability,
            frequency_half_life_s=self.frequency_half_life_s,
            track_reads=self.track_reads,
        )


@dataclass(frozen=True)
class FeatureConfig:
    """One feature and the table it is looked up in.

    Attributes:
        table: shared by all features that name it.
        max_sequence_length: above 0: a ragged or sparse feature is a sequence, cut or padded with zeros to this length
            and not combined: [batch, max_sequence_length, dim].
        output_shape: of the activation without its last axis, the batch included; None in front is the number of
            examples. Dense and sparse inputs are checked against it. Ragged ones of as many examples as it has places
            are combined and brought to it; with several places an example, they are cut or padded as sequences.
        validate_weights_and_indices: ids below 0 and, unless the combiner is "sum", weights of 0 or below are left
            out of ragged and sparse inputs. False: negative ids are keys like any other, as hashed ids need it.
        name: None: the feature's place in the structure, such as "user" or "0/history".
        max_ids: how many ids a batch of a combined feature may hold, which is a static shape of the compiled step.
            None: the power of two that the batches so far needed.
    Raises:
        ValueError: a part is out of range.
    """

    table: TableConfig
    max_sequence_length: int = 0
    validate_weights_and_indices: bool = False
    output_shape: Sequence[int | None] | None = None
    name: str | None = None
    max_ids: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.table, TableConfig):
            raise ValueError(f"table: expected a TableConfig, got {type(self.table).__name__}")
        _at_least("max_sequence_length", self.max_sequence_length, 0)
        _at_least("max_ids", self.max_ids, 1)
        if self.name is not None and not isinstance(self.name, str):
            raise ValueError(f"name: expected a string, got {self.name!r}")
        if self.output_shape is not None:
            try:
                shape = tuple(self.output_shape)
            except TypeError:
                raise ValueError(f"output_shape: expected a list of sizes, got {self.output_shape!r}") from None
            if not shape or any(size is None for size in shape[1:]):
                raise ValueError(f"output_shape: expected sizes, None at most in front, got {list(shape)}")
            for size in shape:
                _at_least("output_shape", size, 1)
            object.__setattr__(self, "output_shape", shape)


def flatten(structure: Any, path: str = "") -> list[tuple[str, Any]]:
    """The leaves of nested dicts, lists and tuples with their places: dicts by sorted key, as TensorFlow does it."""
    leaves: list[tuple[str, Any]] = []
    for step, part in _children(structure):
        leaves += flatten(part, f"{path}/{step}" if path else str(step))
    return leaves if _is_nest(structure) else [(path, structure)]


def pack_like(structure: Any, leaves: Sequence[Any]) -> Any:
    """`leaves`, in the order of `flatten`, in the shape of `structure`."""
    remaining = iter(leaves)
    return _pack(structure, remaining)


def match(config: Any, given: Any, what: str, path: str = "") -> list[Any]:
    """The leaves of `given` in the order of the configuration's; a leaf may be any object.

    Raises:
        ValueError: `given` is nested otherwise; the message names the place.
    """
    if not _is_nest(config):
        return [given]
    where = f"{what} at {path!r}" if path else what
    if isinstance(config, dict):
        if not isinstance(given, dict) or set(given) != set(config):
            got = sorted(map(str, given)) if isinstance(given, dict) else type(given).__name__
            raise ValueError(f"{where}: expected a dict of {', '.join(sorted(map(str, config)))}, got {got}")
        pairs = [(key, config[key], given[key]) for key in sorted(config)]
    else:
        if not isinstance(given, (list, tuple)) or len(given) != len(config):
            got = f"{len(given)} of them" if isinstance(given, (list, tuple)) else type(given).__name__
            raise ValueError(f"{where}: expected a list or tuple of {len(config)}, got {got}")
        pairs = [(place, part, given[place]) for place, part in enumerate(config)]
    found: list[Any] = []
    for step, part, value in pairs:
        found += match(part, value, what, f"{path}/{step}" if path else str(step))
    return found


def _is_nest(structure: Any) -> bool:
    return isinstance(structure, (dict, list, tuple))


def _children(structure: Any) -> list[tuple[Any, Any]]:
    if isinstance(structure, dict):
        return [(key, structure[key]) for key in sorted(structure)]
    return list(enumerate(structure)) if _is_nest(structure) else []


def _pack(structure: Any, remaining: Any) -> Any:
    if isinstance(structure, dict):
        packed = {key: _pack(structure[key], remaining) for key in sorted(structure)}
        return {key: packed[key] for key in structure}
    if isinstance(structure, (list, tuple)):
        parts = [_pack(part, remaining) for part in structure]
        if isinstance(structure, list):
            return parts
        return type(structure)(*parts) if hasattr(structure, "_fields") else tuple(parts)
    return next(remaining)


def _at_least(what: str, value: Any, low: int) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < low):
        raise ValueError(f"{what}: expected an integer of at least {low}, got {value!r}")
