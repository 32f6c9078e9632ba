"""What calls take and give: pydantic models come in, msgspec structs go out. Their schemas make /openapi.json."""

from rowbank_server.retrieval.api.schemas.answers import (
    Activated,
    CatalogueItem,
    Entity,
    Health,
    Item,
    ModelVersion,
    ModelVersions,
    Recommendations,
    RecommendationsBatch,
    Removed,
    Written,
)
from rowbank_server.retrieval.api.schemas.bodies import (
    ActivateBody,
    EntityBody,
    EventsBody,
    Interaction,
    PopularBody,
    RecommendBatchBody,
    RecommendBody,
    SimilarBody,
)
from rowbank_server.retrieval.api.schemas.fields import MAX_BATCH, MAX_K, MAX_LIST, Id
from rowbank_server.retrieval.api.schemas.validation import Fault, InvalidBody, parsed, validated

__all__ = [
    "MAX_BATCH",
    "MAX_K",
    "MAX_LIST",
    "ActivateBody",
    "Activated",
    "CatalogueItem",
    "Entity",
    "EntityBody",
    "EventsBody",
    "Fault",
    "Health",
    "Id",
    "Interaction",
    "InvalidBody",
    "Item",
    "ModelVersion",
    "ModelVersions",
    "PopularBody",
    "RecommendBatchBody",
    "RecommendBody",
    "Recommendations",
    "RecommendationsBatch",
    "Removed",
    "SimilarBody",
    "Written",
    "parsed",
    "validated",
]
