"""Serves one process's HTTP and gRPC until a signal asks to stop, then drains both."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from rowbank import tracing
from rowbank.addresses import split_address
from rowbank.errors import NotReady
from rowbank_server.listening import require_free, shown
from rowbank_server.retrieval.api.grpc.auth import Auth
from rowbank_server.retrieval.api.grpc.registering import add_to_server
from rowbank_server.retrieval.api.grpc.servicer import RetrievalServicer
from rowbank_server.retrieval.api.grpc.tracing import Tracing
from rowbank_server.retrieval.api.http import problems
from rowbank_server.retrieval.api.http.app import create_app
from rowbank_server.retrieval.api.http.direct import Direct
from rowbank_server.retrieval.api.http.plain import PlainRecommends
from rowbank_server.retrieval.api.operations import Operations
from rowbank_server.retrieval.api.schemas.fields import MAX_BODY_BYTES
from rowbank_server.retrieval.api.service import Service
from rowbank_server.retrieval.processes.http_server import LINGER_S, HttpServer
from rowbank_server.retrieval.processes.team import Team
from rowbank_server.security.policy import API_ROUTES
from rowbank_server.security.tls import ServedTls, served_tls
from rowbank_server.settings import ApiSettings, StartError
from rowbank_server.tracing import Traced, exporting, of_api
from rowbank_server.web.auth import Authorized
from rowbank_server.web.certificates import RequireCertificate

_log = logging.getLogger("rowbank.api")
# Objects that came and did not go, after which circles are looked for among them. At Python's 700 each batch of answers
# would pay for that, and hardly any garbage here lies in circles.
_YOUNG = 20_000

_SETTLE_S = 0.005
_LOOK_S = 0.1
_CALLS_PER_PLACE = 2  # gRPC calls at the same time, by places in the queue; gRPC refuses more.


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process serves.

    Attributes:
        listener: the listening socket of HTTP.
        tell: gets the addresses, as the ready line has them, once both answer.
        team: the workers beside it; None where it is alone.
    """

    listener: socket.socket
    tell: Callable[[str], None]
    team: Team | None = None


class _Stop:
    """Asked for by SIGTERM and SIGINT; a second one ends the process at once."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._handle, number)

    def _handle(self, number: int) -> None:
        if self.asked.is_set():
            sys.stderr.write("rowbank-api: second signal, ending at once\n")
            sys.stderr.flush()
            os._exit(128 + number)
        self.asked.set()

    async def within(self, seconds: float) -> bool:
        """Whether it is asked for within so many seconds."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.asked.wait(), seconds)
        return self.asked.is_set()


async def serve(settings: ApiSettings, place: Place, opened: AbstractAsyncContextManager[Service]) -> int:
    """Serves until a signal comes; the exit status.

    Raises:
        StartError: gRPC's address cannot be listened on.
    """
    stop = _Stop()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
    with exporting(of_api(settings), enabled=settings.tracing):
        await _run(settings, place, opened, stop)
    _log.info("stopped")
    return 0


async def _run(settings: ApiSettings, place: Place, opened: AbstractAsyncContextManager[Service], stop: _Stop) -> None:
    async with opened as service:
        operations = Operations(service)
        tls = served_tls(settings)
        if tls is not None:
            service.metrics.registry.register(tls)
        async with _answering_siblings(place.team, operations):
            if place.team is not None:
                await _wait_for_model(operations, place.team.wait_s, stop)
            await _serve(settings, place, operations, tls, stop)


@contextlib.asynccontextmanager
async def _answering_siblings(team: Team | None, operations: Operations) -> AsyncIterator[None]:
    if team is None:
        yield
        return
    await team.siblings.start(operations.whole.answers)
    try:
        yield
    finally:
        team.siblings.close()


async def _wait_for_model(operations: Operations, seconds: float, stop: _Stop) -> None:
    """Leaves connections to others that can answer while this process has nothing to answer from."""
    until = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < until:
        with contextlib.suppress(NotReady):
            operations.models.ready()
            return
        if await stop.within(_LOOK_S):
            return


