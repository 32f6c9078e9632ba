"""Which items count as seen, over a version's own layer and without one."""

from __future__ import annotations

import pytest

from rowbank_server.features import FeatureField, FeatureStore, FeatureType, FeatureView, LayeredView
from rowbank_server.retrieval.events.kinds import EventRules
from rowbank_server.retrieval.events.recording import Event, record
from rowbank_server.retrieval.events.seen import seen_features, seen_items

RULES = EventRules.of(("view", "click", "purchase"), (), ())
HISTORY = FeatureField(name="history", type=FeatureType.INT64_LIST)


@pytest.fixture
def store_with_views(store: FeatureStore) -> FeatureStore:
    for name in ("base", "over"):
        store.put_view(FeatureView(name=name, entity="user_id", fields=(HISTORY,)))
    return store


def seen(users: LayeredView, *kinds: str) -> set[int]:
    read = users.read([1], ["history", *seen_features(users)])[0]
    return set(seen_items(users, read, kinds))


def did(users: LayeredView) -> None:
    events = [Event(1, 5, "view", 1.0, 1.0), Event(1, 6, "purchase", 1.0, 2.0), Event(1, 7, "view", 1.0, 3.0)]
    record(users, RULES, 1, [*events, Event(1, 7, "click", 1.0, 4.0)], limit=100)


def test_with_a_layer_of_its_own_the_version_knows_what_it_was_trained_on(store_with_views: FeatureStore) -> None:
    users = LayeredView(store_with_views, "base", "over", united=("history",))
    store_with_views.write("base", [(1, {"history": [1, 2]})])
    assert seen_features(users) == []
    assert seen(users, "purchase") == {1, 2}
    did(users)
    assert seen(users, "purchase") == {1, 2, 6}
    assert seen(users, "view") == {1, 2, 5, 7}
    assert seen(users, "click", "purchase") == {1, 2, 6, 7}
    users.write([(1, {"history": [9]})])  # A history that callers write has no kinds.
    assert seen(users, "purchase") == {1, 2, 6}


def test_with_one_layer_what_is_in_no_list_counts(store_with_views: FeatureStore) -> None:
    users = LayeredView(store_with_views, "over")
    users.write([(1, {"history": [1, 2]})])
    did(users)
    assert seen(users, "purchase") == {1, 2, 6}
    assert seen(users, "click") == {1, 2, 7}
    assert seen(users, "view", "click", "purchase") == {1, 2, 5, 6, 7}
    assert seen(users, "never_happened") == {1, 2}
