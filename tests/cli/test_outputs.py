"""Every command on a loaded system: what docs/cli.md shows of it, and the fields and types of its JSON.

`make test PYTEST_ARGS=tests/cli/test_outputs.py RENEW=1` makes what the page shows, and the golden files, anew.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from tests.cli import shapes
from tests.cli.loaded import Loaded, loaded_system, training

from rowbank.cli.app import app
from rowbank.text import token_key

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
GOLDEN = Path(__file__).parent / "golden"
RENEW = bool(os.environ.get("RENEW"))
WIDTH = 140
# Commands that run a process until it is ended, or print a script.
NOT_SHOWN = {"rowbank up", "rowbank serve ps", "rowbank serve api"}
# One line for each command that answers in JSON and changes nothing: its golden file and how it is called.
READS = {
    "status": "status",
    "doctor": "doctor",
    "tokens-list": "tokens list",
    "row-text": "row two_tower/r1.user bob",
    "config-show": "config show ps",
    "stat": "stat -i 0.2 --count 1",
    "tables": "tables",
    "bigtables": "bigtables",
    "table-describe": "table describe two_tower/r1.user",
    "stats": "stats",
    "shards": "shards",
    "bench": "bench --yes --rows 1000 --duration-s 0.2",
    "top-live": "top two_tower/r1.user --live --window-s 1",
    "top": "top two_tower/r1.user -n 3",
    "row": "row clicks 1",
    "row-explain": "row clicks 1 --explain",
    "freq": "freq clicks",
    "evictions": "evictions -n 3",
    "evictions-summary": "evictions clicks --since 1h --summary",
    "evict-what-if": "evict clicks --what-if max_rows=6000 --what-if policy=lru",
    "evict-advise": "evict clicks --advise",
    "evict-dry-run": "evict clicks --keep 100 --dry-run",
    "models": "models",
    "models-list": "models list two_tower",
    "models-describe": "models describe two_tower",
    "models-traffic": "models traffic two_tower",
    "models-prune-dry-run": "models prune two_tower --dry-run",
    "features-list": "features list",
    "features-show": "features show shop_users",
    "features-get": "features get shop_users anna bob --text-ids",
    "features-freshness": "features freshness shop_users",
    "recommend": "recommend anna -k 3 --explain",
    "similar": "similar film-003 -k 3",
    "score": "score anna film-003 film-004",
    "popular": "popular -k 3",
    "embed": "embed --user anna",
    "item-get": "item get film-003 --vector",
    "filters-list": "filters list",
    "index-probe": "index probe -n 5",
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    with loaded_system(tmp_path_factory.mktemp("loaded")) as system, training(system):
        yield system


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands run."""
    place = tmp_path_factory.mktemp("shown")
    (place / "users.csv").write_text("user_id,age,city\ncarla,28,Wien\nanna,32,Graz\n")
    return place


def run(loaded: Loaded, command: str, folder: Path) -> str:
    """What a shell shows of a command, with addresses as they are by default."""
    done = subprocess.run(
        ["bash", "-c", command],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder,
        env={**loaded.environment, "COLUMNS": str(WIDTH)}, timeout=120, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stdout, f"{command}\n{done.stdout}"
    usual = {
        **loaded.addresses,
        loaded.up.retrieval_target: "127.0.0.1:7781",
        str(folder): "/home/me",
        str(loaded.data_dir): "/var/lib/rowbank",
    }
    text = done.stdout
    for real, shown in usual.items():
        spaces = " " * max(0, len(real) - len(shown))
        text = text.replace(f"{real} ", f"{shown}{spaces} ").replace(real, shown)
    text = re.sub(r"rbk_[0-9a-f]{12}_[\w-]{43}", "rbk_ID_SECRET", text)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def test_ids_that_are_texts_are_shown_and_taken(loaded: Loaded, folder: Path) -> None:
    row = json.loads(run(loaded, "rowbank row two_tower/r1.user bob -o json", folder))
    assert (row["id"], row["key"], row["found"]) == ("bob", token_key("bob"), True)
    assert json.loads(run(loaded, f"rowbank row two_tower/r1.user {row['key']} -o json", folder))["id"] == "bob"
    film = json.loads(run(loaded, "rowbank row two_tower/r1.item film-007 -o json", folder))
    assert film["key"] == token_key("film-007")
    best = json.loads(run(loaded, "rowbank top two_tower/r1.user -n 5 -o json", folder))
    assert all(token_key(one["id"]) == one["key"] for one in best)
    assert json.loads(run(loaded, "rowbank top clicks -n 1 -o json", folder))[0]["id"] is None


@pytest.mark.parametrize("name", READS)
def test_json_has_the_fields_of_its_golden_file(loaded: Loaded, folder: Path, name: str) -> None:
    printed = run(loaded, f"rowbank {READS[name]} -o json 2>/dev/null", folder)
    shape = shapes.of_json(json.loads(printed))
    path = GOLDEN / f"{name}.json"
    if RENEW:
        known = json.loads(path.read_text()) if path.exists() else shape
        path.write_text(json.dumps(known if shapes.fits(shape, known) else shapes.merge(shape, known), indent=2) + "\n")
        return
    golden = json.loads(path.read_text())
    assert shapes.fits(shape, golden), f"{json.dumps(shape, indent=2)}\nis not\n{json.dumps(golden, indent=2)}"


def test_every_golden_file_is_of_a_command() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(READS)


def test_the_page_shows_what_commands_print(loaded: Loaded, folder: Path) -> None:
    """Headings, fields and titles are compared; the numbers are those of the day."""
    page, wrong = PAGE.read_text(), []
    for block in shapes.blocks(page):
        renewed = ""
        for command, shown in shapes.commands(block):
            printed = run(loaded, command, folder)
            renewed += f"$ {command}\n{printed}"
            if not _alike(shapes.of_text(printed), shapes.of_text(shown)):
                wrong.append(f"$ {command}\nshown: {shapes.of_text(shown)}\nprints: {shapes.of_text(printed)}")
        if RENEW:
            page = page.replace(f"```\n{block}```", f"```\n{renewed}```")
    if RENEW:
        PAGE.write_text(page)
        return
    assert not wrong, "\n\n".join(wrong)


def _alike(printed: list[str], shown: list[str]) -> bool:
    """Whether they are the same but for the last columns of tables: how many have room, the numbers decide."""
    return len(printed) == len(shown) and all(
        one == other or (" | " in one and (one.startswith(f"{other} |") or other.startswith(f"{one} |")))
        for one, other in zip(printed, shown, strict=True)
    )


def test_the_page_shows_every_command() -> None:
    shown = [command for block in shapes.blocks(PAGE.read_text()) for command, _ in shapes.commands(block)]
    missing = [
        name
        for name in _names(typer.main.get_command(app), "rowbank")
        if name not in NOT_SHOWN and not any(re.search(rf"(^|[|;] ?){name}( |$)", command) for command in shown)
    ]
    assert not missing


def test_no_error_is_shown() -> None:
    """The page shows what works; errors have pages of their own."""
    for block in shapes.blocks(PAGE.read_text()):
        assert not re.search(r"^(error|aborted|Usage)", block, re.MULTILINE), block
        assert max(map(len, block.splitlines())) <= WIDTH + len("$ ")


def _names(group: object, path: str) -> Iterator[str]:
    for name, command in getattr(group, "commands", {}).items():
        if hasattr(command, "commands"):
            yield from _names(command, f"{path} {name}")
        else:
            yield f"{path} {name}"
