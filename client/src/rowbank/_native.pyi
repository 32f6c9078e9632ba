"""The client's native part: batches of keys and rows. Arrays are C-contiguous and never converted; the GIL is released.

Every function raises ValueError for shapes that do not belong together, and TypeError for another dtype.
"""

import numpy as np
import numpy.typing as npt

def distinct(
    keys: npt.NDArray[np.int64],
    distinct: npt.NDArray[np.int64],
    inverse: npt.NDArray[np.uint32],
    occurrences: npt.NDArray[np.uint32],
) -> int:
    """Finds the distinct ones of `keys` [N], in the order of their first occurrence; returns their number U.

    Args:
        distinct: written, [N]; the first U are the distinct keys.
        inverse: written, [N]; the place of each key in `distinct`.
        occurrences: written, [N]; the first U say how often each distinct key occurs.
    """

def sum_per_key(rows: npt.NDArray[np.float32], inverse: npt.NDArray[np.uint32], out: npt.NDArray[np.float32]) -> None:
    """rows [N, dim] -> out [U, dim], the sum per distinct key, added in the order given."""

def expand(rows: npt.NDArray[np.float32], inverse: npt.NDArray[np.uint32], out: npt.NDArray[np.float32]) -> None:
    """rows [U, dim] -> out [N, dim], the row of each key."""

def keep_best(
    scores: npt.NDArray[np.float32],
    first_item: int,
    best_scores: npt.NDArray[np.float32],
    best_items: npt.NDArray[np.int64],
) -> None:
    """Takes scores [U, B] of the items from `first_item` on into the best so far, [U, K] each, best first.

    Of equal scores the lower item is better; NaN and -infinity are never taken. Items rise from call to call.
    """

def related_items(
    user_starts: npt.NDArray[np.int64],
    items: npt.NDArray[np.int64],
    item_starts: npt.NDArray[np.int64],
    users: npt.NDArray[np.int64],
    first: int,
    out: npt.NDArray[np.int64],
) -> None:
    """Writes the items most related to those from `first` on into out [B, L]; see `rowbank.related.most_related`.

    Args:
        user_starts, items: [U + 1] and [N]: user u met `items[user_starts[u] : user_starts[u + 1]]`, each once.
        item_starts, users: [M + 1] and [N], the same pairs from the items' side.
    """

def converts_half() -> bool:
    """Whether this CPU has instructions for float16; without them the two below raise ValueError."""

def widen_half(halves: npt.NDArray[np.float16], out: npt.NDArray[np.float32]) -> None:
    """Any shape, exact."""

def round_to_half(values: npt.NDArray[np.float32], out: npt.NDArray[np.float16]) -> None:
    """Any shape, to nearest and ties to even."""

def widen_int8(rows: npt.NDArray[np.uint8], out: npt.NDArray[np.float32]) -> None:
    """rows [N, 4 + dim], a float32 scale and dim int8 each -> out [N, dim], each int8 times its row's scale."""

def round_at_random(values: npt.NDArray[np.float32], out: npt.NDArray[np.uint16], half: bool, seed: int) -> None:
    """Finite values of any shape to the bits of float16, or of bfloat16 unless `half`, up or down at random.

    Up with a probability of how far a value is from its lower neighbour, so that the mean of many is the value. What
    the type holds stays as it is, what would become infinite becomes the largest number.

    Args:
        seed: 0 to 2**64 - 1; the result is a function of it and the values.
    """

class NearCache:
    """Rows of one table that may be some steps old; see `rowbank.calls.near_cache`. Thread-safe.

    Args:
        dim: width of a row.
        max_bytes: of the rows and all that is kept beside them, at most.
        max_staleness_steps: a row that was read at step s is used up to step s + this.
    """

    def __init__(self, dim: int, max_bytes: int, max_staleness_steps: int) -> None: ...
    def read(
        self,
        keys: npt.NDArray[np.int64],
        rows: npt.NDArray[np.float32],
        status: npt.NDArray[np.uint8],
        missing: npt.NDArray[np.int64],
    ) -> tuple[int, int]:
        """Writes what may be used of the distinct keys [N] into rows [N, dim] and status [N].

        Args:
            missing: written, [N]; the first M are the places of the other keys, ascending.
        Returns:
            The token for `fill`, 0 if nothing is missing; and M.
        """

    def fill(
        self,
        token: int,
        keys: npt.NDArray[np.int64],
        rows: npt.NDArray[np.float32],
        status: npt.NDArray[np.uint8],
        places: npt.NDArray[np.int64],
    ) -> None:
        """Ends a read; keeps the rows at `places`, except those that a write touched meanwhile."""

    @staticmethod
    def take(
        places: npt.NDArray[np.int64],
        values: npt.NDArray[np.float32],
        value_status: npt.NDArray[np.uint8],
        rows: npt.NDArray[np.float32],
        status: npt.NDArray[np.uint8],
    ) -> None:
        """Writes values [M, dim] and their status [M] to the `places` [M] of rows [N, dim] and status [N]."""

    def begin_write(self, keys: npt.NDArray[np.int64], every: bool, will_apply: bool) -> int:
        """Begins a write of `keys`, or of all; they are dropped unless `will_apply`. Returns the token."""

    def end_write(self, token: int, gradients: npt.NDArray[np.float32] | None, learning_rate: float) -> None:
        """Ends a write. Rows move by gradients [N, dim], as SGD moves them; None: they are dropped."""

    def counts(self) -> dict[str, int]:
        """Of `rowbank.rows.NearTableStats`, all but `ages`."""

    def ages(self) -> list[int]:
        """Hits by age in steps; the last entry, of 65 at most, has those that are older, too."""
