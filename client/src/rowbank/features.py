"""Features of users and items: typed views, written and read through the server."""

from __future__ import annotations

import itertools
import math
import numbers
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank._checks import at_least, number
from rowbank.calls import methods
from rowbank.calls.verbs import Calls
from rowbank.errors import InvalidFeature, ViewNotFound, shown
from rowbank.manifests import Transform, transform_to_proto
from rowbank.text_ids import ID_TEXT, by_key, collision, entity_key
from rowbank_protos.v1 import features_pb2

_ROWS_PER_REQUEST = 2048
_FLOAT32_END = float(np.finfo(np.float32).max) + 2.0**103  # Half a step beyond the largest: this rounds to infinity.
_LATEST_S = 1e11

TYPES = {
    "int64": features_pb2.FEATURE_TYPE_INT64,
    "double": features_pb2.FEATURE_TYPE_DOUBLE,
    "string": features_pb2.FEATURE_TYPE_STRING,
    "bool": features_pb2.FEATURE_TYPE_BOOL,
    "int64_list": features_pb2.FEATURE_TYPE_INT64_LIST,
    "float_list": features_pb2.FEATURE_TYPE_FLOAT_LIST,
    "string_list": features_pb2.FEATURE_TYPE_STRING_LIST,
}
TAKES = {
    "int64": "an integer from -2**63 to 2**63 - 1",
    "double": "a finite number",
    "string": "a text that UTF-8 can hold",
    "bool": "True or False",
    "int64_list": "a list, array or series of integers from -2**63 to 2**63 - 1",
    "float_list": "a list, array or series of numbers that are finite as float32",
    "string_list": "a list, array or series of texts that UTF-8 can hold",
}
_TYPE_NAMES = {number: name for name, number in TYPES.items()}
_EMPTY = {"int64": 0, "double": 0.0, "string": "", "bool": False}
_STATUS = {
    features_pb2.FEATURE_STATUS_PRESENT: "present",
    features_pb2.FEATURE_STATUS_NOT_FOUND: "not_found",
    features_pb2.FEATURE_STATUS_OUTSIDE_MAX_AGE: "outside_max_age",
}


@dataclass(frozen=True, slots=True)
class FeatureField:
    """A feature of a view.

    Attributes:
        type: "int64", "double", "string", "bool", "int64_list", "float_list" or "string_list".
        default: what a read answers where none was written; None: the type's own: 0, 0.0, "", False, ().
    """

    name: str
    type: str
    default: Any = None

    def __post_init__(self) -> None:
        if self.type not in TYPES:
            raise InvalidFeature(f"feature {self.name!r}: expected a type of {', '.join(TYPES)}, got {self.type!r}")


