"""What the retrieval service knows for the page /ui: its models and index, and the shards that it reads from."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import rowbank_server
from rowbank import Client
from rowbank.admin import EvictionEvent, ShardProcess, TableInfo, TableStats
from rowbank.credentials import Credentials
from rowbank.errors import InvalidRequest, RequestError, TableNotFound
from rowbank.insight import Advice, Simulation, WhatIf
from rowbank_server.registry.store import ModelRegistry
from rowbank_server.retrieval.hosting.hosts import Hosts
from rowbank_server.ui.history import History
from rowbank_server.ui.sampling import Sampler
from rowbank_server.ui.series import Wanted
from rowbank_server.ui.watching import Watch, Watches, problems
from rowbank_server.ui.words import of_histogram, of_message, of_models

T = TypeVar("T")
_TIMEOUT_S = 2.0
_EVENTS = 200
_HISTOGRAM_S = 15.0  # One looks at every row of a table.
_MODEL = ("model",)

SERIES = (
    Wanted("rowbank_http_request_duration_seconds", "quantiles", ("route",)),
    Wanted("rowbank_http_request_duration_seconds", "count", ("route",)),
    Wanted("rowbank_retrieval_stage_seconds", "quantiles", ("stage",)),
    Wanted("rowbank_retrieval_answers", "rate", ("source",)),
    Wanted("rowbank_retrieval_degraded", "rate", ("reason",)),
    Wanted("rowbank_retrieval_dropped", "rate", ("reason",)),
    Wanted("rowbank_model_answer_seconds", "quantiles", _MODEL),
    Wanted("rowbank_model_answers", "rate", ("model", "version")),
    Wanted("rowbank_index_items", "value", _MODEL),
    Wanted("rowbank_index_lag_seconds", "quantiles", _MODEL),
    Wanted("rowbank_index_row_lag_seconds", "quantiles", _MODEL),
    Wanted("rowbank_index_waiting_items", "value", _MODEL),
    Wanted("rowbank_feature_status", "rate", ("status",)),
    Wanted("process_resident_memory_bytes", "value"),
    Wanted("process_cpu_seconds", "rate"),
)


@dataclass(frozen=True, slots=True)
class _Cluster:
    processes: list[ShardProcess]
    tables: list[TableStats]
    evictions: list[EvictionEvent]
    missing: dict[int, str]


@dataclass(frozen=True, slots=True)
class _Table:
    info: TableInfo
    stats: TableStats
    evictions: list[EvictionEvent]
    advice: list[Advice]


class _Shards:
    """A client that leaves out what is away, opened when it is asked for; one call at a time."""

    def __init__(self, targets: Sequence[str], credentials: Credentials) -> None:
        self._targets = list(targets)
        self._credentials = credentials
        self._client: Client | None = None
        self._lock = threading.Lock()

    def ask(self, call: Callable[[Client], T]) -> T:
        """What `call` returns. Raises RequestError, and begins anew with the next call."""
        with self._lock:
            try:
                if self._client is None:
                    self._client = Client(
                        self._targets,
                        timeout_s=_TIMEOUT_S,
                        connect_timeout_s=_TIMEOUT_S,
                        wait_for_ready=False,
                        partial=True,
                        credentials=self._credentials,
                    )
                return call(self._client)
            except (InvalidRequest, TableNotFound):
                raise
            except RequestError:
                self._close()
                raise

    def close(self) -> None:
        """Ends the connections."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        with contextlib.suppress(RequestError):
            if self._client is not None:
                self._client.close()
        self._client = None


