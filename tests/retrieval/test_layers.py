"""Views in layers, against a real Redis: whose feature counts, what is removed, how histories grow."""

from __future__ import annotations

import threading

import pytest
import redis

from rowbank.catalogue import REMOVED
from rowbank.errors import InvalidFeature
from rowbank.text import token_key
from rowbank_protos.v1 import models_pb2
from rowbank_server.features import FeatureField, FeatureStatus, FeatureStore, FeatureType, FeatureView, LayeredView
from rowbank_server.features.transforms import from_manifest

T = FeatureType
READ_AT = 1_000_000.0  # When the base's files were read; what callers write now is newer.
NEVER = 4e9  # A base of files that will be read in the far future.
TOKENS = models_pb2.Transform(input="title", output="title_tokens", title_tokens=models_pb2.TitleTokens(max_tokens=3))
GENRE = models_pb2.Transform(input="genre", output="genre_key", hash_text=models_pb2.HashText())


def keys(*words: str) -> list[int]:
    return [token_key(word) for word in words]


@pytest.fixture
def items(store: FeatureStore) -> LayeredView:
    fields = (
        FeatureField(name="title", type=T.STRING, default="untitled"),
        FeatureField(name="title_tokens", type=T.INT64_LIST),
        FeatureField(name="genre", type=T.STRING),
        FeatureField(name="genre_key", type=T.INT64),
        FeatureField(name=REMOVED, type=T.BOOL),
    )
    for name in ("m_v1_items", "m_v2_items", "m_items"):
        store.put_view(FeatureView(name=name, entity="item_id", fields=fields))
    return LayeredView(store, "m_v1_items", "m_items", from_manifest([TOKENS, GENRE]))


@pytest.fixture
def users(store: FeatureStore) -> LayeredView:
    fields = (FeatureField(name="history", type=T.INT64_LIST), FeatureField(name="age", type=T.INT64))
    for name in ("m_v1_users", "m_users"):
        store.put_view(FeatureView(name=name, entity="user_id", fields=fields))
    return LayeredView(store, "m_v1_users", "m_users", united=("history",))


def base(view: LayeredView, entity: int, at: float = READ_AT, **values: object) -> None:
    view.store.write(view.base, [(entity, values)], at)


def test_what_callers_wrote_later_counts_feature_by_feature(items: LayeredView) -> None:
    base(items, 1, title="The Old Title", title_tokens=[11, 12], genre="drama", genre_key=5)
    assert items.write([(1, {"genre": "comedy"})]) == 1
    (read,) = items.read([1])
    assert read.values == {
        "title": "The Old Title", "title_tokens": [11, 12], "genre": "comedy", "genre_key": token_key("comedy"),
    }  # fmt: skip
    assert read.status is FeatureStatus.PRESENT
    assert read.event_time_s > READ_AT
    assert items.store.read(items.base, [1])[0].values["genre"] == "drama"  # The version's own view is as it was.


def test_a_newer_base_counts_and_what_only_the_overlay_has_stays(items: LayeredView) -> None:
    items.write([(1, {"title": "From a caller", "genre": "drama"})])
    base(items, 1, NEVER, title="From the files", title_tokens=[7])
    (read,) = items.read([1], ["title", "title_tokens", "genre"])
    assert read.values == {"title": "From the files", "title_tokens": [7], "genre": "drama"}
    assert read.event_time_s == NEVER


def test_an_item_in_one_layer_only(items: LayeredView) -> None:
    base(items, 1, title="One")
    items.write([(2, {"title": "Two"})])
    assert items.entities().tolist() == [1, 2]
    assert [read.values["title"] for read in items.read([2, 1, 3], ["title"])] == ["Two", "One", "untitled"]
    assert items.read([3])[0].status is FeatureStatus.NOT_FOUND


def test_tokens_follow_the_title(items: LayeredView) -> None:
    """Made with training's code: lower case, without punctuation, the first three words."""
    base(items, 1, title="Old", title_tokens=[99])
    items.write([(1, {"title": "The Lion, the Witch and the Wardrobe"}), (2, {"title": "Heat"})])
    tokens = [read.values["title_tokens"] for read in items.read([1, 2], ["title_tokens"])]
    assert tokens == [keys("the", "lion", "the"), keys("heat")]
    items.write([(2, {"title": "Ice", "title_tokens": [5]})])  # Who writes both, means both.
    assert items.read([2])[0].values["title_tokens"] == [5]
    items.write([(2, {"title": "Fire"})])
    assert items.read([2])[0].values["title_tokens"] == keys("fire")
    items.write([(2, {"title": "?!"})])
    assert items.read([2])[0].values["title_tokens"] == []
    items.write([(2, {"title_tokens": [8]})])
    assert items.read([2])[0].values["title_tokens"] == [8]


