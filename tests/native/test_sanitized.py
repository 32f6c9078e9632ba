"""The client's connection under the sanitizers of addresses and undefined behaviour; its server says random things."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

_WARNINGS = ["-Wall", "-Wextra", "-Werror"]
_SANITIZED = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ here")
    pytest.importorskip("rowbank._http2")
    path = tmp_path_factory.mktemp("sanitized") / "line_random"
    sources = ["tests/native/line_random.cc", "client/wire/line.cc", "client/wire/line_answer.cc"]
    command = [
        compiler,
        "-std=c++20",
        *_WARNINGS,
        *_SANITIZED,
        "-Iclient/wire",
        *sources,
        "-lnghttp2",
        "-lpthread",
        "-o",
        str(path),
    ]
    built = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if "cannot find -lasan" in built.stderr or "cannot find -lubsan" in built.stderr:
        pytest.skip("the compiler has no sanitizers here")
    assert built.returncode == 0, built.stderr
    return path


@pytest.mark.parametrize("seed", [1, 2])
def test_answers_of_a_random_kind(program, seed):
    done = subprocess.run([program, str(seed), "200"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    answered, _, lost, _ = (int(number) for number in re.findall(r"(\d+) [a-z]", done.stdout))
    assert min(answered, lost) > 20, done.stdout  # It says enough that makes sense.
