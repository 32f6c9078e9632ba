"""A shard and a retrieval service with something to show, and a real browser that looks at their pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest
from tests.processes import PsProcess
from tests.retrieval.demo.conftest import browser  # noqa: F401
from tests.retrieval.shop import Shop
from tests.retrieval.support import ApiProcess, serving

import rowbank
from rowbank import SGD, Eviction, TableSpec

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOSTILE = "<img src=x onerror=\"document.title='hacked'\">"
NAME = "user/id:1.a-b"


@dataclass
class Shown:
    """What is looked at: a shard and a service of one namespace."""

    ps: PsProcess
    api: ApiProcess
    client: rowbank.Client

    @property
    def url(self) -> str:
        return self.ps.http_url


@pytest.fixture(scope="session")
def shown(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """Table NAME had ten keys, of which the three that were pushed twice are left; a model was published."""
    folder = tmp_path_factory.mktemp("ui")
    namespace, world = folder.name, Shop("ui")
    ps = PsProcess("--namespace", namespace, "--http-bind", "127.0.0.1:0", redis_url=redis_url, log=folder / "ps.log")
    api = None
    try:
        ps.wait_ready()
        with rowbank.Client(ps.target) as client:
            spec = TableSpec(NAME, dim=2, optimizer=SGD(1.0), eviction=Eviction("lfu", max_rows=50))
            table = client.create_table(spec)
            table.push(np.arange(10), np.ones((10, 2), "f4"))
            table.push(np.arange(3), np.ones((3, 2), "f4"))
            table.restrict(3)
            world.create_tables(client)
            world.write_features(client)
            world.publish(client, "v1", metrics={HOSTILE: 0.5})
            api = ApiProcess(redis_url=redis_url, target=ps.target, namespace=namespace, log=folder / "api.log")
            with httpx.Client(base_url=api.wait_ready().url, timeout=30) as http:
                serving(http, "v1")
                yield Shown(ps, api, client)
    finally:
        if api is not None:
            api.close()
        ps.close()


@dataclass
class Visit:
    """A page that is looked at, with what it complained of and whom it asked."""

    page: Page
    said: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def open(self, url: str, path: str = "") -> Visit:
        self.page.goto(f"{url}/ui{path}")
        self.page.wait_for_selector(".tile")
        return self

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def cells(self, caption: str) -> list[list[str]]:
        """What stands in a table."""
        read = "rows => rows.map(row => [...row.children].map(cell => cell.textContent.trim()))"
        found: list[list[str]] = self.page.locator(f'[aria-label="{caption}"] tbody tr').evaluate_all(read)
        return found

    def tiles(self) -> dict[str, str]:
        """Read at one moment, as they change every two seconds."""
        read = "tiles => tiles.map(one => [one.querySelector('dt').textContent, one.querySelector('b').textContent])"
        return dict(self.page.locator(".tile").evaluate_all(read))


@pytest.fixture
def look(browser: Browser) -> Iterator[Callable[..., Visit]]:  # noqa: F811
    """Opens pages: look(url, "#/table/x", width=360, scheme="dark"). They may ask their own process alone."""
    opened: list[tuple[str, Visit]] = []

    def start(url: str, path: str = "", *, width: int = 1280, scheme: str = "light", wait: bool = True) -> Visit:
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce"
        )
        visit = Visit(context.new_page())
        visit.page.set_default_timeout(60_000)
        visit.page.on("console", lambda message: visit.said.append(message.text))
        visit.page.on("pageerror", lambda error: visit.said.append(str(error)))
        visit.page.on("request", lambda request: visit.hosts.add(httpx.URL(request.url).netloc.decode()))
        opened.append((url, visit))
        if wait:
            return visit.open(url, path)
        visit.page.goto(f"{url}/ui{path}")
        return visit

    yield start
    for url, visit in opened:
        visit.page.context.close()
        assert visit.hosts <= {httpx.URL(url).netloc.decode()}


@pytest.fixture
def folder_without_charts(tmp_path: Path) -> Path:
    """In front of the module path, it hides the chart library."""
    (tmp_path / "uplot").mkdir()
    (tmp_path / "uplot" / "__init__.py").write_text("")
    return tmp_path
