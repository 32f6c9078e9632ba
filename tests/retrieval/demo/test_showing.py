"""What the page offers: some users, features with their values, titles."""

from __future__ import annotations

from tests.retrieval.demo.conftest import HOSTILE, LARGE


def test_some_users_and_features_are_offered(shown):
    told = shown.http.get("/demo/data").json()
    assert (told["model"], told["models"]) == ("two_tower", ["two_tower"])
    assert told["histories"] is True
    assert sorted(told["users"], key=int) == [*map(str, range(1, 13)), str(LARGE)]
    features = {one["name"]: (one["type"], sorted(one["values"])) for one in told["item_features"]}
    assert features == {
        "title": ("string", []),
        "title_tokens": ("int64_list", []),
        "genres": ("string_list", ["Comedy", "Drama", "War"]),
        "year": ("int64", []),
        "in_stock": ("bool", []),
    }


def test_titles_are_of_items_that_exist(shown):
    told = shown.http.get("/demo/titles", params={"item": ["100", str(LARGE), "7"]}).json()
    assert told == {"titles": {"100": HOSTILE, str(LARGE): f"Title {LARGE}"}}
    assert shown.http.get("/demo/titles").json() == {"titles": {}}


def test_wrong_questions_are_refused(shown):
    many = shown.http.get("/demo/titles", params={"item": ["1"] * 101})
    assert (many.status_code, many.json()["detail"]) == (422, "item: expected at most 100 of them, got 101")
    text = shown.http.get("/demo/titles", params={"item": "lamp"})
    assert text.status_code == 422
    assert "integers" in text.json()["detail"]
    assert shown.http.get("/demo/data", params={"model": "nobody"}).status_code == 404
