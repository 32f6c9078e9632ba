"""Calls about the filters that are stored with a model."""

from __future__ import annotations

from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.service import Caller, Service
from rowbank_server.retrieval.filters.json import filter_name
from rowbank_server.retrieval.filters.stored import storable_from_json


class Filters:
    """One method per call."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def list_filters(self, body: schemas.ModelRef, caller: Caller) -> schemas.StoredFilters:
        """All of a model, by name."""
        service, name = self._service, self._service.hosts.of(body.model).name
        stored = await service.ask_redis(lambda: service.filters.all(name), caller)
        return schemas.StoredFilters([schemas.StoredFilter(one, given) for one, given in stored.items()])

    async def put_filter(self, name: str, body: schemas.FilterBody, caller: Caller) -> schemas.StoredFilter:
        """Stores one, or replaces it.

        Raises:
            InvalidRequest: it does not fit the features of the items, or names a stored one.
        """
        service = self._service
        checked, model = filter_name(name, "name"), service.hosts.of(body.model).name
        storable_from_json(body.filter, service.serving(body.model).generation().filter_fields)
        await service.ask_redis(lambda: service.filters.put(model, checked, body.filter), caller)
        return schemas.StoredFilter(checked, body.filter)

    async def delete_filter(self, name: str, body: schemas.ModelRef, caller: Caller) -> schemas.FilterName:
        """Takes one away. Raises FilterNotFound."""
        service = self._service
        checked, model = filter_name(name, "name"), service.hosts.of(body.model).name
        await service.ask_redis(lambda: service.filters.delete(model, checked), caller)
        return schemas.FilterName(checked)
