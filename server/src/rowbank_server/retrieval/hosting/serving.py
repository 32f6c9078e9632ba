"""One loaded version: what follows its catalogue, answers its queries and collects them into batches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from rowbank_protos.v1 import models_pb2
from rowbank_server.features import FeatureStore
from rowbank_server.registry import ModelRegistry
from rowbank_server.registry.model import Model, load_model
from rowbank_server.retrieval.batching import Answers, Batcher
from rowbank_server.retrieval.budget import QueryParts
from rowbank_server.retrieval.engine import Engine
from rowbank_server.retrieval.follower import Follower, FollowerOptions
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.lineage import Lineage
from rowbank_server.retrieval.metrics import Metrics
from rowbank_server.retrieval.queries import Answer, Query
from rowbank_server.retrieval.rows import RowReader


@dataclass(frozen=True, slots=True)
class Equipment:
    """What every version of the process is served with.

    Attributes:
        build_rows, query_rows: read rows for an index, which may take its time, and for queries.
        open_batcher: of what answers a batch.
    """

    registry: ModelRegistry
    store: FeatureStore
    build_rows: RowReader
    query_rows: RowReader
    lineage: Lineage
    options: FollowerOptions
    parts: QueryParts
    metrics: Metrics
    open_batcher: Callable[[Answers], Batcher]


class Serving:
    """A version that is loaded. Queries come from the event loop; everything else from the host's thread.

    Attributes:
        manifest: of the version.
        follower: keeps its generation.
        batcher: queues its queries.
        load_s: how long it took to load.
    """

    def __init__(self, follower: Follower, equipment: Equipment, load_s: float) -> None:
        self.follower = follower
        self.load_s = load_s
        self._engine = Engine(
            lambda: follower.current,
            lambda: follower.problem,
            equipment.query_rows,
            equipment.metrics,
            equipment.parts,
        )
        self.batcher = equipment.open_batcher(self._engine.answer)

    @property
    def model(self) -> Model:
        return self.follower.model

    @property
    def manifest(self) -> models_pb2.ModelManifest:
        return self.follower.model.manifest

    @property
    def version(self) -> str:
        return self.follower.model.version

    def generation(self) -> Generation:
        """The generation in service. Raises NotReady if there is none."""
        return self._engine.generation()

    async def ask(self, query: Query, is_gone: Callable[[], bool] = lambda: False) -> Answer:
        """The answer to one query. Raises what its answering raises, and as `Batcher.ask`."""
        return await self.batcher.ask(query, is_gone)

    async def close(self) -> None:
        """Answers what waits, then ends the threads."""
        await self.batcher.close()
        await asyncio.to_thread(self.follower.stop)


def load(
    equipment: Equipment,
    name: str,
    version: str,
    *,
    next_serial: Callable[[], int],
    with_lost_tables: bool,
    on_swap: Callable[[Generation], None],
) -> Serving:
    """Loads a version, in the caller's thread, and starts following its catalogue.

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
        next_serial=next_serial,
        on_swap=on_swap,
        watch=equipment.metrics.catalogues.of(name, version),
    )
    follower.load(with_lost_tables=with_lost_tables)
    serving = Serving(follower, equipment, time.monotonic() - started)
    follower.start()
    return serving