@dataclass(frozen=True, slots=True)
class FeatureView:
    """Features of one entity that are written and age together.

    Attributes:
        entity: the join key: "user_id", "item_id".
        max_age_s: seconds after which a read says "outside_max_age"; 0: never.
    """

    name: str
    entity: str
    fields: tuple[FeatureField, ...]
    max_age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class FeatureResult:
    """One entity's features.

    Attributes:
        values: name -> value, defaults filled in; lists are tuples.
        status: "present", "not_found" or "outside_max_age".
        event_time_s: Unix seconds of the write; 0: never written.
        absent: names of the values that are defaults.
    """

    entity: int
    values: dict[str, Any]
    status: str
    event_time_s: float
    absent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old the features of a view are.

    Attributes:
        entities: that have features of it.
        sampled: of these, those that were read; the rest is of them.
        max_age_s: of the view; 0: none.
        age_p50_s, age_p95_s, age_max_s: quantiles of the time since an entity's last event; 0 without entities.
        outside_max_age: share of entities, from 0 to 1, whose features are too old to be read.
        newest_at_s: Unix seconds of the newest event; 0 without entities.
    """

    view: str
    entities: int
    sampled: int
    max_age_s: float
    age_p50_s: float
    age_p95_s: float
    age_max_s: float
    outside_max_age: float
    newest_at_s: float


class Features:
    """The feature store: `client.features`. Thread-safe."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def put_view(self, view: FeatureView) -> bool:
        """Creates or replaces a view; returns whether that changed anything. Raises `InvalidFeature`."""
        message = features_pb2.FeatureView(
            name=view.name,
            entity=view.entity,
            max_age_s=number("max_age_s", view.max_age_s, "seconds of at least 0", low=0.0, error=InvalidFeature),
            fields=[
                features_pb2.FeatureField(
                    name=field.name,
                    type=TYPES[field.type],
                    default_value=None if field.default is None else value_to_proto(field, field.default),
                )
                for field in view.fields
            ],
        )
        request = features_pb2.PutViewRequest(view=message)
        return self._calls.transport.one(methods.PUT_VIEW, 0, request).changed

    def list_views(self) -> list[FeatureView]:
        """All views by name."""
        answer = self._calls.transport.one(methods.LIST_VIEWS, 0, features_pb2.ListViewsRequest())
        return sorted((_view_from_proto(view) for view in answer.views), key=lambda view: view.name)

    def write(
        self,
        view: str,
        rows: Mapping[int, Mapping[str, Any]] | Mapping[str, Mapping[str, Any]],
        *,
        event_time_s: float | None = None,
        text_ids: bool = False,
    ) -> int:
        """Writes features of entities; a value of None is left out.

        Args:
            rows: entity id -> feature name -> value of the field's type, of Python, NumPy or pandas; a list may be any
                sequence, array or series. Numbers are finite; docs/retrieval.md, "Values", has the rule.
            event_time_s: Unix seconds that the features are from, 0 being 1970; None: now, by the server's clock.
            text_ids: entities are texts, written under their keys, `rowbank.text.token_key`; a view with the feature
                "_id" keeps the texts.
        Returns:
            How many entities were written.
        Raises:
            ViewNotFound: there is no such view.
            InvalidFeature: an unknown feature, or a value of another type; nothing of its request is written.
            IdCollision: a text has the key of another one that is stored, or among these; nothing is written.
        """
        if not rows:
            return 0
        if event_time_s is not None:
            event_time_s = number("event_time_s", event_time_s, "Unix seconds from 0 to 1e11, or None", low=0.0,
                                  below=_LATEST_S, error=InvalidFeature)  # fmt: skip
        fields = {field.name: field for field in self.view(view).fields}
        numbered: Mapping[Any, Mapping[str, Any]] = rows
        if text_ids:
            numbered = self._of_texts(view, rows, keep=ID_TEXT in fields)
        messages = [_row_to_proto(view, fields, entity, values) for entity, values in numbered.items()]
        written = 0
        for start in range(0, len(messages), _ROWS_PER_REQUEST):
            request = features_pb2.WriteFeaturesRequest(
                view=view, rows=messages[start : start + _ROWS_PER_REQUEST], event_time_s=event_time_s
            )
            written += self._calls.transport.one(methods.WRITE_FEATURES, 0, request).written
        return written

    def write_columns(self, request: features_pb2.WriteColumnsRequest) -> features_pb2.WriteColumnsResponse:
        """Writes many rows that are packed in columns already, as `rowbank.feature_files` does.

        Raises:
            ViewNotFound, InvalidFeature: nothing of the request was written.
        """
        return self._calls.transport.one(methods.WRITE_COLUMNS, 0, request)

    def _of_texts(
        self, view: str, rows: Mapping[Any, Mapping[str, Any]], *, keep: bool
    ) -> dict[int, Mapping[str, Any]]:
        """Rows by key, with their texts where they are kept. Raises as `write`."""
        texts = by_key(rows)
        for stored in self.read(view, texts, [ID_TEXT]) if keep else ():
            known = stored.values.get(ID_TEXT)
            if known and known != texts[stored.entity]:
                raise collision(texts[stored.entity], known)
        return {key: {**rows[text], ID_TEXT: text} if keep else rows[text] for key, text in texts.items()}

    def read(
        self,
        view: str,
        entities: Iterable[int] | Iterable[str],
        names: Sequence[str] = (),
        *,
        text_ids: bool = False,
    ) -> list[FeatureResult]:
        """Features of entities, in the order asked.

        Args:
            names: which features; empty: all of the view.
            text_ids: entities are texts; those of the results are their keys, `rowbank.text.token_key`.
        Raises:
            ViewNotFound, InvalidFeature: no such view, or no such feature in it.
        """
        return self._read(view, map(entity_key, entities) if text_ids else entities, names)

    def _read(
        self,
        view: str,
        entities: Iterable[Any],
        names: Sequence[str],
        overlay: features_pb2.FeatureOverlay | None = None,
    ) -> list[FeatureResult]:
        results: list[FeatureResult] = []
        asked = iter(entities)
        while part := [_entity(entity) for entity in itertools.islice(asked, _ROWS_PER_REQUEST)]:
            request = features_pb2.ReadFeaturesRequest(view=view, entities=part, names=names, overlay=overlay)
            answer = self._calls.transport.one(methods.READ_FEATURES, 0, request)
            results.extend(_result_from_proto(result) for result in answer.results)
        return results

    def read_layers(
        self,
        view: str,
        overlay: str,
        entities: Iterable[int],
        names: Sequence[str] = (),
        *,
        transforms: Sequence[Transform] = (),
        united: Sequence[str] = (),
    ) -> list[FeatureResult]:
        """Features of entities as a model version reads its own view under what callers wrote, in the order asked.

        Of each feature the layer with the later event time counts, and the other one where it has none; a removed
        entity is not found, and one of which something stored cannot be read is left out.

        Args:
            overlay: the view that callers write; "": there is none.
            names: which features; empty: all of both views.
            transforms: make features of others, as the version's manifest says.
            united: list features of which a newer `view` does not hide what the overlay has.
        Raises:
            ViewNotFound, InvalidFeature: no such view, no such feature, or views that do not fit on each other.
        """
        over = features_pb2.FeatureOverlay(
            view=overlay, transforms=[transform_to_proto(transform) for transform in transforms], united=united
        )
        return self._read(view, entities, names, over)

    def drop_view(self, name: str) -> bool:
        """Removes a view with the features of all its entities; returns whether there was one.

        Raises:
            InvalidFeature: a stored model version names it; pruning removes the views of old versions.
        """
        request = features_pb2.DropViewRequest(view=name)
        return self._calls.transport.one(methods.DROP_VIEW, 0, request, retry=False).dropped

    def entities(self, view: str) -> npt.NDArray[np.int64]:
        """Every entity that has features of a view, ascending: [N] int64. Raises `ViewNotFound`."""
        request = features_pb2.ListEntitiesRequest(view=view)
        answers = self._calls.transport.stream(methods.LIST_ENTITIES, 0, request, timeout_s=None)
        return np.fromiter((entity for answer in answers for entity in answer.entities), dtype=np.int64)

    def freshness(self, view: str, *, sample: int = 10_000, seed: int = 0) -> Freshness:
        """How old the features of a view are, by this machine's clock.

        Args:
            sample: entities that are read, drawn at random by `seed`; all if there are no more.
        Raises:
            ViewNotFound: there is no such view.
        """
        sample = at_least("sample", sample, 1)
        definition, entities = self.view(view), self.entities(view)
        chosen = entities
        if len(entities) > sample:
            chosen = np.sort(np.random.default_rng(seed).choice(entities, sample, replace=False))
        reads = self.read(view, chosen.tolist(), [definition.fields[0].name])
        times = np.array([read.event_time_s for read in reads if read.status != "not_found"])
        ages = np.maximum(time.time() - times, 0.0)
        p50, p95, most = (float(one) for one in np.quantile(ages, [0.5, 0.95, 1.0])) if len(ages) else (0.0,) * 3
        old = sum(read.status == "outside_max_age" for read in reads)
        return Freshness(
            view=view,
            entities=len(entities),
            sampled=len(reads),
            max_age_s=definition.max_age_s,
            age_p50_s=p50,
            age_p95_s=p95,
            age_max_s=most,
            outside_max_age=old / len(reads) if reads else 0.0,
            newest_at_s=float(times.max()) if len(times) else 0.0,
        )

    def view(self, name: str) -> FeatureView:
        """The definition of a view. Raises `ViewNotFound`."""
        views = {view.name: view for view in self.list_views()}
        if name not in views:
            raise ViewNotFound(
                f"feature view {name!r} does not exist; known views: {', '.join(views) or 'none'}",
                metadata={"view": name},
            )
        return views[name]


