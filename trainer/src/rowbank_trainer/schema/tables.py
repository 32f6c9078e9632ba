"""Tables of a schema: how values find rows, and how rows are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rowbank import Admission, Eviction, TableSpec
from rowbank.errors import InvalidSpec
from rowbank.specs import MAX_DIM
from rowbank_trainer.errors import SchemaError
from rowbank_trainer.schema import checks

_MAX_BUCKETS = 2**62
_MAX_LOOKUPS = 64
COMBINERS = ("multiply", "add")


@dataclass(frozen=True, slots=True)
class Plain:
    """A row for each value."""


@dataclass(frozen=True, slots=True)
class QuotientRemainder:
    """Two rows for each value, both shared with others; see `rowbank.keras.QREmbedding`."""

    buckets: int
    combiner: Literal["multiply", "add"] = "multiply"

    def __post_init__(self) -> None:
        checks.integer("quotient_remainder", "buckets", self.buckets, 2, _MAX_BUCKETS)
        checks.one_of("quotient_remainder", "combiner", self.combiner, COMBINERS)


@dataclass(frozen=True, slots=True)
class MixedDimension:
    """Wide rows for frequent values, narrow ones for rare ones; see `rowbank.keras.MDEmbedding`.

    Attributes:
        shares: of the distinct values of training, the most frequent first, in each block but the last, which has the
            rest and what is new.
        dims: width of the rows of each block.
    """

    shares: tuple[float, ...]
    dims: tuple[int, ...]

    def boundaries(self, values: int) -> list[int]:
        """How many of so many values are in the first block, in the first two, and so on; the last has the rest."""
        ends: list[int] = []
        for place in range(len(self.shares)):
            end = round(values * sum(self.shares[: place + 1]))
            ends.append(max(end, ends[-1] + 1 if ends else 1))
        return ends

    def __post_init__(self) -> None:
        for name in ("shares", "dims"):
            value = getattr(self, name)
            if not isinstance(value, (tuple, list)):
                raise SchemaError("mixed_dimension", f"{name}: expected a list of numbers, got {checks.shown(value)}")
            object.__setattr__(self, name, tuple(value))
        for share in self.shares:
            checks.number("mixed_dimension", "shares", share, "numbers above 0 and below 1", above=0.0, below=1.0)
        if not sum(self.shares) < 1.0:
            raise SchemaError(
                "mixed_dimension",
                f"shares: expected less than 1 in all, as the last block has the rest, got {list(self.shares)}",
            )
        for dim in self.dims:
            checks.integer("mixed_dimension", "dims", dim, 1, MAX_DIM)
        if len(self.dims) != len(self.shares) + 1:
            raise SchemaError(
                "mixed_dimension",
                f"dims: expected one more than shares, for the rest of the values, got {len(self.dims)} for "
                f"{len(self.shares)} shares",
            )


@dataclass(frozen=True, slots=True)
class Unified:
    """`lookups` rows of a table that many columns share, by hash; see `rowbank.keras.UnifiedEmbedding`.

    A value's vector is `lookups` rows of `dim / lookups` numbers after each other, in `buckets` rows each.
    """

    buckets: int
    lookups: int = 2

    def __post_init__(self) -> None:
        checks.integer("unified", "buckets", self.buckets, 1, _MAX_BUCKETS)
        checks.integer("unified", "lookups", self.lookups, 1, _MAX_LOOKUPS)


Embedding = Plain | QuotientRemainder | MixedDimension | Unified


@dataclass(frozen=True, slots=True)
class TableOptions:
    """How a table of the schema keeps rows.

    Attributes:
        dim: width of a value's vector; None: the job's `--dim`.
        embedding: how a value finds its rows.
        admission, eviction, value_dtype: as in `rowbank.TableSpec`.
        initial_range: new rows are uniform within it of 0; None: the job's `--initial-range`.
    Raises:
        SchemaError: one of them is out of range.
    """

    dim: int | None = None
    embedding: Embedding = Plain()
    admission: Admission = Admission()  # noqa: RUF009 - frozen
    eviction: Eviction = Eviction()  # noqa: RUF009 - frozen
    value_dtype: str = "float32"
    initial_range: float | None = None

    def __post_init__(self) -> None:
        if self.dim is not None:
            checks.integer("table", "dim", self.dim, 1, MAX_DIM)
        if not isinstance(self.embedding, Embedding):
            raise SchemaError(
                "table",
                "embedding: expected Plain, QuotientRemainder, MixedDimension or Unified, "
                f"got {checks.shown(self.embedding)}",
            )
        if self.initial_range is not None:
            checks.number("table", "initial_range", self.initial_range, "a number above 0", above=0.0)
            object.__setattr__(self, "initial_range", float(self.initial_range))
        try:
            TableSpec(
                "table", self.dim or 1, self.value_dtype, admission=self.admission, eviction=self.eviction
            )  # Checks what the server would refuse.
        except InvalidSpec as error:
            raise SchemaError("table", str(error)) from None
        if self.dim is not None:
            self.check_dim(self.dim)

    def check_dim(self, dim: int) -> None:
        """Raises SchemaError if vectors of this width cannot be made of the rows."""
        if isinstance(self.embedding, Unified) and dim % self.embedding.lookups:
            raise SchemaError(
                "table", f"dim: expected a multiple of the {self.embedding.lookups} lookups of unified, got {dim}"
            )
