"""How TFRA's value types are kept in Rowbank rows, which are floating point.

Problem: a table of TFRA may hold integers (restrict policies count in int32), while a Rowbank row holds float32,
float16 or bfloat16. A float32 holds integers exactly only up to 2**24, and reinterpreting the bits would produce NaNs,
which a server may refuse and a conversion may alter. Idea: an integer is split into signed 16-bit limbs, each stored as
one float32. Any value survives exactly, and because value = sum(limb[i] * 2**(16 * i)) is linear, adding encoded deltas
on the server adds the integers. Limit: a limb is exact up to 2**24, so 512 full-scale deltas of one sign may be added
before an upsert renews the row; `decode` detects that and refuses. float64 travels as the limbs of its bits, so it is
exact but cannot be added to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_LIMB_BITS = 16
_LIMB_LIMIT = 2.0**24  # From here on a float32 no longer counts in ones.


@dataclass(frozen=True, slots=True)
class Codec:
    """One value type of a table.

    Attributes:
        dtype: the NumPy type of the values, as TensorFlow names it.
        storage: the table's `value_dtype` on the server.
        limbs: stored floats per value.
        additive: whether adding encoded deltas adds the values.
    """

    dtype: str
    storage: str
    limbs: int
    additive: bool

    def row_width(self, dim: int) -> int:
        """Floats of a stored row of `dim` values."""
        return dim * self.limbs

    def encode(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Turns [n, dim] values into [n, row_width] float32 rows, all first limbs before all second ones."""
        if self.dtype in _FLOATS:
            return np.ascontiguousarray(values, dtype=np.float32)
        rest = values.view(np.int64) if self.dtype == "float64" else values.astype(np.int64)
        limbs = []
        for _ in range(self.limbs):
            limb = ((rest + 0x8000) & 0xFFFF) - 0x8000
            rest = (rest - limb) >> _LIMB_BITS
            limbs.append(limb.astype(np.float32))
        return np.ascontiguousarray(np.concatenate(limbs, axis=1))

    def decode(self, rows: npt.NDArray[np.float32], target: npt.DTypeLike) -> npt.NDArray[Any]:
        """Turns [n, row_width] float32 rows back into [n, dim] values of the NumPy type `target`.

        Raises:
            ValueError: deltas added to a row have outgrown what it can hold exactly.
        """
        if self.dtype in _FLOATS:
            return rows.astype(target, copy=False)
        if rows.size and float(np.abs(rows).max()) >= _LIMB_LIMIT:
            raise ValueError(
                f"{self.dtype} rows: so many deltas were added to a row that its exact value is lost; "
                "overwrite such rows with insert() once in a while"
            )
        dim = rows.shape[1] // self.limbs
        total = np.zeros((rows.shape[0], dim), dtype=np.int64)
        for index in range(self.limbs):
            limb = rows[:, index * dim : (index + 1) * dim].astype(np.int64)
            total += limb << (_LIMB_BITS * index)
        return total.view(np.float64) if self.dtype == "float64" else total.astype(target)


_FLOATS = frozenset({"float32", "float16", "bfloat16"})
_CODECS = {
    codec.dtype: codec
    for codec in (
        Codec("float32", "float32", 1, True),
        Codec("float16", "float16", 1, True),
        Codec("bfloat16", "bfloat16", 1, True),
        Codec("float64", "float32", 4, False),
        Codec("int8", "float32", 1, True),
        Codec("int32", "float32", 2, True),
        Codec("int64", "float32", 4, True),
        Codec("bool", "float32", 1, False),
    )
}


def codec_for(dtype: str) -> Codec:
    """Returns the codec of a value type named as TensorFlow names it.

    Raises:
        TypeError: the type cannot be stored.
    """
    if dtype not in _CODECS:
        raise TypeError(f"Rowbank stores no values of type {dtype}; it stores {', '.join(sorted(_CODECS))}")
    return _CODECS[dtype]
