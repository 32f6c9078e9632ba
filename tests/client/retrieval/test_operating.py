"""Versions, traffic and the index by the client, against a real service of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.client.retrieval.conftest import Served, serving_shop
from tests.processes import until
from tests.retrieval.named import NamedWorld

from rowbank import RetrievalClient
from rowbank.errors import InvalidRequest, ModelNotFound
from rowbank.retrieval import F, Traffic


@pytest.fixture(scope="module")
def shop(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving_shop(redis_url, tmp_path_factory.mktemp("operating")) as found:
        found.world.publish(found.client, "v2", activate=False)
        yield found


@pytest.fixture
def operator(shop: Served) -> Iterator[RetrievalClient]:
    with RetrievalClient(shop.target, timeout_s=60) as client:
        yield client


def test_versions_are_listed_loaded_activated_and_rolled_back(shop, operator):
    listed = operator.models()
    assert listed.default_model == "two_tower"
    assert {(one.version, one.active, one.serving) for one in listed.models} == {
        ("v1", True, True),
        ("v2", False, False),
    }
    (serving,) = (one for one in listed.models if one.serving)
    assert (serving.items, serving.index, serving.vector_dim) == (40, "exact", 5)
    assert serving.memory_bytes > 0

    assert operator.set_traffic(Traffic({"v2": 0.0})).shares == {"v2": 0.0}
    until(lambda: all(one.serving for one in operator.models().models))
    assert operator.recommend(3, version="v2").model_version == "v2"
    assert operator.recommend(3).model_version == "v1"

    told = operator.activate("v2", force=True)
    assert (told.version, told.previous_version) == ("v2", "v1")
    until(lambda: operator.recommend(3).model_version == "v2")
    assert [one.version for one in operator.models().models if one.previous] == ["v1"]
    assert operator.roll_back().version == "v1"
    until(lambda: operator.recommend(3).model_version == "v1")
    assert operator.traffic().active == "v1"


def test_ids_that_are_texts_go_both_ways(shop, operator):
    world, user = NamedWorld("named"), "user/with?odd#things&more=1"
    world.create_tables(shop.client)
    world.publish(shop.client, "n1", activate=True)
    until(lambda: any(one.name == "named" and one.serving for one in operator.models().models))
    assert operator.recommend(user, k=5, model="named").ids == world.for_user(user, 5)
    assert operator.similar(["a/b/c", "42"], k=3, model="named").ids == world.near(["a/b/c", "42"], 3, ["a/b/c", "42"])
    assert operator.get_user(user, model="named").features["history"] == tuple(world.histories[user])
    assert operator.get_item("50% off", model="named").id == "50% off"
    vectors = operator.embed(item_ids=["naïve café", "nobody"], model="named")
    assert (vectors.ids, vectors.found.tolist()) == (("naïve café", "nobody"), [True, False])
    assert [item.id for item in operator.score(["042", "42"], user, model="named").items] == [
        one for one in world.for_user(user, 20) if one in ("042", "42")
    ]
    with pytest.raises(InvalidRequest, match="texts"):
        operator.recommend(42, model="named")


def test_what_is_not_there_is_named(operator):
    with pytest.raises(ModelNotFound, match="v9"):
        operator.activate("v9")
    with pytest.raises(ModelNotFound, match="nobody"):
        operator.recommend(1, model="nobody")
    with pytest.raises(InvalidRequest, match=r"traffic.shares.v2: expected a number from 0 to 1, got 2"):
        operator.set_traffic(Traffic({"v2": 2}))
    with pytest.raises(InvalidRequest, match=r"traffic: expected a rowbank\.retrieval\.Traffic"):
        operator.set_traffic({"v2": 0.5})


def test_an_exact_index_finds_all(shop, operator):
    probe = operator.probe_index(queries=10, k=5)
    assert (probe.recall, probe.worst_recall, probe.index, probe.items, probe.eligible) == (1.0, 1.0, "exact", 40, 40)
    war = sum("War" in shop.world.features(item)["genres"] for item in shop.world.items.tolist())
    assert operator.probe_index(queries=10, k=5, filter=F("genres").any("War")).eligible == war
