"""Recommendations for online callers: the client of the retrieval service, and what it says and answers.

import rowbank
from rowbank.retrieval import F

with rowbank.RetrievalClient("127.0.0.1:7781") as retrieval:
    answer = retrieval.recommend(42, k=10, filter=F("year") >= 1990, exclude_seen=True)
    print([item.title for item in answer.items])
"""

from __future__ import annotations

from rowbank.retrieval.aio import AsyncRetrievalClient
from rowbank.retrieval.answers import (
    Activated,
    CandidateCount,
    Embeddings,
    EntityFault,
    EventsReport,
    Explanation,
    FeatureUse,
    IndexProbe,
    NamedFilter,
    RankedItem,
    Recommendations,
    ScoreParts,
    Scores,
    ServedModel,
    ServedModels,
    StoredItem,
    StoredUser,
    TableUse,
    Unscored,
    WriteReport,
)
from rowbank.retrieval.client import RetrievalClient
from rowbank.retrieval.filters import F, Filter, named
from rowbank.retrieval.words import Boost, Diversity, Event, Id, RecommendQuery
from rowbank.traffic import Traffic

__all__ = [
    "Activated",
    "AsyncRetrievalClient",
    "Boost",
    "CandidateCount",
    "Diversity",
    "Embeddings",
    "EntityFault",
    "Event",
    "EventsReport",
    "Explanation",
    "F",
    "FeatureUse",
    "Filter",
    "Id",
    "IndexProbe",
    "NamedFilter",
    "RankedItem",
    "RecommendQuery",
    "Recommendations",
    "RetrievalClient",
    "ScoreParts",
    "Scores",
    "ServedModel",
    "ServedModels",
    "StoredItem",
    "StoredUser",
    "TableUse",
    "Traffic",
    "Unscored",
    "WriteReport",
    "named",
]
