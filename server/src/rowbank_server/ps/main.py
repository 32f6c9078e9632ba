"""Runs one shard: connect, bind, load, serve, drain."""

from __future__ import annotations

import logging
import sys
import uuid

from prometheus_client import CollectorRegistry, start_http_server

import rowbank_server
from rowbank.addresses import split_address
from rowbank.errors import NotReady, RedisUnavailable
from rowbank_server import logs
from rowbank_server.features import FeatureStore
from rowbank_server.features.freshness import FreshnessCollector
from rowbank_server.features.service import FeatureServicer
from rowbank_server.guard import Guard
from rowbank_server.journal.journal import Journal
from rowbank_server.journal.release import ReleaseOrder
from rowbank_server.journal.streams import JournalStreams
from rowbank_server.listening import cannot
from rowbank_server.ps.deltas.log import DeltaLog
from rowbank_server.ps.durability.claiming import Claiming
from rowbank_server.ps.durability.committer import Committer
from rowbank_server.ps.durability.dedup import DedupWindow
from rowbank_server.ps.durability.gate import MutationGate
from rowbank_server.ps.durability.keeper import Keeper
from rowbank_server.ps.durability.recovery import Recovery
from rowbank_server.ps.server import PsServer, Servicers
from rowbank_server.ps.services.admin_service import AdminServicer, ServerIdentity
from rowbank_server.ps.services.cluster_tables import ClusterTables
from rowbank_server.ps.services.errors import ErrorInterceptor
from rowbank_server.ps.services.metrics import RequestMetrics, TableCollector
from rowbank_server.ps.services.row_service import RowServicer
from rowbank_server.ps.services.snapshots import SnapshotServicer
from rowbank_server.ps.services.table_service import TableServicer
from rowbank_server.ps.services.waits import RedisWaits
from rowbank_server.ps.services.workers import WorkerServicer
from rowbank_server.ps.tables.custody import Custody
from rowbank_server.ps.tables.evictor import Evictor
from rowbank_server.ps.tables.holders import Holders
from rowbank_server.ps.tables.shard import Shard
from rowbank_server.ps.tables.table import Ownership
from rowbank_server.registry import ModelRegistry
from rowbank_server.registry.activation import Activation
from rowbank_server.registry.binding import Binder
from rowbank_server.registry.pruning import Pruning
from rowbank_server.registry.service import ModelServicer
from rowbank_server.registry.trial import Trial
from rowbank_server.registry.upkeep import Upkeep
from rowbank_server.settings import PsSettings, SettingsError, StartError, require_private
from rowbank_server.stopping import StopRequest
from rowbank_server.storage.catalog import Catalog
from rowbank_server.storage.connection import Redis, connect_at_start, without_password
from rowbank_server.storage.eviction_policy import Danger, EvictionPolicy, check_policy
from rowbank_server.storage.evictions import EvictionHistory
from rowbank_server.storage.holds import JobHolds
from rowbank_server.storage.layout import Layout
from rowbank_server.storage.rows import RowStore
from rowbank_server.storage.state import ShardState, UnfinishedJournalError, new_owner
from rowbank_server.storage.stored_rows import StoredRows

_log = logging.getLogger("rowbank.ps")
_QUICK_S = 0.1  # A Redis that refuses a connection sooner than that keeps nobody.
# A request that wants the interpreter waits this long for a thread that packs rows for Redis; Python's own is 5 ms.
_SWITCH_INTERVAL_S = 0.0005


