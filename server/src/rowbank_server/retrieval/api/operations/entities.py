"""Calls about single items and users. Redis is only touched in a guard's threads; the event loop never waits for it."""

from __future__ import annotations

from typing import Any

from rowbank.errors import InvalidRequest, UnknownItem, UnknownUser
from rowbank.text_ids import ID_TEXT
from rowbank_server.features import FeatureRead, FeatureStatus, LayeredView
from rowbank_server.registry.model import Model
from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.ids import (
    GivenId,
    Ids,
    ModelIds,
    claim,
    require_own,
    shown_features,
    written_features,
)
from rowbank_server.retrieval.api.operations.named import Named
from rowbank_server.retrieval.api.service import Caller, Service
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.segments import Standing


class Entities:
    """One method per call."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def get_item(self, body: schemas.EntityRef, caller: Caller) -> schemas.CatalogueItem:
        """An item. Raises UnknownItem."""
        generation = self._service.serving(body.model).generation()
        item = Named.of(body.id, ModelIds.of(generation.model).items, caller)
        read, features = await self._read(generation, generation.model.items, item, caller)
        if read.status is FeatureStatus.NOT_FOUND:
            raise UnknownItem(_missing("item", item, generation.model.items))
        position = generation.positions([item.key])
        standing = generation.standing_at(int(position[0])) if len(position) else None
        why_not = "written a moment ago; a search finds it within a second" if standing is None else standing.text
        is_indexed = standing is Standing.INDEXED
        return schemas.CatalogueItem(
            id=item.shown,
            features=features,
            status=read.status.value,
            event_time_s=read.event_time_s,
            indexed=is_indexed,
            interactions=int(generation.interactions_at(position).sum()),
            not_indexed=why_not,
            vector=generation.vectors_at(position)[0].tolist() if body.vector and is_indexed else None,
        )

    async def put_item(self, given: GivenId, body: schemas.EntityBody, caller: Caller) -> schemas.Written:
        """Adds or changes an item."""
        model = self._service.serving(body.model).generation().model
        ids = ModelIds.of(model).items
        item = Named.of(given, ids, caller)
        written = await self._write(ids, model.items, item, body.features, caller)
        self._service.hosts.of(body.model).items_changed()
        return schemas.Written(written)

    async def delete_item(self, body: schemas.EntityRef, caller: Caller) -> schemas.Removed:
        """Removes an item. Raises UnknownItem."""
        model = self._service.serving(body.model).generation().model
        item, items = Named.of(body.id, ModelIds.of(model).items, caller), model.items

        def remove() -> bool:
            claim(items, item.texts)
            return items.remove(item.key)

        if not await self._service.ask_redis(remove, caller):
            raise UnknownItem(_missing("item", item, items))
        self._service.hosts.of(body.model).items_changed()
        return schemas.Removed(item.shown)

    async def get_user(self, body: schemas.EntityRef, caller: Caller) -> schemas.Entity:
        """A user. Raises UnknownUser."""
        generation = self._service.serving(body.model).generation()
        user, view = Named.of(body.id, ModelIds.of(generation.model).users, caller), users_of(generation.model)
        read, features = await self._read(generation, view, user, caller)
        if read.status is FeatureStatus.NOT_FOUND:
            raise UnknownUser(_missing("user", user, view))
        return schemas.Entity(user.shown, features, read.status.value, read.event_time_s)

    async def put_user(self, given: GivenId, body: schemas.EntityBody, caller: Caller) -> schemas.Written:
        """Writes a user's features."""
        model = self._service.serving(body.model).generation().model
        ids = ModelIds.of(model)
        user = Named.of(given, ids.users, caller)
        return schemas.Written(await self._write(ids.items, users_of(model), user, body.features, caller))

    async def _read(
        self, generation: Generation, view: LayeredView, entity: Named, caller: Caller
    ) -> tuple[FeatureRead, dict[str, Any]]:
        """What is stored of an entity, and its features as the answer has them."""
        derived = {one.output for one in view.derived}

        def read_own() -> tuple[FeatureRead, dict[str, Any]]:
            if entity.text:
                claim(view, entity.texts)
            read = view.read([entity.key])[0]
            return read, shown_features(generation, read.values, derived, as_strings=entity.as_strings)

        return await self._service.ask_redis(read_own, caller)

    async def _write(
        self, items: Ids, view: LayeredView, entity: Named, features: dict[str, Any], caller: Caller
    ) -> int:
        require_own(features)

        def write() -> int:
            values = written_features(items, view, features)
            if not entity.text:
                return view.write([(entity.key, values)])
            claim(view, entity.texts)
            return view.write([(entity.key, {**values, ID_TEXT: entity.text})])

        return await self._service.ask_redis(write, caller)


def users_of(model: Model) -> LayeredView:
    """The view of users. Raises InvalidRequest: the model has none."""
    if model.users is None:
        raise InvalidRequest("the model in service names no view of users, so there is nothing to read or write")
    return model.users


def _missing(role: str, entity: Named, view: LayeredView) -> str:
    return f"{role} {entity} has no features in view {view.written!r}"
