"""The call that measures the recall of what is served."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from rowbank.errors import Overloaded
from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.operations.asking import Asking
from rowbank_server.retrieval.api.service import Caller, Service, in_time
from rowbank_server.retrieval.filters.evaluate import at_time
from rowbank_server.retrieval.filters.stored import StoredFilters
from rowbank_server.retrieval.filters.words import Filter
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.recall import probe_generation
from rowbank_server.retrieval.stages import over

_MAX_WAITING = 4  # Probes that may wait for the one that runs.


class Probing:
    """One method per call."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="probe")
        self._asked = 0

    async def probe(self, body: schemas.ProbeBody, caller: Caller) -> schemas.ProbeReport:
        """Compares what the index finds with an exact search.

        Raises:
            InvalidRequest: the filter is wrong.
            Overloaded: other probes wait already.
        """
        picked = self._service.hosts.of(body.model).pick(None, body.version)
        generation = picked.serving.generation()
        given = None
        if body.filter is not None:
            given = Asking(generation, self._service.rules, caller).filter(body.filter)
            given = at_time(await self._resolved(generation, given, caller), time.time())
        if self._asked > _MAX_WAITING:
            raise Overloaded(f"{self._asked} probes run or wait already; try again when they are done")
        self._asked += 1
        try:
            running = asyncio.get_running_loop().run_in_executor(self._thread, _probed, generation, given, body)
            return await in_time(_awaited(running), caller)
        finally:
            self._asked -= 1

    async def _resolved(self, generation: Generation, given: Filter, caller: Caller) -> Filter:
        name, filters = generation.model.manifest.name, self._service.filters
        stored = await self._service.ask_redis(lambda: filters.all(name), caller)
        return StoredFilters(stored, generation.filter_fields).resolve(given)


async def _awaited(running: asyncio.Future[schemas.ProbeReport]) -> schemas.ProbeReport:
    return await running


def _probed(generation: Generation, given: Filter | None, body: schemas.ProbeBody) -> schemas.ProbeReport:
    exclude = None if given is None else ~over.allowed(generation, given)
    made = probe_generation(generation, queries=body.queries, k=body.k, exclude=exclude)
    return schemas.ProbeReport(
        model_version=generation.model.version,
        index_version=generation.index_version,
        index=made.index,
        queries=made.queries,
        k=made.k,
        recall=made.recall,
        worst_recall=made.worst_recall,
        served_p50_ms=made.served_p50_ms,
        exact_p50_ms=made.exact_p50_ms,
        items=made.items,
        eligible=made.eligible,
    )
