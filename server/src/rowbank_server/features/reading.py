"""Reads of stored features: which hash fields they take, and what the bytes in them mean."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from rowbank.errors import InvalidFeature
from rowbank_server.features import layout
from rowbank_server.features.values import FeatureData, decode, decode_time
from rowbank_server.features.views import FeatureField, FeatureView


class FeatureStatus(enum.Enum):
    """What became of one entity's features at a read."""

    PRESENT = "present"
    NOT_FOUND = "not_found"  # Never written; the values are defaults.
    OUTSIDE_MAX_AGE = "outside_max_age"  # Written too long ago; the values are defaults.


@dataclass(frozen=True, slots=True)
class FeatureRead:
    """One entity's features.

    Attributes:
        values: by name, with what an absent feature reads as.
        event_time_s: in Unix seconds, 0 where never written.
        absent: names of the features of which there is no value, or one that is too old.
        base: of views in layers, what the layer of the version alone holds of these features.
    """

    entity: int
    values: Mapping[str, FeatureData]
    status: FeatureStatus
    event_time_s: float
    absent: Collection[str] = ()
    base: Mapping[str, FeatureData] = dataclasses.field(default_factory=dict)

    @property
    def held(self) -> dict[str, FeatureData]:
        """The values that are there."""
        return {name: value for name, value in self.values.items() if name not in self.absent}


@dataclass(frozen=True, slots=True)
class StoredRow:
    """What one view holds of one entity: only what is there, whatever its age."""

    values: Mapping[str, FeatureData]
    status: FeatureStatus
    event_time_s: float


@dataclass(frozen=True, slots=True)
class Plan:
    """A read of one view compiled once: the fields to fetch, in order, the view's timestamp last."""

    view: FeatureView
    fields: tuple[FeatureField, ...]
    hash_fields: tuple[bytes, ...]


def plan(view: FeatureView, fields: Sequence[FeatureField]) -> Plan:
    """The read of `fields`; of none, whether the entity is there and since when."""
    hash_fields = (*(layout.feature_field(view.name, f.name) for f in fields), layout.timestamp_field(view.name))
    return Plan(view, tuple(fields), hash_fields)


def parse(of: Plan, entity: int, reply: Sequence[bytes | None], now: float) -> StoredRow:
    """What the hash fields of a plan hold.

    Raises:
        InvalidFeature: bytes that are no value of the feature's type; named.
    """
    *stored, stamp = reply
    try:
        event_time_s = decode_time(stamp) if stamp is not None else 0.0
    except InvalidFeature as error:
        raise InvalidFeature(f"{of.view.name} of {of.view.entity} {entity}: {error.message}") from error
    status = FeatureStatus.PRESENT
    if stamp is None and not any(data is not None for data in stored):
        status = FeatureStatus.NOT_FOUND
    elif of.view.max_age_s and now - event_time_s > of.view.max_age_s:
        status = FeatureStatus.OUTSIDE_MAX_AGE
    values: dict[str, FeatureData] = {}
    for field, data in zip(of.fields, stored, strict=True):
        value = None
        if data is not None:
            value = decode(data, field.type, f"{of.view.name}:{field.name} of {of.view.entity} {entity}")
        if value is not None:
            values[field.name] = value
    return StoredRow(values, status, event_time_s)


def with_defaults(of: Plan, entity: int, row: StoredRow) -> FeatureRead:
    """The features of a plan as callers see them: defaults for what is absent or too old."""
    held = row.values if row.status is FeatureStatus.PRESENT else {}
    values = {field.name: held.get(field.name, field.absent) for field in of.fields}
    return FeatureRead(entity, values, row.status, row.event_time_s, values.keys() - held.keys())


def united(rows: Sequence[StoredRow]) -> StoredRow:
    """What one view holds of one entity under several keys: feature by feature, the later event counts; what is too old
    is not looked at beside what is not."""
    there = [row for row in rows if row.status is not FeatureStatus.NOT_FOUND]
    there = [row for row in there if row.status is FeatureStatus.PRESENT] or there
    if len(there) < 2:
        return there[0] if there else rows[0]
    values: dict[str, FeatureData] = {}
    for row in sorted(there, key=lambda row: row.event_time_s):
        values |= row.values
    newest = max(there, key=lambda row: row.event_time_s)
    return StoredRow(values, newest.status, newest.event_time_s)
