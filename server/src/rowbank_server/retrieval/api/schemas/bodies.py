"""Bodies of calls."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rowbank_server.retrieval.api.schemas.fields import (
    MAX_BATCH,
    MAX_BOOSTS,
    MAX_EMBEDDED,
    MAX_EVENT_ID,
    MAX_LIST,
    MAX_SHARES,
    MAX_WEIGHT,
    Cursor,
    ExcludeSeen,
    Features,
    FilterJson,
    GivenFeatures,
    Id,
    Ids,
    K,
    Kinds,
    ModelName,
    Name,
    Offset,
    Score,
    SomeIds,
    Vector,
    VersionName,
    Window,
)
from rowbank_server.retrieval.queries import DEFAULT_K


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class BoostBody(_Body):
    """Adds `add` to the score of the items that the filter lets through."""

    filter: FilterJson
    add: Annotated[float, Field(ge=-1000, le=1000)]
    name: Name = Field("", description="What explanations call it.")


class DiversityBody(_Body):
    """At most `max_per_value` items of an answer have the same value of a feature; of a list each element counts."""

    feature: Name
    max_per_value: Annotated[int, Field(ge=1, le=1000)]


class _Subject(_Body):
    user_id: Id | None = None
    session_items: SomeIds | None = None
    vector: Vector | None = Field(None, description="Of the query tower's space, instead of a user.")
    features: GivenFeatures | None = Field(
        None,
        description="The query tower's features by name: integers, numbers, truth values, texts or lists, as stored "
        "features are; of those left out the view's defaults count. With user_id, those that count before the stored "
        "ones.",
    )

    @model_validator(mode="after")
    def _one_subject(self) -> _Subject:
        given = [name for name in ("user_id", "session_items", "features", "vector") if getattr(self, name) is not None]
        alone = self.session_items is not None or self.vector is not None
        if not given or (alone and len(given) > 1):
            raise ValueError(
                "give user_id, features or both, or session_items alone, or vector alone; got "
                f"{', '.join(given) or 'none of them'}"
            )
        return self


class _Asked(_Body):
    model: ModelName = ""
    version: VersionName = ""
    explain: bool = Field(False, description="Say how the answer came to be, and how long each stage took.")


class _Listed(_Asked):
    """What every question for a list of items may say."""

    k: K = DEFAULT_K
    filter: FilterJson | None = None
    diversity: DiversityBody | None = None
    exclude: Ids = Field(default_factory=list, description="Item ids that may not be in the answer.")
    offset: Offset = 0
    cursor: Cursor | None = None

    @model_validator(mode="after")
    def _one_way_to_go_on(self) -> _Listed:
        if self.cursor is not None and self.offset:
            raise ValueError("offset and cursor are given; a cursor knows where it goes on, so leave offset out")
        return self


Boosts = Annotated[list[BoostBody], Field(max_length=MAX_BOOSTS)]


class RecommendBody(_Listed, _Subject):
    """Recommend items to a user, near a session's items, near a vector, or for given features, which may come with a
    user."""

    exclude_seen: ExcludeSeen = Field(
        False,
        description="Leave out items of the user's history, or the session's. A list: items that events of these kinds "
        "name, and those that the model was trained on.",
    )
    min_score: Score | None = Field(
        None, description="Leave out items that score less; the answer may then have fewer than k."
    )
    boosts: Boosts = Field(default_factory=list)

    @model_validator(mode="after")
    def _somebody_has_seen(self) -> RecommendBody:
        if self.exclude_seen and self.user_id is None:
            if self.session_items is None:
                raise ValueError(
                    "exclude_seen: nobody's history is known without a user_id; give user_id as well, or name the "
                    "items in exclude"
                )
            if isinstance(self.exclude_seen, list):
                raise ValueError("exclude_seen: a session's items are of no kind; give true, or a user_id")
        return self


class RecommendBatchBody(_Body):
    """Several questions; each is answered as if it came alone."""

    requests: Annotated[list[RecommendBody], Field(min_length=1, max_length=MAX_BATCH)]

    @model_validator(mode="after")
    def _one_model(self) -> RecommendBatchBody:
        names = {one.model for one in self.requests}
        if len(names) > 1:
            raise ValueError(f"requests: expected one model in all of them, got {', '.join(map(repr, sorted(names)))}")
        return self


class SimilarBody(_Listed):
    """Items near the mean vector of the given ones, which are left out."""

    item_ids: SomeIds
    min_score: Score | None = None
    boosts: Boosts = Field(default_factory=list)


class ScoreBody(_Asked, _Subject):
    """Rank given items for somebody."""

    item_ids: SomeIds
    boosts: Boosts = Field(default_factory=list)


class EmbedBody(_Body):
    """The vectors of users or of items, or that of the given features."""

    user_ids: Annotated[SomeIds, Field(max_length=MAX_EMBEDDED)] | None = None
    item_ids: Annotated[SomeIds, Field(max_length=MAX_EMBEDDED)] | None = None
    features: GivenFeatures | None = Field(None, description="Of one user more, who is not stored.")
    model: ModelName = ""
    version: VersionName = ""

    @model_validator(mode="after")
    def _one_tower(self) -> EmbedBody:
        given = [name for name in ("user_ids", "item_ids", "features") if getattr(self, name) is not None]
        if not given or (self.item_ids is not None and len(given) > 1):
            raise ValueError(
                f"give user_ids, features or both, or item_ids alone; got {', '.join(given) or 'none of them'}"
            )
        return self


class PopularBody(_Listed):
    """What is popular: by the histories of all users, or by the events of a window of time."""

    window: Window | None = Field(
        None, description='Events of so long back, such as "24h"; without it, what histories say, of all times.'
    )
    kinds: Kinds | None = Field(None, description="Of events, with a window; without them, all.")

    @model_validator(mode="after")
    def _kinds_of_a_window(self) -> PopularBody:
        if self.kinds is not None and self.window is None:
            raise ValueError("kinds: histories do not say of what kind an event was; give a window as well")
        return self


class EntityRef(_Body):
    """An item or a user."""

    id: Id
    model: ModelName = ""
    vector: bool = Field(False, description="An item's vector, too.")


class EntityBody(_Body):
    """Features by name; those left out keep their values."""

    features: Features
    model: ModelName = ""


class EntityLine(_Body):
    """An item or a user of an import; features that are left out keep their values."""

    id: Id
    features: Features


class Interaction(_Body):
    """A user met an item."""

    user_id: Id
    item_id: Id
    kind: Name = Field("", description="One of the setting `event_kinds`; empty: the first of them.")
    weight: Annotated[float, Field(gt=0, le=MAX_WEIGHT)] = Field(1.0, description="For what is popular.")
    time_s: Annotated[float, Field(ge=0, le=1e11)] | None = Field(None, description="Unix seconds; without it, now.")
    id: Annotated[str, Field(min_length=1, max_length=MAX_EVENT_ID)] | None = Field(
        None, description="An event whose id was recorded within the last day is not recorded again."
    )


class EventsBody(_Body):
    """Events; their items go into the users' histories, in the order of their times."""

    events: Annotated[list[Interaction], Field(min_length=1, max_length=MAX_LIST)]
    model: ModelName = ""


class FilterBody(_Body):
    """A filter to be stored."""

    filter: FilterJson
    model: ModelName = ""


class ModelRef(_Body):
    """A model."""

    model: ModelName = ""


class TrafficBody(_Body):
    """Who gets which version from now on."""

    shares: Annotated[dict[Name, Annotated[float, Field(ge=0, le=1)]], Field(max_length=MAX_SHARES)] = Field(
        default_factory=dict, description="Of the users, by version; 0: loaded for those who name it."
    )
    shadow: Name = Field("", description="A version that is asked the same, and whose answers are only compared.")
    model: ModelName = ""


class ProbeBody(_Body):
    """How to measure the recall of the index."""

    queries: Annotated[int, Field(ge=1, le=1000)] = 100
    k: K = 100
    filter: FilterJson | None = None
    model: ModelName = ""
    version: VersionName = ""


class ActivateBody(_Body):
    """How to activate a version."""

    force: bool = Field(False, description="Also over an active version that it differs from strongly.")
    model: ModelName = ""
