"""Builds the C++ tests with sanitizers and runs them: memory and undefined behaviour, then data races."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SERVER = Path(__file__).parents[2] / "server"


def tool(name: str) -> str:
    """A build tool from beside this Python, else from PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: str) -> None:
    environment = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1", "ASAN_OPTIONS": "detect_leaks=1"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout[-6000:]}\n{result.stderr[-6000:]}"


def build(sanitizers: str) -> Path:
    """Builds incrementally under server/build and returns the folder of the test programs."""
    folder = SERVER / "build" / ("tests-" + sanitizers.replace(",", "-"))
    ninja = f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}"
    options = ["-DROWBANK_PYTHON=OFF", "-DROWBANK_TESTS=ON", f"-DROWBANK_SANITIZE={sanitizers}", ninja]
    run(tool("cmake"), "-S", str(SERVER), "-B", str(folder), "-G", "Ninja", *options)
    run(tool("cmake"), "--build", str(folder))
    return folder / "native"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_memory_and_undefined_behaviour():
    programs = build("address,undefined")
    run(str(programs / "rowbank_core_tests"))
    run(str(programs / "rowbank_fuzz_table"), "300")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_data_races():
    run(str(build("thread") / "rowbank_core_tests"), "threads")
