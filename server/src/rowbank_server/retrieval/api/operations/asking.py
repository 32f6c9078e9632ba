"""Bodies into queries: ids into keys, and all that needs the model to be checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from rowbank.errors import InvalidRequest, UnknownItem
from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.ids import GivenId, ModelIds
from rowbank_server.retrieval.api.operations.paging import continued
from rowbank_server.retrieval.api.service import Caller
from rowbank_server.retrieval.events.kinds import EventRules
from rowbank_server.retrieval.filters.fields import FilterFields
from rowbank_server.retrieval.filters.json import boosts_from_json, diversity_from_json, filter_from_json
from rowbank_server.retrieval.filters.words import Boost, Filter
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.queries import Popularity, Query


@dataclasses.dataclass(frozen=True, slots=True)
class Asking:
    """What the bodies of one call are read by.

    Attributes:
        generation: of the version that is asked.
        where: what messages say before the name of a field: "requests.3.".
    """

    generation: Generation
    rules: EventRules
    caller: Caller
    where: str = ""

    def recommend(self, body: schemas.RecommendBody) -> Query:
        """Items for somebody.

        Raises:
            InvalidRequest: an id is not of the model's kind, a feature, kind or name is unknown.
        """
        kinds = body.exclude_seen if isinstance(body.exclude_seen, list) else None
        return self._listed(
            body,
            **self._subject(body),
            exclude_seen=bool(body.exclude_seen),
            seen_kinds=self._seen_kinds(body, kinds) if body.exclude_seen else None,
            min_score=body.min_score,
            boosts=self._boosts(body.boosts),
        )

    def similar(self, body: schemas.SimilarBody) -> Query:
        """Items near others.

        Raises:
            InvalidRequest: as of `recommend`.
            UnknownItem: the catalogue does not have one of them.
        """
        keys = self._ids.items.keys(body.item_ids, f"{self.where}item_ids")
        self._require_known(body.item_ids, keys)
        boosts = self._boosts(body.boosts)
        return self._listed(body, items=tuple(keys), exclude_seen=True, min_score=body.min_score, boosts=boosts)

    def score(self, body: schemas.ScoreBody) -> Query:
        """Given items for somebody. Raises InvalidRequest as of `recommend`."""
        keys = tuple(dict.fromkeys(self._ids.items.keys(body.item_ids, "item_ids")))
        return Query(
            **self._subject(body),
            k=len(keys),
            candidates=keys,
            boosts=self._boosts(body.boosts),
            explain=body.explain,
            deadline_s=self.caller.deadline_s,
        )

    def popular(self, body: schemas.PopularBody, retention_s: float) -> Query:
        """What is popular.

        Args:
            retention_s: how long events are counted for.
        Raises:
            InvalidRequest: as of `recommend`; the window is longer.
        """
        popularity = None
        if body.window is not None:
            if body.window > retention_s:
                raise InvalidRequest(
                    f"window: events are counted for {retention_s / 3600:g} hours (setting popular_retention_h), got "
                    f"{body.window / 3600:g} hours; without a window, all that histories say counts",
                    metadata={"field": "window"},
                )
            kinds = tuple(self.rules.checked(kind, f"kinds.{i}") for i, kind in enumerate(body.kinds or ()))
            popularity = Popularity(body.window, tuple(dict.fromkeys(kinds)))
        return self._listed(body, popularity=popularity)

    def filter(self, given: Any) -> Filter:
        """A filter. Raises InvalidRequest."""
        return filter_from_json(given, self.fields, f"{self.where}filter")

    @property
    def fields(self) -> FilterFields:
        """The features that filters may name."""
        return self.generation.filter_fields

    @property
    def _ids(self) -> ModelIds:
        return ModelIds.of(self.generation.model)

    def _subject(self, body: schemas.RecommendBody | schemas.ScoreBody) -> dict[str, Any]:
        """The fields of a query that say for whom it is."""
        model, ids = self.generation.model, self._ids
        user = None if body.user_id is None else ids.users.key(body.user_id, f"{self.where}user_id")
        items = body.session_items
        if body.vector is not None and len(body.vector) != model.manifest.vector_dim:
            raise InvalidRequest(
                f"{self.where}vector: expected {model.manifest.vector_dim} numbers, as model {model.manifest.name!r} "
                f"{model.version} has them, got {len(body.vector)}",
                metadata={"field": f"{self.where}vector"},
            )
        return {
            "user_id": user,
            "items": None if items is None else tuple(ids.items.keys(items, f"{self.where}session_items")),
            "vector": None if body.vector is None else tuple(body.vector),
            "features": None if body.features is None else ids.features(model, body.features, body.user_id),
        }

    def _listed(self, body: Any, **of_kind: Any) -> Query:
        """A question for a list: with what all of them may say, and what this kind does."""
        model, where = self.generation.model, self.where
        exclude = tuple(self._ids.items.keys(body.exclude, f"{where}exclude")) if body.exclude else ()
        made = Query(
            **of_kind,
            k=body.k,
            exclude=exclude,
            filter=None if body.filter is None else self.filter(body.filter),
            diversity=None
            if body.diversity is None
            else diversity_from_json(body.diversity.model_dump(), self.fields, f"{where}diversity"),
            offset=body.offset,
            explain=body.explain,
            deadline_s=self.caller.deadline_s,
        )
        return continued(made, model.manifest.name, body.cursor, where)

    def _boosts(self, boosts: Sequence[schemas.BoostBody]) -> tuple[Boost, ...]:
        if not boosts:
            return ()
        return boosts_from_json([one.model_dump() for one in boosts], self.fields, f"{self.where}boosts")

    def _seen_kinds(self, body: schemas.RecommendBody, kinds: Sequence[str] | None) -> tuple[str, ...] | None:
        return None if body.user_id is None else self.rules.chosen(kinds, f"{self.where}exclude_seen")

    def _require_known(self, given: Sequence[GivenId], keys: Sequence[int]) -> None:
        positions = self.generation.positions_or_none(keys)
        unknown = [item for item, position in zip(given, positions.tolist(), strict=True) if position < 0]
        if unknown:
            named = ", ".join(str(item) for item in unknown[:10])
            raise UnknownItem(f"the catalogue has no item {named}", metadata={"item": str(unknown[0])})