def test_tokens_written_before_the_files_were_read_do_not_outlive_the_title(items: LayeredView) -> None:
    items.write([(1, {"title": "Mine", "title_tokens": [5]})])
    base(items, 1, NEVER, title="Of the files")
    assert items.read([1])[0].values["title_tokens"] == keys("of", "the", "files")


def test_a_plain_view_makes_tokens_likewise(items: LayeredView) -> None:
    plain = LayeredView(items.store, "m_items", derived=items.derived)
    plain.write([(1, {"title": "Heat", "title_tokens": [5]})])
    plain.write([(1, {"title": "Ice"})])
    assert plain.read([1])[0].values["title_tokens"] == keys("ice")
    assert plain.remove(1)
    assert plain.read([1])[0].status is FeatureStatus.NOT_FOUND
    assert plain.entities().tolist() == []


def test_a_removed_item_is_gone_until_it_is_written_again(items: LayeredView) -> None:
    base(items, 1, title="One", genre="drama")
    items.write([(1, {"title": "Mine"})])
    assert items.remove(1)
    assert not items.remove(1)
    assert not items.remove(9)
    assert items.read([1])[0].status is FeatureStatus.NOT_FOUND
    items.write([(1, {"genre": "comedy"})])
    assert items.read([1], ["title", "genre"])[0].values == {"title": "One", "genre": "comedy"}


def test_whoever_writes_a_removed_item_brings_it_back(items: LayeredView) -> None:
    """Also a writer of the feature store, who knows nothing of removals."""
    items.write([(1, {"title": "One"})])
    items.remove(1)
    items.store.write("m_items", [(1, {"title": "Again"})])
    assert items.read([1], ["title"])[0].values == {"title": "Again"}


def test_the_newer_layer_decides_who_is_removed(items: LayeredView) -> None:
    items.write([(1, {"title": "Of a caller"}), (2, {"title": "Deleted"})])
    items.remove(2)
    base(items, 1, NEVER, **{REMOVED: True})  # Withdrawn from the files, after the caller wrote.
    base(items, 2, NEVER, title="In the files again")
    base(items, 3, READ_AT, **{REMOVED: True})
    items.write([(3, {"title": "Written after it was withdrawn"})])
    found = [read.status is FeatureStatus.PRESENT for read in items.read([1, 2, 3])]
    assert found == [False, True, True]


def test_the_mark_is_hidden(items: LayeredView) -> None:
    items.write([(1, {"title": "One"})])
    assert REMOVED not in items.read([1])[0].values
    with pytest.raises(InvalidFeature, match="cannot be written; remove the entity instead"):
        items.write([(1, {REMOVED: True})])
    with pytest.raises(
        InvalidFeature, match=r"has no feature '_removed'; it has: title, title_tokens, genre, genre_key$"
    ):
        items.read([1], [REMOVED])


def test_versions_share_what_callers_wrote(items: LayeredView) -> None:
    later = LayeredView(items.store, "m_v2_items", "m_items", items.derived)
    base(items, 1, title="In v1")
    base(later, 1, READ_AT + 50, title="In v2")
    items.write([(7, {"title": "Online"})])
    for version, title in ((items, "In v1"), (later, "In v2")):
        assert [read.values["title"] for read in version.read([1, 7])] == [title, "Online"]


def test_the_first_event_copies_the_history_and_goes_on_in_the_overlay(users: LayeredView) -> None:
    base(users, 1, history=[1, 2, 3], age=40)
    assert users.append("history", 1, [9], limit=10) == 4
    assert users.append("history", 1, [3], limit=4) == 4
    (read,) = users.read([1])
    assert read.values == {"history": [2, 3, 9, 3], "age": 40}  # Repeats are events, too; the last four stay.
    assert users.store.read(users.base, [1])[0].values["history"] == [1, 2, 3]


