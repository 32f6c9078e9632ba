"""Builds the C++ tests with sanitizers and runs them: memory and undefined behaviour, data races, fuzzed operations."""

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


def build(name: str, sanitizers: str, *options: str, target: str = "all") -> Path:
    """Builds incrementally under server/build and returns the folder of the test programs."""
    folder = SERVER / "build" / f"tests-{name}"
    settings = ["-DROWBANK_PYTHON=OFF", "-DROWBANK_TESTS=ON", f"-DROWBANK_SANITIZE={sanitizers}"]
    ninja = f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}"
    run(tool("cmake"), "-S", str(SERVER), "-B", str(folder), "-G", "Ninja", ninja, *settings, *options)
    run(tool("cmake"), "--build", str(folder), "--target", target)
    return folder / "native"


def run_wire(programs: Path, name: str, *arguments: str) -> None:
    """A program of the native endpoint, which is built where nghttp2 is."""
    if (programs / name).exists():
        run(str(programs / name), *arguments)


def fuzzing_compiler(folder: Path) -> str:
    """A Clang that has libFuzzer. Skips where there is none: the seeded driver ran with the memory checks."""
    compiler = shutil.which("clang++")
    if compiler is None:
        pytest.skip("no clang++ on PATH; the seeded driver has run instead")
    source = folder / "empty.cc"
    source.write_text('extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }\n')
    command = [compiler, "-fsanitize=fuzzer,address", str(source), "-o", str(folder / "empty")]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip(f"{compiler} has no libFuzzer; the seeded driver has run instead")
    return compiler


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_memory_and_undefined_behaviour():
    programs = build("memory", "address,undefined")
    run(str(programs / "rowbank_core_tests"))
    run(str(programs / "rowbank_fuzz_table"), "300")
    run_wire(programs, "rowbank_wire_tests")
    run_wire(programs, "rowbank_fuzz_wire", "1000")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_data_races():
    program = str(build("threads", "thread") / "rowbank_core_tests")
    for suite in ("threads", "flat_index", "inverted_index", "mutations"):
        run(program, suite)
    run_wire(Path(program).parent, "rowbank_wire_tests")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fuzzed_operations_match_the_model(tmp_path):
    """libFuzzer searches for operations on which the table and a plain map differ, or that touch wrong memory."""
    compiler = f"-DCMAKE_CXX_COMPILER={fuzzing_compiler(tmp_path)}"
    programs = build("fuzzer", "address", "-DROWBANK_FUZZER=ON", compiler)
    limits = ["-max_total_time=20", "-max_len=4096", "-len_control=0", "-rss_limit_mb=4096", "-seed=20240607"]
    run(str(programs / "rowbank_fuzz_table"), *limits, f"-artifact_prefix={tmp_path}/")
    run_wire(programs, "rowbank_fuzz_wire", *limits, f"-artifact_prefix={tmp_path}/")
