"""The documentation's site is built without a warning, and has reference pages made from the code."""

from __future__ import annotations

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.docs.test_docs import COMMANDS, ROOT

import rowbank
from rowbank.errors import BY_REASON


class _Text(HTMLParser):
    """The text of a page, and what it loads from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.loaded: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        source = given.get("src") or (given.get("href") if tag == "link" else None)
        if source and source.startswith(("http:", "https:", "//")):
            self.loaded.append(source)


def read(page: Path) -> _Text:
    parser = _Text()
    parser.feed(page.read_text())
    return parser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. A link, an anchor or a place in the navigation that leads nowhere ends the build."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [str(Path(sys.executable).parent / "mkdocs"), "build", "-q", "-d", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_nothing_is_loaded_from_elsewhere(site):
    assert not {source for page in site.rglob("*.html") for source in read(page).loaded}


def test_reference_has_every_command_name_and_reason(site):
    text = {name: "".join(read(site / "reference" / f"{name}.html").parts) for name in ("commands", "python", "errors")}
    assert not [name for name in COMMANDS if name not in text["commands"]]
    assert not [name for name in rowbank.__all__ if name[0].isupper() and name not in text["python"]]
    assert not [reason for reason in BY_REASON if reason not in text["errors"]]


def test_reference_has_the_wire_and_its_comments(site):
    text = "".join(read(site / "reference" / "grpc.html").parts)
    for words in ("RowService", "Never inserts: an unseen key reads its initial value.", "[N, dim] of `wire_dtype`"):
        assert words.replace("`", "") in text.replace("`", "")
    assert "POST /v1/recommend" in "".join(read(site / "reference" / "http.html").parts)


def test_pages_can_be_searched(site):
    index = (site / "search" / "search_index.json").read_text()
    assert "Move from TFRA" in index
    assert "SquashedEmbedding" in index
