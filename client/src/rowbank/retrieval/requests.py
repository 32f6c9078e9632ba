"""Arguments turned into messages. What the wire cannot carry is refused here; the service checks the rest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from rowbank._checks import at_least, number
from rowbank.errors import InvalidFeature, InvalidRequest, shown
from rowbank.retrieval.filters import filter_to_proto
from rowbank.retrieval.words import Boost, Diversity, Event, RecommendQuery
from rowbank_protos.v1 import features_pb2, retrieval_pb2

_EXAMPLE = "an integer of 64 bits or a text"


def identity(given: Any, where: str) -> int | str:
    """An id as the wire carries it.

    Raises:
        InvalidRequest: it is neither an integer of 64 bits nor a text.
    """
    plain = given.item() if isinstance(given, np.generic) else given
    if isinstance(plain, str) and plain:
        return _utf8(plain, where)
    if isinstance(plain, int) and not isinstance(plain, bool) and -(2**63) <= plain < 2**63:
        return plain
    return wrong(where, _EXAMPLE, shown(given))


def identities(given: Any, where: str) -> tuple[list[int], list[str]]:
    """Ids as integers and texts; of both in one list, which no model has, the service says what is wrong."""
    if isinstance(given, np.ndarray):
        given = given.tolist()
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        wrong(where, "a list of ids", shown(given))
    numbers: list[int] = []
    texts: list[str] = []
    for place, one in enumerate(given):
        checked = identity(one, f"{where}.{place}")
        if isinstance(checked, str):
            texts.append(checked)
        else:
            numbers.append(checked)
    return numbers, texts


def text(given: Any, where: str) -> str:
    """A text, which may be empty."""
    return _utf8(given, where) if isinstance(given, str) else wrong(where, "a text", shown(given))


def vector(given: Any, where: str) -> retrieval_pb2.Vector:
    """A vector of finite numbers."""
    try:
        values = np.asarray(given, np.float32)
    except (TypeError, ValueError):
        wrong(where, "an array of numbers", shown(given))
    if values.ndim != 1 or not len(values):
        wrong(where, "one row of numbers", f"an array of shape {values.shape}")
    if not np.isfinite(values).all():
        wrong(where, "numbers that are finite as float32", shown(given))
    return retrieval_pb2.Vector(values=values.tolist())


def features(given: Mapping[str, Any] | None, where: str = "features") -> dict[str, features_pb2.FeatureValue]:
    """Feature values by name; None is left out. Of what types the features are, the service knows."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        wrong(where, 'features by name, such as {"age": 31}', shown(given))
    made = {}
    for name, value in given.items():
        if not isinstance(name, str) or not name:
            wrong(where, "names that are texts", shown(name))
        if value is not None:
            made[_utf8(name, where)] = _feature(value, f"{where}.{name}")
    return made


def _feature(value: Any, where: str) -> features_pb2.FeatureValue:
    if hasattr(value, "to_numpy") and not isinstance(value, np.ndarray):  # A series of pandas.
        value = value.to_numpy()
    plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    if isinstance(plain, str):
        return features_pb2.FeatureValue(string_value=_utf8(plain, where))
    if isinstance(plain, bool):
        return features_pb2.FeatureValue(bool_value=plain)
    if isinstance(plain, int) and -(2**63) <= plain < 2**63:
        return features_pb2.FeatureValue(int64_value=plain)
    if isinstance(plain, float):
        return features_pb2.FeatureValue(double_value=plain)
    if not isinstance(plain, list | tuple):
        wrong(
            where, "a text, an integer of 64 bits, a number, a truth value or a list of texts or numbers", shown(value)
        )
    elements = [one.item() if isinstance(one, np.generic) else one for one in plain]
    kinds = {type(one) for one in elements}
    if kinds == {str}:
        texts = [_utf8(one, where) for one in elements]
        return features_pb2.FeatureValue(string_list=features_pb2.StringList(values=texts))
    if kinds <= {int} and all(-(2**63) <= one < 2**63 for one in elements):
        return features_pb2.FeatureValue(int64_list=features_pb2.Int64List(values=elements))
    if kinds <= {int, float}:
        return features_pb2.FeatureValue(float_list=features_pb2.FloatList(values=map(_float, elements)))
    return wrong(where, "texts alone or numbers alone in a list", shown(value))


def _float(one: float) -> float:
    try:
        return float(one)
    except OverflowError:
        return math.inf


def boosts(given: Iterable[Boost]) -> list[retrieval_pb2.Boost]:
    """Boosts."""
    if isinstance(given, Boost | str | Mapping) or not isinstance(given, Iterable):
        wrong("boosts", "a list of rowbank.retrieval.Boost", shown(given))
    made = []
    for place, one in enumerate(given):
        if not isinstance(one, Boost):
            wrong(f"boosts.{place}", "a rowbank.retrieval.Boost", shown(one))
        add = number(f"boosts.{place}.add", one.add, "a finite number", error=InvalidRequest)
        name = text(one.name, f"boosts.{place}.name")
        made.append(retrieval_pb2.Boost(filter=filter_to_proto(one.filter, f"boosts.{place}"), add=add, name=name))
    return made


