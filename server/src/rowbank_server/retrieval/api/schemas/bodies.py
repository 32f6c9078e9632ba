"""Bodies of calls."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rowbank_server.retrieval.api.schemas.fields import MAX_BATCH, MAX_LIST, Id, Ids, K, SomeIds
from rowbank_server.retrieval.queries import DEFAULT_K


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RecommendBody(_Body):
    """Recommend items to a user, near a session's items, or for given features, which may come with a user."""

    user_id: Id | None = None
    session_items: SomeIds | None = None
    features: dict[str, Any] | None = Field(
        None,
        description="The query tower's features by name: integers, numbers, truth values, texts or lists, as stored "
        "features are; of those left out the view's defaults count. With user_id, those that count before the stored "
        "ones.",
    )
    k: K = DEFAULT_K
    exclude: Ids = Field(default_factory=list, description="Item ids that may not be in the answer.")
    exclude_seen: bool = Field(False, description="Leave out items of the user's history, or the session's.")
    min_score: Annotated[float, Field(allow_inf_nan=False)] | None = Field(
        None, description="Leave out items that score less; the answer may then have fewer than k."
    )
    explain: bool = Field(False, description="Say how long each stage took, and which features had no value.")

    @model_validator(mode="after")
    def _one_subject(self) -> RecommendBody:
        given = [name for name in ("user_id", "session_items", "features") if getattr(self, name) is not None]
        if not given or (self.session_items is not None and len(given) > 1):
            raise ValueError(
                f"give user_id, features or both, or session_items alone; got {', '.join(given) or 'none of them'}"
            )
        if self.exclude_seen and given == ["features"]:
            raise ValueError(
                "exclude_seen: nobody's history is known without a user_id; give user_id as well, or name the items in "
                "exclude"
            )
        return self


class RecommendBatchBody(_Body):
    """Several questions; each is answered as if it came alone."""

    requests: Annotated[list[RecommendBody], Field(min_length=1, max_length=MAX_BATCH)]


class SimilarBody(_Body):
    """Items near the mean vector of the given ones, which are left out."""

    item_ids: SomeIds
    k: K = DEFAULT_K
    exclude: Ids = Field(default_factory=list)


class PopularBody(_Body):
    """What is popular."""

    k: K = DEFAULT_K


class EntityBody(_Body):
    """Features by name; those left out keep their values."""

    features: Annotated[dict[str, Any], Field(min_length=1)]


class Interaction(_Body):
    """A user met an item."""

    user_id: Id
    item_id: Id


class EventsBody(_Body):
    """Interactions, oldest first; they go to the end of the users' histories."""

    events: Annotated[list[Interaction], Field(min_length=1, max_length=MAX_LIST)]


class ActivateBody(_Body):
    """How to activate a version."""

    force: bool = Field(False, description="Also over an active version that it differs from strongly.")
