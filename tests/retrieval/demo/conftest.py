"""A served world whose data are made to be misread, and a real browser that looks at it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.processes import PsProcess
from tests.retrieval.support import ApiProcess, World, serving

import rowbank
from rowbank.features import FeatureField, FeatureView

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOSTILE = "<script>document.title = 'hacked'</script><b>bold</b> & \u202eturned"
LARGE = 2**63 - 1  # JavaScript rounds it.
GENRES = ("Drama", "Comedy", "War")


class Shop(World):
    """The world with genres, a year and stock, a title that looks like HTML, and an item with a very large id."""

    def __init__(self) -> None:
        super().__init__("demo")
        self.items[-1] = LARGE
        self.item_tokens[LARGE] = self.item_tokens.pop(139)
        self.histories[12] = [*self.items[:11].tolist(), LARGE, 999_999]

    def title(self, item: int) -> str:
        return HOSTILE if item == 100 else f"Title {item}"

    def features(self, item: int) -> dict[str, Any]:
        genres = [GENRES[item % 3], *(["War"] if item % 5 == 0 else [])]
        return {"genres": genres, "year": 1980 + item % 40, "in_stock": item % 2 == 0}

    def write_features(self, client: rowbank.Client, *, max_age_s: float = 0.0) -> None:
        kinds = {"title": "string", "title_tokens": "int64_list", "genres": "string_list", "year": "int64"}
        fields = tuple(FeatureField(name, kind) for name, kind in {**kinds, "in_stock": "bool"}.items())
        client.features.put_view(FeatureView("items", "item_id", fields))
        client.features.put_view(
            FeatureView("users", "user_id", (FeatureField("history", "int64_list"), FeatureField("motto", "string")))
        )
        client.features.write(
            "items",
            {i: {"title": self.title(i), "title_tokens": t, **self.features(i)} for i, t in self.item_tokens.items()},
        )
        users = {u: {"history": seen, "motto": f"<i>{u}</i>"} for u, seen in self.histories.items()}
        client.features.write("users", {**users, LARGE: {"history": [101], "motto": "far away"}})


@dataclass
class Shown:
    """The service that is looked at."""

    world: Shop
    url: str
    http: httpx.Client
    client: rowbank.Client


@pytest.fixture(scope="package")
def shown(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    folder = tmp_path_factory.mktemp("demo")
    namespace, world = folder.name, Shop()
    ps = PsProcess("--namespace", namespace, redis_url=redis_url, log=folder / "ps.log")
    try:
        ps.wait_ready()
        with rowbank.Client(ps.target) as client:
            world.create_tables(client)
            world.write_features(client)
            world.publish(client, "v1")
            api = ApiProcess(redis_url=redis_url, target=ps.target, namespace=namespace, log=folder / "api.log")
            try:
                with httpx.Client(base_url=api.wait_ready().url, timeout=30) as http:
                    serving(http, "v1")
                    yield Shown(world, api.url, http, client)
            finally:
                api.close()
    finally:
        ps.close()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium without a window; the tests are skipped where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api")
    named = ("chromium", "chromium-browser", "google-chrome")
    program = next((found for name in named if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium on PATH, so the page at /demo is not looked at; on Debian: apt-get install chromium")
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=options)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page that is looked at, with what it said and asked."""

    page: Page
    said: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def ask(self, user: str) -> list[str]:
        """Types a user and asks; the titles of the answer."""
        self.page.fill("#user", user)
        self.page.keyboard.press("Enter")
        self.settled()
        return self.titles("#items")

    def settled(self) -> None:
        """Waits until the present question is answered."""
        self.page.wait_for_selector("#answer[aria-busy=false]")
        self.page.wait_for_function("document.getElementById('person-title').textContent !== ''")

    def titles(self, home: str) -> list[str]:
        return self.page.locator(f"{home} .title").all_text_contents()

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()


@pytest.fixture
def visit(shown: Shown, browser: Browser, tmp_path: Path) -> Iterator[Visit]:
    """The page, loaded; afterwards nothing may have been complained about or asked elsewhere."""
    context = browser.new_context()
    visit = Visit(context.new_page())
    visit.page.set_default_timeout(60_000)
    visit.page.on("console", lambda message: visit.said.append(message.text))
    visit.page.on("pageerror", lambda error: visit.said.append(str(error)))
    visit.page.on("request", lambda request: visit.hosts.add(httpx.URL(request.url).netloc.decode()))
    visit.page.goto(f"{shown.url}/demo")
    visit.page.wait_for_selector("#some-users button")
    yield visit
    context.close()
    assert visit.hosts == {httpx.URL(shown.url).netloc.decode()}
