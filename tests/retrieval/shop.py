"""The small world with features of items to filter by."""

from __future__ import annotations

from typing import Any

from tests.retrieval.support import World

import rowbank
from rowbank.features import FeatureField, FeatureView

GENRES = ("Drama", "Comedy", "War")
ITEM_FIELDS = {
    "title": "string",
    "title_tokens": "int64_list",
    "genres": "string_list",
    "year": "int64",
    "in_stock": "bool",
}


class Shop(World):
    """Items with genres, a year and stock; users with a history and a motto."""

    def features(self, item: int) -> dict[str, Any]:
        genres = [GENRES[item % 3], *(["War"] if item % 5 == 0 else [])]
        return {"genres": genres, "year": 1980 + item % 40, "in_stock": item % 2 == 0}

    def motto(self, user: int) -> str:
        return f"motto of {user}"

    def write_features(self, client: rowbank.Client, *, max_age_s: float = 0.0) -> None:
        fields = tuple(FeatureField(name, kind) for name, kind in ITEM_FIELDS.items())
        client.features.put_view(FeatureView("items", "item_id", fields))
        fields = (FeatureField("history", "int64_list"), FeatureField("motto", "string"))
        client.features.put_view(FeatureView("users", "user_id", fields, max_age_s=max_age_s))
        client.features.write(
            "items",
            {i: {"title": self.title(i), "title_tokens": t, **self.features(i)} for i, t in self.item_tokens.items()},
        )
        client.features.write("users", {u: {"history": h, "motto": self.motto(u)} for u, h in self.histories.items()})
