"""Bases in files: shared by processes, started from, refused where they do not fit, made by one process at a time."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.retrieval.catalogue.following import Site, change, check_searches, counted, served, shows, wait_until_shown
from tests.retrieval.support import until

from rowbank.features import FeatureField, FeatureView
from rowbank_server.features import layout
from rowbank_server.features.changes import ChangeFeed
from rowbank_server.retrieval.catalogue.files import BaseFiles, FolderError, prepare
from rowbank_server.retrieval.catalogue.growth import MergePolicy
from rowbank_server.retrieval.follower import Follower
from rowbank_server.retrieval.index import IndexOptions


def is_mapped(array: Any) -> bool:
    """Whether an array lies in a file: what it is a view of is a mapping, in the end."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return type(array).__name__ in ("memoryview", "mmap")


def bases(folder: Path) -> list[Path]:
    return sorted(folder.rglob("base-*.items"))


def base_of(follower: Follower) -> Any:
    return served(follower).parts[0].segment


def test_a_second_process_and_a_restarted_one_map_what_the_first_made(site: Site, tmp_path: Path) -> None:
    first = site.open(folder=tmp_path)
    assert is_mapped(base_of(first).ids)  # The one that made it shares it, too.
    assert is_mapped(base_of(first).index.vectors)
    (made,) = bases(tmp_path)
    second = site.open(folder=tmp_path)
    assert bases(tmp_path) == [made]
    assert is_mapped(base_of(second).columns["title"].present)
    rng = np.random.default_rng(3)
    change(site, site.store(), rng, 20)
    for follower in (first, second):
        wait_until_shown(site, follower)
        check_searches(site, follower)
        follower.stop()
    change(site, site.store(), rng, 20)  # While nobody serves.
    third = site.open(folder=tmp_path, started=False)
    assert shows(site, third)()  # From its first moment on.
    assert bases(tmp_path) == [made]
    check_searches(site, third)


def test_a_merge_is_made_by_one_and_taken_by_the_others(site: Site, tmp_path: Path) -> None:
    merging = MergePolicy(part=0.0, least=3, sealed=1)
    followers = [site.open(folder=tmp_path, merging=merging) for _ in range(3)]
    before = base_of(followers[0]).ids
    rng, store = np.random.default_rng(4), site.store()
    while counted(followers[0]).merges < 3:
        change(site, store, rng, 4)
    for follower in followers:
        wait_until_shown(site, follower)
        check_searches(site, follower)
    assert [counted(follower).merges for follower in followers[1:]] == [0, 0]
    newest = bases(tmp_path)[-1]
    until(
        lambda: all(
            is_mapped(base_of(one).ids) and len(base_of(one)) == len(base_of(followers[0])) for one in followers
        )
    )
    assert len(before) == 40
    assert newest.exists()
    followers[0].stop()  # Then another one makes them.
    while not any(counted(follower).merges for follower in followers[1:]):
        change(site, store, rng, 4)
    for follower in followers[1:]:
        wait_until_shown(site, follower)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def damage_items(folder: Path, site: Site) -> None:
    flip(bases(folder)[0], 4096 + 3)


def damage_header(folder: Path, site: Site) -> None:
    flip(bases(folder)[0], 70)


def damage_index(folder: Path, site: Site) -> None:
    flip(bases(folder)[0].with_suffix(".index"), 4096 + 5)


def cut(folder: Path, site: Site) -> None:
    os.truncate(bases(folder)[0], 5000)


def lose_index(folder: Path, site: Site) -> None:
    bases(folder)[0].with_suffix(".index").unlink()


def empty(folder: Path, site: Site) -> None:
    bases(folder)[0].write_bytes(b"")


def change_view(folder: Path, site: Site) -> None:

    fields = (
        FeatureField("title", "string"),
        FeatureField("title_tokens", "int64_list"),
        FeatureField("year", "int64"),
    )
    site.client.features.put_view(FeatureView("items", "item_id", fields))


@pytest.mark.parametrize(
    "spoil",
    [damage_items, damage_header, damage_index, cut, lose_index, empty, change_view],
    ids=lambda one: one.__name__,
)
def test_a_file_that_does_not_fit_is_not_used_but_made_anew(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: Any
) -> None:
    site.open(folder=tmp_path).stop()
    (made,) = bases(tmp_path)
    spoil(tmp_path, site)
    with caplog.at_level(logging.WARNING):
        follower = site.open(folder=tmp_path, started=False)
    assert shows(site, follower)()
    check_searches(site, follower)
    assert bases(tmp_path) != [made]
    assert len(bases(tmp_path)) == 1
    if spoil is not lose_index:
        assert "a file of its index is not used, and it is built anew" in caplog.text


