"""The gRPC server of a shard: its services, limits and channel options."""

from __future__ import annotations

import concurrent.futures
import functools
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from rowbank.addresses import split_address
from rowbank_protos.memory import keep_freed_blocks
from rowbank_protos.patience import let_others_first
from rowbank_protos.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    deltas_pb2,
    deltas_pb2_grpc,
    diagnosis_pb2,
    diagnosis_pb2_grpc,
    features_pb2,
    features_pb2_grpc,
    insight_pb2,
    insight_pb2_grpc,
    models_pb2,
    models_pb2_grpc,
    rows_pb2,
    rows_pb2_grpc,
    snapshots_pb2,
    snapshots_pb2_grpc,
    tables_pb2,
    tables_pb2_grpc,
    tokens_pb2,
    tokens_pb2_grpc,
    workers_pb2,
    workers_pb2_grpc,
)
from rowbank_server.listening import require_free
from rowbank_server.ps.deltas.followers import SERVERS
from rowbank_server.ps.native.endpoint import NativeEndpoint, Passes
from rowbank_server.ps.native.limits import NativeLimits, max_answer_bytes
from rowbank_server.ps.tables.table import ShardTable
from rowbank_server.security.tls import ServedTls
from rowbank_server.settings import StartError

# Reads in pieces of a megabyte: gRPC's own choice makes a message of a megabyte take twice as long.
READ_CHUNK_OPTIONS = (
    ("grpc.experimental.tcp_read_chunk_size", 1 << 20),
    ("grpc.experimental.tcp_min_read_chunk_size", 256 << 10),
    ("grpc.experimental.tcp_max_read_chunk_size", 4 << 20),
)
# A client that is gone without a word is noticed although nothing can be sent to it.
_KEEPALIVE_OPTIONS = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 15_000),
    ("grpc.http2.ping_timeout_ms", 15_000),  # What newer versions of gRPC go by.
    ("grpc.http2.max_pings_without_data", 0),
)
_METADATA_BYTES = 16 << 10
_UNIX = "unix:"
_REFUSING_THREADS = 32
_DELTA_SERVICE = deltas_pb2.DESCRIPTOR.services_by_name["DeltaService"].full_name
_SNAPSHOT_SERVICE = snapshots_pb2.DESCRIPTOR.services_by_name["SnapshotService"].full_name
_ROW_SERVICE = rows_pb2.DESCRIPTOR.services_by_name["RowService"].full_name


@dataclass(frozen=True, slots=True)
class Servicers:
    """What a shard serves."""

    tables: tables_pb2_grpc.TableServiceServicer
    rows: rows_pb2_grpc.RowServiceServicer
    admin: admin_pb2_grpc.AdminServiceServicer
    insight: insight_pb2_grpc.InsightServiceServicer
    snapshots: snapshots_pb2_grpc.SnapshotServiceServicer
    models: models_pb2_grpc.ModelServiceServicer
    features: features_pb2_grpc.FeatureServiceServicer
    workers: workers_pb2_grpc.WorkerServiceServicer
    deltas: deltas_pb2_grpc.DeltaServiceServicer
    diagnosis: diagnosis_pb2_grpc.DiagnosisServiceServicer
    tokens: tokens_pb2_grpc.TokenServiceServicer


