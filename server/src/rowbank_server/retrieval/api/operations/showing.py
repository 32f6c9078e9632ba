"""What the page at /demo asks for besides what other callers do: whom to try, and what items can be filtered by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rowbank.errors import InvalidRequest
from rowbank.text_ids import ID_TEXT
from rowbank_server.features import LayeredView
from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.ids import ModelIds, shown_id
from rowbank_server.retrieval.api.service import Caller, Service
from rowbank_server.retrieval.generation import Generation
from rowbank_server.security.caller import current

SOME_USERS = 50
_WORDS = 200  # Of a feature, at most.
_MAX_TITLES = 100


class Showing:
    """One method per call."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def about(self, model: str) -> schemas.DemoData:
        """Some stored users of a model, and its items' features with values that they have."""
        generation = self._generation(model)
        loaded = generation.model
        users = loaded.users

        def read() -> tuple[list[str], list[schemas.DemoFeature]]:
            listed = [] if users is None else _some_users(users, texts=loaded.user_texts)
            made = {one.output for one in loaded.items.derived} | {ID_TEXT}
            fields = [one for one in loaded.items.definition().fields if one.name not in made]
            return listed, [
                schemas.DemoFeature(one.name, one.type.value, _words(generation, one.name)) for one in fields
            ]

        some, features = await self._service.ask_redis(read, Caller())
        hosts = self._service.hosts.all
        may_use = current().may_use_model
        served = sorted(name for name, host in hosts.items() if host.active is not None and may_use(name))
        return schemas.DemoData(loaded.manifest.name, served, some, features, loaded.has_history)

    def titles(self, model: str, items: Sequence[str]) -> schemas.DemoTitles:
        """Titles of those of some items that the catalogue has, by their ids.

        Raises:
            InvalidRequest: too many, or an id is not of the model's kind.
        """
        if len(items) > _MAX_TITLES:
            raise InvalidRequest(f"item: expected at most {_MAX_TITLES} of them, got {len(items)}")
        generation = self._generation(model)
        keys = ModelIds.of(generation.model).items.keys(items, "item")
        at = generation.positions_or_none(keys).tolist()
        return schemas.DemoTitles(
            {item: generation.title_at(place) for item, place in zip(items, at, strict=True) if place >= 0}
        )

    def _generation(self, model: str) -> Generation:
        return self._service.serving(model).generation()


def _some_users(view: LayeredView, *, texts: bool) -> list[str]:
    """Ids of a few users, the same ones each time; those that are texts of which the text is known."""
    keys = view.some_entities(SOME_USERS)
    if not texts:
        return [str(shown_id(key, "", as_strings=True)) for key in keys]
    return sorted(text for text, _ in view.texts(keys) if text)


def _words(generation: Generation, name: str) -> list[str]:
    """Texts that the catalogue's items have of a feature, the most frequent first; none of features of other types."""
    if not generation.parts:
        return []
    column = max(generation.parts, key=lambda part: len(part.segment)).segment.columns.get(name)
    if column is None or column.words is None or len(column.words) > len(column) // 2:
        return []  # As good as one a item, as titles are: nothing to choose from.
    codes = column.values if column.ends is not None else column.values[column.present]
    order = np.argsort(-np.bincount(codes, minlength=len(column.words)), kind="stable")[:_WORDS]
    return [column.words[int(code)] for code in order]
