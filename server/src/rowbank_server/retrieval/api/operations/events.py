"""The call that records what users did."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from rowbank.errors import InvalidFeature, InvalidRequest
from rowbank.text_ids import ID_TEXT
from rowbank.tower_keys import HISTORY
from rowbank_server.features import LayeredView
from rowbank_server.registry.model import Model
from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.ids import ModelIds, claim, collision
from rowbank_server.retrieval.api.operations.entities import users_of
from rowbank_server.retrieval.api.service import Caller, Service
from rowbank_server.retrieval.events.recording import Event, record

_USERS = 200  # Whose events are recorded in one go, so that none of them takes long.
_FUTURE_S = 60.0  # Clocks differ.


class Events:
    """One method per call."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def record(self, body: schemas.EventsBody, caller: Caller) -> schemas.Recorded:
        """Takes events into histories, lists by kind, and what is popular.

        Raises:
            InvalidRequest, InvalidFeature, IdCollision: nothing was recorded.
            RedisUnavailable, DeadlineExceeded: some events may have been recorded.
        """
        service = self._service
        model = service.serving(body.model).model
        users = users_of(model)
        if not model.has_history:
            raise InvalidFeature(
                f"view {users.written!r} has no feature {HISTORY!r}; add one (int64_list) to record events"
            )
        events, texts = self._read(body, model)
        scope, ids = model.items.written, [one.id for one in body.events]
        known = await service.ask_redis(lambda: service.repeats.known(scope, _given(ids)), caller)
        kept: list[Event] = []
        kept_ids: dict[str, None] = {}
        for event, one in zip(events, ids, strict=True):
            if one is None or (one not in known and one not in kept_ids):
                kept.append(event)
                kept_ids |= {one: None} if one is not None else {}
        if texts:
            await service.ask_redis(lambda: _claim(users, texts), caller)
        by_user: dict[int, list[Event]] = {}
        for event in kept:
            by_user.setdefault(event.user, []).append(event)
        for some in _parts(by_user):
            await service.ask_redis(lambda some=some: self._record(users, some), caller)  # type: ignore[misc]
        await service.ask_redis(lambda: service.popularity.add(scope, kept), caller)
        await service.ask_redis(lambda: service.repeats.remember(scope, kept_ids), caller)
        count = len(by_user)
        return schemas.Recorded(written=count, users=count, events=len(kept), repeats=len(events) - len(kept))

    def _record(self, users: LayeredView, by_user: Mapping[int, Sequence[Event]]) -> None:
        for user, events in by_user.items():
            record(users, self._service.rules, user, events, limit=self._service.history_limit)

    def _read(self, body: schemas.EventsBody, model: Model) -> tuple[list[Event], dict[int, str]]:
        """Events with keys; and the users' texts by their keys, where ids are texts."""
        ids, rules, now = ModelIds.of(model), self._service.rules, time.time()
        events, texts = [], dict[int, str]()
        for place, one in enumerate(body.events):
            where = f"events.{place}"
            user = ids.users.key(one.user_id, f"{where}.user_id")
            if ids.users.are_texts and (known := texts.setdefault(user, one.user_id)) != one.user_id:
                raise collision(one.user_id, known, user)
            if one.time_s is not None and one.time_s > now + _FUTURE_S:
                raise InvalidRequest(
                    f"{where}.time_s: expected Unix seconds that are not in the future, got {one.time_s:.3f}; it is "
                    f"{now:.3f} here",
                    metadata={"field": f"{where}.time_s"},
                )
            item = ids.items.key(one.item_id, f"{where}.item_id")
            kind = rules.checked(one.kind, f"{where}.kind")
            events.append(Event(user, item, kind, one.weight, now if one.time_s is None else min(one.time_s, now)))
        return events, texts


def _given(ids: Sequence[str | None]) -> list[str]:
    return list(dict.fromkeys(one for one in ids if one is not None))


def _claim(users: LayeredView, texts: Mapping[int, str]) -> None:
    """Stores the texts of users who are new."""
    if new := claim(users, texts):
        users.write([(user, {ID_TEXT: texts[user]}) for user in new])


def _parts(by_user: Mapping[int, Sequence[Event]]) -> Iterator[dict[int, Sequence[Event]]]:
    rest = iter(by_user.items())
    while some := dict(islice(rest, _USERS)):
        yield some
