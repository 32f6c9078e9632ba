"""A query on its way through the stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank_server.features import FeatureRead
from rowbank_server.retrieval.filters.words import Boost, Filter
from rowbank_server.retrieval.queries import Explanation, Query, Source


@dataclass(slots=True)
class Work:
    """What the stages found out for one query.

    Attributes:
        given: features that came with the query; they count before stored ones.
        filter, boosts: without names, and with the time put in.
        features: of the query tower, by name; None: it is not asked.
        seen: items that `exclude_seen` leaves out.
        explanation: if it was asked for.
    """

    query: Query
    given: Mapping[str, Any]
    filter: Filter | None = None
    boosts: tuple[Boost, ...] = ()
    features: Mapping[str, Any] | None = None
    read: FeatureRead | None = None
    history: Sequence[int] = ()
    seen: Sequence[int] = ()
    vector: npt.NDArray[np.float32] | None = None
    source: Source = Source.POPULAR
    degraded: list[str] = field(default_factory=list)
    defaulted: tuple[str, ...] = ()
    explanation: Explanation | None = None

    @property
    def need(self) -> int:
        """Items to look for: those of the page, those before it, and one that says whether there are more."""
        return self.query.offset + self.query.k + 1
