"""The page in a browser: what an operator sees, clicks and is told."""

from __future__ import annotations

import re

import numpy as np
import pytest
from tests.processes import until
from tests.ui.conftest import HOSTILE, NAME

from rowbank import SGD, Client, TableSpec

VIEWS = ["", f"#/table/{NAME.replace('/', '%2F')}"]


def test_the_overview_shows_shards_tables_models_and_evictions(shown, look):
    visit = look(shown.url)
    (process,) = visit.cells("Processes of the shards")
    assert process[:4] == ["0", "owner", "serving", shown.ps.target]
    rows = {row[0]: row for row in visit.cells("Tables")}
    assert rows.keys() == {table.table for table in shown.client.stats()}
    assert rows[NAME][1:3] == ["3", "2"]
    assert rows[NAME][7] == "7"
    until(lambda: visit.cells("Versions of models"), what="the model")
    (version,) = visit.cells("Versions of models")
    assert (version[0], version[2], version[3]) == ("v1", "active", "100 %")
    until(lambda: visit.cells("The latest evictions"), what="the eviction")
    (eviction,) = visit.cells("The latest evictions")
    assert (eviction[1], eviction[2], eviction[3], eviction[5]) == (NAME, "restrict", "7", "3")
    assert visit.tiles()["Tables"] == str(len(rows))
    assert visit.said == []


def test_a_table_is_a_click_away_and_back(shown, look):
    visit = look(shown.url)
    visit.page.get_by_role("link", name=NAME, exact=True).click()
    visit.page.wait_for_selector(f'h1:has-text("Table {NAME}")')
    until(lambda: visit.tiles().get("Rows") == "3")
    assert visit.tiles()["Evicted"] == "7"
    assert "eviction max rows\n50" in visit.text(".spec")
    assert visit.page.title() == f"Rowbank: Table {NAME}"
    assert visit.page.evaluate("document.activeElement.id") == "main"
    visit.page.go_back()
    visit.page.wait_for_selector('[aria-label="Tables"]')


def test_a_table_shows_its_rows_by_frequency_and_what_went(shown, look):
    """Keys 0 to 2 were pushed twice, so they are of the level 2 to 3; the seven that went had been pushed once."""
    visit = look(shown.url, VIEWS[1])
    chart = visit.page.locator("figure", has_text="How often keys were pushed")
    until(lambda: "Most rows, 3, are at 2 to 3." in (chart.locator("[role=img]").get_attribute("aria-label") or ""))
    chart.locator("summary").click()
    assert chart.locator("tbody tr").all_inner_texts() == ["0\t0", "1\t0", "2 to 3\t3"]
    gone = visit.page.locator("figure", has_text="Evicted, by frequency")
    until(lambda: "Most rows, 7, are at 1." in (gone.locator("[role=img]").get_attribute("aria-label") or ""))


def test_a_policy_is_tried_in_thought(shown, look):
    visit = look(shown.url, VIEWS[1])
    visit.page.get_by_role("button", name="Try in thought").click()
    assert "Say what is to be otherwise" in visit.text("form.fields + p")
    visit.page.select_option("#what-policy", "lru")
    visit.page.fill("#what-max_rows", "2")
    visit.page.keyboard.press("Enter")
    until(lambda: len(visit.cells("Policies tried in thought")) == 2, what="the answer")
    now, tried = visit.cells("Policies tried in thought")
    assert now[0] == "now: policy=lfu,max_rows=50"
    assert tried[0] == "policy=lru,max_rows=2"
    assert (now[4], tried[4]) == ("3", "1")  # Down to 0.9 of two.
    visit.page.fill("#what-max_rows", "<b>many</b>")
    visit.page.keyboard.press("Enter")
    until(lambda: "max_rows: expected a number" in visit.text("form.fields + p"), what="the refusal")
    assert "'<b>many</b>'" in visit.text("form.fields + p")
    assert {one.table: one.rows for one in shown.client.stats()}[NAME] == 3


def test_what_changes_shows_without_a_reload(shown, look):
    visit = look(shown.url, VIEWS[1])
    shown.client.table(NAME).push(np.arange(100, 104), np.ones((4, 2), "f4"))
    until(lambda: visit.tiles()["Rows"] == "7")
    shown.client.table(NAME).remove(np.arange(100, 104))
    until(lambda: visit.tiles()["Rows"] == "3")
    visit.page.click("#pause")
    assert visit.text("#live") == "Paused"
    assert visit.page.get_attribute("#pause", "aria-pressed") == "true"
    visit.page.click("#pause")
    until(lambda: visit.text("#live") == "Live")


def test_charts_are_drawn_and_told_in_words(shown, look):
    visit = look(shown.url)
    chart = visit.page.locator("figure", has_text="Rows by table")
    chart.locator("canvas").wait_for()
    until(lambda: f"{NAME} 3" in (chart.locator("[role=img]").get_attribute("aria-label") or ""), what="words")
    assert chart.locator(".legend li").count() == len(shown.client.stats())
    chart.locator("summary").click()
    assert chart.locator("thead th").first.inner_text() == "Time"
    until(lambda: chart.locator("tbody tr").count() >= 1)
    visit.page.select_option("#span", "24h")
    until(lambda: visit.text("#live") == "Live")
    assert visit.said == []


