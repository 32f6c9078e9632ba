"""What a follower of tables is told: batches of changes, and how far it has got."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank import hashing
from rowbank.errors import InvalidRequest, shown
from rowbank_protos.v1 import deltas_pb2

# By the number of a `RemovalReason`: why a row went.
REASONS = np.array(["", "removed", "cleared", "capacity", "bytes", "ttl", "restrict", "manual"])
_NONE = "-"
_FORM = "1"


@dataclass(frozen=True, slots=True, eq=False)
class ChangeBatch:
    """What became of rows of one table on one shard. A key is either in `keys` or in `removed`.

    Attributes:
        table: its name.
        shard: whose rows these are: those that `covers` says.
        keys: [N] int64, rows that changed, or that a picture consists of; each once.
        values: [N, dim] float32, what they hold by now; None where keys alone were asked for.
        positions: [N] uint64, the last mutation that each row has seen; None as above.
        removed: [M] int64, rows that are gone.
        reasons: [M] texts: "removed" by a caller, evicted by "capacity", "bytes", "ttl", "restrict" or
            "manual"; "": not known any more.
        position: how far the follower is once it has taken in this batch, for `since`; of all shards.
        oldest_s: Unix seconds by the server's clock: when the oldest of these changes was done; 0: there is none.
        done_s: the same by this process's `time.monotonic()`, whatever the two clocks show: never too late, and too
            early by at most the time that it took to connect; 0: there is none.
        picture: whether the rows are part of a picture, so that they need not have changed.
        restarted: whether a picture begins: what the follower has of the rows that `covers` says is void.
        whole: whether a picture is complete with this: the follower has every row that `covers` says.
        dropped: whether the table was dropped: what the follower has of it is void.
    """

    table: str
    shard: int
    keys: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32] | None
    positions: npt.NDArray[np.uint64] | None
    removed: npt.NDArray[np.int64]
    reasons: npt.NDArray[np.str_]
    position: str
    oldest_s: float
    done_s: float
    picture: bool
    restarted: bool
    whole: bool
    dropped: bool
    shard_count: int
    bucket_count: int

    def covers(self, keys: Any) -> npt.NDArray[np.bool_]:
        """[N] bool for [N] keys: whether their rows are on the batch's shard."""
        of = hashing.shard_of(np.asarray(keys, np.int64), shard_count=self.shard_count, bucket_count=self.bucket_count)
        result: npt.NDArray[np.bool_] = of == self.shard
        return result


Place = deltas_pb2.StreamPosition | None  # Of one shard; None: the follower has nothing whole of it yet.


def position_text(places: Sequence[Place]) -> str:
    """What `since` takes, from the places of all shards in their order."""
    return ";".join([_FORM, *(f"{place.number}@{place.server_id}" if place else _NONE for place in places)])


def read_position(text: str, shard_count: int) -> list[Place]:
    """The places that `position_text` wrote. Raises `InvalidRequest`."""
    form, *parts = text.split(";")
    try:
        places = [_read_place(part) for part in parts]
    except ValueError:
        places = []
    if form != _FORM or not places:
        raise InvalidRequest(f"since: expected None, 'now' or the position of a batch, got {shown(text)}")
    if len(places) != shard_count:
        raise InvalidRequest(f"since: expected a position of {shard_count} shards, got one of {len(places)}")
    return places


def _read_place(text: str) -> Place:
    if text == _NONE:
        return None
    number, _, server_id = text.partition("@")
    return deltas_pb2.StreamPosition(server_id=server_id, number=int(number))
