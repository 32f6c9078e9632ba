"""Gradient accumulation for the layers: many small batches, one push."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rowbank.errors import InvalidRequest
from rowbank.keras import steps
from rowbank.keras.steps import Given
from rowbank.remote.accumulation import Accumulation


@contextlib.contextmanager
def accumulated_gradients(*, every: int | None = None, scale: float = 1.0) -> Iterator[Accumulation[Given]]:
    """Within it, the layers of this process hold their gradients back; at its end all are pushed as one.

    A push is one step of each table's optimizer, with the gradients of an id summed over all that was held back, and
    its occurrences too, as if the small batches had been one. Rows are read as they are meanwhile. Leaving by an
    exception pushes nothing of what is held back. For a `RemoteEmbedding` see its method of that name.

    Args:
        every: push after so many steps, too, as in `fit`; None: at the end, and when `push` is called on what the
            `with` gives.
        scale: what the sum is multiplied by: 1.0 if the small batches' losses add up to the large one's; 1 / n if the
            large one's is their mean, as for Keras 3's `gradient_accumulation_steps=n`.
    Raises:
        InvalidRequest: an argument is out of range, or the gradients of this process are held back already.
    """
    accumulation: Accumulation[Given] = Accumulation(_send, every=every, scale=scale)
    if not steps.hold(accumulation):
        raise InvalidRequest("accumulated_gradients: the gradients of this process are held back already; leave that")
    try:
        yield accumulation
        accumulation.push()
    finally:
        steps.hold(None)


def _send(parts: list[Given], scale: float) -> None:
    steps.push_now([Given(part.table, part.keys, part.gradients * scale, part.counts) for part in parts])