class ParameterServer:
    """Wires the parts of one shard together."""

    def __init__(self, settings: PsSettings, redis: Redis, policy: EvictionPolicy) -> None:
        self._settings = settings
        self._policy = policy
        self._redis = redis
        layout, owner = Layout(settings.namespace), new_owner()
        store = RowStore(redis, layout, shard=settings.shard_index, owner=owner)
        state = ShardState(redis, layout, shard=settings.shard_index, shard_count=settings.shard_count, owner=owner)
        history = EvictionHistory(redis, layout, max_events=settings.eviction_history)
        streams = JournalStreams(redis, layout, shard=settings.shard_index, owner=owner)
        dedup = DedupWindow(window=settings.dedup_window, max_clients=settings.dedup_clients)
        self.log = DeltaLog(buffer_bytes=settings.follow_buffer_bytes)
        self.journal = Journal(
            streams,
            wait_s=settings.journal_wait_s,
            max_pending_bytes=settings.journal_max_pending_bytes,
            max_bytes=settings.journal_max_bytes,
            on_trouble=lambda: self.keeper.wake(),
            release=ReleaseOrder(self.log, max_bytes=settings.follow_buffer_bytes),
        )
        self.recovery = Recovery(streams, dedup, open_journal=self.journal.open)
        ownership = Ownership(settings.shard_index, settings.shard_count)
        self.stop_request = StopRequest()
        self._registry = ModelRegistry(redis, settings.namespace)
        catalog = Catalog(redis, layout)
        holders = Holders(JobHolds(redis, layout), self._registry.holders)
        self.shard = Shard(
            catalog=catalog,
            store=store,
            state=state,
            synced_supported=streams.barrier().supported,
            ownership=ownership,
            holders=holders,
            bucket_count=settings.bucket_count,
            load_threads=settings.load_threads,
        )
        self.claiming = Claiming(
            shard=self.shard, catalog=catalog, store=store, state=state, recovery=self.recovery, ownership=ownership
        )
        self.shard.on_tables = self.log.tables_changed
        self.custody = Custody(self.shard, catalog, holders)
        self.keeper = Keeper(
            shard=self.shard,
            store=store,
            state=state,
            journal=self.journal,
            dedup=dedup,
            recovery=self.recovery,
            history=history,
            flush_interval_s=settings.flush_interval_s,
            max_dirty_rows=settings.max_dirty_rows,
            on_replaced=self._replaced,
        )
        self.gate = MutationGate()
        self.committer = Committer(
            self.journal,
            dedup,
            gate=self.gate,
            require_room=self.keeper.require_room,
            wait_s=settings.journal_wait_s,
        )
        self.evictor = Evictor(
            self.shard,
            self.committer.commit,
            history,
            ownership,
            interval_s=settings.eviction_interval_s,
            budget_ms=settings.eviction_budget_ms,
        )
        self.metrics = CollectorRegistry()
        self.server = PsServer(
            self._servicers(history),
            interceptors=[
                ErrorInterceptor(RequestMetrics(self.metrics)),
                RedisWaits(Guard("Redis", RedisUnavailable, threads=settings.worker_threads, quick_s=_QUICK_S)),
            ],
            worker_threads=settings.worker_threads,
            max_message_bytes=settings.max_message_bytes,
        )
        self.metrics.register(
            TableCollector(
                lambda: [table.stats() for table in self.shard.tables()],
                lambda: self.keeper.redis_connected,
                self.journal,
                lambda: self.recovery.corrupt_records,
                policy.danger is Danger.ROWS,
            )
        )

    def run(self) -> int:
        """Serves until asked to stop; returns the exit status."""
        address = self.server.start(self._settings.bind)
        if self._settings.metrics_bind:
            _serve_metrics(self._settings.metrics_bind, self.metrics)
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        try:
            self.claiming.load()
        except UnfinishedJournalError as error:
            raise StartError(str(error)) from None
        self.keeper.start()
        self.evictor.start()
        self.upkeep.start()
        self.server.set_serving()
        _log.info("shard %s serves namespace %s", self._settings.shard, self._settings.namespace)
        sys.stdout.write(f"ready rowbank-ps {address}\n")
        sys.stdout.flush()
        reason = self.stop_request.wait()
        _log.info("stopping (%s): requests in flight end, then changed rows are written", reason)
        return self._drain()

    def _replaced(self) -> None:
        self.server.set_not_serving()
        self.stop_request.ask("another process serves the shard")

    def _drain(self) -> int:
        """Ends what is in flight, then writes what is in RAM alone."""
        self.server.stop(grace_s=self._settings.drain_timeout_s)
        self.evictor.stop()
        self.upkeep.stop()
        appended = self.journal.stop()
        self.keeper.stop()
        if self.keeper.replaced:
            _log.error("another process serves shard %s now; stopped without writing", self._settings.shard)
            return 1
        try:
            written = self.keeper.flush()
            if appended:
                self.journal.delete_stream()
        except (RedisUnavailable, NotReady) as error:
            dirty = sum(table.rows.dirty_rows() for table in self.shard.tables())
            _log.error("stopped with %d changed rows that could not be written: %s", dirty, error)
            return 1
        _log.info("stopped; the last write-back had %d rows", written)
        return 0

    def _servicers(self, history: EvictionHistory) -> Servicers:
        settings = self._settings
        identity = ServerIdentity(
            version=rowbank_server.__version__,
            namespace=settings.namespace,
            shard=settings.shard_index,
            shard_count=settings.shard_count,
            bucket_count=settings.bucket_count,
            max_keys_per_request=settings.max_keys_per_request,
            max_message_bytes=settings.max_message_bytes,
            server_id=uuid.uuid4().hex,
            redis_eviction_policy=self._policy.name,
            redis_may_evict=self._policy.danger is Danger.ROWS,
        )
        cluster = ClusterTables(self.shard, self.custody)
        features = FeatureStore(self._redis, settings.namespace)
        self.metrics.register(FreshnessCollector(features.freshness))
        rows = StoredRows(self._redis, Layout(settings.namespace))
        pruning = Pruning(self._registry, features, cluster)
        self.upkeep = Upkeep(self._registry, pruning, settings.models_keep, owner=identity.server_id)
        trial = Trial(self._registry, features, rows.lookup)
        return Servicers(
            tables=TableServicer(self.shard, self.custody),
            rows=RowServicer(self.shard, self.committer, self.custody, max_keys=settings.max_keys_per_request),
            admin=AdminServicer(self.shard, self.keeper, self.committer, history, identity),
            snapshots=SnapshotServicer(
                self.shard, self.journal, self.gate, commit=self.committer.commit, flush=self.keeper.flush
            ),
            models=ModelServicer(
                self._registry,
                Binder(cluster),
                Activation(self._registry, features, trial),
                pruning,
                features,
            ),
            features=FeatureServicer(features, self._registry.readers),
            workers=WorkerServicer(),
        )