class PsServer:
    """A gRPC server with health and reflection; NOT_SERVING until `set_serving`.

    Attributes:
        is_serving: what it tells health checks.
    """

    def __init__(
        self,
        servicers: Servicers,
        *,
        interceptors: Sequence[grpc.ServerInterceptor[Any, Any]],
        native_interceptors: Sequence[grpc.ServerInterceptor[Any, Any]],
        native_doorkeepers: Sequence[grpc.ServerInterceptor[Any, Any]],
        native_errors: Sequence[grpc.ServerInterceptor[Any, Any]],
        max_calls: int,
        max_streams_per_connection: int,
        max_message_bytes: int,
        max_followers: int,
        passes: Passes,
        tls: ServedTls | None = None,
        native: NativeLimits | None = None,
        server_id: str = "",
        on_refused: Callable[[str], None] = lambda reason: None,
    ) -> None:
        keep_freed_blocks()
        self._tls = tls
        options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", max_answer_bytes(max_message_bytes)),
            ("grpc.server_handshake_timeout_ms", 10_000),
            ("grpc.so_reuseport", 0),  # A port that is in use is an error, not a port to share.
            ("grpc.max_concurrent_streams", max_streams_per_connection),
            ("grpc.max_metadata_size", _METADATA_BYTES),
            *READ_CHUNK_OPTIONS,
            *_KEEPALIVE_OPTIONS,
        ]
        # Threads start when needed. Most of them wait for their turn, or for Redis; beyond as many calls as there may
        # be calls, some are needed to refuse more.
        threads = max_calls + _REFUSING_THREADS
        executor = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="grpc")
        readers = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="grpc-read")
        # Each follower keeps a thread; beyond those that may be, some are needed to refuse more.
        streams = concurrent.futures.ThreadPoolExecutor(max_followers + SERVERS + 4, thread_name_prefix="grpc-follow")
        bulk = concurrent.futures.ThreadPoolExecutor(
            threads, thread_name_prefix="grpc-bulk", initializer=let_others_first
        )
        self._server = grpc.server(executor, interceptors=list(interceptors), options=options)
        self._health = health.HealthServicer()
        rows = _row_handlers(servicers.rows, readers)
        self._native = None
        if native is not None:
            unary = {f"/{_ROW_SERVICE}/{name}": handler for name, handler in rows.items() if handler.unary_unary}
            self._native = NativeEndpoint(
                unary,
                native_interceptors,
                native,
                doorkeepers=native_doorkeepers,
                server_id=server_id,
                on_refused=on_refused,
                passes=passes,
                errors=native_errors,
            )
        # The first handler that knows a method wins, so these come before the generated ones.
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(_ROW_SERVICE, rows),
                _delta_handlers(servicers.deltas, readers, streams),
                _snapshot_handlers(servicers.snapshots, bulk),
                grpc.method_handlers_generic_handler(health.SERVICE_NAME, _health_handlers(self._health, readers)),
            )
        )
        tables_pb2_grpc.add_TableServiceServicer_to_server(servicers.tables, self._server)
        rows_pb2_grpc.add_RowServiceServicer_to_server(servicers.rows, self._server)
        admin_pb2_grpc.add_AdminServiceServicer_to_server(servicers.admin, self._server)
        insight_pb2_grpc.add_InsightServiceServicer_to_server(servicers.insight, self._server)
        snapshots_pb2_grpc.add_SnapshotServiceServicer_to_server(servicers.snapshots, self._server)
        models_pb2_grpc.add_ModelServiceServicer_to_server(servicers.models, self._server)
        features_pb2_grpc.add_FeatureServiceServicer_to_server(servicers.features, self._server)
        workers_pb2_grpc.add_WorkerServiceServicer_to_server(servicers.workers, self._server)
        deltas_pb2_grpc.add_DeltaServiceServicer_to_server(servicers.deltas, self._server)
        diagnosis_pb2_grpc.add_DiagnosisServiceServicer_to_server(servicers.diagnosis, self._server)
        tokens_pb2_grpc.add_TokenServiceServicer_to_server(servicers.tokens, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._names = [
            module.DESCRIPTOR.services_by_name[name].full_name
            for module, name in (
                (tables_pb2, "TableService"),
                (rows_pb2, "RowService"),
                (admin_pb2, "AdminService"),
                (insight_pb2, "InsightService"),
                (snapshots_pb2, "SnapshotService"),
                (models_pb2, "ModelService"),
                (features_pb2, "FeatureService"),
                (workers_pb2, "WorkerService"),
                (deltas_pb2, "DeltaService"),
                (diagnosis_pb2, "DiagnosisService"),
                (tokens_pb2, "TokenService"),
            )
        ]
        reflected = [*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(reflected, self._server)
        self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)

    def start(self, address: str) -> str:
        """Listens on `address`; returns it with the real port.

        Raises:
            StartError: it cannot be listened on.
        """
        host, port = split_address(address)
        require_free("bind", address)
        try:
            if self._tls is None:
                bound = self._server.add_insecure_port(address)
            else:
                bound = self._server.add_secure_port(address, self._tls.for_grpc())
        except RuntimeError:
            bound = 0
        if not bound:
            raise StartError(f"bind {address}: port {port} was taken a moment ago; start again or choose another port")
        self._server.start()
        return f"{host}:{bound}"

    @property
    def has_native(self) -> bool:
        """Whether there is a native endpoint to start."""
        return self._native is not None

    def start_native(self, address: str) -> str:
        """Lets the native endpoint listen on HOST:PORT or unix:PATH; returns that with the real port.

        Raises:
            StartError: it cannot be listened on, or there is no native endpoint.
        """
        if self._native is None:
            raise StartError(f"native_bind {address}: this process has no native endpoint")
        try:
            if address.startswith(_UNIX):
                return self._native.start_unix(address.removeprefix(_UNIX))
            host, port = split_address(address)
            *_, found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
            bound = split_address(self._native.start(str(found[0]), port))[1]
            return f"{host}:{bound}"
        except OSError as error:
            raise StartError(
                f"native_bind {address}: cannot be listened on ({error.strerror or error}); choose another address, or "
                "set native_bind to off"
            ) from None

    def plain_times(self) -> Mapping[str, tuple[Sequence[int], float]]:
        """What was counted of calls that no handler saw; see `RequestMetrics`."""
        return {} if self._native is None else self._native.plain_times()

    def set_room(self, room: int) -> None:
        """Says how many bytes new rows may take; negative: there are to be none."""
        if self._native is not None:
            self._native.set_room(room)

    def set_redis_away(self, away: bool) -> None:
        """Says whether rows cannot be written back."""
        if self._native is not None:
            self._native.set_redis_away(away)

    def tables_changed(self, tables: Sequence[ShardTable]) -> None:
        """Called with all tables before a new one is in service, and after one was updated or went."""
        if self._native is not None:
            self._native.set_tables(tables)

    def set_owning(self) -> None:
        """Tells health checks that requests are welcome, and lets plain ones be answered on the shortest way."""
        self.set_serving()
        if self._native is not None:
            self._native.open_plain()

    def set_serving(self) -> None:
        """Tells health checks that requests are welcome."""
        self._set_health(health_pb2.HealthCheckResponse.SERVING)

    def set_not_serving(self) -> None:
        """Tells health checks to go elsewhere; every request is looked at by all interceptors from now on."""
        if self._native is not None:
            self._native.close_plain()
        self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)

    def stop(self, *, grace_s: float) -> None:
        """Turns health off, refuses what is new, and waits up to `grace_s` for what is in flight."""
        self.is_serving = False
        self._health.enter_graceful_shutdown()
        ended = self._server.stop(grace_s)
        if self._native is not None:
            self._native.stop(grace_s=grace_s)
        ended.wait()

    def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        self.is_serving = status == health_pb2.HealthCheckResponse.SERVING
        for name in ("", *self._names):
            self._health.set(name, status)


