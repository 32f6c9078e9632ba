"""DeltaService: the streams of those who follow this shard."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc

from rowbank.errors import NotReady
from rowbank_protos.v1 import deltas_pb2, deltas_pb2_grpc
from rowbank_server.ps.deltas.asking import check
from rowbank_server.ps.deltas.followers import Followers
from rowbank_server.ps.deltas.stream import Sources, Stream
from rowbank_server.ps.durability.gate import MutationGate
from rowbank_server.ps.tables.shard import Shard
from rowbank_server.security.caller import current

_GATE_WAIT_S = 12.0  # A snapshot closes it for 10 s at most.


class DeltaServicer(deltas_pb2_grpc.DeltaServiceServicer):
    """Answers who follows and whoever wants to.

    Args:
        gate: closed for the moment in which mutations of relaxed tables begin to take positions.
    """

    def __init__(self, shard: Shard, sources: Sources, followers: Followers, gate: MutationGate) -> None:
        self._shard = shard
        self._sources = sources
        self._log = sources.log
        self._followers = followers
        self._gate = gate

    def Follow(  # noqa: N802
        self, request: deltas_pb2.FollowRequest, context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        """Yields serialized FollowResponses."""
        asked = check(request, current())
        if not self._log.opened_at:
            raise NotReady("this shard is loading its tables; try again in a moment")
        if asked.since is None:  # One that goes on learns of a table that is gone from the list.
            for name in request.tables:
                self._shard.get(name)
        ended = threading.Event()
        if not context.add_callback(ended.set):
            return
        with self._followers.joined(asked) as follower, self._log.reading():
            self._order_relaxed()
            yield from Stream(follower, self._sources, ended).messages()

    def ListFollowers(  # noqa: N802
        self, request: deltas_pb2.ListFollowersRequest, context: grpc.ServicerContext
    ) -> deltas_pb2.ListFollowersResponse:
        return deltas_pb2.ListFollowersResponse(
            followers=self._followers.current(),
            position=self._log.position,
            ring_bytes=self._log.held_bytes,
            ring_first=self._log.first_position,
        )

    def _order_relaxed(self) -> None:
        """From here on followers get every mutation of a relaxed table. Raises NotReady: not now."""
        with self._log.ordering_lock:
            if self._log.ordered:
                return
            if not self._gate.close(timeout_s=_GATE_WAIT_S):
                raise NotReady("mutations that were under way did not end; follow again in a moment")
            try:
                self._log.order_relaxed(self._sources.journal.last_position())
            finally:
                self._gate.open()
