"""Feature views: what an entity's features are called, their types, defaults and how long they stay good."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from rowbank.catalogue import REMOVED
from rowbank.errors import InternalError, InvalidFeature
from rowbank.text_ids import ID_TEXT
from rowbank_protos.v1 import features_pb2
from rowbank_server import wording
from rowbank_server.features.values import EMPTY, FeatureData, FeatureType, check, from_message, to_message

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"expected 1 to 128 letters, digits and _, no digit first, got {name[:80]!r}")
    return name


Name = Annotated[str, AfterValidator(_checked_name)]


# Message enum by type: FEATURE_TYPE_INT64 for int64 and so on.
_TO_ENUM = {kind: features_pb2.FeatureType.Value(f"FEATURE_TYPE_{kind.name}") for kind in FeatureType}
_FROM_ENUM = {number: kind for kind, number in _TO_ENUM.items()}
_OWN = {ID_TEXT: FeatureType.STRING, REMOVED: FeatureType.BOOL}  # Features that are no caller's.
# Lists that the recording of events keeps beside a history; nobody else reads or writes them.
SEEN_PREFIX = "_seen_"
HISTORY_TIMES = "_history_times"


def is_kept(name: str) -> bool:
    """Whether a feature is kept for the recording of events, unseen by callers."""
    return name.startswith(SEEN_PREFIX) or name == HISTORY_TIMES


class FeatureField(BaseModel):
    """One feature. `default` is read where the feature is absent; without it, the type's empty value."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Name
    type: FeatureType
    default: Any = None

    @model_validator(mode="after")
    def _default_has_the_type(self) -> FeatureField:
        if self.default is not None:
            check(self.default, self.type, f"default of {self.name!r}")
        return self

    @property
    def absent(self) -> FeatureData:
        """What the feature reads as where it is absent."""
        value: FeatureData = EMPTY[self.type] if self.default is None else self.default
        return list(value) if isinstance(value, list) else value  # type: ignore[return-value]


class FeatureView(BaseModel):
    """A group of features of one entity that is written and ages together."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Name
    entity: Name  # The join key: "user_id", "item_id".
    fields: tuple[FeatureField, ...] = Field(min_length=1)
    max_age_s: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)  # 0: never too old.

    @model_validator(mode="after")
    def _names_are_distinct(self) -> FeatureView:
        names = [field.name for field in self.fields]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"fields are named twice: {', '.join(repeated)}")
        for field in self.fields:
            own = FeatureType.INT64_LIST if is_kept(field.name) else _OWN.get(field.name, field.type)
            if field.type is not own:
                raise ValueError(f"{field.name!r} is Rowbank's own and {own.value}, got {field.type.value}")
        return self

    def field(self, name: str) -> FeatureField:
        """The field of that name.

        Raises:
            InvalidFeature: the view has none; the message lists those it has.
        """
        for field in self.fields:
            if field.name == name:
                return field
        known = ", ".join(field.name for field in self.fields if field.name not in _OWN and not is_kept(field.name))
        raise InvalidFeature(f"view {self.name!r} has no feature {name!r}; it has: {known}")

    @property
    def has(self) -> frozenset[str]:
        """The names of its features."""
        return frozenset(field.name for field in self.fields)

    def with_kept(self, names: Iterable[str]) -> FeatureView:
        """The view with lists for the recording of events; itself where it has them."""
        new = tuple(FeatureField(name=name, type=FeatureType.INT64_LIST) for name in names if name not in self.has)
        return self.model_copy(update={"fields": (*self.fields, *new)}) if new else self

    def check_successor(self, new: FeatureView) -> None:
        """Refuses a changed view under which stored values could no longer be read.

        Raises:
            InvalidFeature: another entity, or another type for a field of the same name.
        """
        if new.entity != self.entity:
            raise InvalidFeature(
                f"view {self.name!r} belongs to entity {self.entity!r}, got {new.entity!r}; choose another view name"
            )
        types = {field.name: field.type for field in self.fields}
        for field in new.fields:
            if types.get(field.name, field.type) is not field.type:
                raise InvalidFeature(
                    f"view {self.name!r}: feature {field.name!r} is stored as {types[field.name].value}, "
                    f"got {field.type.value}; choose another name for it"
                )


def view_from_message(message: features_pb2.FeatureView) -> FeatureView:
    """A checked view.

    Raises:
        InvalidFeature: what is wrong with it.
    """
    fields = []
    for field in message.fields:
        if field.type not in _FROM_ENUM:
            raise InvalidFeature(f"view {message.name!r}: feature {field.name!r} has no type (number {field.type})")
        kind = _FROM_ENUM[field.type]
        what = f"default of {field.name!r}"
        default = from_message(field.default_value, kind, what) if field.HasField("default_value") else None
        fields.append({"name": field.name, "type": kind, "default": default})
    try:
        return FeatureView.model_validate(
            {"name": message.name, "entity": message.entity, "fields": fields, "max_age_s": message.max_age_s}
        )
    except ValidationError as error:
        raise InvalidFeature(f"view {message.name!r}: {describe(FeatureView, error)}") from error


def parse_view(stored: bytes) -> FeatureView:
    """The view that a definition in Redis is of. Raises InternalError: it cannot be read."""
    try:
        return FeatureView.model_validate_json(stored)
    except ValidationError as error:
        raise InternalError(f"a stored view cannot be read: {describe(FeatureView, error)}") from error


def type_of(number: int) -> FeatureType | None:
    """The type that a message's enum stands for."""
    return _FROM_ENUM.get(number)


def view_to_message(view: FeatureView) -> features_pb2.FeatureView:
    """The API message of a view, without what is kept for the recording of events."""
    message = features_pb2.FeatureView(name=view.name, entity=view.entity, max_age_s=view.max_age_s)
    for field in view.fields:
        if is_kept(field.name):
            continue
        sent = message.fields.add(name=field.name, type=_TO_ENUM[field.type])
        if field.default is not None:
            sent.default_value.CopyFrom(to_message(check(field.default, field.type, field.name), field.type))
    return message


def describe(model: type[BaseModel], error: ValidationError) -> str:
    """A validation error on one line: where, what was expected, what was got."""
    faults = error.errors(include_url=False)
    return "; ".join(
        f"{place}: {wording.what(model, fault)}" if (place := wording.where(fault, "")) else wording.what(model, fault)
        for fault in faults
    )