def value_to_proto(field: FeatureField, value: Any) -> features_pb2.FeatureValue:
    """The message for `value` as a value of `field`; docs/retrieval.md, "Values", says which are.

    Raises:
        InvalidFeature: it is none.
    """
    kind = field.type
    value = _plain(value)
    if kind.endswith("_list"):
        if not isinstance(value, list):
            raise _wrong(field, value)
        for item in value:
            if not is_a(kind.removesuffix("_list"), item):
                raise _wrong(field, item, element=True)
        if kind == "int64_list":
            return features_pb2.FeatureValue(int64_list=features_pb2.Int64List(values=value))
        if kind == "float_list":
            return features_pb2.FeatureValue(float_list=features_pb2.FloatList(values=value))
        return features_pb2.FeatureValue(string_list=features_pb2.StringList(values=value))
    if not is_a(kind, value):
        raise _wrong(field, value)
    if kind == "int64":
        return features_pb2.FeatureValue(int64_value=value)
    if kind == "double":
        return features_pb2.FeatureValue(double_value=value)
    if kind == "bool":
        return features_pb2.FeatureValue(bool_value=value)
    return features_pb2.FeatureValue(string_value=value)


def normalized(field: FeatureField, value: Any) -> Any:
    """`value` as a read answers it: lists are tuples; None is the default. Raises `InvalidFeature`."""
    if value is None:
        value = field.default
    if value is None:
        return () if field.type.endswith("_list") else _EMPTY[field.type]
    return _value_from_proto(value_to_proto(field, value))


