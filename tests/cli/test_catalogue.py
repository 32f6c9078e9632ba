"""`rowbank item`, `rowbank score` and `rowbank popular`, against a real service."""

from __future__ import annotations

import json

import pytest
from tests.cli.test_recommending import ask  # noqa: F401 - a fixture.
from tests.client.retrieval.conftest import served  # noqa: F401 - a fixture.


def test_an_item_is_put_shown_and_removed(ask):  # noqa: F811
    features = {"title": "A lamp", "title_tokens": [3], "genres": ["War"], "year": 2001, "in_stock": True}
    assert ask("item", "put", "-9", json.dumps(features)).stdout == "written: -9\n"
    told = json.loads(ask("item", "get", "-9", "-o", "json").stdout)
    assert (told["id"], told["features"], told["status"]) == ("-9", features, "present")
    lines = dict(
        line.split(maxsplit=2)[1:] for line in ask("item", "get", "-9").stdout.splitlines() if "feature" in line
    )
    assert (lines["year"].strip(), lines["genres"].strip(), lines["in_stock"].strip()) == ("2001", "War", "yes")
    assert ask("item", "delete", "-9").stdout == "removed: -9\n"
    assert "error: item -9" in ask("item", "get", "-9", code=1).stderr
    wrong = ask("item", "put", "-9", '{"titel": "x"}', code=1).stderr
    assert wrong.startswith("error: item -9: view 'items' has no feature 'titel'")


def test_score_ranks_and_names_what_it_cannot(served, ask):  # noqa: F811
    ids, _ = served.world.expected(served.world.user_vector(5), 3)
    done = ask("score", "5", str(ids[2]), str(ids[0]), "424242", "-o", "json", code=3)
    told = json.loads(done.stdout)
    assert [item["id"] for item in told["items"]] == [ids[0], ids[2]]
    assert "not scored: 424242" in done.stderr
    assert done.stderr.splitlines()[-1] == "degraded: 1 of the items are not scored"


def test_filters_are_stored_listed_and_removed(ask):  # noqa: F811
    assert ask("filters", "put", "stocked", '{"feature": "in_stock", "any": [true]}').stdout == "stored: stocked\n"
    told = json.loads(ask("filters", "list", "-o", "json").stdout)
    assert told == [{"name": "stocked", "filter": {"feature": "in_stock", "any": [True]}}]
    assert ask("filters", "delete", "stocked").stdout == "removed: stocked\n"
    assert "stocked" in ask("filters", "delete", "stocked", code=1).stderr


def test_embed_prints_vectors(served, ask):  # noqa: F811
    told = json.loads(ask("embed", "--user", "3", "-o", "json").stdout)
    assert told[0]["vector"] == pytest.approx(served.world.user_vector(3).tolist(), abs=1e-5)
    done = ask("embed", "--item", "100", "--item", "424242", code=3)
    assert "degraded: 424242 has no vector" in done.stderr


@pytest.mark.parametrize("given", ['{"feature": "in_stock", "any": [true]}'])
def test_popular_takes_a_filter(ask, given):  # noqa: F811
    told = json.loads(ask("popular", "-k", "3", "--filter", given, "-o", "json").stdout)
    assert [item["id"] for item in told["items"]] == [100, 102, 104]


def test_a_filter_of_json_reaches_the_service(ask):  # noqa: F811
    done = ask("recommend", "3", "--filter", '{"feature": "genre", "any": ["War"]}', code=1)
    assert done.stderr.startswith("error: filter.feature: the items have no feature 'genre'")
    boost = '{"filter": {"feature": "genres", "any": ["War"]}, "add": 100, "name": "war"}'
    told = json.loads(ask("recommend", "3", "--boost", boost, "--explain", "-o", "json").stdout)
    assert told["items"][0]["parts"]["boosts"] == {"war": 100.0}
    assert told["explanation"]["candidates"][0]["step"] == "catalogue"


def test_index_probe_prints_recall(ask):  # noqa: F811
    told = json.loads(ask("index", "probe", "-n", "10", "-k", "5", "-o", "json").stdout)
    assert (told["recall"], told["index"], told["queries"]) == (1.0, "exact", 10)
