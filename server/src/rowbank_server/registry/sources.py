"""What a tower's inputs are made of: whether a view has the features, of types that fit."""

from __future__ import annotations

from rowbank.catalogue import REMOVED
from rowbank.errors import InvalidFeature
from rowbank.manifests import TowerInput
from rowbank.text_ids import ID_TEXT
from rowbank_server.features import FeatureField, FeatureType, FeatureView

_OWN = (ID_TEXT, REMOVED)  # Features of Rowbank's own, which no tower takes.
_NUMBERS = (FeatureType.DOUBLE, FeatureType.INT64, FeatureType.BOOL)


def expected_types(tower_input: TowerInput) -> tuple[FeatureType, ...]:
    """The types that the input's feature may have."""
    if tower_input.kind == "numbers":
        return (FeatureType.FLOAT_LIST,) if tower_input.dim > 1 else (*_NUMBERS, FeatureType.FLOAT_LIST)
    if tower_input.kind == "words":
        return (FeatureType.STRING,)
    if tower_input.kind == "text_keys":
        return (FeatureType.STRING_LIST,) if tower_input.length else (FeatureType.STRING,)
    return (FeatureType.INT64_LIST,) if tower_input.length else (FeatureType.INT64,)


def source_field(what: str, tower_input: TowerInput, view: FeatureView | None) -> FeatureField | None:
    """The feature that an input is made of; None for the entity's own id.

    Args:
        what: which tower of which model, for messages.
        view: of the tower's entities; None if the manifest names none.
    Raises:
        InvalidFeature: the view has no such feature, or one of a type that does not fit.
    """
    where = f"{what}, input {tower_input.name!r}"
    source, _, name = tower_input.feature.partition(":")
    if not name:
        if view is not None and source != view.entity:
            raise InvalidFeature(f"{where} takes {source!r}, but view {view.name!r} is of {view.entity!r}")
        return None
    if view is None or source != view.name:
        named = f"view {view.name!r}" if view is not None else "none"
        raise InvalidFeature(f"{where} takes {tower_input.feature!r}, but the view of this tower's entities is {named}")
    fields = {field.name: field for field in view.fields if field.name not in _OWN}
    field = fields.get(name)
    if field is None:
        has = ", ".join(fields)
        raise InvalidFeature(
            f"{where} takes feature {name!r}, which view {view.name!r} does not have; it has: {has}; add it to "
            "the view or publish a model without it"
        )
    expected = expected_types(tower_input)
    if field.type not in expected:
        types = " or ".join(kind.value for kind in expected)
        takes = tower_input.kind or "keys"
        length = f" with length {tower_input.length}" if tower_input.length else ""
        raise InvalidFeature(
            f"{where} takes {takes}{length} of dim {tower_input.dim}: expected {tower_input.feature!r} to be {types}, "
            f"got {field.type.value}"
        )
    if tower_input.kind == "numbers" and isinstance(field.default, list) and len(field.default) != tower_input.dim:
        raise InvalidFeature(
            f"{where} takes {tower_input.dim} numbers: the default of {tower_input.feature!r} has {len(field.default)}"
        )
    return field
