"""A stock gRPC server for the client's native transport: it answers with what it was sent, or as it was told to."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc

OPTIONS = (("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20))


@dataclass
class Echo:
    """What the handlers saw, and where the server is; `release` lets those of /t/Wait answer."""

    address: str = ""
    seen: list[tuple[tuple[str, str | bytes], ...]] = field(default_factory=list)
    left_s: list[float] = field(default_factory=list)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    release: threading.Event = field(default_factory=threading.Event)

    def echo(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.seen.append(tuple(context.invocation_metadata()))
        self.left_s.append(context.time_remaining())
        context.send_initial_metadata((("initial", "1"),))
        context.set_trailing_metadata((("position", "17"), ("raw-bin", bytes(range(256)))))
        return request

    def fail(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("x", "y"),))
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, request.decode())

    def wait(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.begun.release()
        self.release.wait(30)
        return request

    def sized(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        return bytes(int(request))


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, echo: Echo) -> None:
        self._found = {"/t/Echo": echo.echo, "/t/Fail": echo.fail, "/t/Wait": echo.wait, "/t/Sized": echo.sized}

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        found = self._found.get(details.method)
        return found and grpc.unary_unary_rpc_method_handler(found)


@contextmanager
def echoing(address: str = "127.0.0.1:0") -> Iterator[Echo]:
    """A server on loopback, or at unix:PATH."""
    echo = Echo()
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16), options=OPTIONS)
    server.add_generic_rpc_handlers((_Handlers(echo),))
    port = server.add_insecure_port(address)
    echo.address = address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"
    server.start()
    try:
        yield echo
    finally:
        echo.release.set()
        server.stop(None).wait()
