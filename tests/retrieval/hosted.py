"""Hosts in this process, over a real Redis and a real parameter server."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import redis

from rowbank_server.features import FeatureStore
from rowbank_server.registry import ModelRegistry
from rowbank_server.registry.filters import FilterStore
from rowbank_server.retrieval.batching import Batcher
from rowbank_server.retrieval.budget import QueryParts
from rowbank_server.retrieval.catalogue.options import FollowerOptions
from rowbank_server.retrieval.hosting.hosts import Hosts
from rowbank_server.retrieval.hosting.serving import Equipment
from rowbank_server.retrieval.lineage import Lineage
from rowbank_server.retrieval.metrics import Metrics
from rowbank_server.retrieval.queries import Answer, Query
from rowbank_server.retrieval.rows import ClientRows

_WAIT_S = 30.0


class Hosted:
    """Hosts, and the loop that their queries come from, which runs in a thread."""

    def __init__(self, equipment: Equipment, default: str, **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.metrics = equipment.metrics
        self.store = equipment.store
        self.hosts = Hosts(default, equipment, self.loop, **options)
        self.hosts.start()

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(_WAIT_S)

    def ask(self, query: Query, model: str = "", *, user_key: int | None = None, version: str = "") -> Answer:
        answer: Answer = self.run(self.hosts.of(model).pick(user_key, version).serving.ask(query))
        return answer

    def serves(self, model: str) -> str:
        """The version that answers those who are given no other; empty while there is none."""
        host = self.hosts.all.get(model)
        return host.active.version if host is not None and host.active is not None else ""

    def close(self) -> None:
        self.run(self.hosts.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_WAIT_S)
        self.loop.close()


@contextlib.contextmanager
def hosted(
    connection: redis.Redis,
    namespace: str,
    target: str,
    default: str,
    *,
    count_s: float = 60.0,
    probe_s: float = 0.0,
    **options: Any,
) -> Iterator[Hosted]:
    """Opens hosts of a namespace; what they read must be there for them to load it."""
    rows = ClientRows([target], 10.0)
    running = Hosted(equipped(connection, namespace, rows, count_s, probe_s), default, **options)
    try:
        yield running
    finally:
        running.close()
        rows.close()


def equipped(
    connection: redis.Redis, namespace: str, rows: ClientRows, count_s: float = 60.0, probe_s: float = 0.0
) -> Equipment:
    """What versions of a namespace are served with."""
    return Equipment(
        registry=ModelRegistry(connection, namespace),
        store=FeatureStore(connection, namespace),
        build_rows=rows,
        query_rows=rows,
        rows_feed=None,
        lineage=Lineage(connection, namespace),
        options=FollowerOptions(count_s=count_s),
        parts=QueryParts(10.0),
        aside_parts=QueryParts(10.0),
        metrics=Metrics(),
        filters=FilterStore(connection, namespace),
        open_batcher=lambda answer: Batcher(answer, max_batch=32, max_queue=1024),
        probe_interval_s=probe_s,
    )
