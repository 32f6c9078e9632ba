"""A served world whose data are made to be misread, and a real browser that looks at it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.processes import PsProcess, until
from tests.retrieval.shop import Shop
from tests.retrieval.support import ApiProcess, serving

import rowbank

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOSTILE = "<script>document.title = 'hacked'</script><b>bold</b> & \u202eturned"
LARGE = 2**63 - 1  # JavaScript rounds it.


class HostileShop(Shop):
    """A shop with texts that look like HTML, and with an item and a user of very large ids."""

    def __init__(self) -> None:
        super().__init__("demo")
        self.items[-1] = LARGE
        self.item_tokens[LARGE] = self.item_tokens.pop(139)
        self.histories[12] = [*self.items[:11].tolist(), LARGE, 999_999]
        self.histories[LARGE] = [101]

    def title(self, item: int) -> str:
        return HOSTILE if item == 100 else f"Title {item}"

    def motto(self, user: int) -> str:
        return f"<i>{user}</i>"


@dataclass
class Shown:
    """The service that is looked at."""

    world: HostileShop
    url: str
    http: httpx.Client
    client: rowbank.Client


@pytest.fixture(scope="session")
def shown(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    folder = tmp_path_factory.mktemp("demo")
    namespace, world = folder.name, HostileShop()
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window; the tests are skipped where there is none.

    Of one module, as an event loop runs in this thread meanwhile.
    """
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

    def until_there_are(self, count: int, selector: str) -> None:
        """Waits for so many elements. The page's policy forbids what `wait_for_function` does."""
        until(lambda: self.page.locator(selector).count() == count, what=selector)

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
