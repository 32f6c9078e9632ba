"""One loaded version: what follows its catalogue, answers its queries and collects them into batches."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from rowbank import tracing
from rowbank.errors import Overloaded
from rowbank_protos.v1 import models_pb2
from rowbank_server.features import FeatureStore
from rowbank_server.registry import ModelRegistry
from rowbank_server.registry.filters import FilterStore
from rowbank_server.registry.model import Model, load_model
from rowbank_server.retrieval.batching import Answers, Batcher, Place
from rowbank_server.retrieval.budget import QueryParts
from rowbank_server.retrieval.catalogue.options import FollowerOptions
from rowbank_server.retrieval.catalogue.rows_feed import RowsFeed
from rowbank_server.retrieval.engine import Engine
from rowbank_server.retrieval.filters.reading import FilterReader
from rowbank_server.retrieval.follower import Follower
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.hosting.warm_up import warm_up
from rowbank_server.retrieval.index.probe import Probe
from rowbank_server.retrieval.lineage import Lineage
from rowbank_server.retrieval.metrics import Metrics
from rowbank_server.retrieval.queries import Answer, Embeddings, Query
from rowbank_server.retrieval.recall import RecallWatch
from rowbank_server.retrieval.rows import RowReader
from rowbank_server.retrieval.stages.ranking import Trends

_MAX_EMBEDDING = 64  # Requests for vectors that may wait.
_FILTERS_WAIT_S = 0.1  # Of a query that names a stored filter, twice a second at most.


@dataclass(frozen=True, slots=True)
class Equipment:
    """What every version of the process is served with.

    Attributes:
        build_rows, query_rows: read rows for an index, which may take its time, and for queries.
        rows_feed: says which rows move.
        filters: those that are stored with models.
        parts, aside_parts: guard what queries wait for, and what queries do that nobody waits for, so that those cost
            users nothing.
        open_batcher: of what answers a batch.
        trends: what is popular in windows of time, if that is known.
        aside_metrics: counts what nobody asked for, and is shown to nobody.
        probe_interval_s: how often the recall of each version is measured; 0: never.
    """

    registry: ModelRegistry
    store: FeatureStore
    build_rows: RowReader
    query_rows: RowReader
    rows_feed: RowsFeed | None
    lineage: Lineage
    options: FollowerOptions
    parts: QueryParts
    aside_parts: QueryParts
    metrics: Metrics
    filters: FilterStore
    open_batcher: Callable[[Answers], Batcher]
    trends: Trends | None = None
    aside_metrics: Metrics = dataclasses.field(default_factory=Metrics)
    probe_interval_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """A version as this process serves it.

    Attributes:
        share: of the users; what the active one gets is what the others leave.
        index_version, items, index, memory_bytes, load_s, warm_up_s: empty and 0 of one that is not loaded.
        problem: what keeps it, or newer items or rows of it, from being served.
    """

    version: str
    active: bool
    share: float
    shadow: bool
    index_version: str = ""
    items: int = 0
    index: str = ""
    memory_bytes: int = 0
    load_s: float = 0.0
    warm_up_s: float = 0.0
    problem: str = ""


class Serving:
    """A version that is loaded. Queries come from the event loop; everything else from the host's thread.

    Attributes:
        follower: keeps its generation.
        batcher: queues its queries.
        load_s, warm_up_s: how long it took to load it, and to run first queries through it.
        on_answer: told each answer, its query and how long it took in seconds, on the event loop.
    """

    def __init__(self, follower: Follower, equipment: Equipment, load_s: float) -> None:
        self.follower = follower
        self.load_s = load_s
        self.warm_up_s = 0.0
        self.on_answer: Callable[[Serving, Query, Answer, float], None] = lambda *told: None
        self._equipment = equipment
        self._engine = self._open_engine(equipment.parts, equipment.metrics)
        self._aside = self._open_engine(equipment.aside_parts, equipment.aside_metrics)
        self.batcher = equipment.open_batcher(self._engine.answer)
        self._recall = RecallWatch(lambda: follower.current, self._probed, equipment.probe_interval_s)
        self._aside_batcher: Batcher | None = None  # Most versions never need one, and its thread.
        self._embedder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vectors")
        self._embedding = 0

    def _open_engine(self, parts: QueryParts, metrics: Metrics) -> Engine:
        follower, equipment = self.follower, self._equipment
        return Engine(
            lambda: follower.current,
            lambda: follower.problem,
            equipment.query_rows,
            metrics,
            parts,
            FilterReader(equipment.filters, self.manifest.name, parts.features, within_s=_FILTERS_WAIT_S),
            equipment.trends,
            counts_reads=parts is equipment.parts,
        )

    @property
    def model(self) -> Model:
        return self.follower.model

    @property
    def manifest(self) -> models_pb2.ModelManifest:
        return self.follower.model.manifest

    @property
    def version(self) -> str:
        return self.follower.model.version

    def start(self) -> None:
        """Starts following the catalogue, and measuring recall."""
        self.follower.start()
        self._recall.start()

    def _probed(self, probe: Probe) -> None:
        self._equipment.metrics.versions.probed(self.manifest.name, self.version, probe)

    def generation(self) -> Generation:
        """The generation in service. Raises NotReady if there is none."""
        return self._engine.generation()

    def warm_up(self) -> None:
        """Runs first queries through it. Raises what answering them raises."""
        self.warm_up_s = warm_up(self.generation(), self._aside)

    async def ask(self, query: Query, is_gone: Callable[[], bool] = lambda: False) -> Answer:
        """The answer to one query. Raises what its answering raises, and as `Batcher.ask`."""
        started = time.perf_counter()
        answer = await self.batcher.ask(query, is_gone)
        span = tracing.current()
        if span.recording:
            span.note(
                {
                    "rowbank.model": self.manifest.name,
                    "rowbank.model_version": answer.model_version,
                    "rowbank.source": answer.source.value,
                    "rowbank.degraded": answer.degraded,
                }
            )
        self.on_answer(self, query, answer, time.perf_counter() - started)
        return answer

    def enter(self, query: Query, place: Place, caller: str, is_gone: Callable[[], bool]) -> None:
        """Queues a query as `Batcher.enter`; whoever gets its answer says so to `on_answer`. Raises Overloaded."""
        self.batcher.enter(query, place, caller, is_gone)

    async def ask_aside(self, query: Query) -> Answer:
        """The same, for nobody who waits: no user's query waits for it, and it is not counted."""
        if self._aside_batcher is None:
            self._aside_batcher = self._equipment.open_batcher(self._aside.answer)
        return await self._aside_batcher.ask(query)

    @property
    def memory_bytes(self) -> int:
        """Of index, features, titles and towers; files that are mapped count, whoever shares them."""
        generation = self.generation()
        return held_bytes(generation)

    def described(self, loaded: Loaded) -> Loaded:
        """With what is known of it here."""
        generation = self.generation()
        largest = max(generation.parts, key=lambda part: len(part.segment), default=None)
        return dataclasses.replace(
            loaded,
            index_version=generation.index_version,
            items=generation.indexed_count,
            index="" if largest is None else largest.segment.index.kind,
            memory_bytes=held_bytes(generation),
            load_s=self.load_s,
            warm_up_s=self.warm_up_s,
            problem="; ".join(text for text in (loaded.problem, self.follower.problem) if text),
        )

    async def embed(self, users: Sequence[int], features: Mapping[str, Any] | None, items: Sequence[int]) -> Embeddings:
        """Vectors, as `Engine.embed`, one request after the other beside the queries. Raises Overloaded."""
        if self._embedding >= _MAX_EMBEDDING:
            raise Overloaded(f"{_MAX_EMBEDDING} requests for vectors wait already; try again in a moment")
        self._embedding += 1
        try:
            loop = asyncio.get_running_loop()
            context = contextvars.copy_context()
            return await loop.run_in_executor(self._embedder, context.run, self._engine.embed, users, features, items)
        finally:
            self._embedding -= 1

    def abandon(self) -> None:
        """Ends the threads of a version that never answered anybody."""
        self._recall.stop()
        self.follower.stop()

    async def close(self) -> None:
        """Answers what waits, then ends the threads."""
        await self.batcher.close()
        if self._aside_batcher is not None:
            await self._aside_batcher.close()
        await asyncio.to_thread(self._embedder.shutdown)
        await asyncio.to_thread(self._recall.stop)
        await asyncio.to_thread(self.follower.stop)