def _plain(value: Any) -> Any:
    """Scalars of NumPy as Python's; arrays, series and sequences as lists of such. All else stays itself."""
    if hasattr(value, "to_numpy") and not isinstance(value, np.ndarray):  # A series or an index of pandas.
        value = value.to_numpy()
    if isinstance(value, np.generic):
        return value if value.dtype.kind in "mMV" else value.item()
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
            return value.tolist()
        return [_plain(item) for item in value] if value.ndim else _plain(value[()])
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray, memoryview)):
        return [_plain(item) for item in value]
    return value


def is_a(kind: str, value: Any) -> bool:
    """Whether a value of Python is one of the type "int64", "double", "float" (of float32), "string" or "bool"."""
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "string":
        return isinstance(value, str) and (value.isascii() or _is_unicode(value))
    if isinstance(value, bool):
        return False
    if kind == "int64":
        return isinstance(value, int) and -(2**63) <= value < 2**63
    if not isinstance(value, numbers.Real):
        return False
    try:
        number = float(value)
    except OverflowError:
        return False
    # What rounds to a float32 is one; the rest would become infinite on its way.
    return math.isfinite(number) and (kind == "double" or abs(number) < _FLOAT32_END)


def _is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold a text: JSON and Python let half of a surrogate pair stand alone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _wrong(field: FeatureField, value: Any, *, element: bool = False) -> InvalidFeature:
    got = f"{shown(value)} in it" if element else shown(value)
    return InvalidFeature(
        f"feature {field.name!r}: expected {field.type}, got {got}; it takes {TAKES[field.type]}, or None where there "
        "is no value",
        metadata={"feature": field.name},
    )


def _row_to_proto(
    view: str, fields: Mapping[str, FeatureField], entity: int, values: Mapping[str, Any]
) -> features_pb2.FeatureRow:
    row = features_pb2.FeatureRow(entity=_entity(entity))
    for name, value in values.items():
        if name not in fields:
            raise InvalidFeature(
                f"view {view!r} has no feature {name!r}; its features: {', '.join(fields)}",
                metadata={"view": view, "feature": name},
            )
        if value is not None:
            row.values[name].CopyFrom(value_to_proto(fields[name], value))
    return row


def _entity(entity: Any) -> int:
    if isinstance(entity, bool) or not isinstance(entity, (int, np.integer)) or not -(2**63) <= int(entity) < 2**63:
        raise InvalidFeature(f"entity: expected an int64, got {shown(entity)}")
    return int(entity)


def _value_from_proto(message: features_pb2.FeatureValue) -> Any:
    kind = message.WhichOneof("value")
    if kind is None:
        return None
    value = getattr(message, kind)
    return tuple(value.values) if kind.endswith("_list") else value


def _result_from_proto(message: features_pb2.FeatureResult) -> FeatureResult:
    return FeatureResult(
        entity=message.entity,
        values={name: _value_from_proto(value) for name, value in sorted(message.values.items())},
        status=_STATUS.get(message.status, "unspecified"),
        event_time_s=message.event_time_s,
        absent=tuple(message.absent),
    )


def _view_from_proto(message: features_pb2.FeatureView) -> FeatureView:
    fields = tuple(
        FeatureField(
            field.name,
            _TYPE_NAMES[field.type],
            _value_from_proto(field.default_value) if field.HasField("default_value") else None,
        )
        for field in message.fields
    )
    return FeatureView(message.name, message.entity, fields, message.max_age_s)
