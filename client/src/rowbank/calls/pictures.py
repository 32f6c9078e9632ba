"""A picture of all shards at one moment, for whoever reads rows as they were then: snapshots, and frozen tables."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from rowbank.calls import methods
from rowbank.calls.transport import Transport
from rowbank.errors import NotReady
from rowbank_protos.v1 import snapshots_pb2

_HOLD_MS = 2000


@dataclass(frozen=True, slots=True)
class Moment:
    """What the shards said when they held still, in their order."""

    snapshot_id: str
    answers: tuple[snapshots_pb2.BeginSnapshotResponse, ...]


@contextlib.contextmanager
def held_moment(transport: Transport) -> Iterator[Moment]:
    """Takes a picture of all shards and ends it afterwards. Mutations are held back for milliseconds, reads never.

    Raises:
        NotReady: another picture is being read, or the shards could not be held still at once.
    """
    snapshot_id = uuid.uuid4().hex
    try:
        begin = snapshots_pb2.BeginSnapshotRequest(snapshot_id=snapshot_id, hold_ms=_HOLD_MS)
        answers = transport.each(methods.BEGIN_SNAPSHOT, begin, retry=False)
        resume = snapshots_pb2.ResumeMutationsRequest(snapshot_id=snapshot_id)
        resumed = transport.each(methods.RESUME_MUTATIONS, resume, retry=False)
        if not all(answer.held for answer in resumed):
            raise NotReady(f"the shards could not be held still at once within {_HOLD_MS} ms; try again")
        yield Moment(snapshot_id, tuple(answers))
    finally:
        for shard in range(len(transport.shards)):
            with contextlib.suppress(Exception):  # It ends by itself if this does not reach the shard.
                transport.one(
                    methods.END_SNAPSHOT, shard, snapshots_pb2.EndSnapshotRequest(snapshot_id=snapshot_id), retry=False
                )
