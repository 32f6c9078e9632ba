"""The page's files over HTTP: theirs alone, typed, and held to this service by their headers."""

from __future__ import annotations

import re

import pytest


def test_every_file_that_the_page_names_is_there(shown):
    page = shown.http.get("/demo")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    names = set(re.findall(r'(?:href|src)="demo/([^"]+)"', page.text))
    assert {"main.js", "demo.css", "icon.svg"} == names
    for name in [*names]:
        text = shown.http.get(f"/demo/{name}").text
        names |= set(re.findall(r'from "\./([^"]+)"', text))
    assert "api.js" in names
    for name in names:
        answer = shown.http.get(f"/demo/{name}")
        assert answer.status_code == 200
        kind = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8", "svg": "image/svg+xml"}
        assert answer.headers["content-type"] == kind[name.rpartition(".")[2]]


def test_nothing_but_this_service_may_be_asked(shown):
    """No script or style within the HTML either: what the policy allows is the service's own files."""
    for path in ("/demo", "/demo/main.js"):
        headers = shown.http.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self';")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
    html = shown.http.get("/demo").text
    assert not re.search(r"<style|<script(?![^>]* src=)|\son\w+=|\sstyle=|https?://", html)


def test_a_browser_that_has_a_file_is_not_sent_it_again(shown):
    tag = shown.http.get("/demo/main.js").headers["etag"]
    again = shown.http.get("/demo/main.js", headers={"if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "__init__.py", "%2e%2e%2f__init__.py", "main.js%00", "page"])
def test_there_are_no_other_files(shown, name):
    answer = shown.http.get(f"/demo/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
