"""Splits of users over versions, and a version that is only compared."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import pytest
import redis
from tests.processes import PsProcess
from tests.retrieval.hosted import Hosted, hosted
from tests.retrieval.support import MODEL, World, until

import rowbank
from rowbank.errors import InvalidModel, InvalidRequest, ModelNotFound
from rowbank.traffic import Traffic, place, version_of
from rowbank_server.features import FeatureStore
from rowbank_server.registry import ModelRegistry
from rowbank_server.registry.pruning import Pruning, TableFacts
from rowbank_server.registry.upkeep import Upkeep
from rowbank_server.retrieval.hosting.shadow import overlap, top_difference
from rowbank_server.retrieval.queries import Answer, Found, Query, Source


@pytest.fixture
def ps(start_ps: Callable[..., PsProcess]) -> PsProcess:
    return start_ps()


@pytest.fixture
def client(ps: PsProcess) -> Iterator[rowbank.Client]:
    with rowbank.Client(ps.target) as client:
        yield client


@pytest.fixture
def world(client: rowbank.Client, namespace: str) -> World:
    """Stored, with a version v1 that is active, and v2 and v3 that like what v1 does not."""
    world = World(namespace, user_count=60)
    world.create_tables(client)
    world.write_features(client)
    world.publish(client, "v1")
    turned = World(world.suffix, user_count=60)
    turned.item_weights = -turned.item_weights
    for version in ("v2", "v3"):
        turned.publish(client, version, activate=False)
    return world


@pytest.fixture
def running(
    connection: redis.Redis, namespace: str, ps: PsProcess, client: rowbank.Client, world: World
) -> Iterator[Hosted]:
    with hosted(connection, namespace, ps.target, MODEL) as running:
        until(lambda: running.serves(MODEL) == "v1")
        yield running


def hand_made_place(model: str, user: int) -> float:
    """The documented formula, written out."""
    digest = hashlib.blake2b(f"{model}/{user}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "little") % 2**63) / 2**63


def test_a_users_place_is_the_documented_function_of_model_and_id() -> None:
    assert all(place("m", user) == hand_made_place("m", user) for user in (0, 7, -3, 2**62))
    assert place("m", "anna") == place("m", rowbank.text.token_key("anna"))
    traffic = Traffic({"v3": 0.25, "v2": 0.5}, active="v1")
    users = range(20_000)
    by_hand = {
        user: "v2" if (at := hand_made_place("m", user)) < 0.5 else "v3" if at < 0.75 else "v1" for user in users
    }
    assert {user: version_of("m", user, traffic) for user in users} == by_hand
    counts = [list(by_hand.values()).count(version) for version in ("v1", "v2", "v3")]
    assert counts == pytest.approx([5_000, 10_000, 5_000], rel=0.05)  # The deviation is 61, so this is four of them.
    assert sum(place("m", user) < 0.5 and place("n", user) < 0.5 for user in users) == pytest.approx(5_000, rel=0.05)


def test_users_get_the_version_of_their_place(running: Hosted, client: rowbank.Client, world: World) -> None:
    """Without a user id, the active one; by name, any that is loaded; while one is loaded, all go on."""
    client.models.set_traffic(MODEL, {"v2": 0.5, "v3": 0.0})
    until(lambda: set(running.hosts.of().servings) == {"v1", "v2", "v3"})
    traffic = Traffic({"v2": 0.5, "v3": 0.0}, active="v1")
    users = world.users.tolist()
    until(lambda: running.hosts.of().pick(next(u for u in users if place(MODEL, u) < 0.5)).split == "split")
    got = {user: running.ask(Query(user_id=user, k=1), user_key=user).model_version for user in users}
    assert got == {user: version_of(MODEL, user, traffic) for user in users}
    assert set(got.values()) == {"v1", "v2"}
    assert running.ask(Query(k=1)).model_version == "v1"
    assert running.ask(Query(user_id=1, k=1), user_key=1, version="v3").model_version == "v3"
    shown = {one.version: (one.active, one.share, one.shadow, one.items) for one in running.hosts.of().loaded()}
    count = world.item_count
    assert shown == {
        "v1": (True, 0.5, False, count),
        "v2": (False, 0.5, False, count),
        "v3": (False, 0.0, False, count),
    }
    assert all(one.memory_bytes > 0 and one.load_s > 0 and one.warm_up_s > 0 for one in running.hosts.of().loaded())


def test_while_a_version_cannot_be_loaded_its_users_get_the_active_one_and_no_other_is_moved(
    running: Hosted, client: rowbank.Client, world: World
) -> None:
    world.publish(client, "v20", activate=False, user_view="people")  # Before v3 in the order of names.
    client.models.set_traffic(MODEL, {"v20": 0.4, "v3": 0.4})
    traffic = Traffic({"v20": 0.4, "v3": 0.4}, active="v1")
    until(lambda: "view 'people' does not exist" in running.hosts.of().problem)
    expected = {user: version_of(MODEL, user, traffic).replace("v20", "v1") for user in world.users.tolist()}
    until(lambda: {user: running.hosts.of().pick(user).serving.version for user in expected} == expected)
    assert set(expected.values()) == {"v1", "v3"}
    (problem,) = (one.problem for one in running.hosts.of().loaded() if one.version == "v20")
    assert "view 'people' does not exist" in problem


def test_a_version_that_becomes_active_leaves_the_split(client: rowbank.Client, world: World) -> None:
    """It has what the others leave, then; the one before has nothing, and the others keep their users."""
    assert client.models.set_traffic(MODEL, {"v1": 0.6, "v2": 0.3, "v3": 0.1}) == Traffic(
        {"v2": 0.3, "v3": 0.1}, active="v1"
    )
    client.models.activate(MODEL, "v2")
    assert client.models.traffic(MODEL) == Traffic({"v3": 0.1}, active="v2")
    client.models.set_traffic(MODEL, {"v3": 0.1}, shadow="v1")
    assert client.models.roll_back(MODEL) == "v1"
    assert client.models.traffic(MODEL) == Traffic({"v3": 0.1}, active="v1")
    assert client.models.set_traffic(MODEL) == Traffic(active="v1")


@pytest.mark.parametrize(
    ("shares", "shadow", "error", "message"),
    [
        ({"v2": 1.5}, "", InvalidRequest, "v2: expected a number from 0 to 1, got 1.5"),
        ({"v2": -0.1}, "", InvalidRequest, "v2: expected a number from 0 to 1, got -0.1"),
        ({"v2": float("nan")}, "", InvalidRequest, "v2: expected a number from 0 to 1, got nan"),
        ({"v2": 0.6, "v3": 0.5}, "", InvalidRequest, "expected at most 1 together, got 1.1"),
        ({"v1": 0.2, "v2": 0.3}, "", InvalidRequest, "v1 is the active version and gets what the others leave, 0.7"),
        ({"v9": 0.1}, "", ModelNotFound, "no version v9; it has: v3, v2, v1"),
        ({}, "v9", ModelNotFound, "no version v9; it has: v3, v2, v1"),
        ({}, "v1", InvalidRequest, "shadow: v1 is the active version"),
        ({"text": 0.1}, "", InvalidRequest, "text has ids of another kind than the active version v1"),
        ({"v2": "much"}, "", InvalidRequest, "shares: expected numbers by version"),
    ],
    ids=["above", "below", "nan", "sum", "active", "unknown", "unknown-shadow", "active-shadow", "ids", "text"],
)
def test_traffic_that_cannot_be_is_refused_and_nothing_changes(
    client: rowbank.Client, world: World, shares: dict[str, float], shadow: str, error: type[Exception], message: str
) -> None:
    client.models.set_traffic(MODEL, {"v3": 0.25})
    world.publish(client, "text", activate=False, user_ids="string")
    with pytest.raises(error, match=message):
        client.models.set_traffic(MODEL, shares, shadow=shadow)
    assert client.models.traffic(MODEL) == Traffic({"v3": 0.25}, active="v1")
    assert client.models.set_traffic(MODEL, {"text": 0.0}).shares == {"text": 0.0}


def test_unknown_models_have_no_traffic(client: rowbank.Client, world: World) -> None:
    with pytest.raises(ModelNotFound, match="'other' does not exist; known models: two_tower"):
        client.models.traffic("other")
    with pytest.raises(ModelNotFound, match="'other' does not exist; known models: two_tower"):
        client.models.set_traffic("other", {"v1": 1.0})


def test_what_traffic_names_or_a_service_has_loaded_is_not_pruned(
    client: rowbank.Client, world: World, registry: ModelRegistry, connection: redis.Redis, namespace: str
) -> None:
    for version in ("v4", "v5", "v6", "v7"):
        world.publish(client, version, activate=False)
    client.models.set_traffic(MODEL, {"v2": 0.0}, shadow="v3")
    registry.note_loaded({MODEL: ["v4"]}, 2e9)  # In the future of any clock that this test runs by.
    assert client.models.prune(MODEL, keep=2).versions == ("v5",)
    stored = [entry.manifest.version for entry in client.models.list(MODEL)]
    assert stored == ["v7", "v6", "v4", "v3", "v2", "v1"]
    with pytest.raises(InvalidModel, match="v2 is in the split of traffic or its shadow"):
        registry.remove(registry.get(MODEL, "v2").manifest)
    connection.delete(f"{namespace}:models:{{{MODEL}}}:loaded")
    client.models.set_traffic(MODEL)
    assert client.models.prune(MODEL, keep=2).versions == ("v4", "v3", "v2")


class NoTables:
    """A cluster in which nothing is to be dropped."""

    def facts(self) -> list[TableFacts]:
        return []

    def drop(self, name: str) -> None:
        raise AssertionError(name)


def test_old_versions_go_by_a_rule_in_one_process_at_a_time(
    client: rowbank.Client, world: World, registry: ModelRegistry, store: FeatureStore
) -> None:
    client.models.set_traffic(MODEL, {"v2": 0.1})
    for version in ("v4", "v5", "v6"):
        world.publish(client, version, activate=False)
    world.publish(client, "w1", name="other")
    first, second = (
        Upkeep(registry, Pruning(registry, store, NoTables()), 2, owner=owner, interval_s=3600.0)
        for owner in ("a", "b")
    )
    assert {name: done.versions for name, done in first.step().items()} == {MODEL: ["v4", "v3"]}
    assert [entry.manifest.version for entry in client.models.list(MODEL)] == ["v6", "v5", "v2", "v1"]
    world.publish(client, "v7", activate=False)
    assert second.step() == {}  # It was the first one's turn.


def value(running: Hosted, name: str) -> float:
    """A sample of a metric of version v2."""
    return running.metrics.registry.get_sample_value(name, {"model": MODEL, "version": "v2"}) or 0.0


def test_a_shadow_is_asked_the_same_and_its_answers_are_only_compared(
    running: Hosted, client: rowbank.Client, world: World
) -> None:
    client.models.set_traffic(MODEL, shadow="v2")
    until(lambda: "v2" in running.hosts.of().servings)
    expected = world.expected(world.user_vector(3), 10)[0]

    def asked() -> bool:
        answer = running.ask(Query(user_id=3, k=10))
        assert (answer.model_version, [found.item_id for found in answer.items]) == ("v1", expected)
        return value(running, "rowbank_shadow_overlap_count") > 0

    until(asked)
    # v2 likes what v1 likes least: of forty items, none of the ten best is among its ten.
    assert value(running, "rowbank_shadow_overlap_sum") == 0.0
    until(lambda: value(running, "rowbank_shadow_top_score_difference_count") > 0)
    scores = world.vectors().astype(float) @ world.user_vector(3).astype(float)
    apart = pytest.approx(abs(scores.min() + scores.max()), rel=1e-4)

    def mean() -> float:
        """While comparisons end, one may come between count and sum."""
        count, total = (value(running, f"rowbank_shadow_top_score_difference_{what}") for what in ("count", "sum"))
        return total / count

    until(lambda: mean() == apart)
    assert value(running, "rowbank_model_answers_total") == 0  # Nobody got an answer of it.
    client.models.set_traffic(MODEL)
    until(lambda: not running.hosts.of().loaded()[0].shadow)


def test_figures_of_a_version_go_with_it(
    connection: redis.Redis, namespace: str, ps: PsProcess, client: rowbank.Client, world: World
) -> None:
    with hosted(connection, namespace, ps.target, MODEL, keep_s=0.0, grace_s=0.0) as running:
        until(lambda: running.serves(MODEL) == "v1")
        client.models.set_traffic(MODEL, {"v2": 1.0})
        until(lambda: running.hosts.of().pick(1).split == "split")
        running.ask(Query(user_id=1), user_key=1)
        assert value(running, "rowbank_model_answers_total") == 1
        assert value(running, "rowbank_model_memory_bytes") > 0
        client.models.set_traffic(MODEL)
        until(lambda: b'version="v2"' not in running.metrics.exposition())
        assert b'rowbank_model_info{model="two_tower",version="v1"} 1.0' in running.metrics.exposition()


def answered(*items: tuple[int, float | None]) -> Answer:
    return Answer([Found(item, score, "") for item, score in items], Source.PERSONAL, "v", "v.1")


def test_how_answers_compare_is_worked_out() -> None:
    one, other = answered((1, 5.0), (2, 4.0), (3, 3.0)), answered((2, 7.5), (9, 1.0))
    assert overlap(one, other) == pytest.approx(1 / 3)
    assert overlap(answered(), answered()) == 1.0
    assert overlap(answered(), other) == 0.0
    assert top_difference(one, other) == 2.5
    assert top_difference(one, answered((4, None))) is None
    assert top_difference(one, answered()) is None