def test_an_index_that_was_made_by_other_settings_is_made_anew(site: Site, tmp_path: Path) -> None:
    site.open(folder=tmp_path).stop()
    (made,) = bases(tmp_path)
    follower = site.open(folder=tmp_path, started=False, index=IndexOptions(recall_target=0.9))
    assert bases(tmp_path) != [made]
    check_searches(site, follower)


def test_where_the_feed_forgot_changes_everything_is_looked_at(site: Site, tmp_path: Path) -> None:
    site.open(folder=tmp_path).stop()
    feed = ChangeFeed(site.connection, site.namespace, max_entries=10)
    change(site, site.store(), np.random.default_rng(5), 20)
    for _ in range(300):
        feed.note("items", [100])
    follower = site.open(folder=tmp_path, started=False)
    assert shows(site, follower)()
    site.connection.delete(layout.changes_key(site.namespace, "items"))
    change(site, site.store(), np.random.default_rng(6), 20)
    follower.stop()
    assert shows(site, site.open(folder=tmp_path, started=False))()


def test_another_version_has_files_of_its_own(site: Site, tmp_path: Path) -> None:
    site.open(folder=tmp_path).stop()
    site.world.item_weights = -site.world.item_weights
    site.world.publish(site.client, "v2", rows="frozen")
    follower = site.open("v2", folder=tmp_path)
    assert shows(site, follower)()
    assert len(bases(tmp_path)) == 2


def test_a_live_version_begins_with_a_file_and_goes_on_by_its_rows(site: Site, tmp_path: Path) -> None:
    site.world.publish(site.client, "v2", rows="live")
    site.open("v2", folder=tmp_path).stop()
    table = site.client.table(site.world.token_table)
    site.world.token_rows[1:] = np.random.default_rng(8).normal(size=site.world.token_rows[1:].shape).astype(np.float32)
    table.upsert(site.world.tokens, site.world.token_rows)
    follower = site.open("v2", folder=tmp_path)
    wait_until_shown(site, follower)


def test_several_that_start_at_once_build_once(site: Site, tmp_path: Path) -> None:
    found: list[Follower] = []
    threads = [
        threading.Thread(target=lambda: found.append(site.open(folder=tmp_path, started=False))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 4
    assert len(bases(tmp_path)) == 1
    for follower in found:
        assert shows(site, follower)()
        assert is_mapped(base_of(follower).ids)


def test_what_a_killed_process_left_half_written_is_removed(site: Site, tmp_path: Path) -> None:
    site.open(folder=tmp_path).stop()
    (made,) = bases(tmp_path)
    left = [
        made.with_name(name) for name in (".base-1.items.77.ab.tmp", f"base-{7:020d}.index", f"base-{9:020d}.items")
    ]
    for path in left:
        path.write_bytes(b"half")
    follower = site.open(folder=tmp_path, started=False)
    assert shows(site, follower)()
    assert not any(path.exists() for path in left)


def test_files_of_versions_that_nobody_serves_go_when_they_are_old(site: Site, tmp_path: Path) -> None:
    first = site.open(folder=tmp_path, started=False)
    site.world.publish(site.client, "v2", rows="frozen")
    old = bases(tmp_path)[0].parent
    for path in old.iterdir():
        os.utime(path, (1, 1))
    second = site.open("v2", folder=tmp_path, started=False)
    assert old.exists()  # It is served.
    first.stop()
    second.stop()
    for path in old.iterdir():
        os.utime(path, (1, 1))
    site.open("v2", folder=tmp_path, started=False)
    assert not old.exists()


def test_files_of_many_versions_that_nobody_serves_go_sooner(site: Site, tmp_path: Path) -> None:
    files = BaseFiles(tmp_path, site.namespace, site.model())
    versions = files._folder.parent
    now = time.time()
    for number in range(10, 17):
        folder = versions / f"v{number}"
        folder.mkdir(parents=True)
        (folder / "lock").touch()
        os.utime(folder / "lock", (now - 1000 + number, now - 1000 + number))
    assert files.claim(serving=True)
    assert sorted(folder.name for folder in versions.iterdir()) == ["v1", "v13", "v14", "v15", "v16"]
    files.release()


def test_a_disk_that_is_full_leaves_the_index_in_memory(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = BaseFiles(tmp_path, site.namespace, site.model())._folder
    folder.mkdir(parents=True)
    (folder / "lock").mkdir()  # As good as any reason why nothing can be written there.
    follower = site.open(folder=tmp_path)
    assert shows(site, follower)()
    assert "its index is not kept in files" in caplog.text
    change(site, site.store(), np.random.default_rng(3), 5)
    wait_until_shown(site, follower)


def test_the_folder_belongs_to_one_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "index"
    prepare(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    prepare(folder)
    folder.chmod(0o777)
    with pytest.raises(FolderError, match=r"nobody else may write to.*chmod 700"):
        prepare(folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="cannot be used"):
        prepare(tmp_path / "file" / "index")
    with pytest.raises(FolderError):
        prepare(tmp_path / "file")
