"""Followers in this process, over a real Redis and a real parameter server, and what they should serve."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import redis
from tests.retrieval.support import MODEL, World, until

import rowbank
from rowbank_server.features import FeatureStore
from rowbank_server.registry import ModelRegistry
from rowbank_server.registry.model import Model, load_model
from rowbank_server.retrieval.catalogue.options import FollowerOptions
from rowbank_server.retrieval.catalogue.row_follow import RowFollow
from rowbank_server.retrieval.catalogue.rows_feed import RowsFeed
from rowbank_server.retrieval.catalogue.watching import Watch
from rowbank_server.retrieval.follower import Follower
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.lineage import Lineage
from rowbank_server.retrieval.rows import ClientRows


class Counted(Watch):
    """Counts what a follower does."""

    def __init__(self) -> None:
        self.refreshes = self.merges = 0
        self.lags: list[float] = []
        self.row_lags: dict[str, list[float]] = {"own": [], "shared": []}

    def refreshed(self) -> None:
        self.refreshes += 1

    def merged(self) -> None:
        self.merges += 1

    def taken_in(self, lag_s: float) -> None:
        self.lags.append(lag_s)

    def rows_taken_in(self, rows: str, lag_s: float) -> None:
        self.row_lags[rows].append(lag_s)


@dataclass
class Site:
    """A world whose model is stored, and followers of its version."""

    world: World
    connection: redis.Redis
    namespace: str
    target: str
    client: rowbank.Client
    closing: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def store(self) -> FeatureStore:
        """As another process has it."""
        return FeatureStore(self.connection, self.namespace)

    def model(self, version: str = "v1") -> Model:
        registry = ModelRegistry(self.connection, self.namespace)
        stored = registry.get(MODEL, version)
        return load_model(stored.manifest, registry.files(stored.manifest), self.store())

    def feed(self) -> RowsFeed:
        """A follow of rows, as one process has it."""
        feed = RowsFeed(lambda tables, sink: RowFollow([self.target], tables, sink, "test"))
        self.closing.callback(feed.close)
        return feed

    def open(
        self, version: str = "v1", *, started: bool = True, feed: RowsFeed | None = None, **options: Any
    ) -> Follower:
        """A follower that has loaded the version."""
        rows = self.closing.enter_context(contextlib.closing(ClientRows([self.target], 10.0)))
        serials = itertools.count(1)
        chosen = FollowerOptions(**{"count_s": 3600.0, "poll_s": 0.01, "namespace": self.namespace, **options})
        follower = Follower(
            self.model(version),
            rows,
            Lineage(self.connection, self.namespace),
            chosen,
            feed or self.feed(),
            next_serial=lambda: next(serials),
            watch=Counted(),
        )
        self.closing.callback(follower.stop)
        follower.load(with_lost_tables=True)
        if started:
            follower.start()
        return follower


def counted(follower: Follower) -> Counted:
    watch = follower._watched
    assert isinstance(watch, Counted)
    return watch


def served(follower: Follower) -> Generation:
    assert follower.current is not None
    return follower.current


def shows(site: Site, follower: Follower) -> Callable[[], bool]:
    """Whether what is served is what the world has: items, titles and vectors."""

    def look() -> bool:
        generation, world = served(follower), site.world
        ids = sorted(world.item_tokens)
        if generation.all_ids().tolist() != ids:
            return False
        positions = generation.positions(ids)
        titles = [generation.title_at(int(at)) for at in positions]
        return titles == [world.title(item) for item in ids] and np.allclose(
            generation.vectors_at(positions), world.vectors(ids), atol=1e-5
        )

    return look


def check_searches(site: Site, follower: Follower) -> None:
    """A search for a user finds what NumPy finds."""
    generation = served(follower)
    ids = np.array(sorted(site.world.item_tokens))
    for user in (1, 5):
        query = site.world.user_vector(user)
        positions, scores = generation.search(query[None, :], 8, generation.unindexed[None, :])
        expected = site.world.vectors(ids).astype(np.float64) @ query.astype(np.float64)
        best = np.argsort(-expected, kind="stable")[:8]
        assert generation.ids_at(positions[0]).tolist() == ids[best].tolist()
        assert np.allclose(scores[0], expected[best], atol=1e-4)


def change(site: Site, store: FeatureStore, rng: np.random.Generator, count: int) -> None:
    """Adds, changes and removes items of the world, and writes that."""
    world = site.world
    for item in rng.integers(100, 160, count).tolist():
        if item in world.item_tokens and rng.random() < 0.3:
            del world.item_tokens[item]
            store.remove("items", item)
        else:
            world.item_tokens[item] = rng.integers(1, 60, 3).tolist()
            store.write("items", [(item, {"title": world.title(item), "title_tokens": world.item_tokens[item]})])


def wait_until_shown(site: Site, follower: Follower) -> None:
    until(shows(site, follower))


@contextlib.contextmanager
def opened(
    world: World, connection: redis.Redis, namespace: str, target: str, client: rowbank.Client
) -> Iterator[Site]:
    site = Site(world, connection, namespace, target, client)
    with site.closing:
        yield site
