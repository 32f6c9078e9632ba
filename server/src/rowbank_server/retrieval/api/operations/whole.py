"""What several workers say as one: metrics of all of them, and whether all of them can answer."""

from __future__ import annotations

import msgspec

from rowbank.errors import NotReady
from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.operations.models import Models
from rowbank_server.retrieval.api.service import Service
from rowbank_server.retrieval.processes.exposition import merged
from rowbank_server.retrieval.processes.siblings import Answers

READY, NOT_READY, SILENT = "ready", "not-ready", "silent"


class Whole:
    """A service of one process, or of several that ask each other."""

    def __init__(self, service: Service, models: Models) -> None:
        self._service = service
        self._models = models

    @property
    def answers(self) -> Answers:
        """What this process tells its siblings."""
        return {"health": lambda: msgspec.json.encode(self._own_health()), "metrics": self._service.metrics.exposition}

    async def metrics(self) -> bytes:
        """The exposition of all workers that answer in time, and which those are."""
        team = self._service.team
        if team is None:
            return self._service.metrics.exposition()
        return merged(await team.siblings.ask("metrics"))

    async def ready(self) -> schemas.Health:
        """What is in service, once every worker that takes connections can answer.

        A worker that does not answer in time makes nobody unready: what comes goes to the others.

        Raises:
            NotReady: one cannot answer yet; the message says what is missing.
        """
        own, team = self._models.ready(), self._service.team
        if team is None:
            return own
        workers: list[schemas.WorkerHealth] = []
        for worker, told in (await team.siblings.ask("health")).items():
            health = schemas.Health(SILENT) if told is None else msgspec.json.decode(told, type=schemas.Health)
            if health.status == NOT_READY and team.board.accepts(worker):
                raise NotReady(f"worker {worker}: {health.problem}")
            workers.append(schemas.WorkerHealth(worker, health.status, health.model_version))
        return msgspec.structs.replace(own, workers=workers)

    def _own_health(self) -> schemas.Health:
        try:
            return self._models.ready()
        except NotReady as error:
            return schemas.Health(NOT_READY, problem=error.message)
