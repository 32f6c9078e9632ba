"""How a version's catalogue is followed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rowbank_server.retrieval.catalogue.growth import MergePolicy
from rowbank_server.retrieval.index import IndexOptions

_LOOK_S = 3600.0


@dataclass(frozen=True, slots=True)
class FollowerOptions:
    """How closely the follower follows.

    Attributes:
        poll_s: how often it looks at the change feed.
        look_s: how often everything that is stored is looked at, for the sake of programs that note nothing.
        count_s: how often users' histories are counted, for what is popular.
        max_popularity_users: users whose histories are counted.
        merging: when parts are merged.
        index: which index a base gets.
        folder: where bases are kept, see `catalogue.files.prepare`; None: nowhere.
        namespace: of the features.
    """

    poll_s: float = 0.2
    look_s: float = _LOOK_S
    count_s: float = 10.0
    max_popularity_users: int = 200_000
    merging: MergePolicy = field(default_factory=MergePolicy)
    index: IndexOptions = field(default_factory=IndexOptions)
    folder: Path | None = None
    namespace: str = "rowbank"
