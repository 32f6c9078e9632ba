"""An owner that says what a test wants: a server whose Follow is a script, found by the lease that it writes."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import redis

from rowbank._version import __version__
from rowbank_protos.v1 import deltas_pb2, deltas_pb2_grpc

_LEASE_MS = 600_000
Script = Callable[[deltas_pb2.FollowRequest], Iterator[deltas_pb2.FollowResponse]]


class ScriptedOwner(deltas_pb2_grpc.DeltaServiceServicer):
    """Answers each Follow by `script`, after what it began with; `asked` has the requests.

    Attributes:
        greeting: what it says of itself.
    """

    def __init__(self, redis_url: str, namespace: str) -> None:
        self._redis = redis.Redis.from_url(redis_url)
        self._lease = f"{namespace}:{{s0}}:lease"
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
        deltas_pb2_grpc.add_DeltaServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        self._ended = threading.Event()
        self.script: Script = lambda request: iter(())
        self.asked: list[deltas_pb2.FollowRequest] = []
        self.greeting: dict[str, Any] = {
            "server_id": "scripted", "version": __version__, "namespace": namespace, "shard_count": 1, "epoch": 1,
        }  # fmt: skip
        self.hold_lease()

    def hold_lease(self) -> None:
        """Says in Redis that this is the owner."""
        self._redis.set(self._lease, f"scripted|1|{self.address}", px=_LEASE_MS)

    def Follow(  # noqa: N802
        self, request: deltas_pb2.FollowRequest, context: grpc.ServicerContext
    ) -> Iterator[deltas_pb2.FollowResponse]:
        self.asked.append(request)
        yield from self.script(request)
        while context.is_active() and not self._ended.wait(0.05):
            pass

    def hello(self, *, continued: bool = False, position: int = 0) -> deltas_pb2.FollowResponse:
        hello = deltas_pb2.FollowHello(continued=continued, **self.greeting)
        return deltas_pb2.FollowResponse(hello=hello, at_ms=1, position=deltas_pb2.StreamPosition(number=position))

    def close(self) -> None:
        self._redis.delete(self._lease)
        self._ended.set()
        self._server.stop(0).wait()
        self._redis.close()
