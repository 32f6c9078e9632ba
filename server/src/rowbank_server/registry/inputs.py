"""Which features a tower takes of a view, and what they feed it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rowbank.errors import InvalidFeature
from rowbank.manifests import TowerInput, tower_from_proto
from rowbank.tower_feeding import Fed, feed
from rowbank_protos.v1 import models_pb2
from rowbank_server.features import FeatureField, LayeredView
from rowbank_server.registry.sources import source_field


@dataclass(frozen=True, slots=True)
class TowerInputs:
    """One tower's inputs, resolved once per model version.

    Attributes:
        inputs: as the manifest names them.
        entity: the join key of the view that the features come from.
        view: that view; empty if the tower needs nothing but the entity's own id.
        fields: the features of the view that are needed, by "<view>:<feature>".
    """

    inputs: tuple[TowerInput, ...]
    entity: str
    view: str
    fields: Mapping[str, FeatureField]

    @property
    def names(self) -> tuple[str, ...]:
        """The features of the view that are needed."""
        return tuple(field.name for field in self.fields.values())

    @property
    def takes(self) -> tuple[str, ...]:
        """What the tower takes, "<view>:<feature>" or the join key, each once, in the order of the inputs."""
        return tuple(dict.fromkeys(tower_input.feature for tower_input in self.inputs))

    def require_types(self, layers: LayeredView) -> None:
        """Refuses a view in which a feature was replaced by one of another type since the model was loaded.

        Raises:
            ViewNotFound, InvalidFeature: says which.
        """
        now = {field.name: field.type for field in layers.definition().fields}
        for field in self.fields.values():
            kind = now.get(field.name, field.type)
            if kind is not field.type:
                raise InvalidFeature(
                    f"view {self.view!r}: feature {field.name!r} is {kind.value} now, and the model takes "
                    f"{field.type.value}; define the view as it was, or publish a model for the present one"
                )

    def feed(self, rows: Sequence[Mapping[str, Any]]) -> Fed:
        """Makes keys and numbers of features.

        Args:
            rows: values by "<view>:<feature>" or join key, one mapping per entity. What is not there reads the view's
                default; without one it is padding, or zeros.
        """
        values = [[row.get(tower_input.feature) for row in rows] for tower_input in self.inputs]
        return feed(self.inputs, values, [self._default(tower_input) for tower_input in self.inputs], count=len(rows))

    def feed_columns(self, values: Mapping[str, Sequence[Any]], *, count: int) -> Fed:
        """As `feed`, of a list for each feature or join key, with None where an entity has no value."""
        nothing = [None] * count
        given = [values.get(tower_input.feature, nothing) for tower_input in self.inputs]
        return feed(self.inputs, given, [self._default(tower_input) for tower_input in self.inputs], count=count)

    def _default(self, tower_input: TowerInput) -> Any:
        field = self.fields.get(tower_input.feature)
        return None if field is None else field.default


def resolve(what: str, tower: models_pb2.Tower, layers: LayeredView | None) -> TowerInputs:
    """Checks that every feature a tower needs is there and of a type that fits.

    Args:
        what: which tower of which model, for messages.
        layers: this tower's entities; None if the manifest names no view of them.
    Raises:
        ViewNotFound, InvalidFeature: what is missing.
    """
    definition = layers.definition() if layers else None
    inputs = tower_from_proto(tower).inputs
    sources = {part.feature: source_field(what, part, definition) for part in inputs}
    own = next((feature for feature, field in sources.items() if field is None), "")
    fields = {feature: field for feature, field in sources.items() if field is not None}
    entity, view = (own, "") if definition is None else (definition.entity, definition.name)
    return TowerInputs(inputs, entity, view, fields)
