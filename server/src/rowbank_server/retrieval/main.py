"""Runs the retrieval service: connect, bind, serve, follow the registry, drain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping

import grpc.aio
import uvicorn
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from rowbank.addresses import split_address
from rowbank.errors import RedisUnavailable
from rowbank_protos.v1 import retrieval_pb2, retrieval_pb2_grpc
from rowbank_server import logs
from rowbank_server.features import FeatureStore
from rowbank_server.guard import Guard
from rowbank_server.listening import listen, require_free
from rowbank_server.registry import ModelRegistry
from rowbank_server.registry.activation import Activation
from rowbank_server.retrieval.api.grpc.servicer import RetrievalServicer
from rowbank_server.retrieval.api.http.app import create_app
from rowbank_server.retrieval.api.operations import Operations
from rowbank_server.retrieval.api.service import Service
from rowbank_server.retrieval.batching import Batcher
from rowbank_server.retrieval.budget import QueryParts
from rowbank_server.retrieval.follower import FollowerOptions
from rowbank_server.retrieval.hosting.hosts import Hosts
from rowbank_server.retrieval.hosting.serving import Equipment
from rowbank_server.retrieval.lineage import Lineage, Loss
from rowbank_server.retrieval.metrics import Metrics
from rowbank_server.retrieval.reach import Reach
from rowbank_server.retrieval.rows import ClientRows
from rowbank_server.settings import ApiSettings, SettingsError, StartError, require_private
from rowbank_server.storage.connection import Redis, connect_at_start, without_password
from rowbank_server.storage.eviction_policy import check_policy

_log = logging.getLogger("rowbank.api")

_BUILD_TIMEOUT_S = 5.0  # Of one read of rows while an index is built; nobody waits for it.
_REDIS_THREADS = 8  # For endpoints other than queries.


class _Server(uvicorn.Server):
    """Leaves the signals to us: uvicorn would raise them again after the drain and so end with a failure status."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def open_service(settings: ApiSettings, redis: Redis) -> AsyncIterator[Service]:
    """The running service: it follows the registry from here on and is taken down at the end."""
    store = FeatureStore(redis, settings.namespace)
    registry = ModelRegistry(redis, settings.namespace)
    metrics = Metrics()
    build_rows = ClientRows(settings.targets, _BUILD_TIMEOUT_S)
    query_rows = ClientRows(settings.targets, settings.row_timeout_s)
    parts = QueryParts(settings.query_budget_ms / 1e3)
    redis_guard = Guard("Redis", RedisUnavailable, threads=_REDIS_THREADS)
    metrics.watch_unreadable(store.unreadable)
    metrics.watch_freshness(store.freshness)
    metrics.watch({"features": parts.features, "rows": parts.rows, "endpoints": redis_guard})
    equipment = Equipment(
        registry=registry,
        store=store,
        build_rows=build_rows,
        query_rows=query_rows,
        lineage=Lineage(redis, settings.namespace),
        options=FollowerOptions(refresh_s=settings.index_refresh_s),
        parts=parts,
        metrics=metrics,
        open_batcher=lambda answer: Batcher(
            answer, max_batch=settings.max_batch, max_queue=settings.max_queue, on_batch=metrics.batch
        ),
    )
    hosts = Hosts(settings.model, equipment, asyncio.get_running_loop())
    metrics.watch_tables(lambda: _lost_tables(hosts))
    reach = Reach(settings.targets)
    hosts.start()
    reach.start()
    try:
        yield Service(
            hosts=hosts,
            history_limit=settings.history_limit,
            registry=registry,
            activation=Activation(registry, store),
            reach=reach,
            metrics=metrics,
            redis=redis_guard,
            redis_wait_s=settings.redis_wait_s,
        )
    finally:
        await hosts.close()
        await asyncio.to_thread(reach.stop)
        query_rows.close()
        build_rows.close()


def _lost_tables(hosts: Hosts) -> Mapping[str, Loss]:
    """Of the versions in service, by name."""
    active = [host.active for host in hosts.all.values()]
    current = [serving.follower.current for serving in active if serving is not None]
    return {table: loss for generation in current if generation is not None for table, loss in generation.lost.items()}


async def _serve(settings: ApiSettings, redis: Redis) -> int:
    listener = listen("bind", settings.bind)
    async with open_service(settings, redis) as service:
        operations = Operations(service)
        config = uvicorn.Config(
            create_app(operations),
            loop="uvloop",
            http="httptools",
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=int(settings.drain_timeout_s) or 1,
        )
        server = _Server(config)
        rpc, rpc_address = await _start_grpc(settings, operations)
        _stop_on_signals(server)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.005)
        if server.started:
            host, port = listener.getsockname()[:2]
            _log.info("listening for model %r of namespace %s", settings.model, settings.namespace)
            over_grpc = f" grpc={rpc_address}" if rpc is not None else ""
            sys.stdout.write(f"ready rowbank-api http://{f'[{host}]' if ':' in host else host}:{port}{over_grpc}\n")
            sys.stdout.flush()
        await serving
        if rpc is not None:
            await rpc.stop(settings.drain_timeout_s)
    _log.info("stopped")
    return 0


async def _start_grpc(settings: ApiSettings, operations: Operations) -> tuple[grpc.aio.Server | None, str]:
    """The gRPC server and its address; None where it is off."""
    if not settings.grpc_bind:
        return None, ""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    retrieval_pb2_grpc.add_RetrievalServiceServicer_to_server(RetrievalServicer(operations), server)
    name = retrieval_pb2.DESCRIPTOR.services_by_name["RetrievalService"].full_name
    checks = health.aio.HealthServicer()  # type: ignore[attr-defined]  # The stubs do not know it.
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    for served in ("", name):
        await checks.set(served, health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection([name, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    require_free("grpc_bind", settings.grpc_bind)
    try:
        port = server.add_insecure_port(settings.grpc_bind)
    except RuntimeError as error:
        raise StartError(f"grpc_bind {settings.grpc_bind}: cannot listen there: {error}") from None
    await server.start()
    address = f"{split_address(settings.grpc_bind)[0]}:{port}"
    _log.info("gRPC at %s", address)
    return server, address


def _stop_on_signals(server: uvicorn.Server) -> None:
    """SIGTERM and SIGINT ask for a drain; a second one ends the process at once."""

    def handle(number: int) -> None:
        if server.should_exit:
            sys.stderr.write("rowbank-api: second signal, ending at once\n")
            sys.stderr.flush()
            os._exit(128 + number)
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle, number)


def run(settings: ApiSettings) -> int:
    """Runs the service in this process until SIGTERM or SIGINT; returns the exit status.

    Raises:
        SettingsError: the settings do not fit together or to this machine.
        RedisUnavailable: Redis cannot be reached at start.
    """
    logs.configure(settings.log_level, settings.log_format)
    for name, address in (("bind", settings.bind), ("grpc_bind", settings.grpc_bind)):
        if address:
            require_private(address, insecure=settings.insecure, setting=name)
    if not settings.redis:
        raise SettingsError(
            "setting redis (ROWBANK_REDIS): expected a URL such as redis://127.0.0.1:6379, got none; "
            "`rowbank up` runs a Redis of its own"
        )
    try:
        redis = connect_at_start(settings.redis, timeout_s=settings.redis_timeout_s, client_name="rowbank-api")
    except ValueError as error:
        raise SettingsError(str(error)) from None
    _log.info("connected to %s", without_password(settings.redis))
    try:
        check_policy(redis, allowed=settings.allow_redis_eviction, owns_rows=False)
        return uvloop.run(_serve(settings, redis))
    finally:
        redis.close()
