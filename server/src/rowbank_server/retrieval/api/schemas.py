"""What goes over HTTP: pydantic models come in, msgspec structs go out. Their schemas make /openapi.json."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema, WrapValidator, model_validator

from rowbank.text import MAX_ID_BYTES, id_fault
from rowbank_server import wording
from rowbank_server.retrieval.api.ids import GivenId, ModelIds, in_range
from rowbank_server.retrieval.model import Model
from rowbank_server.retrieval.queries import DEFAULT_K, Query

MAX_K = 1000
MAX_LIST = 10_000
MAX_BATCH = 256


def _checked_id(value: Any) -> GivenId:
    """What may be an id of some model; whether it is one of the model in service is for the handler to say."""
    if isinstance(value, str):
        if fault := id_fault(value):
            raise ValueError(fault)
        return value
    if type(value) is not int or not in_range(value):
        raise ValueError(f"expected an integer of 64 bits or a text, got {wording.show(value)}")
    return value


def _checked_integers(value: Any, check: Callable[[Any], Any]) -> Any:
    """Lists of integers in one look; others one by one."""
    if type(value) is not list or not 0 < len(value) <= MAX_LIST or set(map(type, value)) != {int}:
        return check(value)
    return value if in_range(min(value)) and in_range(max(value)) else check(value)


ID_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": -(2**63), "exclusiveMaximum": 2**63},
        {"type": "string", "minLength": 1, "maxLength": MAX_ID_BYTES},
    ],
    "description": "As the model in service has ids: integers, which may come as their decimal text, or texts.",
}
Id = Annotated[Any, PlainValidator(_checked_id), WithJsonSchema(ID_SCHEMA)]
Ids = Annotated[list[Id], Field(max_length=MAX_LIST), WrapValidator(_checked_integers)]
SomeIds = Annotated[list[Id], Field(min_length=1, max_length=MAX_LIST), WrapValidator(_checked_integers)]
K = Annotated[int, Field(strict=True, ge=1, le=MAX_K)]


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

    def query(self, model: Model, where: str = "") -> Query:
        """As the engine asks it.

        Args:
            model: says what ids are.
            where: what the message says before the name of a field.
        Raises:
            InvalidRequest: an id is not of the model's kind.
        """
        ids, session, given = ModelIds.of(model), self.session_items, self.features
        return Query(
            user_id=None if self.user_id is None else ids.users.key(self.user_id, f"{where}user_id"),
            items=None if session is None else tuple(ids.items.keys(session, f"{where}session_items")),
            features=None if given is None else ids.features(model, given, self.user_id),
            k=self.k,
            exclude=tuple(ids.items.keys(self.exclude, f"{where}exclude")) if self.exclude else (),
            exclude_seen=self.exclude_seen,
            min_score=self.min_score,
        )


class RecommendBatchBody(_Body):
    """Several questions; each is answered as if it came alone."""

    requests: Annotated[list[RecommendBody], Field(min_length=1, max_length=MAX_BATCH)]


class SimilarBody(_Body):
    """Items near the mean vector of the given ones, which are left out."""

    item_ids: SomeIds
    k: K = DEFAULT_K
    exclude: Ids = Field(default_factory=list)


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


class Item(msgspec.Struct, frozen=True):
    """One item of an answer. `score` is null where the model did not score it: it filled the answer up to k."""

    id: int | str
    score: float | None
    rank: int
    title: str


class Recommendations(msgspec.Struct, frozen=True, kw_only=True):
    """Items best first.

    `source`: personal (the query tower), session (near items) or popular. `degraded`: what was not as it should be.
    `defaulted`: features of which the query tower got the default, or nothing, if an explanation was asked for.
    """

    items: list[Item]
    model_version: str
    index_version: str
    source: str
    degraded: list[str]
    timings_ms: dict[str, float] | None = None
    defaulted: list[str] | None = None


class RecommendationsBatch(msgspec.Struct, frozen=True):
    """One answer per request, in their order."""

    answers: list[Recommendations]


class Entity(msgspec.Struct, frozen=True):
    """Stored features of an item or a user, defaults filled in. `event_time_s`: Unix seconds of the last write."""

    id: int | str
    features: dict[str, Any]
    status: str
    event_time_s: float


class CatalogueItem(msgspec.Struct, frozen=True):
    """An item's features and whether a search can find it; `not_indexed` says why not."""

    id: int | str
    features: dict[str, Any]
    status: str
    event_time_s: float
    indexed: bool
    interactions: int
    not_indexed: str = ""


class Written(msgspec.Struct, frozen=True):
    """How many entities were written; 0 where a later event had been written before."""

    written: int


class Removed(msgspec.Struct, frozen=True):
    """The item that was removed."""

    id: int | str


class ModelVersion(msgspec.Struct, frozen=True):
    """A published version. `serving`: this process answers from it."""

    name: str
    version: str
    active: bool
    serving: bool
    created_at_s: float
    vector_dim: int
    metrics: dict[str, float]


class ModelVersions(msgspec.Struct, frozen=True):
    """Versions newest first; `previous` is the one to roll back to, empty if there is none."""

    models: list[ModelVersion]
    previous: str


class Activated(msgspec.Struct, frozen=True):
    """What is active now, and what was."""

    version: str
    previous_version: str


class Health(msgspec.Struct, frozen=True):
    """Whether the process lives and, for /readyz, serves. `problem`: what keeps a newer version from being served."""

    status: str
    model_version: str = ""
    index_version: str = ""
    items: int = 0
    problem: str = ""