def _row_handlers(
    rows: rows_pb2_grpc.RowServiceServicer, readers: concurrent.futures.ThreadPoolExecutor
) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
    """Handlers of the methods whose answers the servicer serializes itself, of those that take bytes, and of reads."""
    parsers = {"Pull": rows_pb2.PullRequest.FromString, "Lookup": rows_pb2.LookupRequest.FromString}
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(_run_by(readers, getattr(rows, name)), request_deserializer=parse)
        for name, parse in parsers.items()
    }
    handlers["Size"] = grpc.unary_unary_rpc_method_handler(
        _run_by(readers, rows.Size), rows_pb2.SizeRequest.FromString, _serialized
    )
    for name in ("Push", "Upsert", "Accumulate", "Store", "Remove", "Clear", "Touch"):
        handlers[name] = grpc.unary_unary_rpc_method_handler(getattr(rows, name), response_serializer=_serialized)
    handlers["Import"] = grpc.stream_unary_rpc_method_handler(rows.Import, response_serializer=_serialized)
    return handlers


def _delta_handlers(
    deltas: deltas_pb2_grpc.DeltaServiceServicer,
    readers: concurrent.futures.ThreadPoolExecutor,
    streams: concurrent.futures.ThreadPoolExecutor,
) -> grpc.GenericRpcHandler[Any, Any]:
    """Handlers of the stream, which yields bytes and keeps a thread, and of who follows."""
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Follow": grpc.unary_stream_rpc_method_handler(
            _run_by(streams, deltas.Follow), deltas_pb2.FollowRequest.FromString
        ),
        "ListFollowers": grpc.unary_unary_rpc_method_handler(
            _run_by(readers, deltas.ListFollowers), deltas_pb2.ListFollowersRequest.FromString, _serialized
        ),
    }
    return grpc.method_handlers_generic_handler(_DELTA_SERVICE, handlers)


def _snapshot_handlers(
    snapshots: snapshots_pb2_grpc.SnapshotServiceServicer, bulk: concurrent.futures.ThreadPoolExecutor
) -> grpc.GenericRpcHandler[Any, Any]:
    """The handler of the stream that reads whole tables, which lets requests go first."""
    read = grpc.unary_stream_rpc_method_handler(
        _run_by(bulk, snapshots.ReadSnapshot), snapshots_pb2.ReadSnapshotRequest.FromString, _serialized
    )
    return grpc.method_handlers_generic_handler(_SNAPSHOT_SERVICE, {"ReadSnapshot": read})


def _health_handlers(
    servicer: health.HealthServicer, readers: concurrent.futures.ThreadPoolExecutor
) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
    check = _run_by(readers, servicer.Check)
    return {"Check": grpc.unary_unary_rpc_method_handler(check, health_pb2.HealthCheckRequest.FromString, _serialized)}


def _run_by(pool: concurrent.futures.ThreadPoolExecutor, behavior: Callable[..., Any]) -> Callable[..., Any]:
    """`behavior`, run by threads of `pool`: of the methods that need nothing but RAM.

    The others may wait for Redis, all of them at once, and the server's own threads with them. gRPC's name for this is
    experimental, and its own health service uses it.
    """

    @functools.wraps(behavior)
    def run(request: Any, context: grpc.ServicerContext) -> Any:
        return behavior(request, context)

    run.experimental_thread_pool = pool  # type: ignore[attr-defined]
    return run


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()