def diversity(given: Diversity | None) -> retrieval_pb2.Diversity | None:
    """A limit per value of a feature."""
    if given is None:
        return None
    if not isinstance(given, Diversity):
        wrong("diversity", "a rowbank.retrieval.Diversity", shown(given))
    most = at_least("diversity.max_per_value", given.max_per_value, 1, bits=32)
    return retrieval_pb2.Diversity(feature=text(given.feature, "diversity.feature"), max_per_value=most)


def recommend(query: RecommendQuery) -> retrieval_pb2.RecommendRequest:
    """A question about somebody.

    Raises:
        InvalidRequest: a field is wrong, or they contradict each other.
    """
    require_one_subject(query.user_id, query.session, query.vector)
    numbers, texts = identities(query.exclude, "exclude")
    request = retrieval_pb2.RecommendRequest(
        k=at_least("k", query.k, 1, bits=32),
        exclude=numbers,
        exclude_texts=texts,
        features=features(query.features),
        explain=bool(query.explain),
        model=text(query.model, "model"),
        version=text(query.version, "version"),
        filter=None if query.filter is None else filter_to_proto(query.filter),
        boosts=boosts(query.boosts),
        diversity=diversity(query.diversity),
        offset=at_least("offset", query.offset, 0, bits=32),
        cursor=text(query.cursor, "cursor"),
        min_score=min_score(query.min_score),
    )
    name_subject(request, query.user_id, query.session, query.vector)
    if isinstance(query.exclude_seen, bool | np.bool_):
        request.exclude_seen = bool(query.exclude_seen)
    else:
        request.exclude_seen = True
        request.seen_rule.kinds.extend(kinds(query.exclude_seen, "exclude_seen", least=1))
    return request


def require_one_subject(user_id: Any, session: Any, given: Any) -> None:
    """Refuses a question about more than one."""
    if sum([user_id is not None, not is_empty(session), given is not None]) > 1:
        raise InvalidRequest("give one of user_id, session and vector; features may come with a user_id, or alone")


def name_subject(
    request: retrieval_pb2.RecommendRequest | retrieval_pb2.ScoreRequest, user_id: Any, session: Any, given: Any
) -> None:
    """Sets who is asked for; of the three at most one is given."""
    if user_id is not None:
        checked = identity(user_id, "user_id")
        if isinstance(checked, str):
            request.user_text = checked
        else:
            request.user_id = checked
    if not is_empty(session):
        numbers, texts = identities(session, "session")
        request.session.CopyFrom(retrieval_pb2.SessionItems(item_ids=numbers, item_texts=texts))
    if given is not None:
        request.vector.CopyFrom(vector(given, "vector"))


def is_empty(session: Any) -> bool:
    """Whether no session is given."""
    return isinstance(session, Sequence | np.ndarray) and len(session) == 0


def min_score(given: float | None) -> float | None:
    """A least score."""
    return None if given is None else number("min_score", given, "a finite number or None", error=InvalidRequest)


def kinds(given: Any, where: str, *, least: int = 0) -> list[str]:
    """Kinds of events."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        wrong(where, "a list of kinds of events, such as ['click']", shown(given))
    named = [text(one, f"{where}.{place}") for place, one in enumerate(given)]
    if len(named) < least or not all(named):
        wrong(where, "at least one kind of event, each a text", shown(given))
    return named


def entities(given: Mapping[Any, Mapping[str, Any]], where: str) -> Iterator[tuple[Any, retrieval_pb2.Entity]]:
    """(id, message) of items or users with their features."""
    if not isinstance(given, Mapping):
        wrong(where, 'features by id, such as {28: {"title": "Heat"}}', shown(given))
    for one, values in given.items():
        checked = identity(one, where)
        held = features(values, f"{where}.{one}")
        if not held:
            raise InvalidFeature(f"{where}.{one}: expected at least one feature, got {shown(values)}")
        if isinstance(checked, str):
            yield checked, retrieval_pb2.Entity(text=checked, features=held)
        else:
            yield checked, retrieval_pb2.Entity(id=checked, features=held)


def event(given: Event, where: str) -> retrieval_pb2.Event:
    """One event."""
    if not isinstance(given, Event):
        wrong(where, "a rowbank.retrieval.Event", shown(given))
    made = retrieval_pb2.Event(
        kind=text(given.kind, f"{where}.kind"),
        id=text(given.id, f"{where}.id"),
        time_s=number(f"{where}.time_s", given.time_s, "Unix seconds, or 0 for now", low=0.0, error=InvalidRequest),
    )
    user, item = identity(given.user_id, f"{where}.user_id"), identity(given.item_id, f"{where}.item_id")
    if isinstance(user, str):
        made.user_text = user
    else:
        made.user_id = user
    if isinstance(item, str):
        made.item_text = item
    else:
        made.item_id = item
    if given.weight is not None:
        made.weight = number(f"{where}.weight", given.weight, "a finite number or None", error=InvalidRequest)
    return made


def wrong(where: str, expected: str, got: str) -> NoReturn:
    """Raises `InvalidRequest` about a field."""
    raise InvalidRequest(f"{where}: expected {expected}, got {got}", metadata={"field": where})


def _utf8(given: str, where: str) -> str:
    try:
        given.encode()
    except UnicodeEncodeError:
        wrong(where, "a text that UTF-8 can hold", shown(given))
    return given
