"""Parameter servers with their clients, each as processes of its own: Rowbank and the ones that it is compared with."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import grpc

from rowbank_protos.v1 import admin_pb2, admin_pb2_grpc

from . import services
from .peers.work import Work
from .placement import Placement, pinned

ROOT = Path(__file__).parents[1]
PYTHONS = {"torch RPC": ROOT / ".venv-torch/bin/python", "Paddle": ROOT / ".venv-paddle/bin/python"}
_LEAD_S = 0.3  # In which every client gets to know when to begin.


class Program:
    """A client's program, see `peers.lines`."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self._asked, self._answers, self._log = process.stdin, process.stdout, log

    def tell(self, **asked: Any) -> None:
        """Sends a question; `answer` has to be read next."""
        self._asked.write(json.dumps(asked) + "\n")
        self._asked.flush()

    def answer(self) -> Any:
        """What it says next.

        Raises:
            RuntimeError: it ended instead.
        """
        if line := self._answers.readline():
            return json.loads(line)
        raise RuntimeError(f"a client's program ended: {self._log.read_text(errors='replace')[-3000:]}")

    def ask(self, **asked: Any) -> Any:
        """One question and its answer."""
        self.tell(**asked)
        return self.answer()


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """A server under measurement.

    Attributes:
        programs: one a client; or one for all of them.
        server: its process.
        writes_back: whether it may have work left after a call.
    """

    name: str
    programs: list[Program]
    server: int
    writes_back: bool = False
    target: str = ""

    def timed(self, what: str, count: int, first: int) -> list[float]:
        """Seconds of each of `count` calls of one client."""
        found: list[float] = self.programs[0].ask(act="time", what=what, count=count, first=first)
        return found

    def run(self, what: str, seconds: float) -> float:
        """Calls a second of all clients together, without pauses, for about so many seconds."""
        begin = time.monotonic() + _LEAD_S
        for program in self.programs:
            program.tell(act="run", what=what, begin=begin, seconds=seconds)
        answers = [program.answer() for program in self.programs]
        return float(sum(calls / took for calls, took in answers))


@contextlib.contextmanager
def rowbank(
    name: str,
    work: Work,
    cores: Placement,
    *,
    durability: str,
    python: str = sys.executable,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Candidate]:
    """Rowbank as that Python has it installed, with a Redis of its own like that of `rowbank up`."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(services.own_redis(cores=cores.clients))
        shard = stack.enter_context(
            services.shard(url, orderly=False, python=python, cores=cores.server, environment=environment, silent=True)
        )
        server = {"target": shard.target, "durability": durability}
        programs = _clients(stack, work, cores, python, "rowbank_side", server)
        yield Candidate(name, programs, shard.process, True, shard.target)


@contextlib.contextmanager
def echo(work: Work, cores: Placement) -> Iterator[Candidate]:
    """A gRPC server that answers as many bytes, with the product's channel options."""
    with contextlib.ExitStack() as stack:
        options = json.dumps(services.CHANNEL_OPTIONS)
        process = stack.enter_context(_module(sys.executable, "echo_server", options, cores.server))
        assert process.stdout is not None
        server = {"target": process.stdout.readline().split()[2], "options": services.CHANNEL_OPTIONS}
        yield Candidate("gRPC echo", _clients(stack, work, cores, sys.executable, "echo_side", server), process.pid)


@contextlib.contextmanager
def rung(layer: str, work: Work, cores: Placement) -> Iterator[Candidate]:
    """One layer of the ladder with a client of its own, see `peers.ladder_server`."""
    told = {"layer": layer, "rows": work.rows, "dim": work.dim, "options": services.CHANNEL_OPTIONS}
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(_module(sys.executable, "ladder_server", json.dumps(told), cores.server))
        assert process.stdout is not None
        server = {
            "target": process.stdout.readline().split()[2],
            "transport": "tcp" if layer == "core over TCP" else "grpc",
            "message": layer == "core and protobuf",
            "method": "/bench.Ladder/Pull",
            "options": services.CHANNEL_OPTIONS,
        }
        yield Candidate(layer, _clients(stack, work, cores, sys.executable, "ladder_side", server), process.pid)


