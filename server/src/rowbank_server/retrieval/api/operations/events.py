"""The call that records what users did."""

from __future__ import annotations

from rowbank.errors import InvalidFeature
from rowbank.text_ids import ID_TEXT
from rowbank.tower_keys import HISTORY
from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.ids import ModelIds, claim, collision
from rowbank_server.retrieval.api.operations.entities import users_of
from rowbank_server.retrieval.api.service import Caller, Service


class Events:
    """One method per call."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def record(self, body: schemas.EventsBody, caller: Caller) -> schemas.Written:
        """Appends to histories."""
        model = self._service.serving().generation().model
        users, ids = users_of(model), ModelIds.of(model)
        if not model.has_history:
            raise InvalidFeature(
                f"view {users.written!r} has no feature {HISTORY!r}; add one (int64_list) to record events"
            )
        by_user: dict[int, list[int]] = {}
        texts: dict[int, str] = {}
        for place, event in enumerate(body.events):
            user = ids.users.key(event.user_id, f"events.{place}.user_id")
            if ids.users.are_texts:
                known = texts.setdefault(user, event.user_id)
                if known != event.user_id:
                    raise collision(event.user_id, known, user)
            by_user.setdefault(user, []).append(ids.items.key(event.item_id, f"events.{place}.item_id"))

        def append() -> None:
            if new := claim(users, texts) if texts else []:
                users.write([(user, {ID_TEXT: texts[user]}) for user in new])
            for user, items in by_user.items():
                users.append(HISTORY, user, items, limit=self._service.history_limit)

        await self._service.ask_redis(append)
        return schemas.Written(len(by_user))
