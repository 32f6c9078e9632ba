"""Whether the memory suffices for all servers that a run of `capacity` has up at once."""

from __future__ import annotations

from . import machine
from .capacity_cells import chosen, peers, releases
from .report import Settings

_GB = 10**9
# In parts of the tables' own bytes, and more on top: what was seen with 1 M rows of 64 floats, rounded up.
_ROWBANK = 3.0  # Rows and index in the server, and once more in its Redis.
_JOURNAL = 2 * _GB  # Of its bound; a run of a few rounds fills half.
_PEER = 1.5
_PEERS_CLIENTS = _GB  # Five processes, each with a large library.


def require_room(settings: Settings) -> None:
    """Asks the environment what is wanted, and the system whether there is memory for that.

    Raises:
        ValueError: a wish is wrong, or the wanted candidates need more memory than is free.
    """
    cells, others, releases_ = chosen(), peers(), releases()
    for optimizer in dict.fromkeys(cell.optimizer for cell in cells):
        variants = {cell.variant for cell in cells if cell.optimizer == optimizer}
        needed = bytes_needed(settings, optimizer, variants, len(releases_), len(set(others) - {"gRPC echo"}))
        if needed > (free := machine.free_bytes()):
            raise ValueError(
                f"capacity: the lines of {optimizer} need about {needed / _GB:.0f} GB, {free / _GB:.0f} are free; ask "
                "for fewer lines with CAPACITY_CELLS, for fewer peers with CAPACITY_PEERS, leave out CAPACITY_BEFORE, "
                "or take fewer --rows"
            )


def bytes_needed(settings: Settings, optimizer: str, variants: set[str], releases_: int, others: int) -> int:
    """Of `releases_` of Rowbank, each with a server for each of `variants`, and so many other servers."""
    tables, parts = (1, 2) if optimizer == "adagrad" else (2, 3)
    table_bytes = tables * parts * settings.rows * settings.dim * 4
    rowbank = len(variants) * _ROWBANK * table_bytes + (_JOURNAL if "journaled" in variants else 0)
    return int(releases_ * rowbank + others * (_PEER * table_bytes + _PEERS_CLIENTS))
