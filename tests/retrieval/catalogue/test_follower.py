"""A follower serves what is stored: changes of whoever it was, at once, and what nobody noted at the next look."""

from __future__ import annotations

import concurrent.futures
import contextlib
from pathlib import Path

import numpy as np
import pytest
from tests.retrieval.catalogue.following import (
    Site,
    change,
    check_searches,
    counted,
    served,
    shows,
    wait_until_shown,
)
from tests.retrieval.support import DIM, until

from rowbank.errors import ShardUnavailable
from rowbank.features import FeatureField, FeatureView
from rowbank_server.features import FeatureField as NewField
from rowbank_server.features import layout
from rowbank_server.features.values import FeatureType, encode
from rowbank_server.retrieval.catalogue.files import BaseFiles
from rowbank_server.retrieval.catalogue.growth import MergePolicy
from rowbank_server.retrieval.rows import ClientRows


def test_what_another_process_writes_is_found_and_the_base_stays(site: Site) -> None:
    follower = site.open()
    first = served(follower)
    base = first.parts[0].segment
    assert shows(site, follower)()
    before = dict(site.world.item_tokens)
    rng = np.random.default_rng(3)
    for _ in range(5):
        change(site, site.store(), rng, 12)
        wait_until_shown(site, follower)
        check_searches(site, follower)
        assert served(follower).parts[0].segment is base
    assert first.all_ids().tolist() == sorted(before)  # Who still answers from it is not disturbed.
    assert counted(follower).lags
    assert counted(follower).refreshes == 0


def test_an_item_that_is_removed_and_written_again_is_there_once(site: Site) -> None:
    follower, store = site.open(), site.store()
    for _ in range(3):
        store.remove("items", 105)
        until(lambda: not len(served(follower).positions([105])))
        store.write("items", [(105, {"title": site.world.title(105), "title_tokens": site.world.item_tokens[105]})])
        wait_until_shown(site, follower)


def test_parts_are_merged_while_changes_go_on(site: Site) -> None:
    follower = site.open(merging=MergePolicy(part=0.0, least=3, sealed=1))
    rng = np.random.default_rng(4)
    base = served(follower).parts[0].segment
    store = site.store()
    while counted(follower).merges < 3:
        change(site, store, rng, 3)
    wait_until_shown(site, follower)
    check_searches(site, follower)
    assert served(follower).parts[0].segment is not base


def test_what_the_feed_missed_is_found_by_looking_at_everything(site: Site) -> None:
    follower = site.open()
    site.connection.delete(layout.changes_key(site.namespace, "items"))  # As of a Redis that came back empty.
    change(site, site.store(), np.random.default_rng(5), 30)
    wait_until_shown(site, follower)
    change(site, site.store(), np.random.default_rng(6), 30)
    wait_until_shown(site, follower)


def test_what_other_programs_write_is_found_by_a_look(site: Site) -> None:
    follower = site.open(look_s=0.05)
    base = served(follower).parts[0].segment
    tokens = [7, 8, 9]
    site.world.item_tokens[103] = tokens
    key, name = layout.entity_key("item_id", 103, site.namespace), layout.feature_field("items", "title_tokens")
    site.connection.hset(key, mapping={name: encode(tokens, FeatureType.INT64_LIST)})  # type: ignore[misc]
    del site.world.item_tokens[104]
    site.connection.delete(layout.entity_key("item_id", 104, site.namespace))
    wait_until_shown(site, follower)
    assert served(follower).parts[0].segment is base
    swapped, seen = served(follower).index_version, counted(follower).refreshes
    until(lambda: counted(follower).refreshes > seen + 2)
    assert served(follower).index_version == swapped  # Nothing differs, so nothing is swapped.


def test_a_feature_that_came_to_the_view_is_a_column_at_once(site: Site) -> None:
    """With its default, for items that nobody wrote since."""
    follower = site.open()
    index = served(follower).parts[0].segment.index
    fields = (FeatureField("title", "string"), FeatureField("title_tokens", "int64_list"))
    site.client.features.put_view(FeatureView("items", "item_id", (*fields, FeatureField("year", "int64", default=7))))
    site.client.features.write("items", {100: {"year": 1999}})

    def years() -> dict[int, tuple[int, bool]]:
        part = served(follower).parts[0]
        column = part.segment.columns.get("year")
        if column is None:
            return {}
        return {
            int(item): (int(value), bool(stored))
            for item, value, stored in zip(part.segment.ids, column.values, column.stored, strict=True)
        }

    until(lambda: years().get(100) == (1999, True))
    assert years()[101] == (7, False)
    assert served(follower).parts[0].segment.index is index  # The vectors are what they were.
    wait_until_shown(site, follower)