async def _serve(
    settings: ApiSettings, place: Place, operations: Operations, tls: ServedTls | None, stop: _Stop
) -> None:
    routes, gate = create_app(operations), operations.service.gate
    # Rules belong to routes as the application matches them: with tokens, the short way is that of who guards them.
    short = Direct(routes) if gate is None else Authorized(routes, gate, API_ROUTES, problems.refusal, by_table=True)
    app: Any = Traced(short)
    asks_for_certificates = tls is not None and tls.asks_for_certificates
    server = HttpServer(
        RequireCertificate(app) if asks_for_certificates else app,
        drain_timeout_s=settings.drain_timeout_s,
        board=place.team.board if place.team is not None else None,
        worker=place.team.worker if place.team is not None else 0,
        tls=tls,
        max_connections=settings.max_connections,
        questions=None if asks_for_certificates or tracing.is_set_up() else PlainRecommends(operations),
    )
    rpc = await _Rpc.start(settings, operations, tls, is_shared=place.team is not None)
    serving = asyncio.create_task(server.serve(sockets=[place.listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(_SETTLE_S)
    if server.started:
        _log.info("listening for model %r of namespace %s", settings.model, settings.namespace)
        scheme, over_grpc = "http" if tls is None else "https", f" grpc={rpc.address}" if rpc is not None else ""
        place.tell(f"{scheme}://{shown(place.listener)}{over_grpc}")
    await asyncio.wait([serving, asyncio.create_task(stop.asked.wait())], return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await asyncio.gather(serving, *([] if rpc is None else [rpc.drain(settings.drain_timeout_s)]))


@dataclass(frozen=True, slots=True)
class _Rpc:
    """The gRPC server and its address."""

    server: grpc.aio.Server
    checks: health.aio.HealthServicer  # type: ignore[name-defined]  # The stubs do not know it.
    address: str

    @classmethod
    async def start(
        cls, settings: ApiSettings, operations: Operations, tls: ServedTls | None, *, is_shared: bool
    ) -> _Rpc | None:
        """Serves at `grpc_bind`, which several processes may share; None where it is off."""
        if not settings.grpc_bind:
            return None
        gate = operations.service.gate
        server = grpc.aio.server(
            interceptors=[*([] if gate is None else [Auth(gate)]), Tracing()],
            options=[
                ("grpc.so_reuseport", int(is_shared)),
                ("grpc.max_receive_message_length", MAX_BODY_BYTES),
                ("grpc.server_handshake_timeout_ms", 10_000),
            ],
            maximum_concurrent_rpcs=_CALLS_PER_PLACE * settings.max_queue,
        )
        name = add_to_server(RetrievalServicer(operations), server)
        checks = health.aio.HealthServicer()  # type: ignore[attr-defined]
        health_pb2_grpc.add_HealthServicer_to_server(checks, server)
        for served in ("", name):
            await checks.set(served, health_pb2.HealthCheckResponse.SERVING)
        reflection.enable_server_reflection([name, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
        if not is_shared:
            require_free("grpc_bind", settings.grpc_bind)
        try:
            if tls is None:
                port = server.add_insecure_port(settings.grpc_bind)
            else:
                port = server.add_secure_port(settings.grpc_bind, tls.for_grpc())
        except RuntimeError as error:
            raise StartError(f"grpc_bind {settings.grpc_bind}: cannot listen there: {error}") from None
        await server.start()
        address = f"{split_address(settings.grpc_bind)[0]}:{port}"
        _log.info("gRPC at %s", address)
        return cls(server, checks, address)

    async def drain(self, seconds: float) -> None:
        """Takes no more calls and waits for those that run.

        The library cancels calls that arrived and that it has not begun, so it is given a moment to begin them.
        """
        await self.checks.enter_graceful_shutdown()
        await asyncio.sleep(LINGER_S)
        await self.server.stop(seconds)
