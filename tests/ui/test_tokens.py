"""Where tokens are asked for, the page's files are for everybody and its data for those who show one."""

from __future__ import annotations

import httpx
import pytest
from tests.processes import until

from rowbank_server.ps.http.app import ROUTES
from rowbank_server.security.policy import API_ROUTES, PS_ROUTES


@pytest.fixture
def guarded(start_ps, tmp_path):
    """A shard that asks for tokens, and the one that it takes."""
    token = f"rbk_{'0a' * 6}_{'A' * 43}"
    (tmp_path / "admin-token").write_text(token)
    (tmp_path / "admin-token").chmod(0o600)
    options = ("--require-tokens", "--admin-token-file", str(tmp_path / "admin-token"))
    return start_ps("--http-bind", "127.0.0.1:0", *options), token


def test_every_route_has_a_rule():
    assert {f"GET {path}" for path in ROUTES} == PS_ROUTES.keys()
    assert {f"GET {path}" for path in ROUTES if path.startswith("/ui")} <= API_ROUTES.keys()


def test_data_and_metrics_are_for_those_with_a_token(guarded):
    server, token = guarded
    with httpx.Client(base_url=server.http_url, timeout=30) as http:
        for path in ("/healthz", "/readyz", "/ui", "/ui/main.js"):
            assert http.get(path).status_code == 200, path
        for path in ("/metrics", "/ui/data/overview", "/ui/data/history", "/ui/data/table?name=t", "/ui/data/nothing"):
            for headers in ({}, {"authorization": "Bearer rbk_000000000000_nothing"}, {"authorization": "Basic eA=="}):
                answer = http.get(path, headers=headers)
                assert answer.status_code == 401, path
                assert answer.headers["www-authenticate"].startswith("Bearer")
            assert http.get(path, headers={"authorization": f"Bearer {token}"}).status_code in (200, 404)
    assert token not in server.log


def test_the_page_asks_for_a_token_and_forgets_it(guarded, look):
    server, token = guarded
    visit = look(server.http_url, wait=False)
    visit.page.wait_for_selector("#token-dialog[open]")
    assert "token" in visit.text("#token-why")
    visit.page.fill("#token", "rbk_000000000000_wrong")
    visit.page.keyboard.press("Enter")
    until(lambda: "That token was refused" in visit.text("#token-why"), what="the refusal")
    visit.page.fill("#token", token)
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector(".tile")
    until(lambda: visit.text("#live") == "Live", what="the data")
    assert token not in visit.page.url
    assert visit.page.evaluate("JSON.stringify(localStorage)").find(token) == -1
    visit.page.click("#forget")
    visit.page.wait_for_selector("#token-dialog[open]")
    assert visit.page.evaluate("sessionStorage.length") == 0
    assert token not in server.log