@contextlib.contextmanager
def stock_client(address: str, work: Work, cores: Placement) -> Iterator[Candidate]:
    """gRPC's own client of a shard that is there already, with nothing of the product's."""
    server = {
        "target": address, "transport": "grpc", "message": True, "method": "/rowbank.v1.RowService/Pull",
        "options": services.CHANNEL_OPTIONS,
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        yield Candidate(address, _clients(stack, work, cores, sys.executable, "ladder_side", server), os.getpid())


def native_address(target: str) -> str:
    """Where the shard's native endpoint listens; empty if it has none."""
    with grpc.insecure_channel(target) as channel:
        told = admin_pb2_grpc.AdminServiceStub(channel).GetServerInfo(admin_pb2.GetServerInfoRequest())
        return str(told.native_address)


@contextlib.contextmanager
def torch_rpc(work: Work, cores: Placement) -> Iterator[Candidate]:
    """Tables in a process that clients call by torch's RPC."""
    with _both_sides("torch RPC", "torch_side", work, cores) as candidate:
        yield candidate


@contextlib.contextmanager
def paddle(work: Work, cores: Placement) -> Iterator[Candidate]:
    """The parameter server of PaddlePaddle's fleet."""
    with _both_sides("Paddle", "paddle_side", work, cores) as candidate:
        yield candidate


@contextlib.contextmanager
def _both_sides(name: str, module: str, work: Work, cores: Placement) -> Iterator[Candidate]:
    """A server and clients that are one program, in an environment of its own; client -1 is the server."""
    python = str(PYTHONS[name])
    server = {"port": services.free_port()}
    with contextlib.ExitStack() as stack:
        serving = dataclasses.replace(work, client=-1, server=server)
        process = stack.enter_context(_module(python, module, _told(serving), cores.server))
        yield Candidate(name, _clients(stack, work, cores, python, module, server), process.pid)


@contextlib.contextmanager
def tensorflow(work: Work, cores: Placement) -> Iterator[Candidate]:
    """A parameter server and workers under ParameterServerStrategy."""
    addresses = [f"127.0.0.1:{services.free_port()}" for _ in range(work.clients + 2)]
    cluster = {"ps": addresses[:1], "chief": addresses[1:2], "worker": addresses[2:]}
    jobs = [("ps", 0, cores.server), *(("worker", index, cores.clients) for index in range(work.clients))]
    with contextlib.ExitStack() as stack:
        nodes = []
        for job, index, where in jobs:
            told = json.dumps({"cluster": cluster, "job": job, "index": index, "threads": len(where)})
            nodes.append(stack.enter_context(_module(sys.executable, "tensorflow_node", told, where)))
        for node in nodes:
            assert node.stdout is not None
            node.stdout.readline()
        only = dataclasses.replace(work, server={"cluster": cluster})
        programs = [_client(stack, only, cores, sys.executable, "tensorflow_side")]
        _require_ready(programs)
        yield Candidate("TensorFlow", programs, nodes[0].pid)


PEERS = {"TensorFlow": tensorflow, "Paddle": paddle, "torch RPC": torch_rpc, "gRPC echo": echo}


def _clients(
    stack: contextlib.ExitStack, work: Work, cores: Placement, python: str, module: str, server: dict[str, Any]
) -> list[Program]:
    """One program a client, all ready."""
    each = [dataclasses.replace(work, client=number, server=server) for number in range(work.clients)]
    programs = [_client(stack, one, cores, python, module) for one in each[:1]]
    if module in ("rowbank_side", "paddle_side"):
        _require_ready(programs)  # The first makes the tables.
        programs += (others := [_client(stack, one, cores, python, module) for one in each[1:]])
        _require_ready(others)
    else:
        programs += [_client(stack, one, cores, python, module) for one in each[1:]]
        _require_ready(programs)
    return programs


def _client(stack: contextlib.ExitStack, work: Work, cores: Placement, python: str, module: str) -> Program:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    log = folder / "log"
    process = stack.enter_context(
        _module(python, module, _told(work), cores.clients, stdin=subprocess.PIPE, errors=log.open("wb"))
    )
    return Program(process, log)


def _require_ready(programs: list[Program]) -> None:
    for program in programs:
        program.answer()


def _told(work: Work) -> str:
    return json.dumps(dataclasses.asdict(work))


@contextlib.contextmanager
def _module(
    python: str,
    module: str,
    told: str,
    cores: tuple[int, ...],
    *,
    stdin: int | None = None,
    errors: IO[bytes] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """A program of `bench.peers` in another environment, killed at the end."""
    command = pinned([python, "-m", f"bench.peers.{module}", told], cores)
    environment = os.environ | {
        "OMP_NUM_THREADS": str(len(cores)), "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3",
    }  # fmt: skip
    process = subprocess.Popen(
        command, stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors or subprocess.DEVNULL,
        text=True, cwd=ROOT, env=environment,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()
