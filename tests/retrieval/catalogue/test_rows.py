"""Rows of live versions are followed: own ones at once and alone, shared ones in the background, none in vain."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import redis
from tests.processes import PsProcess, stand_still
from tests.retrieval.catalogue.following import Site, counted, opened, served
from tests.retrieval.catalogue.own_rows import GENRES, OwnRows, shows_rows
from tests.retrieval.support import DIM, World, until

import rowbank
from rowbank.manifests import KeyRule
from rowbank.models import BucketKey, QuotientKey, RemainderKey
from rowbank_server.retrieval.catalogue import moves
from rowbank_server.retrieval.catalogue.growth import MergePolicy
from rowbank_server.retrieval.follower import Follower


@pytest.fixture
def ps(start_ps: Callable[..., PsProcess]) -> PsProcess:
    return start_ps()


@pytest.fixture
def site(ps: PsProcess, connection: redis.Redis, namespace: str) -> Iterator[Site]:
    with rowbank.Client(ps.target) as client:
        world = World(namespace, item_count=1)
        world.create_tables(client)
        world.write_features(client)
        with opened(world, connection, namespace, ps.target, client) as site:
            yield site


@pytest.fixture
def rows(site: Site, namespace: str) -> OwnRows:
    rows = OwnRows(namespace)
    rows.publish(site.client, site.world, "live")
    return rows


def is_followed(follower: Follower) -> bool:
    assert follower._moves is not None
    return follower._moves._subscription.is_in_force


def test_an_items_own_row_is_found_at_once_and_nothing_else_is_made_anew(site: Site, rows: OwnRows) -> None:
    follower = site.open("live")
    assert is_followed(follower)
    base = served(follower).parts[0].segment
    for moved in (rows.ids[3:4], rows.ids[10:20], rows.ids[3:4]):
        rows.push(site.client, moved)
        until(lambda: shows_rows(follower, rows))
        assert served(follower).parts[0].segment is base
    changed = np.concatenate([part.segment.ids for part in served(follower).parts[1:]])
    assert set(changed.tolist()) == {*rows.ids[3:4].tolist(), *rows.ids[10:20].tolist()}
    assert counted(follower).refreshes == 0
    assert not counted(follower).row_lags["shared"]
    assert 0.0 < min(counted(follower).row_lags["own"]) < 10.0


def test_a_row_that_many_share_is_in_all_of_their_vectors_soon(site: Site, rows: OwnRows) -> None:
    follower = site.open("live")
    for genre in (*GENRES, GENRES[0]):
        rows.push_genre(site.client, genre)
        until(lambda: shows_rows(follower, rows))
    assert counted(follower).row_lags["shared"]
    assert counted(follower).refreshes == 0  # No features were read.


def test_a_removed_row_leaves_a_vector_without_it(site: Site, rows: OwnRows) -> None:
    follower = site.open("live")
    for item in rows.ids[:2].tolist():
        site.client.table(rows.table).remove([item])
        del rows.rows[item]
    until(lambda: shows_rows(follower, rows))


@pytest.mark.parametrize(
    "rule", [BucketKey((1, 2), 30), QuotientKey(4), RemainderKey(7)], ids=lambda one: type(one).__name__
)
def test_a_key_of_several_items_concerns_all_of_them(site: Site, namespace: str, rule: KeyRule) -> None:
    rows = OwnRows(namespace, rule=rule)
    rows.publish(site.client, site.world, "live")
    follower = site.open("live")
    keys = np.array(sorted(rows.rows))
    for key in keys[:5]:
        rows.push(site.client, np.array([key]))
        until(lambda: shows_rows(follower, rows))
    assert counted(follower).row_lags["own"]
    assert not counted(follower).row_lags["shared"]


def test_a_key_of_very_many_items_is_a_shared_one(site: Site, namespace: str) -> None:
    rows = OwnRows(namespace, item_count=300, rule=RemainderKey(2))
    rows.publish(site.client, site.world, "live")
    follower = site.open("live")
    rows.push(site.client, np.array([1]))
    until(lambda: shows_rows(follower, rows))
    assert counted(follower).row_lags["shared"]
    assert not counted(follower).row_lags["own"]


def test_items_whose_ids_are_texts_are_followed(site: Site, namespace: str) -> None:
    rows = OwnRows(namespace, has_texts=True)
    rows.publish(site.client, site.world, "live")
    follower = site.open("live")
    rows.push(site.client, rows.ids[5:9])
    until(lambda: shows_rows(follower, rows))
    assert not counted(follower).row_lags["shared"]


def test_what_moves_while_a_version_is_loaded_is_not_missed(site: Site, rows: OwnRows) -> None:
    """Whatever of it the first reading saw."""
    stop = threading.Event()

    def train() -> None:
        with rowbank.Client(site.target) as client:
            while not stop.is_set():
                rows.push(client, rows.rng.choice(rows.ids, 8, replace=False))

    for _ in range(3):
        stop.clear()
        thread = threading.Thread(target=train)
        thread.start()
        follower = site.open("live")
        stop.set()
        thread.join()
        until(lambda follower=follower: shows_rows(follower, rows))
        assert counted(follower).refreshes == 0
        follower.stop()


def test_a_frozen_version_does_not_move(site: Site, rows: OwnRows) -> None:
    rows.publish(site.client, site.world, "frozen", rows="frozen")
    frozen, live = site.open("frozen"), site.open("live")
    first = served(frozen)
    positions = first.positions(rows.ids)
    before = first.vectors_at(positions).tobytes()
    rows.push(site.client, rows.ids)
    rows.push_genre(site.client, GENRES[0])
    until(lambda: shows_rows(live, rows))
    assert served(frozen) is first
    assert served(frozen).vectors_at(positions).tobytes() == before


def test_several_versions_share_a_follow_and_all_see_what_moves(site: Site, rows: OwnRows, namespace: str) -> None:
    """Also one that comes while others are followed, with tables of its own, and those that stay when one goes."""
    feed = site.feed()
    first = site.open("live", feed=feed)
    other = OwnRows(namespace + "-b")
    other.ids, other.genres = rows.ids, rows.genres
    other.publish(site.client, site.world, "second")
    second = site.open("second", feed=feed)
    for at in range(3):
        rows.push(site.client, rows.ids[at : at + 2])
        other.push(site.client, other.ids[at + 5 : at + 9])
        until(lambda: shows_rows(first, rows) and shows_rows(second, other))
    first.stop()
    other.push(site.client, other.ids)
    until(lambda: shows_rows(second, other))
    assert counted(first).refreshes == counted(second).refreshes == 0


def test_whoever_cannot_follow_yet_looks_at_everything_once_it_can(
    site: Site, rows: OwnRows, ps: PsProcess, start_ps: Callable[..., PsProcess], tmp_path: Path
) -> None:
    """A version from a file is served while the shard is away."""
    site.open("live", folder=tmp_path).stop()
    rows.push(site.client, rows.ids[:9])
    assert ps.terminate() == 0, ps.log
    follower = site.open("live", folder=tmp_path)
    assert not is_followed(follower)
    start_ps("--bind", ps.target)
    until(lambda: is_followed(follower))
    until(lambda: shows_rows(follower, rows))
    rows.push(site.client, rows.ids[:2])
    until(lambda: shows_rows(follower, rows))


def test_where_nobody_more_may_follow_all_items_are_gone_through_now_and_then(
    start_ps: Callable[..., PsProcess], connection: redis.Redis, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moves, "_BLIND_S", 0.2)
    ps, world, rows = start_ps("--max-followers", "1"), World(namespace, item_count=1), OwnRows(namespace)
    with rowbank.Client(ps.target) as client:
        world.create_tables(client)
        world.write_features(client)
        rows.publish(client, world, "live")
        with opened(world, connection, namespace, ps.target, client) as site:
            with client.follow([rows.table], since="now"):
                follower = site.open("live")
                assert not is_followed(follower)
                rows.push(client, rows.ids[:5])
                until(lambda: shows_rows(follower, rows))
            until(lambda: is_followed(follower))
            rows.push(client, rows.ids[3:9])
            until(lambda: shows_rows(follower, rows))


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_shard_that_is_started_again_is_followed_on(
    site: Site, rows: OwnRows, ps: PsProcess, start_ps: Callable[..., PsProcess], how: str
) -> None:
    follower = site.open("live")
    for _ in range(2):
        rows.push(site.client, rows.rng.choice(rows.ids, 9, replace=False))
        if how == "killed":
            ps.kill()
            ps.wait()
        else:
            assert ps.terminate() == 0, ps.log
        assert len(served(follower).positions(rows.ids)) == len(rows.ids)
        ps = start_ps("--bind", ps.target)
        rows.push(site.client, rows.rng.choice(rows.ids, 9, replace=False))
        rows.push_genre(site.client, GENRES[1])
        until(lambda: shows_rows(follower, rows))


def test_a_shard_that_stands_still_costs_no_answer_and_nothing_is_missed(
    site: Site, rows: OwnRows, ps: PsProcess
) -> None:
    follower = site.open("live")
    rows.push(site.client, rows.ids[:4])
    until(lambda: shows_rows(follower, rows))
    stand_still(ps.pid)
    try:
        generation = served(follower)
        query = np.ones((1, generation.model.manifest.vector_dim), np.float32)
        positions, _ = generation.search(query, 8, generation.unindexed[None, :])
        assert (positions >= 0).all()
        site.store().write("goods", [(int(rows.ids[0]), {"title": "Written meanwhile"})])
    finally:
        os.kill(ps.pid, signal.SIGCONT)
    rows.push(site.client, rows.ids[2:9])
    until(lambda: shows_rows(follower, rows))
    until(lambda: served(follower).title_at(int(served(follower).positions(rows.ids[:1])[0])) == "Written meanwhile")


def test_rows_of_a_table_that_was_made_anew_are_not_taken(site: Site, rows: OwnRows) -> None:
    follower = site.open("live")
    before = rows.vectors()
    site.client.drop_table(rows.table, force=True)
    until(lambda: rows.table in served(follower).lost)
    spec = rowbank.TableSpec(rows.table, dim=DIM, optimizer=rowbank.SGD(1.0))
    site.client.create_table(spec).upsert(rows.ids, np.ones((len(rows.ids), DIM), np.float32))
    seen = follower._poll_at
    until(lambda: follower._poll_at > seen + 0.2)
    generation = served(follower)
    assert np.allclose(generation.vectors_at(generation.positions(rows.ids)), before, rtol=1e-4, atol=1e-4)
    assert "was dropped" in follower.problem


def test_rows_that_are_the_versions_again_are_taken(site: Site, namespace: str) -> None:
    """Also those that moved while another run trained the table."""
    rows = OwnRows(namespace)
    rows.publish(site.client, site.world, "before")  # Makes the tables.
    with site.client.hold_tables("the run", [rows.table], run="r1"):
        rows.publish(site.client, site.world, "live")
    follower = site.open("live")
    before = rows.vectors()
    with site.client.hold_tables("another run", [rows.table], run="r2"):
        until(lambda: rows.table in served(follower).lost)
        rows.push(site.client, rows.ids)
        generation = served(follower)
        assert np.allclose(generation.vectors_at(generation.positions(rows.ids)), before, rtol=1e-4, atol=1e-4)
    with site.client.hold_tables("the run", [rows.table], run="r1"):
        until(lambda: not served(follower).lost)
        until(lambda: shows_rows(follower, rows))


def test_a_retrain_that_moves_everything_stays_bounded_and_is_caught_up_with(
    site: Site, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limits are lowered, so that a small catalogue floods them."""
    monkeypatch.setattr(moves, "_MOST_ITEMS", 64)
    monkeypatch.setattr(moves, "_MOST_SHARED", 16)
    rows = OwnRows(namespace, item_count=2000)
    rows.publish(site.client, site.world, "live")
    follower = site.open("live", merging=MergePolicy(part=0.1, least=500, sealed=2))
    assert follower._moves is not None
    for _ in range(10):
        rows.push(site.client, rows.ids)
        rows.push_genre(site.client, GENRES[2])
        assert follower._moves.waiting <= 64
    until(lambda: shows_rows(follower, rows))
    assert counted(follower).row_lags["shared"]
    until(lambda: len(served(follower).parts) < 6)
    until(lambda: follower._moves is not None and not follower._moves.is_flooded)


def test_own_rows_do_not_wait_for_shared_ones(site: Site, namespace: str) -> None:
    rows = OwnRows(namespace, item_count=5000)
    rows.publish(site.client, site.world, "live")
    follower = site.open("live")
    stop = threading.Event()

    def train() -> None:
        with rowbank.Client(site.target) as client:
            while not stop.wait(0.02):
                rows.push_genre(client, GENRES[0])

    thread = threading.Thread(target=train)
    thread.start()
    try:
        for at in range(20):
            seen = len(counted(follower).row_lags["own"])
            rows.push(site.client, rows.ids[at : at + 1])
            until(lambda seen=seen: len(counted(follower).row_lags["own"]) > seen)
        assert counted(follower).row_lags["shared"]
    finally:
        stop.set()
        thread.join()
    until(lambda: shows_rows(follower, rows))