def held_bytes(generation: Generation) -> int:
    """Memory of a generation: indexes, features, titles, ids, and its model's towers."""
    total = sum(file.size for file in generation.model.manifest.files)
    for part in generation.parts:
        segment = part.segment
        total += segment.index.bytes + segment.ids.nbytes + segment.titles.bytes
        total += 0 if segment.texts is None else segment.texts.bytes
        total += sum(column.bytes for column in segment.columns.values())
    return total


def load(
    equipment: Equipment,
    name: str,
    version: str,
    *,
    next_serial: Callable[[], int],
    with_lost_tables: bool,
    on_swap: Callable[[Generation], None],
) -> Serving:
    """Loads a version and runs first queries through it, in the caller's thread, and starts following its catalogue.

    Raises:
        RequestError: what keeps it from being served.
    """
    started = time.monotonic()
    stored = equipment.registry.get(name, version)
    model = load_model(stored.manifest, equipment.registry.files(stored.manifest), equipment.store)
    follower = Follower(
        model,
        equipment.build_rows,
        equipment.lineage,
        equipment.options,
        equipment.rows_feed,
        next_serial=next_serial,
        on_swap=on_swap,
        watch=equipment.metrics.catalogues.of(name, version),
    )
    follower.load(with_lost_tables=with_lost_tables)
    try:
        serving = Serving(follower, equipment, time.monotonic() - started)
        serving.warm_up()
        serving.start()
    except BaseException:  # Nobody else ends what was begun, and it holds the lock of the version's files.
        follower.stop()
        raise
    return serving
