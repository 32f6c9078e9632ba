"""Runs the retrieval service: connect, bind, serve, follow the registry, drain."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import uvloop

from rowbank.errors import RedisUnavailable
from rowbank_server import logs
from rowbank_server.features import FeatureStore
from rowbank_server.guard import Guard
from rowbank_server.listening import listen
from rowbank_server.registry import ModelRegistry
from rowbank_server.registry.activation import Activation
from rowbank_server.registry.filters import FilterStore
from rowbank_server.registry.trial import Trial
from rowbank_server.retrieval.api.service import Limits, Service
from rowbank_server.retrieval.batching import Batcher
from rowbank_server.retrieval.budget import QueryParts
from rowbank_server.retrieval.catalogue.files import FolderError, prepare
from rowbank_server.retrieval.catalogue.options import FollowerOptions
from rowbank_server.retrieval.catalogue.row_follow import RowFollow
from rowbank_server.retrieval.catalogue.rows_feed import RowsFeed
from rowbank_server.retrieval.events.kinds import EventRules
from rowbank_server.retrieval.events.popularity import PopularityStore
from rowbank_server.retrieval.events.repeats import Repeats
from rowbank_server.retrieval.events.trends import Trends
from rowbank_server.retrieval.hosting.hosts import Hosts
from rowbank_server.retrieval.hosting.serving import Equipment
from rowbank_server.retrieval.index import IndexOptions
from rowbank_server.retrieval.lineage import Lineage, Loss
from rowbank_server.retrieval.metrics import Metrics
from rowbank_server.retrieval.page import SERIES, ApiSource
from rowbank_server.retrieval.processes.accepting import BACKLOG
from rowbank_server.retrieval.processes.team import Team
from rowbank_server.retrieval.reach import Reach
from rowbank_server.retrieval.rows import ClientRows
from rowbank_server.retrieval.running import Place, serve
from rowbank_server.retrieval.starting import connect
from rowbank_server.security import outgoing
from rowbank_server.security.opening import Security
from rowbank_server.settings import ApiSettings, StartError
from rowbank_server.storage.connection import Redis
from rowbank_server.storage.layout import Layout
from rowbank_server.storage.stored_rows import StoredRows
from rowbank_server.ui.sampling import Sampler

_BUILD_TIMEOUT_S = 5.0  # Of one read of rows while an index is built; nobody waits for it.
_ASIDE_BUDGET_S = 2.0  # Of queries that nobody waits for.
_REDIS_THREADS = 8  # For endpoints other than queries.


def follower_options(settings: ApiSettings) -> FollowerOptions:
    """How versions are followed. Raises StartError: the folder for their files cannot be used."""
    folder = Path(settings.index_dir).resolve() if settings.index_dir else None
    if folder is not None:
        try:
            prepare(folder)
        except FolderError as error:
            raise StartError(str(error)) from error
    index = IndexOptions(settings.index_kind, settings.index_exact_max_items, settings.index_recall_target)
    count_s = settings.popularity_interval_s
    return FollowerOptions(count_s=count_s, index=index, folder=folder, namespace=settings.namespace)


@contextlib.asynccontextmanager
async def open_service(settings: ApiSettings, redis: Redis, team: Team | None = None) -> AsyncIterator[Service]:
    """The running service: it follows the registry from here on and is taken down at the end. `team`: of several."""
    store = FeatureStore(redis, settings.namespace)
    registry = ModelRegistry(redis, settings.namespace)
    stored_rows = StoredRows(redis, Layout(settings.namespace))
    metrics = Metrics()
    security = Security.of(settings, redis, settings.namespace, metrics.registry)
    credentials = outgoing.credentials(settings)
    build_rows = ClientRows(settings.targets, _BUILD_TIMEOUT_S, credentials=credentials)
    query_rows = ClientRows(
        settings.targets,
        settings.row_timeout_s,
        max_staleness_s=settings.max_staleness_s,
        credentials=credentials,
    )
    rows_feed = RowsFeed(lambda tables, sink: RowFollow(settings.targets, tables, sink, _follower_name(), credentials))
    popularity = PopularityStore(redis, settings.namespace, settings.popular_retention_h)
    parts = QueryParts(settings.query_budget_ms / 1e3)
    redis_guard = Guard("Redis", RedisUnavailable, threads=_REDIS_THREADS)
    metrics.watch_unreadable(store.unreadable)
    metrics.watch_freshness(store.freshness)
    metrics.watch({"features": parts.features, "rows": parts.rows, "endpoints": redis_guard})
    filters = FilterStore(redis, settings.namespace)
    trends = Trends(popularity, lambda: _item_views(hosts))
    equipment = Equipment(
        registry=registry,
        store=store,
        build_rows=build_rows,
        query_rows=query_rows,
        rows_feed=rows_feed,
        lineage=Lineage(redis, settings.namespace),
        options=follower_options(settings),
        parts=parts,
        aside_parts=QueryParts(_ASIDE_BUDGET_S),
        metrics=metrics,
        filters=filters,
        open_batcher=lambda answer: Batcher(
            answer,
            max_batch=settings.max_batch,
            max_queue=settings.max_queue,
            on_batch=metrics.batch,
            on_drop=metrics.dropped,
            one_core=len(os.sched_getaffinity(0)) == 1,
        ),
        trends=trends,
        probe_interval_s=settings.index_probe_interval_s,
    )
    hosts = Hosts(settings.model, equipment, asyncio.get_running_loop())
    metrics.watch_tables(lambda: _lost_tables(hosts))
    reach = Reach(settings.targets, credentials)
    sampler = Sampler(metrics.registry, SERIES)
    page = ApiSource(settings.targets, credentials, hosts, registry, sampler, _described(settings, team))
    if team is not None:
        metrics.watch_team(team)
    trends.start()
    hosts.start()
    reach.start()
    page.start()
    security.__enter__()
    try:
        yield Service(
            hosts=hosts,
            history_limit=settings.history_limit,
            rules=EventRules.of(settings.event_kinds, settings.history_kinds, settings.seen_kinds),
            popularity=popularity,
            repeats=Repeats(redis, settings.namespace),
            limits=Limits(settings.body_timeout_s, settings.max_imports, settings.import_max_bytes),
            filters=filters,
            registry=registry,
            activation=Activation(
                registry, store, Trial(registry, store, stored_rows.lookup, want_newest=stored_rows.want_newest)
            ),
            reach=reach,
            metrics=metrics,
            redis=redis_guard,
            redis_wait_s=settings.redis_wait_s,
            page=page,
            gate=security.gate,
            team=team,
        )
    finally:
        await asyncio.to_thread(security.__exit__)
        await hosts.close()
        await asyncio.to_thread(page.stop)
        await asyncio.to_thread(reach.stop)
        await asyncio.to_thread(trends.stop)
        rows_feed.close()
        query_rows.close()
        build_rows.close()


def _described(settings: ApiSettings, team: Team | None) -> dict[str, Any]:
    """What the page says of this process; of one of several workers, which of them it is."""
    worker = None if team is None else team.worker
    return {
        "id": f"{os.getpid()}-{time.time_ns()}",
        "namespace": settings.namespace,
        "worker": worker,
        "workers": settings.workers,
    }


def _follower_name() -> str:
    """How shards call this process in their lists of followers."""
    return f"rowbank-api {socket.gethostname()}:{os.getpid()}"


def _item_views(hosts: Hosts) -> set[str]:
    """The views of items whose events count for what is served."""
    return {serving.model.items.written for host in hosts.all.values() for serving in host.servings.values()}


def _lost_tables(hosts: Hosts) -> Mapping[str, Loss]:
    """Of the versions in service, by name."""
    active = [host.active for host in hosts.all.values()]
    current = [serving.follower.current for serving in active if serving is not None]
    return {table: loss for generation in current if generation is not None for table, loss in generation.lost.items()}


def run(settings: ApiSettings) -> int:
    """Runs the service in this process until SIGTERM or SIGINT; returns the exit status.

    Raises:
        SettingsError: the settings do not fit together or to this machine.
        StartError: an address cannot be listened on, or Redis may evict keys.
        RedisUnavailable: Redis cannot be reached at start.
    """
    logs.configure(settings.log_level, settings.log_format)
    redis = connect(settings)
    try:
        listener = listen("bind", settings.bind)
        listener.listen(BACKLOG)
        return uvloop.run(serve(settings, Place(listener, _print_ready), open_service(settings, redis)))
    finally:
        redis.close()


def _print_ready(addresses: str) -> None:
    sys.stdout.write(f"ready rowbank-api {addresses}\n")
    sys.stdout.flush()
