"""What reads of rows answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The answer of a lookup; `...` is the shape of the keys that were asked for.

    Attributes:
        values: [..., dim] float32; rows of unseen keys are zero.
        found: [...] bool.
        frequency: [...] uint32 occurrences, if metadata was asked for.
        last_used: [...] uint32 Unix seconds, if metadata was asked for.
    """

    values: npt.NDArray[np.float32]
    found: npt.NDArray[np.bool_]
    frequency: npt.NDArray[np.uint32] | None = None
    last_used: npt.NDArray[np.uint32] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ExportChunk:
    """Some rows of a table, as one shard stores them; read-only arrays.

    Attributes:
        keys: [N] int64.
        values: [N, dim] float32.
        frequency: [N] uint32 occurrences.
        last_used: [N] uint32 Unix seconds.
        slots: [N, slot_width] float32 optimizer state, if asked for.
    """

    keys: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    frequency: npt.NDArray[np.uint32]
    last_used: npt.NDArray[np.uint32]
    slots: npt.NDArray[np.float32] | None = None
