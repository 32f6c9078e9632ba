"""Client and server on the newest releases of everything they need, in an environment without the pinned ones."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tests.install.conftest import BARE, ROOT, UV

# Packages that the tests themselves need, beside what client and server do.
TOOLS = ["httpx", "hypothesis", "onnx", "pytest", "pytest-timeout", "pyyaml"]
TESTS = [
    "tests/server/test_rows.py",
    "tests/server/test_tables.py",
    "tests/server/test_errors.py",
    "tests/client/test_client.py",
    "tests/client/test_native.py",
    "tests/client/test_forks.py",
    "tests/journal/test_recovery.py",
    "tests/retrieval/test_recommend.py",
    "tests/retrieval/test_grpc.py",
    "tests/retrieval/test_feature_store.py",
    "tests/tracing/test_parameter_server.py",
    "tests/tracing/test_retrieval.py",
]


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.skipif("ROWBANK_TEST_NEWEST" not in os.environ, reason="set ROWBANK_TEST_NEWEST=1: it installs packages")
def test_core_tests_on_the_newest_releases(wheels, tmp_path):
    environment = tmp_path / "newest"
    subprocess.run([UV, "venv", "-q", "--python", sys.executable, environment], check=True, env=BARE)
    command = [UV, "pip", "install", "-q", "--python", environment / "bin" / "python", "--upgrade", "--no-build"]
    packages = ["rowbank-server[embedded,tracing]", "rowbank[cli]", *TOOLS]
    installed = subprocess.run(
        [*command, "--find-links", wheels, *packages], capture_output=True, text=True, check=False, env=BARE
    )
    if installed.returncode:
        pytest.skip(f"the newest releases cannot be installed here: {installed.stderr[-500:]}")
    # The wheels' packages, not the sources beside the tests: these are not on the path.
    told = subprocess.run(
        [environment / "bin" / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS],
        cwd=ROOT,
        env={**BARE, "PATH": f"{environment / 'bin'}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    sys.stdout.write(told.stdout[-2000:])
    assert told.returncode == 0, told.stdout[-6000:]
    listed = subprocess.run([UV, "pip", "freeze", "--python", environment / "bin" / "python"], capture_output=True,
                            text=True, check=True, env=BARE).stdout  # fmt: skip
    sys.stdout.write(
        "\n".join(line for line in listed.splitlines() if line.startswith(("protobuf", "grpcio", "numpy")))
    )
