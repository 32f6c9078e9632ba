"""The commands of the docs run as shown: all that do not say why not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docs import movielens
from tests.docs.shell_blocks import blocks, moved, script
from tests.docs.test_docs import DOCS, PAGES, ROOT
from tests.redis_nodes import free_ports

# Pages that start servers of their own, and those whose commands ask a system that is there.
BY_ITSELF = [ROOT / "README.md", DOCS / "tutorial.md", *sorted((DOCS / "howto").glob("*.md"))]
ON_A_SYSTEM = [
    page
    for page in PAGES
    if page not in BY_ITSELF and any(one.language == "sh" and not one.why for one in blocks(page))
]
_LONGEST_S = 270.0
_PORTS = ("grpc", "standby", "http", "retrieval", "ps_http")


def new_ports() -> dict[str, int]:
    return dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))


def run(text: str, folder: Path, ports: dict[str, int]) -> None:
    """Runs a script in `folder`, where what has default addresses has those of `ports`."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ROWBANK_")},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "ROWBANK_UP_GRPC_BIND": f"127.0.0.1:{ports['grpc']}",
        "ROWBANK_UP_STANDBY_GRPC_BIND": f"127.0.0.1:{ports['standby']}",
        "ROWBANK_UP_HTTP_BIND": f"127.0.0.1:{ports['http']}",
        "ROWBANK_UP_RETRIEVAL_GRPC_BIND": f"127.0.0.1:{ports['retrieval']}",
        "ROWBANK_TARGETS": f"127.0.0.1:{ports['grpc']}",
        "ROWBANK_RETRIEVAL": f"127.0.0.1:{ports['retrieval']}",
    }
    environment.pop("TF_USE_LEGACY_KERAS", None)
    (folder / "page.sh").write_text(moved(text, ports))
    process = subprocess.Popen(
        ["bash", "page.sh"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        told, logged = process.communicate(timeout=_LONGEST_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)  # What it has begun, too.
        told, logged = process.communicate()
    assert process.returncode == 0, f"{told[-2000:]}\n{logged[-4000:]}"


@pytest.mark.slow
@pytest.mark.parametrize("page", BY_ITSELF, ids=lambda page: page.stem)
def test_pages_that_need_nothing_run_from_their_first_line_to_their_last(tmp_path, page):
    if page.name == "README.md":  # Its programs have a test that looks at what they print.
        movielens.write(tmp_path / "ml-100k")
        (tmp_path / "docs").symlink_to(DOCS)
        (tmp_path / ".venv").symlink_to(sys.prefix)
    run(script(page, languages=("sh",) if page.name == "README.md" else ("sh", "python")), tmp_path, new_ports())


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, int]]]:
    """A running system with a model of films, and a folder with the files that the docs name; its ports."""
    folder, ports = tmp_path_factory.mktemp("system"), new_ports()
    movielens.write(folder / "ml-100k")
    begin = (
        "rowbank up --data-dir data > up.log &\nuntil grep -q ^ready up.log; do sleep 0.2; done\n"
        f"rowbank-train two-tower --data ml-100k --schema {DOCS}/examples/movielens.toml --tables rowbank"
        " --batch-size 256 --epochs 1 --activate\n"
    )
    files = (
        "import pandas as pd\n"
        "rows = pd.DataFrame({'user_id': [42, -7], 'visits': [3, 1], 'updated_at': pd.Timestamp.now(tz='UTC')})\n"
        "rows.to_parquet('people.parquet')\n"
        "rows[['user_id', 'visits']].to_csv('more.csv', index=False)\n"
    )
    (folder / "items.ndjson").write_text(
        "".join(json.dumps({"id": item, "features": {"title": f"Film {item}"}}) + "\n" for item in (28, 9002))
    )
    ends = "touch begun; until [ -e end ]; do sleep 0.1; done\n"
    setup = f"set -euo pipefail\ntrap 'kill $(jobs -p); wait' EXIT\n{begin}python - <<'END'\n{files}END\n{TABLES}{ends}"
    yield from _running(setup, folder, ports)


TABLES = """
rowbank table create user --dim 4
python - <<'END'
from rowbank import Client
import numpy as np
with Client() as client:
    client.table("user").push(np.arange(100), np.ones((100, 4), np.float32))
END
"""


def _running(setup: str, folder: Path, ports: dict[str, int]) -> Iterator[tuple[Path, dict[str, int]]]:
    failures: list[BaseException] = []

    def hold() -> None:
        try:
            run(setup, folder, ports)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=hold)
    thread.start()
    while not (folder / "begun").exists():
        thread.join(0.1)
        if failures:
            raise failures[0]
    yield folder, ports
    (folder / "end").touch()
    thread.join()
    assert not failures


@pytest.mark.slow
@pytest.mark.parametrize("page", ON_A_SYSTEM, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_on_a_running_system_run(system, page):
    folder, ports = system
    run(script(page, languages=("sh",)), folder, ports)


def test_what_is_not_run_says_why():
    for page in PAGES:
        assert all(len(one.why) > 10 for one in blocks(page) if one.why)
