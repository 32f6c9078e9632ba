"""Items, users and events: each function is a method of both clients."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rowbank.calls.methods import Method
from rowbank.errors import shown
from rowbank.retrieval import answers, decoding, methods, requests
from rowbank.retrieval.attempts import Call
from rowbank.retrieval.words import Event, Id
from rowbank_protos.v1 import retrieval_pb2

# Of one request: small enough for gRPC's limit of 4 MiB, with features of some kilobytes each.
_REQUEST_BYTES = 1 << 20
_REQUEST_ENTITIES = 1000


def get_item(
    item_id: Id, *, vector: bool = False, model: str = "", timeout_s: float | None = None
) -> Call[answers.StoredItem]:
    """An item's features, and whether a search can find it.

    Args:
        vector: its vector, too.
    Raises:
        UnknownItem: it has no features.
    """
    request = _named_entity(item_id, "item_id", model)
    request.vector = bool(vector)
    return Call(methods.GET_ITEM, iter([request]), lambda got: decoding.item(got[0]), timeout_s=timeout_s)


def put_items(
    items: Mapping[Id, Mapping[str, Any]], *, model: str = "", timeout_s: float | None = None
) -> Call[answers.WriteReport]:
    """Adds or changes items; features that are left out keep their values. A search finds them within a second.

    What is wrong with some is in the report, and the others are written. Sent in requests of some hundred items, each
    with a deadline of its own; repeating it does no harm.

    Args:
        items: features by id.
    """
    return _put(methods.UPSERT_ITEMS, items, "items", model, timeout_s)


def delete_item(item_id: Id, *, model: str = "", timeout_s: float | None = None) -> Call[None]:
    """Removes an item.

    Raises:
        UnknownItem: there is no such item; also where an attempt before had removed it, and its answer was lost.
    """
    entity = _named_entity(item_id, "item_id", model)
    request = retrieval_pb2.DeleteItemRequest(id=entity.id, text=entity.text, model=entity.model)
    return Call(methods.DELETE_ITEM, iter([request]), _nothing, timeout_s=timeout_s)


def get_user(user_id: Id, *, model: str = "", timeout_s: float | None = None) -> Call[answers.StoredUser]:
    """A user's features, the history among them.

    Raises:
        UnknownUser: the user has none.
    """
    request = _named_entity(user_id, "user_id", model)
    return Call(methods.GET_USER, iter([request]), lambda got: decoding.user(got[0]), timeout_s=timeout_s)


def put_users(
    users: Mapping[Id, Mapping[str, Any]], *, model: str = "", timeout_s: float | None = None
) -> Call[answers.WriteReport]:
    """Writes users' features; as `put_items`."""
    return _put(methods.UPSERT_USERS, users, "users", model, timeout_s)


def record_events(
    events: Iterable[Event], *, model: str = "", timeout_s: float | None = None
) -> Call[answers.EventsReport]:
    """Appends to the users' histories, oldest first; seen by their next query.

    Where all have an `id`, a request is made again whatever became of it. Others would be recorded twice, so they are
    sent again only where the service refused them or was not reached; any other failure says that the events may have
    been recorded. More than 1,000 go in several requests.
    """
    if isinstance(events, Event | str | Mapping) or not isinstance(events, Iterable):
        requests.wrong("events", "a list of rowbank.retrieval.Event", shown(events))
    messages = [requests.event(one, f"events.{place}") for place, one in enumerate(events)]
    named = requests.text(model, "model")
    parts = (
        retrieval_pb2.RecordEventsRequest(events=messages[start : start + _REQUEST_ENTITIES], model=named)
        for start in range(0, len(messages), _REQUEST_ENTITIES)
    )

    def decode(got: Sequence[Any]) -> answers.EventsReport:
        return answers.EventsReport(
            sum(one.users for one in got), sum(one.events for one in got), sum(one.repeats for one in got)
        )

    repeatable = all(message.id for message in messages)
    return Call(methods.RECORD_EVENTS, parts, decode, repeatable=repeatable, timeout_s=timeout_s)


def _put(
    method: Method[Any, Any], given: Mapping[Any, Any], where: str, model: str, timeout_s: float | None
) -> Call[answers.WriteReport]:
    # All are looked at before the first is sent, so that what is wrong in itself writes nothing.
    checked = list(requests.entities(given, where))
    named, sent = requests.text(model, "model"), list[list[Any]]()

    def parts() -> Iterator[retrieval_pb2.UpsertEntitiesRequest]:
        for chunk in _chunks(checked):
            sent.append([identity for identity, _ in chunk])
            yield retrieval_pb2.UpsertEntitiesRequest(entities=[entity for _, entity in chunk], model=named)

    def decode(got: Sequence[Any]) -> answers.WriteReport:
        faults = [
            answers.EntityFault(ids[one.index], one.reason, one.message)
            for ids, answer in zip(sent, got, strict=True)
            for one in answer.errors
        ]
        return answers.WriteReport(sum(one.written for one in got), sum(one.outdated for one in got), tuple(faults))

    return Call(method, parts(), decode, timeout_s=timeout_s)


def _chunks(entities: Sequence[tuple[Any, retrieval_pb2.Entity]]) -> Iterator[list[tuple[Any, retrieval_pb2.Entity]]]:
    """As many as one request takes, at least one."""
    rest = iter(entities)
    for first in rest:
        chunk, size = [first], first[1].ByteSize()
        while size < _REQUEST_BYTES and len(chunk) < _REQUEST_ENTITIES:
            more = list(itertools.islice(rest, 1))
            if not more:
                break
            chunk += more
            size += more[0][1].ByteSize()
        yield chunk


def _named_entity(given: Id, where: str, model: str) -> retrieval_pb2.GetEntityRequest:
    checked, named = requests.identity(given, where), requests.text(model, "model")
    if isinstance(checked, str):
        return retrieval_pb2.GetEntityRequest(text=checked, model=named)
    return retrieval_pb2.GetEntityRequest(id=checked, model=named)


def _nothing(got: Sequence[Any]) -> None:
    return None
