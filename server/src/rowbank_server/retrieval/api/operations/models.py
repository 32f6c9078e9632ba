"""Calls about versions of models, and what is in service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rowbank.errors import ModelNotFound, NotReady
from rowbank.traffic import Traffic
from rowbank_server.registry import StoredModel
from rowbank_server.registry.traffic import get_traffic, set_traffic
from rowbank_server.registry.trial import BUDGET_S
from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.service import Caller, Service
from rowbank_server.retrieval.hosting.host import Host
from rowbank_server.security.caller import current, require_model

_LOOK_S = 0.25  # Between two looks whether Redis answers, during a trial.
# What is known of versions that are loaded, or wanted.
_OF_LOADED = (
    "share",
    "shadow",
    "index_version",
    "items",
    "index",
    "memory_bytes",
    "load_s",
    "warm_up_s",
    "problem",
)


class Models:
    """One method per call."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def list_models(self, body: schemas.ModelRef, caller: Caller) -> schemas.ModelVersions:
        """Stored versions of a model, or of all, newest first, with what this process knows of those it serves."""
        service = self._service
        if body.model:
            require_model(body.model)
        default = service.hosts.default_model
        default = default if current().may_use_model(default) else ""

        def collect() -> list[tuple[list[StoredModel], str]]:
            known = set(filter(current().may_use_model, service.registry.names()))
            asked = [body.model] if body.model else sorted(known, key=lambda name: (name != default, name))
            return [(service.registry.list(name), service.registry.previous(name)) for name in asked if name in known]

        found = await service.ask_redis(collect, caller)
        if body.model and not found:
            raise ModelNotFound(f"model {body.model!r} does not exist", metadata={"model": body.model})
        models = [self._version(entry, previous) for stored, previous in found for entry in stored]
        shown = body.model or default
        return schemas.ModelVersions(
            models, next((one.version for one in models if one.name == shown and one.previous), ""), default
        )

    def _version(self, entry: StoredModel, previous: str) -> schemas.ModelVersion:
        manifest = entry.manifest
        host = self._service.hosts.all.get(manifest.name)
        loaded = {one.version: one for one in host.loaded()} if host is not None else {}
        here = loaded.get(manifest.version)
        is_serving = host is not None and manifest.version in host.servings
        return schemas.ModelVersion(
            name=manifest.name,
            version=manifest.version,
            active=entry.active,
            previous=manifest.version == previous,
            serving=is_serving,
            created_at_s=manifest.created_at_s,
            vector_dim=manifest.vector_dim,
            metrics=dict(manifest.metrics),
            **({} if here is None else {name: getattr(here, name) for name in _OF_LOADED}),
        )

    async def get_traffic(self, body: schemas.ModelRef, caller: Caller) -> schemas.TrafficSplit:
        """Who gets which version of a model."""
        service = self._service
        name = service.named(body.model)
        return _split(name, await service.ask_redis(lambda: get_traffic(service.registry, name), caller))

    async def set_traffic(self, body: schemas.TrafficBody, caller: Caller) -> schemas.TrafficSplit:
        """Says who gets which version from now on."""
        service = self._service
        name = service.named(body.model)
        made = await service.ask_redis(lambda: set_traffic(service.registry, name, body.shares, body.shadow), caller)
        service.hosts.wake()
        return _split(name, made)

    async def activate(self, version: str, body: schemas.ActivateBody, caller: Caller) -> schemas.Activated:
        """Makes a version the active one."""
        service = self._service
        name = service.named(body.model)
        previous = await self._tried(
            lambda: service.activation.activate(name, version, force=body.force),
            lambda: service.registry.active_version(name),
            caller,
        )
        service.hosts.wake()
        return schemas.Activated(version, previous)

    async def _tried(self, call: Callable[[], str], look: Callable[[], str], caller: Caller) -> str:
        """What a call returns that may take as long as a trial does: but only as long as Redis answers, too."""
        service = self._service
        await service.ask_redis(look, caller)
        doing = asyncio.ensure_future(service.ask_redis(call, caller, within_s=BUDGET_S + service.redis_wait_s))
        doing.add_done_callback(lambda done: done.cancelled() or done.exception())  # Also where nobody waits for it.
        try:
            while not (await asyncio.wait([doing], timeout=_LOOK_S))[0]:
                await service.ask_redis(look, caller)
        finally:
            doing.cancel()
        return doing.result()

    async def roll_back(self, body: schemas.ModelRef, caller: Caller) -> schemas.Activated:
        """Makes the version active again that was so before."""
        service = self._service
        name = service.named(body.model)
        previous, version = await service.ask_redis(lambda: service.activation.roll_back(name), caller)
        service.hosts.wake()
        return schemas.Activated(version, previous)

    def ready(self) -> schemas.Health:
        """What is in service. Raises NotReady: nothing yet."""
        hosts, reach = self._service.hosts, self._service.reach
        models = [_health(host) for _, host in sorted(hosts.all.items())]
        try:
            shown = _health(hosts.of())
            hosts.of().serving()
        except NotReady as error:
            # Without a default model, those that requests name are served all the same.
            if hosts.default_model in hosts.all or not any(one.model_version for one in models):
                raise NotReady("; ".join(text for text in (reach.problem, error.message) if text)) from None
            shown = schemas.ModelHealth("", "", "", 0, error.message)
        problem = shown.problem or hosts.problem or reach.problem
        return schemas.Health("ready", shown.model_version, shown.index_version, shown.items, problem, models)


def _health(host: Host) -> schemas.ModelHealth:
    current = None if host.active is None else host.active.follower.current
    if current is None:
        return schemas.ModelHealth(host.name, "", "", 0, host.problem)
    return schemas.ModelHealth(
        host.name, current.model.version, current.index_version, current.indexed_count, host.problem
    )


def _split(name: str, traffic: Traffic) -> schemas.TrafficSplit:
    return schemas.TrafficSplit(name, dict(traffic.shares), traffic.shadow, traffic.active)
