"""Features as a model version reads them: its own view under what callers wrote."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import rowbank
from rowbank.errors import InvalidFeature, ViewNotFound
from rowbank.features import FeatureField, FeatureView
from rowbank.models import TitleTokens, Transform
from rowbank.text import token_key

ITEMS = (FeatureField("title", "string"), FeatureField("tokens", "int64_list"), FeatureField("_removed", "bool"))
USERS = (FeatureField("history", "int64_list"), FeatureField("age", "int64", 30))


@pytest.fixture
def features(target: str) -> Iterator[rowbank.features.Features]:
    with rowbank.Client(target) as client:
        for name, fields in (("layer_items", ITEMS), ("layer_users", USERS)):
            entity = "item_id" if name == "layer_items" else "user_id"
            for view in (name, f"{name}_over"):
                client.features.put_view(FeatureView(view, entity, fields))
        yield client.features


def test_the_later_event_counts_and_says_what_is_missing(features) -> None:
    features.write("layer_users", {1: {"history": [1, 2]}, 2: {"history": [3], "age": 50}}, event_time_s=1000)
    features.write("layer_users_over", {1: {"age": 20}, 3: {"history": [9]}}, event_time_s=2000)
    one, two, three, four = features.read_layers("layer_users", "layer_users_over", [1, 2, 3, 4])
    assert (one.values, one.absent) == ({"history": (1, 2), "age": 20}, ())
    assert (two.values, two.absent) == ({"history": (3,), "age": 50}, ())
    assert (three.values, three.absent) == ({"history": (9,), "age": 30}, ("age",))
    assert (four.status, four.absent) == ("not_found", ("age", "history"))


def test_a_newer_base_hides_no_history_if_told_so(features) -> None:
    features.write("layer_users", {7: {"history": [1, 2]}}, event_time_s=3000)
    features.write("layer_users_over", {7: {"history": [2, 5]}}, event_time_s=2000)
    (alone,) = features.read_layers("layer_users", "layer_users_over", [7], ["history"])
    (united,) = features.read_layers("layer_users", "layer_users_over", [7], ["history"], united=["history"])
    assert alone.values == {"history": (1, 2)}
    assert united.values == {"history": (1, 2, 5)}


def test_a_newer_title_is_made_tokens_of_and_what_is_removed_is_not_found(features) -> None:
    features.write("layer_items", {1: {"title": "old", "tokens": [5]}, 2: {"title": "gone"}}, event_time_s=1000)
    features.write("layer_items_over", {1: {"title": "New lamp"}, 2: {"_removed": True}}, event_time_s=2000)
    made = (Transform("title", "tokens", TitleTokens(6)),)
    one, two = features.read_layers("layer_items", "layer_items_over", [1, 2], ["tokens"], transforms=made)
    assert one.values == {"tokens": (token_key("new"), token_key("lamp"))}
    assert two.status == "not_found"


def test_without_an_overlay_the_view_is_read_alone(features) -> None:
    features.write("layer_users", {11: {"age": 7}}, event_time_s=1000)
    (read,) = features.read_layers("layer_users", "", [11])
    assert (read.values, read.absent) == ({"history": (), "age": 7}, ("history",))
    assert features.read("layer_users", [11])[0].absent == ("history",)


def test_views_that_do_not_fit_are_refused(features) -> None:
    with pytest.raises(InvalidFeature, match="cannot lie over view"):
        features.read_layers("layer_users", "layer_items", [1])
    with pytest.raises(ViewNotFound, match="nosuch"):
        features.read_layers("layer_users", "nosuch", [1])