def test_a_newer_base_adds_what_only_the_overlay_has(users: LayeredView) -> None:
    users.append("history", 1, [5, 6, 7], limit=10)
    base(users, 1, NEVER, history=[6, 1])
    assert users.read([1], ["history"])[0].values["history"] == [6, 1, 5, 7]
    assert users.append("history", 1, [8], limit=4) == 4
    held = users.store.read("m_users", [1])[0].values["history"]
    assert held == [1, 5, 7, 8]


def test_events_at_the_same_moment_are_all_kept(users: LayeredView) -> None:
    base(users, 1, history=[0])

    def append(first: int) -> None:
        for item in range(first, first + 10):
            users.append("history", 1, [item], limit=1000)

    threads = [threading.Thread(target=append, args=(100 * n,)) for n in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    history = users.read([1])[0].values["history"]
    assert isinstance(history, list)
    assert sorted(history) == [0, *range(100, 110), *range(200, 210), *range(300, 310)]
    assert history[0] == 0


def test_both_layers_take_one_request(users: LayeredView, connection: redis.Redis) -> None:
    base(users, 1, history=[1])
    users.append("history", 1, [2], limit=9)
    before = connection.info("commandstats")["cmdstat_hmget"]["calls"]
    users.read([1], ["history"])
    assert connection.info("commandstats")["cmdstat_hmget"]["calls"] == before + 1


def test_an_overlay_that_nobody_wrote_does_not_have_redis_searched(items: LayeredView, connection: redis.Redis) -> None:
    base(items, 1, title="One")

    def scans() -> int:
        return int(connection.info("commandstats").get("cmdstat_scan", {}).get("calls", 0))

    before = scans()
    assert items.entities().tolist() == [1]
    assert scans() == before
    assert items.store.entities("m_items").tolist() == []  # A plain view may have been filled by another program.
    assert scans() > before


def test_an_overlay_that_is_too_old_leaves_the_base(store: FeatureStore) -> None:
    fields = (FeatureField(name="age", type=T.INT64),)
    store.put_view(FeatureView(name="base", entity="user_id", fields=fields))
    store.put_view(FeatureView(name="over", entity="user_id", fields=fields, max_age_s=3600))
    users = LayeredView(store, "base", "over")
    store.write("base", [(1, {"age": 30})], 500.0)
    store.write("over", [(1, {"age": 40}), (2, {"age": 50})], 1000.0)
    reads = users.read([1, 2])
    assert [(read.values["age"], read.status) for read in reads] == [
        (30, FeatureStatus.PRESENT), (0, FeatureStatus.OUTSIDE_MAX_AGE),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("overlay", "fields", "text"),
    [
        ("other_entity", {"title": T.STRING, REMOVED: T.BOOL}, "is of 'user_id' and cannot lie over view"),
        ("other_type", {"title": T.INT64, REMOVED: T.BOOL}, "feature 'title' is int64, the other has string"),
        ("no_mark", {"title": T.STRING}, "it needs a bool feature '_removed'"),
    ],
)
def test_layers_that_do_not_fit_are_refused(
    items: LayeredView, overlay: str, fields: dict[str, FeatureType], text: str
) -> None:
    entity = "user_id" if overlay == "other_entity" else "item_id"
    held = tuple(FeatureField(name=name, type=kind) for name, kind in fields.items())
    items.store.put_view(FeatureView(name=overlay, entity=entity, fields=held))
    with pytest.raises(InvalidFeature, match=text):
        LayeredView(items.store, items.base, overlay).check(removable=True)


@pytest.mark.parametrize(
    ("transform", "text"),
    [
        (models_pb2.Transform(input="title", output="genre_key", title_tokens=models_pb2.TitleTokens(max_tokens=1)),
         "needs 'genre_key' to be int64_list, got int64"),
        (models_pb2.Transform(input="nothing", output="genre_key", hash_text=models_pb2.HashText()),
         "has no feature 'nothing'"),
        (models_pb2.Transform(input="title", output="title_tokens"), "got none that this server knows"),
        (models_pb2.Transform(input="title", output="title_tokens", title_tokens=models_pb2.TitleTokens()),
         "max_tokens: expected at least 1, got 0"),
    ],
)  # fmt: skip
def test_transforms_that_do_not_fit_are_refused(items: LayeredView, transform: models_pb2.Transform, text: str) -> None:
    with pytest.raises(InvalidFeature, match=text):
        LayeredView(items.store, items.base, items.overlay, from_manifest([transform])).check(removable=True)
