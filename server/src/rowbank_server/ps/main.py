"""One shard: its parts, wired together."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from prometheus_client import CollectorRegistry

import rowbank_server
from rowbank.credentials import Credentials
from rowbank.errors import RedisUnavailable
from rowbank_protos.v1 import deltas_pb2
from rowbank_server.features import FeatureStore
from rowbank_server.features.freshness import FreshnessCollector
from rowbank_server.features.service import FeatureServicer
from rowbank_server.guard import Guard
from rowbank_server.journal.journal import Journal
from rowbank_server.journal.streams import JournalStreams
from rowbank_server.ps.deltas.followers import Followers
from rowbank_server.ps.deltas.log import DeltaLog
from rowbank_server.ps.deltas.stream import Sources
from rowbank_server.ps.diagnosis.health import Health
from rowbank_server.ps.diagnosis.looking import Looking
from rowbank_server.ps.diagnosis.redis_look import RedisLook
from rowbank_server.ps.diagnosis.service import DiagnosisServicer
from rowbank_server.ps.durability.authors import Authors
from rowbank_server.ps.durability.claiming import Claiming
from rowbank_server.ps.durability.committer import Committer
from rowbank_server.ps.durability.dedup import DedupWindow
from rowbank_server.ps.durability.gate import MutationGate
from rowbank_server.ps.durability.keeper import Keeper
from rowbank_server.ps.durability.queue import new_queue
from rowbank_server.ps.durability.recovery import Recovery
from rowbank_server.ps.durability.schedule import Schedule
from rowbank_server.ps.following.following import Following
from rowbank_server.ps.following.identity import Follower
from rowbank_server.ps.insight.advice import Adviser
from rowbank_server.ps.insight.explaining import Explainer
from rowbank_server.ps.insight.upkeep import InsightUpkeep, divide_sample
from rowbank_server.ps.limits.limiting import Limiting
from rowbank_server.ps.limits.machine_memory import group_limit
from rowbank_server.ps.limits.memory_watch import MemoryGuard
from rowbank_server.ps.limits.turns import leave_early
from rowbank_server.ps.native.endpoint import Passes
from rowbank_server.ps.native.limits import limits_of
from rowbank_server.ps.roles.heartbeat import Heartbeat
from rowbank_server.ps.roles.membership import Membership
from rowbank_server.ps.roles.part import Part, Role
from rowbank_server.ps.server import PsServer, Servicers
from rowbank_server.ps.services.admin_service import AdminServicer, ServerIdentity
from rowbank_server.ps.services.auth import Interceptors
from rowbank_server.ps.services.cluster_tables import ClusterTables
from rowbank_server.ps.services.delta_service import DeltaServicer
from rowbank_server.ps.services.door import Door
from rowbank_server.ps.services.draining import Draining
from rowbank_server.ps.services.errors import ErrorInterceptor
from rowbank_server.ps.services.follower_metrics import FollowerCollector
from rowbank_server.ps.services.following_metrics import FollowingCollector
from rowbank_server.ps.services.insight_metrics import InsightCollector
from rowbank_server.ps.services.insight_service import InsightServicer
from rowbank_server.ps.services.intake import Intake
from rowbank_server.ps.services.limits import Limits
from rowbank_server.ps.services.metrics import RequestMetrics, TableCollector
from rowbank_server.ps.services.parsing import Parsing
from rowbank_server.ps.services.row_service import RowServicer
from rowbank_server.ps.services.snapshots import SnapshotServicer
from rowbank_server.ps.services.table_service import TableServicer
from rowbank_server.ps.services.token_service import TokenServicer
from rowbank_server.ps.services.tracing import Tracing
from rowbank_server.ps.services.waits import RedisWaits
from rowbank_server.ps.services.workers import WorkerServicer
from rowbank_server.ps.services.wrapping import Interceptor
from rowbank_server.ps.serving import Parts, Serving
from rowbank_server.ps.showing import Showing
from rowbank_server.ps.tables.custody import Custody
from rowbank_server.ps.tables.departing import Departing
from rowbank_server.ps.tables.evictor import Evictor
from rowbank_server.ps.tables.holders import Holders
from rowbank_server.ps.tables.returning import Returning
from rowbank_server.ps.tables.shard import Shard
from rowbank_server.ps.tables.table import Ownership, ShardTable
from rowbank_server.registry import ModelRegistry
from rowbank_server.registry.activation import Activation
from rowbank_server.registry.binding import Binder
from rowbank_server.registry.pruning import Pruning
from rowbank_server.registry.service import ModelServicer
from rowbank_server.registry.trial import Trial
from rowbank_server.registry.upkeep import Upkeep
from rowbank_server.registry.view_scope import ViewScope
from rowbank_server.security.opening import Security
from rowbank_server.security.tls import ServedTls
from rowbank_server.settings import PsSettings
from rowbank_server.stopping import StopRequest
from rowbank_server.storage.catalog import Catalog
from rowbank_server.storage.connection import Redis
from rowbank_server.storage.departures import DepartureHistory
from rowbank_server.storage.emptyings import Emptyings
from rowbank_server.storage.eviction_policy import Danger, EvictionPolicy
from rowbank_server.storage.evictions import EvictionHistory
from rowbank_server.storage.holds import JobHolds
from rowbank_server.storage.layout import Layout
from rowbank_server.storage.lease import Lease
from rowbank_server.storage.members import Members
from rowbank_server.storage.rows import RowStore
from rowbank_server.storage.state import ShardState, new_owner
from rowbank_server.storage.stored_rows import StoredRows

_OTHER_WRITERS = 4  # Threads that change rows beside those that serve requests: eviction's, and some more to be safe.
_QUICK_S = 0.1  # A Redis that refuses a connection sooner than that keeps nobody.
# A request that wants the interpreter waits this long for a thread that packs rows for Redis; Python's own is 5 ms.
_SWITCH_INTERVAL_S = 0.0005


class ParameterServer:
    """Wires the parts of one shard together."""

    def __init__(
        self,
        settings: PsSettings,
        redis: Redis,
        policy: EvictionPolicy,
        tls: ServedTls | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        self._settings = settings
        self._credentials = credentials or Credentials()
        self._policy, self._redis = policy, redis
        layout, owner = Layout(settings.namespace), new_owner()
        self._owner = owner
        store = self._store = RowStore(redis, layout, shard=settings.shard_index, owner=owner)
        state = ShardState(redis, layout, shard=settings.shard_index, shard_count=settings.shard_count, owner=owner)
        history = EvictionHistory(redis, layout, max_events=settings.eviction_history)
        self.departures = DepartureHistory(
            redis,
            layout,
            shard=settings.shard_index,
            max_bytes=settings.eviction_keys_bytes,
            retention_s=settings.eviction_keys_retention_s,
        )
        self.departing = Departing(history, self.departures)
        self.emptyings = Emptyings(
            redis,
            layout,
            shard=settings.shard_index,
            shard_count=settings.shard_count,
            retention_s=settings.eviction_keys_retention_s,
        )
        streams = JournalStreams(
            redis,
            layout,
            shard=settings.shard_index,
            owner=owner,
            writers=settings.worker_threads + settings.max_calls + _OTHER_WRITERS,
        )
        dedup, queue = new_queue(settings)
        self.log = DeltaLog(queue, buffer_bytes=settings.follow_buffer_bytes)
        self.journal = Journal(
            streams,
            queue,
            on_trouble=lambda: self.keeper.wake(),
            on_opened=self.log.opened,
            on_released=self.log.collect,
        )
        self.recovery = Recovery(streams, dedup, self.log, open_journal=self.journal.open)
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
        self.lease = Lease(redis, layout, shard=settings.shard_index, owner=owner, lease_s=settings.lease_s)
        self.heartbeat = Heartbeat(self.lease, lambda: state.epoch, on_lost=lambda: self.keeper.wake())
        self.claiming = Claiming(
            shard=self.shard,
            catalog=catalog,
            store=store,
            state=state,
            recovery=self.recovery,
            ownership=ownership,
            lease=self.lease,
            on_claimed=self.heartbeat.start,
        )
        self.memory = MemoryGuard(settings, self.shard.tables)
        self.shard.require_growth = self.memory.growth.require_new_table
        self.shard.on_tables = self._tables_changed
        self.custody = Custody(self.shard, catalog, holders)
        self.keeper = Keeper(
            shard=self.shard,
            store=store,
            state=state,
            journal=self.journal,
            log=self.log,
            dedup=dedup,
            recovery=self.recovery,
            history=history,
            schedule=Schedule(self.journal, settings, redis, own_limit=group_limit()),
            flush_interval_s=settings.flush_interval_s,
            max_dirty_rows=settings.max_dirty_rows,
            on_replaced=lambda: self.serving.replaced(),
        )
        self.followers = Followers(self.log, most=settings.max_followers)
        self.gate = MutationGate()
        self.authors = Authors()
        self.committer = Committer(
            self.journal,
            dedup,
            self.log,
            self.authors,
            gate=self.gate,
            require_room=self.keeper.require_room,
            require_growth=self.memory.growth.require,
            wait_s=settings.journal_wait_s,
            before_wait=leave_early,
        )
        self.evictor = Evictor(
            self.shard,
            self.committer.commit,
            self.departing,
            ownership,
            interval_s=settings.eviction_interval_s,
            budget_ms=settings.eviction_budget_ms,
        )
        self.adviser = Adviser(self.shard, shard_count=settings.shard_count, regret_below=settings.advice_regret_below)
        self.insight = InsightUpkeep(
            self.shard,
            self.departures,
            self.adviser,
            sample_bytes=settings.access_sample_bytes,
            advice_interval_s=settings.advice_interval_s,
        )
        self.metrics = CollectorRegistry()
        self.limiting = Limiting(settings, self.metrics)
        self._requests = RequestMetrics(self.metrics)
        self._state, self._dedup = state, dedup
        self.part = self._new_part()
        self.membership = Membership(Members(redis, layout, shard=settings.shard_index), self.part)
        self.me: Follower | None = None
        self.following = self._new_following()
        self.draining = Draining()
        self._redis_guard = Guard("Redis", RedisUnavailable, threads=settings.worker_threads, quick_s=_QUICK_S)
        self.security = Interceptors(Security.of(settings, redis, settings.namespace, self.metrics))
        self.server = PsServer(
            self._servicers(history, dedup),
            interceptors=[
                *self.security.outermost(),
                *self._interceptors(Intake.of(settings, self.limiting.metrics.refused)),
            ],
            native_interceptors=self._interceptors(Parsing()),
            native_doorkeepers=self.security.outermost(),
            native_errors=[Tracing(), ErrorInterceptor(self._requests)],
            max_calls=settings.max_calls,
            max_streams_per_connection=settings.max_streams_per_connection,
            max_message_bytes=settings.max_message_bytes,
            max_followers=settings.max_followers,
            tls=tls,
            native=limits_of(
                settings, speaks_tls=tls is not None, asks_for_tokens=self.security.parts.gate is not None
            ),
            passes=Passes(dedup, self.gate, queue, self.authors, self.journal.wait),
            server_id=self._owner,
            on_refused=self.limiting.metrics.refused,
        )
        self.memory.on_room = self.server.set_room
        self._requests.elsewhere = self.server.plain_times
        if tls is not None:
            self.metrics.register(tls)
        self.metrics.register(InsightCollector(self.departures, self.adviser))
        self.metrics.register(FollowerCollector(self.followers, self.log))
        self.metrics.register(
            TableCollector(
                lambda: [table.stats() for table in self.shard.tables()],
                lambda: self.keeper.redis_connected,
                self.journal,
                lambda: self.recovery.corrupt_records,
                policy.danger is Danger.ROWS,
            )
        )

        parts = self._parts()
        self.serving = Serving(parts, settings)
        self.showing = Showing(
            settings,
            redis,
            parts,
            self.serving,
            metrics=self.metrics,
            history=history,
            models=self._registry,
            adviser=self.adviser,
            gate=self.security.parts.gate,
            tls=tls,
            credentials=self._credentials,
        )

    def run(self) -> int:
        """Serves until asked to stop; returns the exit status."""
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        self.memory.start(self.metrics)
        with self.security.parts, self.showing.at(self._settings.http_bind) as self.serving.http:
            return self.serving.run()

    def _interceptors(self, taking_in: Interceptor) -> list[Interceptor]:
        """What is around the handlers behind the door, the outermost first; some remember what they are around."""
        door = Door(
            role=lambda: self.part.role,
            followed=self.following,
            last_position=self.journal.last_position,
            committed=self.committer.committed,
        )
        return [
            Tracing(),
            ErrorInterceptor(self._requests),
            taking_in,
            *self.security.inner(),
            Limits(self.limiting.in_flight),
            self.draining,
            door,
            RedisWaits(self._redis_guard),
        ]

    def _tables_changed(self, tables: Iterable[ShardTable]) -> None:
        known = list(tables)
        self.log.tables_changed(known)
        self.server.tables_changed(known)
        divide_sample(known, self._settings.access_sample_bytes)

    def _new_part(self) -> Part:
        """What this process is at first."""
        settings = self._settings
        follows = settings.standby or settings.replica
        role: Role = "standby" if settings.standby else "replica" if settings.replica else "owner"
        part = Part(self._owner, rowbank_server.__version__, role, "waiting for an owner" if follows else "loading")
        part.rows = lambda: sum(table.rows.size() for table in self.shard.tables())
        part.epoch = lambda: self._state.epoch if self.following is None else self._state.epoch or self.following.epoch
        part.position = lambda: (
            (self.log if part.role == "owner" or self.following is None else self.following).position
        )
        part.age_s = lambda: 0.0 if part.role == "owner" or self.following is None else self.following.age_s
        return part

    def _new_following(self) -> Following | None:
        """What follows the owner, where this process does not begin as one."""
        settings = self._settings
        if self.part.role == "owner":
            return None
        self.me = Follower(
            server_id=self._owner,
            role=self.part.role,
            address="",
            version=rowbank_server.__version__,
            namespace=settings.namespace,
            shard=settings.shard_index,
            shard_count=settings.shard_count,
        )
        following = Following(self.shard, self._dedup, self.log, self.me, self._find_owner, self._credentials)
        self.part.follows = lambda: following.state
        self.metrics.register(FollowingCollector(following))
        return following

    def _find_owner(self) -> str | None:
        """Where the shard's owner is, by its lease; None: nobody has it. Raises RedisUnavailable."""
        seen = self.lease.look()
        return seen.address or None if seen.holder and seen.holder != self._owner else None

    def _parts(self) -> Parts:
        return Parts(
            server=self.server,
            shard=self.shard,
            claiming=self.claiming,
            journal=self.journal,
            keeper=self.keeper,
            evictor=self.evictor,
            insight=self.insight,
            upkeep=self.upkeep,
            log=self.log,
            draining=self.draining,
            lease=self.lease,
            heartbeat=self.heartbeat,
            membership=self.membership,
            stop_request=self.stop_request,
            me=self.me,
            following=self.following,
        )

    def _sources(self, identity: ServerIdentity, dedup: DedupWindow) -> Sources:
        hello = deltas_pb2.FollowHello(
            server_id=identity.server_id,
            version=identity.version,
            namespace=identity.namespace,
            shard=identity.shard,
            shard_count=identity.shard_count,
            bucket_count=identity.bucket_count,
        )
        return Sources(
            self.log,
            self.journal,
            self.shard.tables,
            dedup.packed,
            hello,
            owner_until=lambda: self.heartbeat.holds_until,
        )

    def _servicers(self, history: EvictionHistory, dedup: DedupWindow) -> Servicers:
        settings = self._settings
        identity = ServerIdentity(
            version=rowbank_server.__version__,
            namespace=settings.namespace,
            shard=settings.shard_index,
            shard_count=settings.shard_count,
            bucket_count=settings.bucket_count,
            max_keys_per_request=settings.max_keys_per_request,
            max_message_bytes=settings.max_message_bytes,
            server_id=self._owner,
            redis_eviction_policy=self._policy.name,
            redis_may_evict=self._policy.danger is Danger.ROWS,
        )
        cluster = ClusterTables(self.shard, self.custody)
        features = FeatureStore(self._redis, settings.namespace)
        self.metrics.register(FreshnessCollector(features.freshness))
        rows = StoredRows(self._redis, Layout(settings.namespace))
        pruning = Pruning(self._registry, features, cluster)
        self.upkeep = Upkeep(self._registry, pruning, settings.models_keep, owner=identity.server_id)
        trial = Trial(self._registry, features, rows.lookup, want_newest=rows.want_newest)
        views = ViewScope(self._registry)
        admin = AdminServicer(
            self.shard,
            self.keeper,
            self.committer,
            history,
            self.departing,
            identity,
            self.membership,
            self.memory.state,
        )
        return Servicers(
            tables=TableServicer(self.shard, self.custody, self.emptyings),
            rows=RowServicer(
                self.shard,
                self.committer,
                self.custody,
                self.departing,
                self.limiting.rows,
                self.emptyings,
                Returning(self._store, settings.second_chance_wait_ms, owns=lambda: self.part.role == "owner"),
                max_keys=settings.max_keys_per_request,
            ),
            admin=admin,
            insight=InsightServicer(
                self.shard,
                admin.DescribeRow,
                Explainer(self.departures, self.emptyings, self.authors),
                self.adviser,
                shard_count=settings.shard_count,
            ),
            snapshots=SnapshotServicer(
                self.shard,
                self.journal,
                self.gate,
                commit=self.committer.commit,
                flush=self.keeper.flush,
                on_filled=self.log.frozen_filled,
            ),
            models=ModelServicer(
                self._registry,
                Binder(cluster),
                Activation(self._registry, features, trial),
                pruning,
                features,
                views,
            ),
            features=FeatureServicer(features, self._registry.readers, views),
            workers=WorkerServicer(),
            deltas=DeltaServicer(self.shard, self._sources(identity, dedup), self.followers, self.gate),
            diagnosis=self._diagnosis(),
            tokens=TokenServicer(self.security.parts.book),
        )

    def _diagnosis(self) -> DiagnosisServicer:
        redis = RedisLook(self._redis)
        health = Health(
            self._settings,
            self.journal,
            self.keeper,
            self._requests,
            redis,
            server_id=self._owner,
            corrupt_records=lambda: self.recovery.corrupt_records,
        )
        looking = Looking(self._settings, self.shard, self.part, health, redis, self.membership.current)
        return DiagnosisServicer(health, looking.about, looking.findings)
