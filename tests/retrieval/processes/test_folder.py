"""The private folder of one run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from rowbank_server.retrieval.processes.folder import PrivateFolder


def test_it_is_private_and_gone_at_the_end(tmp_path: Path):
    folder = PrivateFolder(tmp_path)
    assert folder.path.stat().st_mode & 0o777 == 0o700
    (folder.path / "inner").mkdir()
    folder.close()
    assert list(tmp_path.iterdir()) == []


def test_the_next_run_removes_what_a_crash_left_and_nothing_else(tmp_path: Path):
    crash = f"""
import os
from pathlib import Path
from rowbank_server.retrieval.processes.folder import PrivateFolder
(PrivateFolder(Path({str(tmp_path)!r})).path / "vectors").write_bytes(b"1")
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", crash], check=False).returncode == 9
    [left] = tmp_path.iterdir()
    running = PrivateFolder(tmp_path)
    (tmp_path / "rowbank-api-link").symlink_to("/")
    (tmp_path / "rowbank-api-file").touch()
    (tmp_path / "rowbank-api-other").mkdir()  # Without a lock: somebody else's.
    another = PrivateFolder(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert left.name not in names
    assert names == {"rowbank-api-link", "rowbank-api-file", "rowbank-api-other", running.path.name, another.path.name}
    running.close()
    another.close()
