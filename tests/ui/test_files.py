"""The page's files over HTTP: for everybody, typed, held to their own process; and what it asks, refused in words."""

from __future__ import annotations

import re

import httpx
import pytest
from tests.ui.conftest import NAME


@pytest.fixture(params=["ps", "api"])
def http(shown, request):
    url = shown.url if request.param == "ps" else shown.api.url
    with httpx.Client(base_url=url, timeout=30) as client:
        yield client


def test_every_file_that_the_page_names_is_there(http):
    page = http.get("/ui")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    names = set(re.findall(r'(?:href|src)="ui/([^"]+)"', page.text))
    assert names == {"icon.svg", "main.js", "ui.css"}
    left, kinds = (
        [*names, "uplot.js", "uplot.css"],
        {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"},
    )
    while left:
        name = left.pop()
        answer = http.get(f"/ui/{name}")
        assert answer.status_code == 200, name
        assert answer.headers["content-type"].split(";")[0] == kinds[name.rpartition(".")[2]]
        imported = {} if name.startswith("uplot") else set(re.findall(r'from "\./([^"]+)"', answer.text))
        left += [one for one in imported if one not in names]
        names |= set(imported)
    assert "overview.js" in names


def test_nothing_but_this_process_may_be_asked_and_nobody_frames_it(http):
    for path in ("/ui", "/ui/main.js", "/ui/uplot.js"):
        headers = http.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
    assert not re.search(r"<style|<script(?![^>]* src=)|\son\w+=|\sstyle=|https?://", http.get("/ui").text)


def test_the_page_writes_no_html(http):
    """Texts are set as texts: there is nothing in it that would read them as HTML or as a program."""
    for name in ("main.js", "dom.js", "grid.js", "charts.js", "overview.js", "table.js", "tiles.js", "bars.js"):
        text = http.get(f"/ui/{name}").text
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|\bFunction\(", text), (
            name
        )


def test_a_browser_that_has_a_file_is_not_sent_it_again(http):
    tag = http.get("/ui/main.js").headers["etag"]
    again = http.get("/ui/main.js", headers={"if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/ui/nothing.js",
        "/ui/__init__.py",
        "/ui/%2e%2e%2ffiles.py",
        "/ui/..%2ffiles.py",
        "/ui/..%5cfiles.py",
        "/ui/%2e%2e/files.py",
        "/ui/main.js%00",
        "/ui/page",
        "/ui/",
        "/ui//etc/passwd",
        "/ui/data/nothing",
        "/ui/data/..%2f..%2fmain.js",
    ],
)
def test_there_are_no_other_files(http, path):
    answer = http.send(httpx.Request("GET", f"{http.base_url}".rstrip("/") + path))
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("table", 422, "query parameter name: is missing"),
        ("table?name=" + "x" * 200, 404, "x"),
        ("what-if?name=none&policy=policy=lru", 404, "none"),
        (f"what-if?name={NAME}", 422, "query parameter policy: is missing"),
        (f"what-if?name={NAME}&policy=max_row=1", 422, "expected NAME=VALUE"),
        (f"what-if?name={NAME}&policy=policy=best", 422, "expected one of none, lfu, lru, got 'best'"),
        ("history?span=1y", 422, "expected one of 10m, 2h, 24h, got '1y'"),
        ("history?after=now", 422, "expected Unix seconds, got 'now'"),
        ("history?after=nan", 422, "expected Unix seconds"),
    ],
)
def test_wrong_questions_are_refused_in_words(http, query, status, words):
    answer = http.get(f"/ui/data/{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert words in answer.json()["detail"]


def test_a_table_that_is_not_there_is_named(http):
    answer = http.get("/ui/data/table", params={"name": "<b>none</b>"})
    assert answer.status_code == 404
    assert "<b>none</b>" in answer.json()["detail"]


def test_the_past_is_asked_for_in_pieces(shown):
    with httpx.Client(base_url=shown.url) as http:
        whole = http.get("/ui/data/history").json()
        after = whole["times"][-3]
        news = http.get("/ui/data/history", params={"after": after}).json()
        assert news["times"][:2] == whole["times"][-2:]
        of_table = http.get("/ui/data/history", params={"table": NAME}).json()
        assert {one["labels"]["table"] for one in of_table["series"]} == {NAME}
        assert all(len(one["values"]) == len(of_table["times"]) for one in of_table["series"])
