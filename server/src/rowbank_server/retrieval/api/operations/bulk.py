"""Many items or users at once: those that are right are written, whatever is wrong with others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rowbank.errors import InvalidFeature, InvalidRequest, RequestError, RequestTooLarge
from rowbank.text_ids import ID_TEXT
from rowbank_server.features import LayeredView
from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.ids import Ids, ModelIds, collision, require_own, written_features
from rowbank_server.retrieval.api.operations.entities import users_of
from rowbank_server.retrieval.api.service import Caller, Service

Role = Literal["item", "user"]
MAX_LINE_BYTES = 1 << 20
MAX_PART = 500  # That are written in one go, so that a wait for Redis is a short one.


@dataclass(slots=True)
class Outcome:
    """What became of some entities; `faults` by their places."""

    written: int = 0
    outdated: int = 0
    faults: dict[int, RequestError] = field(default_factory=dict)


class Bulk:
    """Writes of many entities."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def import_lines(self, role: Role, model: str, lines: Sequence[bytes], caller: Caller) -> Outcome:
        """As `write`, of lines of JSON, which are read beside the event loop."""
        return await self._write(role, model, lambda: [_parsed(line) for line in lines], caller)

    async def write(
        self, role: Role, model: str, lines: Sequence[schemas.EntityLine | RequestError], caller: Caller
    ) -> Outcome:
        """Writes entities; those that are known to be wrong already keep their places among the others.

        Raises:
            NotReady, ModelNotFound, InvalidRequest (there is no view of users): nothing was written.
            RedisUnavailable: some may have been written; to write them again does no harm.
        """
        whole = Outcome()
        for start in range(0, len(lines), MAX_PART):
            part = await self._write(role, model, lambda some=lines[start : start + MAX_PART]: some, caller)  # type: ignore[misc]
            whole.written += part.written
            whole.outdated += part.outdated
            whole.faults |= {start + place: fault for place, fault in part.faults.items()}
        return whole

    async def _write(
        self,
        role: Role,
        model: str,
        lines: Callable[[], Sequence[schemas.EntityLine | RequestError]],
        caller: Caller,
    ) -> Outcome:
        loaded = self._service.serving(model).model
        ids = ModelIds.of(loaded)
        own, view = (ids.items, loaded.items) if role == "item" else (ids.users, users_of(loaded))
        outcome = await self._service.ask_redis(lambda: _write(own, ids.items, view, lines()), caller)
        if role == "item" and outcome.written:
            self._service.hosts.of(model).items_changed()
        return outcome


def _parsed(line: bytes) -> schemas.EntityLine | RequestError:
    """A line, or what is wrong with it."""
    if len(line) > MAX_LINE_BYTES:
        return RequestTooLarge(f"the line has more than {MAX_LINE_BYTES} bytes, the most that is read")
    try:
        return schemas.parsed(schemas.EntityLine, line)
    except InvalidRequest as error:
        return error


def _write(own: Ids, items: Ids, view: LayeredView, lines: Sequence[schemas.EntityLine | RequestError]) -> Outcome:
    """What became of the entities."""
    outcome = Outcome()
    rows, places = [], []
    for place, line in enumerate(lines):
        row = line if isinstance(line, RequestError) else _row(own, items, view, line)
        if isinstance(row, RequestError):
            outcome.faults[place] = row
        else:
            rows.append(row)
            places.append(place)
    if own.are_texts:
        rows, places = _claimed(view, rows, places, outcome)
    for place, written in zip(places, view.write_each(rows) if rows else [], strict=True):
        if isinstance(written, InvalidFeature):
            outcome.faults[place] = written
        elif written:
            outcome.written += 1
    outcome.outdated = len(lines) - outcome.written - len(outcome.faults)
    return outcome


_Row = tuple[int, dict[str, object]]


def _row(own: Ids, items: Ids, view: LayeredView, line: schemas.EntityLine) -> _Row | RequestError:
    try:
        require_own(line.features)
        key = own.key(line.id, "id")
        values = written_features(items, view, line.features)
    except RequestError as error:
        if error.retryable:
            raise
        return error
    return key, {**values, ID_TEXT: line.id} if own.are_texts else values


def _claimed(view: LayeredView, rows: list[_Row], places: list[int], outcome: Outcome) -> tuple[list[_Row], list[int]]:
    """Those whose keys belong to no other text."""
    taken = {key: known for (key, _), (known, _) in zip(rows, view.texts([key for key, _ in rows]), strict=True)}
    kept: list[_Row] = []
    kept_places: list[int] = []
    for place, (key, values) in zip(places, rows, strict=True):
        text = str(values[ID_TEXT])
        known = taken[key] = taken[key] or text
        if known != text:
            outcome.faults[place] = collision(text, known, key)
        else:
            kept.append((key, values))
            kept_places.append(place)
    return kept, kept_places