def test_the_past_is_there_when_the_page_is_opened(shown, look):
    """Not only what came since: the process remembers."""
    visit = look(shown.url)
    chart = visit.page.locator("figure", has_text="Rows by table")
    chart.locator("summary").click()
    until(lambda: chart.locator("tbody tr").count() >= 3)


def test_without_the_chart_library_there_are_tables(start_ps, look, folder_without_charts):
    server = start_ps("--http-bind", "127.0.0.1:0", environment={"PYTHONPATH": str(folder_without_charts)})
    with Client(server.target) as client:
        client.create_table(TableSpec("t", dim=2, optimizer=SGD(1.0))).push(np.arange(5), np.ones((5, 2), "f4"))
        visit = look(server.http_url)
        assert 'pip install "rowbank-server[ui]"' in visit.text("#alerts")
        chart = visit.page.locator("figure", has_text="Rows by table")
        until(lambda: "5" in chart.locator("tbody td").all_inner_texts(), what="numbers")
        assert visit.page.locator("canvas").count() == 0
        assert visit.said == []


def test_it_says_when_nobody_answers_and_goes_on_when_somebody_does(start_ps, look):
    server = start_ps("--http-bind", "127.0.0.1:0")
    visit = look(server.http_url)
    server.kill()
    until(lambda: visit.text("#live").startswith("No answer since "), what="the loss")
    assert re.search(r"since \d\d:\d\d:\d\d: it cannot be reached", visit.text("#live"))
    start_ps("--http-bind", server.http_url.removeprefix("http://"), "--bind", server.target)
    until(lambda: visit.text("#live") == "Live", what="its return")


def test_texts_of_others_are_never_html(shown, look):
    """Names of metrics of a model are its publisher's; names in addresses are anybody's who sends a link."""
    visit = look(shown.url)
    until(lambda: visit.cells("Versions of models"), what="the model")
    assert HOSTILE in visit.text('[aria-label="Versions of models"]')
    other = look(shown.url, "#/table/%3Cimg%20src%3Dx%20onerror%3D%22document.title%3D'hacked'%22%3E", wait=False)
    until(lambda: "does not exist" in other.text("#alerts"), what="the answer")
    assert "<img src=x" in other.text("h1")
    for one in (visit, other):
        assert one.page.locator("main img, main b:has(*), #alerts img").count() == 0
        assert "hacked" not in one.page.title().replace(HOSTILE, "")


def test_a_broken_address_shows_the_overview(shown, look):
    visit = look(shown.url, "#/table/%E0%A4%A")
    assert visit.page.title() == "Rowbank: Overview"


def test_tables_are_sorted_by_keyboard(shown, look):
    visit = look(shown.url)
    button = visit.page.locator('[aria-label="Tables"] thead button', has_text="Rows")
    button.focus()
    visit.page.keyboard.press("Enter")
    rows = [int(row[1].replace(",", "")) for row in visit.cells("Tables")]
    assert rows == sorted(rows, reverse=True)
    visit.page.keyboard.press("Enter")
    assert [int(row[1].replace(",", "")) for row in visit.cells("Tables")] == sorted(rows)
    assert button.locator("xpath=..").get_attribute("aria-sort") == "ascending"


def test_the_first_stop_leads_past_the_head(shown, look):
    visit = look(shown.url)
    visit.page.keyboard.press("Tab")
    assert visit.page.evaluate("document.activeElement.className") == "skip"
    visit.page.keyboard.press("Enter")
    assert visit.page.evaluate("document.activeElement.id") == "main"
    visit.page.wait_for_selector('[aria-label="Tables"]')


def test_colours_follow_the_system_until_somebody_chooses(shown, look):
    visit = look(shown.url, scheme="dark")
    assert visit.page.evaluate("document.documentElement.dataset.theme") == "dark"
    visit.page.click("#theme")
    assert visit.page.evaluate("document.documentElement.dataset.theme") == "light"
    visit.page.reload()
    visit.page.wait_for_selector(".tile")
    assert visit.page.evaluate("document.documentElement.dataset.theme") == "light"


def test_the_retrieval_service_shows_models_index_and_its_shards(shown, look):
    visit = look(shown.api.url)
    until(lambda: visit.cells("Processes of the shards"), what="the shards")
    (process,) = visit.cells("Processes of the shards")
    assert process[1:4] == ["owner", "serving", shown.ps.target]
    assert {row[0] for row in visit.cells("Tables")} == {table.table for table in shown.client.stats()}
    assert visit.tiles()["Models served"] == "1"
    chart = visit.page.locator("figure", has_text="Items that a search finds")
    chart.locator("canvas").wait_for()
    assert "Retrieval service at " in visit.text("#who")
    visit.page.get_by_role("link", name=NAME, exact=True).click()
    visit.page.wait_for_selector(f'h1:has-text("Table {NAME}")')
    until(lambda: visit.tiles().get("Rows") == "3")
    assert visit.said == []


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
@pytest.mark.parametrize("server", ["ps", "api"])
def test_nothing_stands_in_the_way_of_anybody(shown, look, server, view, scheme, width):
    """Rules of axe on labels, names, contrast and structure; and no line is wider than the screen."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    visit = look(shown.url if server == "ps" else shown.api.url, view, width=width, scheme=scheme)
    visit.page.locator("canvas").first.wait_for()
    visit.page.locator("figure summary:visible").first.click()
    found = axe.run(visit.page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
