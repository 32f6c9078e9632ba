"""What docs/filters.md shows is taken as it stands, and its limits are those of the code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from rowbank.errors import InvalidRequest
from rowbank_server.features import FeatureType
from rowbank_server.registry.filters import MAX_FILTERS
from rowbank_server.retrieval.filters import json as filter_json
from rowbank_server.retrieval.filters.fields import FilterFields

PAGE = (Path(__file__).parents[2] / "docs" / "filters.md").read_text()
FIELDS = FilterFields(
    {
        "genres": FeatureType.STRING_LIST,
        "brand": FeatureType.STRING,
        "year": FeatureType.INT64,
        "price": FeatureType.DOUBLE,
        "available_from": FeatureType.DOUBLE,
        "own_brand": FeatureType.BOOL,
    }
)
CELLS = re.findall(r"^\| `(\{.*?\})` \|", PAGE, re.MULTILINE)
BLOCKS = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]


@pytest.mark.parametrize("shown", CELLS)
def test_shown_filters_are_taken(shown: str) -> None:
    filter_json.filter_from_json(json.loads(shown), FIELDS)


def test_shown_requests_are_taken() -> None:
    assert len(CELLS) == 10
    assert [set(block) for block in BLOCKS] == [{"user_id", "k", "filter"}, {"user_id", "boosts"}]
    filter_json.filter_from_json(BLOCKS[0]["filter"], FIELDS)
    assert [boost.name for boost in filter_json.boosts_from_json(BLOCKS[1]["boosts"], FIELDS)] == ["own", "fresh"]
    shown: Any = json.loads(re.findall(r'`(\{"diversity".*?\})`', PAGE)[0])
    assert filter_json.diversity_from_json(shown["diversity"], FIELDS).max_per_value == 2


def test_the_shown_error_is_the_one_that_comes() -> None:
    given = {"and": [{"named": "x"}, {"feature": "year", "any": ["1990"]}]}
    with pytest.raises(InvalidRequest) as refused:
        filter_json.filter_from_json(given, FIELDS)
    assert f"`{refused.value.message}`" in PAGE.replace("\n", " ")


def test_limits_are_those_of_the_code() -> None:
    text = PAGE.replace("\n", " ")
    assert f"up to {filter_json.MAX_DEPTH} deep" in text
    assert f"at most {filter_json.MAX_CONDITIONS} conditions" in text
    assert f"{filter_json.MAX_VALUES:,} values" in text
    assert f"of which there may be {filter_json.MAX_ALL}" in text
    assert f"There may be {filter_json.MAX_BOOSTS}" in text
    assert f"-{filter_json.MAX_ADD:g} to {filter_json.MAX_ADD:g}" in text
    assert f"A model has at most {MAX_FILTERS}" in text
