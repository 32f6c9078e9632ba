"""The checked-in protobuf code is what the .proto files generate, and works with the newest protobuf and gRPC."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "protos" / "src"
PROTOS = sorted((SOURCE / "rowbank_protos" / "v1").glob("*.proto"))


def test_generated_code_is_current(tmp_path):
    outputs = [f"--{kind}={tmp_path}" for kind in ("python_out", "pyi_out", "grpc_python_out")]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", f"-I{SOURCE}", *outputs, *map(str, PROTOS)], check=True)
    generated = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*_pb2*"))
    checked_in = sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*_pb2*.py*") if path.suffix != ".pyc")
    assert generated == checked_in
    stale = [str(path) for path in generated if (tmp_path / path).read_bytes() != (SOURCE / path).read_bytes()]
    assert not stale, "run: make gen"


def test_protobuf_code_needs_no_newer_runtime_than_tensorflow_allows():
    """TensorFlow 2.16 needs protobuf below 5; code that a newer compiler wrote calls a check that 4.25 lacks."""
    assert not [path.name for path in SOURCE.rglob("*_pb2.py") if "runtime_version" in path.read_text()]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif("ROWBANK_TEST_NEWEST" not in os.environ, reason="set ROWBANK_TEST_NEWEST=1: it installs packages")
def test_works_with_newest_protobuf_and_grpc(tmp_path, target):
    """Generated code and client, in a fresh environment with the newest released packages, against our server."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "protobuf", "grpcio", "numpy"], check=True
    )
    script = Path(__file__).with_name("newest.py")
    result = subprocess.run(
        [python, "-W", "error", str(script), target],
        env={"PYTHONPATH": os.pathsep.join([str(SOURCE), str(ROOT / "client" / "src")])},
        capture_output=True,
        text=True,
        check=False,
    )
    sys.stdout.write(result.stdout)
    assert result.returncode == 0, result.stderr
