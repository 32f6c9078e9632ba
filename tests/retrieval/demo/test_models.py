"""The page where several models are served, and where none is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.processes import PsProcess, until
from tests.retrieval.demo.conftest import HostileShop
from tests.retrieval.named import NamedWorld
from tests.retrieval.support import DIM, LENGTH, PAD, ApiProcess, World, serving

import rowbank
from rowbank.features import FeatureField, FeatureView
from rowbank.models import Tower, TowerInput

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def parts(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[rowbank.Client, ApiProcess]]:
    folder = tmp_path_factory.mktemp("demo-models")
    ps = PsProcess("--namespace", folder.name, redis_url=redis_url, log=folder / "ps.log")
    try:
        with rowbank.Client(ps.wait_ready().target) as client:
            api = ApiProcess(redis_url=redis_url, target=ps.target, namespace=folder.name, log=folder / "api.log")
            try:
                yield client, api.wait_ready()
            finally:
                api.close()
    finally:
        ps.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def test_a_model_is_picked_after_there_was_none(parts, page):
    """One model's items have genres and the other's have not; a user's answer is of the model that is picked."""
    client, api = parts
    page.goto(f"{api.url}/demo")
    page.wait_for_selector("#problem:not([hidden])")
    assert "no active version of model" in page.inner_text("#problem")

    shop, plain = HostileShop(), World("plain", item_count=20, seed=11)
    shop.create_tables(client)
    shop.write_features(client)
    shop.publish(client, "v1")
    plain.create_tables(client)
    manifest = plain.manifest("w1", name="another", item_view="items", user_view="users")
    client.models.publish(manifest, plain.files(), rows="live", activate=True)
    with httpx.Client(base_url=api.url, timeout=30) as http:
        serving(http, "v1")
        until(lambda: http.get("/demo/data").json()["models"] == ["another", "two_tower"])

    page.goto(f"{api.url}/demo?user=3")
    page.wait_for_selector("#items li")
    first = page.locator("#items .title").all_text_contents()
    ids, _ = shop.expected(shop.user_vector(3), 10, exclude=shop.histories[3])
    assert first == [shop.title(item) for item in ids]
    assert page.input_value("#model") == "two_tower"
    page.select_option("#model", "another")
    until(lambda: page.locator("#items .title").all_text_contents() not in ([], first))
    assert "model=another" in page.url
    assert page.locator("#version option").all_text_contents() == ["as users get it", "w1, active"]
    page.reload()
    page.wait_for_selector("#items li")
    assert page.input_value("#model") == "another"


def test_ids_that_are_texts_are_typed_shown_and_clicked(parts, page):
    """Whatever is in them; an item without a title is called by its id."""
    client, api = parts
    world, user = NamedWorld("named"), "user/with?odd#things&more=1"
    world.create_tables(client)
    world.publish(client, "n1", activate=True)
    with httpx.Client(base_url=api.url, timeout=30) as http:
        until(lambda: "named" in http.get("/demo/data").json().get("models", []))
    page.goto(f"{api.url}/demo?model=named")
    page.wait_for_selector("#some-users button")
    assert set(page.locator("#known-users option").evaluate_all("all => all.map(one => one.value)")) == set(world.users)
    page.fill("#user", user)
    page.keyboard.press("Enter")
    page.wait_for_selector("#answer[aria-busy=false]")
    seen = world.histories[user]
    assert page.locator("#items .id").all_text_contents() == world.for_user(user, 10, exclude=seen)
    assert page.inner_text("#person-title") == f"User {user}"
    assert page.locator("#person-history .chip").count() == len(seen)
    item = "a/b/c"
    page.locator("#person-history .chip", has_text=item).click()
    page.wait_for_selector("#similar-items li")
    assert page.locator("#similar-items .id").all_text_contents() == world.near([item], 10, exclude=[item])


def test_a_model_without_histories_leaves_nothing_out(parts, page):
    client, api = parts
    world = World("no-users")
    world.create_tables(client)
    client.features.put_view(FeatureView("goods", "item_id", (FeatureField("title_tokens", "int64_list"),)))
    client.features.write("goods", {item: {"title_tokens": keys} for item, keys in world.item_tokens.items()})
    tower = TowerInput("rows", world.token_table, "goods:title_tokens", DIM, LENGTH, PAD)
    candidate = Tower((tower,), "vector", "candidate.onnx")
    manifest = world.manifest("u1", name="no-users", item_view="goods", user_view="", candidate=candidate)
    client.models.publish(manifest, world.files(), rows="live", activate=True)
    with httpx.Client(base_url=api.url, timeout=30) as http:
        until(lambda: "no-users" in http.get("/demo/data").json().get("models", []))
        assert http.get("/demo/data", params={"model": "no-users"}).json()["histories"] is False
    page.goto(f"{api.url}/demo?model=no-users&user=3")
    page.wait_for_selector("#items li")
    ids, _ = world.expected(world.user_vector(3), 10)
    assert page.locator("#items .id").all_text_contents() == [str(item) for item in ids]
    assert page.is_disabled("#exclude-seen")
