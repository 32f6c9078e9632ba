"""Calls about versions of models, and what is in service."""

from __future__ import annotations

from rowbank.errors import NotReady
from rowbank_server.registry import StoredModel
from rowbank_server.registry.trial import BUDGET_S
from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.service import Caller, Service


class Models:
    """One method per call."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def list_models(self, body: schemas.ModelRef, caller: Caller) -> schemas.ModelVersions:
        """Stored versions, newest first."""
        service = self._service
        name = body.model or service.hosts.default_model

        def collect() -> tuple[list[StoredModel], str]:
            known = name in service.registry.names()
            listed = service.registry.list(name) if known else []
            return listed, service.registry.previous(name)

        stored, previous = await service.ask_redis(collect, caller)
        host = service.hosts.all.get(name)
        serving = host.active.version if host and host.active else ""
        models = [
            schemas.ModelVersion(
                name=entry.manifest.name,
                version=entry.manifest.version,
                active=entry.active,
                serving=entry.manifest.version == serving,
                created_at_s=entry.manifest.created_at_s,
                vector_dim=entry.manifest.vector_dim,
                metrics=dict(entry.manifest.metrics),
            )
            for entry in stored
        ]
        return schemas.ModelVersions(models, previous)

    async def activate(self, version: str, body: schemas.ActivateBody, caller: Caller) -> schemas.Activated:
        """Makes a version the active one."""
        service = self._service
        name = body.model or service.hosts.default_model
        previous = await service.ask_redis(
            lambda: service.activation.activate(name, version, force=body.force),
            caller,
            within_s=BUDGET_S + service.redis_wait_s,
        )
        service.hosts.wake()
        return schemas.Activated(version, previous)

    async def roll_back(self, body: schemas.ModelRef, caller: Caller) -> schemas.Activated:
        """Makes the version active again that was so before."""
        service = self._service
        name = body.model or service.hosts.default_model
        previous, version = await service.ask_redis(lambda: service.activation.roll_back(name), caller)
        service.hosts.wake()
        return schemas.Activated(version, previous)

    def ready(self) -> schemas.Health:
        """What is in service. Raises NotReady: nothing yet."""
        hosts, reach = self._service.hosts, self._service.reach
        try:
            host = hosts.of()
            generation = host.serving().generation()
        except NotReady as error:
            raise NotReady("; ".join(text for text in (reach.problem, error.message) if text)) from None
        items = generation.indexed_count
        problem = host.problem or hosts.problem or reach.problem
        return schemas.Health("ready", generation.model.version, generation.index_version, items, problem)
