"""What operators see of a shard's process, over HTTP, from before it loads until after it has drained."""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry

import rowbank_server
from rowbank.credentials import Credentials
from rowbank_server import process_metrics
from rowbank_server.ps.http.app import Served, create_app
from rowbank_server.ps.http.cluster import Cluster, open_client
from rowbank_server.ps.http.source import SERIES, Known, PsSource
from rowbank_server.ps.insight.advice import Adviser
from rowbank_server.ps.services.keeping_metrics import KeepingCollector
from rowbank_server.ps.serving import Parts, Serving
from rowbank_server.registry.store import ModelRegistry
from rowbank_server.security.gate import Gate
from rowbank_server.security.policy import PS_ROUTES
from rowbank_server.security.tls import ServedTls
from rowbank_server.settings import PsSettings
from rowbank_server.storage.connection import Redis
from rowbank_server.storage.evictions import EvictionHistory
from rowbank_server.storage.layout import Layout
from rowbank_server.storage.members import Members
from rowbank_server.storage.memory import RedisMemory
from rowbank_server.tracing import Traced
from rowbank_server.ui.sampling import Sampler
from rowbank_server.web.answers import of_error
from rowbank_server.web.auth import Authorized
from rowbank_server.web.certificates import RequireCertificate
from rowbank_server.web.thread import HttpThread

_log = logging.getLogger("rowbank.ps")


class Showing:
    """Everything behind the HTTP port.

    Args:
        settings, redis: of the process.
        parts, serving: what it is made of, and what it does now.
        metrics: the registry that a scrape gets; it is completed here.
        history, models: of evictions; of versions.
        adviser: knows which tables evict too early.
        gate: asks callers for tokens; None: nobody is asked.
        tls: what the port is protected with; None: nothing.
        credentials: what other shards are connected to with.
    """

    def __init__(
        self,
        settings: PsSettings,
        redis: Redis,
        parts: Parts,
        serving: Serving,
        *,
        metrics: CollectorRegistry,
        history: EvictionHistory,
        models: ModelRegistry,
        adviser: Adviser,
        gate: Gate | None,
        tls: ServedTls | None,
        credentials: Credentials,
    ) -> None:
        self._settings = settings
        self._parts = parts
        self._serving = serving
        self._started_s = time.time()
        self._memory = RedisMemory(redis)
        self._sampler = Sampler(metrics, SERIES)
        layout, shards = Layout(settings.namespace), range(settings.shard_count)
        me = (settings.shard_index, parts.membership.current)
        self._cluster = Cluster(
            [Members(redis, layout, shard=shard) for shard in shards],
            me,
            functools.partial(open_client, credentials=credentials),
        )
        known = Known(
            shard=parts.shard,
            shard_count=settings.shard_count,
            adviser=adviser,
            cluster=self._cluster,
            evictions=history,
            registry=models,
            sampler=self._sampler,
            process=self._process,
        )
        self._source = PsSource(known)
        process_metrics.register(metrics, "ps")
        metrics.register(KeepingCollector(parts.shard, parts.keeper, history, self._memory))
        served = create_app(Served(metrics, serving.not_ready, self._description, self._source))
        app: Any = Traced(served if gate is None else Authorized(served, gate, PS_ROUTES, of_error))
        if tls is not None and tls.asks_for_certificates:
            app = RequireCertificate(app)
        self._server = HttpThread(app, (lambda: None) if tls is None else tls.for_http)

    @contextlib.contextmanager
    def at(self, address: str) -> Iterator[str]:
        """Shows it at `address`; yields the URL, or "" where the address is empty.

        Raises:
            StartError: it cannot be listened on.
        """
        if not address:
            yield ""
            return
        url = self._server.start("http_bind", address)
        self._memory.start()
        self._sampler.start()
        _log.info("metrics at %s/metrics, the page at %s/ui", url, url)
        try:
            yield url
        finally:
            self._server.stop()
            self._source.stop()
            self._sampler.stop()
            self._memory.stop()

    def _description(self) -> dict[str, Any]:
        part = self._parts.membership.part
        return {"role": part.role, "state": part.current_state, "shard": self._settings.shard}

    def _process(self) -> dict[str, Any]:
        parts, settings = self._parts, self._settings
        return {
            **self._description(),
            "id": parts.membership.part.server_id,
            "address": self._serving.address,
            "version": rowbank_server.__version__,
            "namespace": settings.namespace,
            "started_at_s": self._started_s,
            "not_ready": self._serving.not_ready(),
            "redis_connected": parts.keeper.redis_connected,
            "redis_used_bytes": self._memory.used_bytes,
            "redis_max_bytes": self._memory.max_bytes,
            "journal_max_bytes": settings.journal_max_bytes,
            "flush_interval_s": settings.flush_interval_s,
        }