def test_a_live_version_follows_its_rows(site: Site) -> None:
    site.world.publish(site.client, "v2", rows="live")
    follower = site.open("v2")
    site.world.token_rows[1:] = np.random.default_rng(8).normal(size=(59, DIM)).astype(np.float32)
    site.client.table(site.world.token_table).upsert(site.world.tokens, site.world.token_rows)
    wait_until_shown(site, follower)
    change(site, site.store(), np.random.default_rng(9), 20)
    wait_until_shown(site, follower)


def test_an_item_that_cannot_be_read_is_left_out_until_it_can(site: Site) -> None:
    follower, store = site.open(look_s=0.05), site.store()
    key, name = layout.entity_key("item_id", 110, site.namespace), layout.feature_field("items", "title")
    site.connection.hset(key, mapping={name: b"\xff"})  # type: ignore[misc]
    until(lambda: not len(served(follower).positions([110])))
    assert follower.model.items.store.unreadable.counts()["items"] == 1
    assert follower.problem == ""
    store.write("items", [(110, {"title": site.world.title(110)})])
    wait_until_shown(site, follower)
    until(lambda: follower.model.items.store.unreadable.counts()["items"] == 0)


def test_a_view_that_is_gone_is_said_and_the_version_stays(site: Site) -> None:
    follower = site.open()
    site.connection.hdel(layout.views_key(site.namespace), "items")
    site.connection.delete(layout.changes_key(site.namespace, "items"))
    until(lambda: "view 'items' does not exist" in follower.problem)
    assert shows(site, follower)()


def test_what_was_missed_is_looked_at_until_that_succeeds(site: Site, tmp_path: Path) -> None:
    """Also where another process makes the bases; looks that fail in a row are less and less frequent."""
    maker = BaseFiles(tmp_path, site.namespace, site.model())
    assert maker.claim(serving=True)
    now = 0.0
    follower = site.open(folder=tmp_path, started=False)
    follower._clock = lambda: now
    site.connection.delete(layout.changes_key(site.namespace, "items"))
    site.world.item_tokens[103] = [7, 8, 9]
    site.store().write("items", [(103, {"title": site.world.title(103), "title_tokens": [7, 8, 9]})])
    with contextlib.closing(ClientRows(["127.0.0.1:1"], 0.1)) as nobody:
        rows, follower._builder._rows = follower._builder._rows, nobody
        for failures in (1, 2, 3):
            now += 10.0
            follower.step()
            assert follower._jobs.running is not None
            concurrent.futures.wait([follower._jobs.running])
            with pytest.raises(ShardUnavailable):
                follower.step()
            assert follower._jobs.not_before == now + 0.5 * 2 ** (failures - 1)
        follower._builder._rows = rows
    now += 10.0
    follower.step()
    assert follower._jobs.running is not None
    concurrent.futures.wait([follower._jobs.running])
    follower.step()
    assert shows(site, follower)()
    maker.release()


@pytest.mark.parametrize("count", [1, 50])
def test_popularity_is_counted_again(site: Site, count: int) -> None:
    follower = site.open(count_s=0.05)
    site.client.features.write("users", {900 + user: {"history": [139]} for user in range(count)})

    until(lambda: served(follower).interactions_at(served(follower).positions([139])).tolist() == [count])
    generation = served(follower)
    most = generation.ids_at(generation.most_popular(~generation.gone, 2)).tolist()
    assert most == ([139, 100] if count == 50 else [100, 101])


def test_a_feature_that_came_to_the_view_a_moment_ago_is_found(site: Site) -> None:
    """Although the follower's process has read the definition before it, as it does for each query."""
    follower, store = site.open(), site.store()
    fields = list(store.view("items").fields)
    for number in range(5):
        name = f"new_{number}"
        fields.append(NewField(name=name, type=FeatureType.STRING))
        follower.model.items.store.view("items")
        store.put_view(store.view("items").model_copy(update={"fields": tuple(fields)}))
        store.write("items", [(105, {name: "here"})])
        until(lambda name=name: name in served(follower).filter_fields.names)