def run(settings: PsSettings) -> int:
    """Runs a shard in this process until SIGTERM or SIGINT; returns the exit status.

    Raises:
        SettingsError: the settings do not fit together.
        StartError: an address cannot be listened on, or Redis may evict rows.
        RedisUnavailable: Redis cannot be reached at start.
    """
    logs.configure(settings.log_level, settings.log_format)
    require_private(settings.bind, insecure=settings.insecure, setting="bind")
    if settings.metrics_bind:
        require_private(settings.metrics_bind, insecure=settings.insecure, setting="metrics_bind")
    if not settings.redis:
        raise SettingsError(
            "setting redis (ROWBANK_REDIS): expected a URL such as redis://127.0.0.1:6379, got none; "
            "`rowbank up` runs a Redis of its own"
        )
    try:
        redis = connect_at_start(
            settings.redis, timeout_s=settings.redis_timeout_s, client_name=f"rowbank-ps-{settings.shard_index}"
        )
    except ValueError as error:
        raise SettingsError(str(error)) from None
    _log.info("connected to %s", without_password(settings.redis))
    try:
        policy = check_policy(redis, allowed=settings.allow_redis_eviction, owns_rows=True)
        server = ParameterServer(settings, redis, policy)
        server.stop_request.ask_on_signals("rowbank-ps")
        return server.run()
    finally:
        redis.close()


def _serve_metrics(address: str, registry: CollectorRegistry) -> None:
    host, port = split_address(address)
    try:
        server, _ = start_http_server(port, addr=host.strip("[]"), registry=registry)
    except OSError as error:
        raise cannot("metrics_bind", address, error) from None
    _log.info("metrics at http://%s:%d/metrics", host, server.server_port)
