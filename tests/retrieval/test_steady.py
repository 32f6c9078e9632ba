"""No request fails and no answer mixes versions while versions are activated and items change under load.

`python -m tests.retrieval.soak` does the same for longer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import httpx
import pytest
from tests.processes import PsProcess
from tests.retrieval.steady import Edition, Tally, activate_in_turn, change_items, load
from tests.retrieval.support import ApiProcess, serving, until

import rowbank

MODEL = "steady"


@pytest.fixture
def ps(start_ps: Callable[..., PsProcess]) -> PsProcess:
    return start_ps()


@pytest.fixture
def client(ps: PsProcess) -> Iterator[rowbank.Client]:
    with rowbank.Client(ps.target) as client:
        yield client


@pytest.fixture
def editions(client: rowbank.Client) -> dict[str, Edition]:
    editions = {f"v{number}": Edition(MODEL, number) for number in (1, 2, 3)}
    editions["v1"].create_tables(client)
    for edition in editions.values():
        edition.publish(client, edition.version, activate=edition.version == "v1")
    return editions


@pytest.fixture
def api(ps: PsProcess, start_api: Callable[..., ApiProcess], namespace: str, editions: object) -> ApiProcess:
    return start_api(ps.target, namespace, "--model", MODEL)


def answered(tally: Tally, version: str, count: int) -> bool:
    return tally.answers[version] >= count


def test_no_request_fails_and_no_answer_mixes_versions_while_they_are_activated(
    api: ApiProcess, editions: dict[str, Edition]
) -> None:
    with httpx.Client(base_url=api.url, timeout=60) as http:
        serving(http, "v1")
        with load(api.url, editions, threads=4) as tally:
            until(lambda: tally.total > 20)
            for version in ("v2", "v3", "v1", "v2"):
                needed = tally.answers[version] + 20
                activate_in_turn(http, [version], 1, until=lambda: True)
                until(functools.partial(answered, tally, version, needed))
    assert tally.failed == []
    assert tally.wrong == []
    assert set(tally.answers) == {"v1", "v2", "v3"}
    assert api.terminate() == 0, api.log


def test_no_request_fails_while_items_change(
    api: ApiProcess, editions: dict[str, Edition], client: rowbank.Client
) -> None:
    """A thousand of them a second, whose new titles have the words that they had: so every answer stays as it is."""
    first = editions["v1"]
    items = list(first.titles)

    def titled(item: int, turn: int) -> str:
        return f"{first.titles[item].rpartition(' ')[0]} round{turn} {first.version}"

    with httpx.Client(base_url=api.url, timeout=60) as http:
        serving(http, "v1")
        with load(api.url, {"v1": first}, threads=2) as tally:
            until(lambda: tally.total > 20)
            assert change_items(client, f"{MODEL}_items", items, titled, rate=1000, seconds=2) == 2000
            last = items[(19 * 100 + 99) % len(items)]
            until(lambda: "round19" in http.get(f"/v1/items/{last}").json()["features"]["title"])
            until(lambda: tally.total > 40)
    assert tally.failed == []
    assert tally.wrong == []
    assert api.terminate() == 0, api.log
