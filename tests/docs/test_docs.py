"""The docs say what the code has: commands, options, settings, metrics, error reasons. Their links lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest
import typer

import rowbank.errors
from rowbank.cli.app import app
from rowbank_server import settings
from rowbank_server.retrieval.api.http.app import endpoints
from rowbank_server.retrieval.api.http.handlers import Handlers

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "bench").glob("*.md")])
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def commands(group: Any, path: str = "rowbank") -> Iterator[tuple[str, Any]]:
    """Yields (full name, command) for every command below `group`."""
    for name, command in group.commands.items():
        full = f"{path} {name}"
        if hasattr(command, "commands"):
            yield from commands(command, full)
        else:
            yield full, command


COMMANDS = dict(commands(typer.main.get_command(app)))


def reasons(base: Any) -> Iterator[str]:
    """Yields the reason of every error class below `base`."""
    for cls in base.__subclasses__():
        if "reason" in vars(cls):
            yield cls.reason
        yield from reasons(cls)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_documented_with_its_options(name):
    text = (DOCS / "cli.md").read_text()
    assert f"`{name}" in text
    options = [opt for parameter in COMMANDS[name].params for opt in parameter.opts if opt.startswith("-")]
    assert not [option for option in options if f"`{option}`" not in text and f"{option} " not in text]


def shell_lines() -> list[str]:
    """Returns every line that calls `rowbank` in a shell block of the docs."""
    blocks = [block for page in PAGES for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)]
    return sorted({line.split("#")[0].strip() for block in blocks for line in block.splitlines() if "rowbank " in line})


@pytest.mark.parametrize("line", [line for line in shell_lines() if line.startswith("rowbank ")])
def test_shown_command_exists(line):
    words = line.removesuffix("&").split()
    name = next(" ".join(words[:size]) for size in (3, 2) if " ".join(words[:size]) in COMMANDS)
    known = {opt for parameter in COMMANDS[name].params for opt in parameter.opts}
    if not COMMANDS[name].context_settings.get("allow_extra_args"):  # Else the server checks them.
        assert {word for word in words if re.match(r"--?[a-z]", word)} <= known


@pytest.mark.parametrize("cls", [settings.PsSettings, settings.ApiSettings, settings.UpSettings])
def test_setting_is_documented_with_its_variable(cls):
    text = (DOCS / "settings.md").read_text()
    for name in cls.model_fields:
        row = f"| `{name}` | `{settings.variable(cls, name)}` | "
        assert row in text
        default = cls.model_fields[name].get_default(call_default_factory=True)
        shown = ",".join(default) if isinstance(default, tuple) else "false" if default is False else str(default)
        shown = "" if default is None or default == {} else shown
        assert f"{row}`{shown}` |" in text if shown else f"{row}|" in text


@pytest.mark.parametrize("reason", sorted(set(reasons(rowbank.errors.RowbankError))))
def test_error_reason_is_documented(reason):
    assert f"`{reason}`" in (DOCS / "protocol.md").read_text()


def test_endpoints_are_documented():
    """The handlers are only listed, never called."""
    listed = {f"`{endpoint.method} {endpoint.path}`" for endpoint in endpoints(create_autospec(Handlers))}
    assert not {line for line in listed if line not in (DOCS / "retrieval.md").read_text()}


def test_metrics_are_documented():
    sources = (ROOT / "server" / "src").rglob("*.py")
    names = {name for path in sources for name in re.findall(r'"(rowbank_[a-z_]+)"', path.read_text())}
    metrics = {name for name in names if not name.startswith(("rowbank_server", "rowbank_protos"))}
    text = (DOCS / "metrics.md").read_text()
    assert metrics
    assert not {name for name in metrics if f"`{name}" not in text}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = page.read_text()
    for link in LINK.findall(text):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_index():
    linked = {(DOCS / link).resolve() for link in LINK.findall((DOCS / "README.md").read_text()) if "//" not in link}
    pages = {page for page in DOCS.glob("*.md") if page.name != "README.md"}
    assert pages <= linked
    index = (DOCS / "adr" / "README.md").read_text()
    assert not {page.name for page in (DOCS / "adr").glob("0*.md") if f"({page.name})" not in index}
