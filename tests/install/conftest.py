"""Wheels, and environments that have nothing but what is installed from them."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = Path(sysconfig.get_path("scripts")) / "uv"
# No compiler, no tools of the tests' own environment, and nothing that says where packages are built.
BARE = {
    name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL", "CMAKE", "OTEL"))
}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all wheels, as `scripts/wheels.py` builds them; what was compiled before is kept."""
    folder = tmp_path_factory.mktemp("wheels")
    command = [
        sys.executable,
        ROOT / "scripts" / "wheels.py",
        "--out",
        folder,
        "--url",
        "Homepage=https://rows.example",
    ]
    built = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**BARE, "CMAKE_ARGS": ""}, timeout=600
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


class Environment:
    """An empty environment of the tests' Python."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        subprocess.run([UV, "venv", "-q", "--python", sys.executable, folder], check=True, env=BARE)

    def install(self, *requirements: str | Path, wheels: Path | None = None) -> None:
        """From wheels alone, the pinned versions; so without a compiler."""
        found = ["--find-links", str(wheels)] if wheels else []
        command: list[str | Path] = [
            UV,
            "pip",
            "install",
            "-q",
            "--python",
            self.bin / "python",
            "--only-binary",
            ":all:",
            *found,
        ]
        done = subprocess.run(
            [*command, "-c", ROOT / "constraints.txt", *requirements],
            capture_output=True,
            text=True,
            check=False,
            env={**BARE, "PATH": str(self.bin)},
        )
        assert done.returncode == 0, done.stderr

    def run(self, *command: str, **options: object) -> subprocess.CompletedProcess[str]:
        """A program of the environment, with nothing else on its path."""
        return subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env=self.variables,
            cwd=self.bin.parent,
            **options,  # type: ignore[call-overload]
        )

    @property
    def variables(self) -> dict[str, str]:
        return {**BARE, "PATH": str(self.bin)}


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "environment")