class ApiSource:
    """A `ui.data.Source`. Thread-safe.

    Args:
        targets, credentials: of the shards.
        hosts: the models that are served.
        process: what else is known of this process: its addresses and the like.
    """

    def __init__(
        self,
        targets: Sequence[str],
        credentials: Credentials,
        hosts: Hosts,
        registry: ModelRegistry,
        sampler: Sampler,
        process: dict[str, Any],
    ) -> None:
        self._hosts = hosts
        self._sampler = sampler
        self._process = process
        self._started_s = time.time()
        self._shards = _Shards(targets, credentials)
        self._cluster = Watch(lambda: self._shards.ask(_cluster))
        self._models = Watch(lambda: of_models(registry), interval_s=10.0)
        self._tables = Watches(lambda name: self._shards.ask(lambda client: _table(client, name)))
        self._histograms = Watches(
            lambda name: self._shards.ask(lambda client: client.table(name).frequency_histogram()),
            interval_s=_HISTOGRAM_S,
        )

    @property
    def history(self) -> History:
        """What was sampled of this process."""
        return self._sampler.history

    def start(self) -> None:
        """Begins to sample."""
        self._sampler.start()

    def stop(self) -> None:
        """Ends what looks and samples."""
        self._sampler.stop()
        self._cluster.stop()
        self._models.stop()
        self._tables.stop()
        self._histograms.stop()
        self._shards.close()

    def overview(self) -> dict[str, Any]:
        """The models that are served, and the shards as far as they answer."""
        cluster, models = self._cluster.latest(), self._models.latest()
        seen = cluster.value or _Cluster([], [], [], {})
        numbers = sorted({one.shard for one in seen.processes} | set(seen.missing))
        return {
            "at_s": time.time(),
            "process": self._described(),
            "served": [_served(host) for _, host in sorted(self._hosts.all.items())],
            "shards": [
                {
                    "shard": number,
                    "processes": [_process(one) for one in seen.processes if one.shard == number],
                    "problem": seen.missing.get(number, ""),
                }
                for number in numbers
            ],
            "tables": [asdict(one) for one in seen.tables],
            "models": models.value or [],
            "evictions": [asdict(one) for one in seen.evictions],
            "problems": problems({"shards": cluster, "models": models}),
        }

    def table(self, name: str) -> dict[str, Any]:
        """One table of the shards."""
        look = self._tables.latest(name)
        if look.value is None:
            raise TableNotFound(look.problem or f"nothing is known of table {name!r} yet", metadata={"table": name})
        table, histogram = look.value, self._histograms.latest(name)
        return {
            "at_s": time.time(),
            "process": self._described(),
            "spec": of_message(table.info.spec.to_proto()),
            "created_at_s": table.info.created_at_s,
            "slots": [{"name": slot, "width": width} for slot, width in table.info.slots],
            "stats": asdict(table.stats),
            "evictions": [asdict(one) for one in table.evictions],
            "histogram": of_histogram(histogram.value),
            "advice": " ".join(one.text for one in table.advice),
            "problems": problems({"table": look, "histogram": histogram}),
        }

    def what_if(self, name: str, policies: Sequence[WhatIf]) -> Simulation:
        """Of all shards."""
        return self._shards.ask(lambda client: client.table(name).simulate_eviction(policies))

    def _described(self) -> dict[str, Any]:
        return {
            "kind": "api",
            "version": rowbank_server.__version__,
            "started_at_s": self._started_s,
            "host": socket.gethostname(),
            "not_ready": self._hosts.problem,
            **self._process,
        }


def _cluster(client: Client) -> _Cluster:
    return _Cluster(
        client.shards(timeout_s=_TIMEOUT_S), client.stats(), client.evictions(limit=_EVENTS), dict(client.missing)
    )


def _table(client: Client, name: str) -> _Table:
    (stats,) = client.stats(name)
    evictions = client.evictions(name, limit=_EVENTS)
    return _Table(client.table_info(name), stats, evictions, client.eviction_advice(name))


def _process(one: ShardProcess) -> dict[str, Any]:
    names = ("role", "state", "address", "epoch", "position", "age_s", "rows", "version", "server_id")
    return {name: getattr(one, name) for name in names}


def _served(host: Any) -> dict[str, Any]:
    current = None if host.active is None else host.active.follower.current
    return {
        "model": host.name,
        "version": "" if current is None else current.model.version,
        "index_version": "" if current is None else current.index_version,
        "items": 0 if current is None else current.indexed_count,
        "problem": host.problem,
    }
