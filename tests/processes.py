"""The real processes that tests talk to: servers of ours started as a user would, on free loopback ports."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

READY_TIMEOUT_S = 60.0


class ServerProcess:
    """`python -m rowbank_server ROLE ARGUMENTS` with its ready line read and its log in a file."""

    def __init__(self, role: str, *arguments: str, log: Path, environment: dict[str, str] | None = None) -> None:
        self.log_path = log
        command = [sys.executable, "-m", "rowbank_server", role, *arguments]
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=stream, env={**os.environ, **(environment or {})}
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def ready_line(self, *, timeout_s: float = READY_TIMEOUT_S) -> str:
        """The ready line; fails with the log if the process ends first or takes too long."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + timeout_s
        line = b""
        while not line.endswith(b"\n"):
            left = max(0.0, deadline - time.monotonic())
            readable, _, _ = select.select([self.process.stdout], [], [], left)
            piece = os.read(self.process.stdout.fileno(), 4096) if readable else b""
            assert piece, f"no ready line; log:\n{self.log}"
            line += piece
        return line.decode().strip()

    def wait(self, *, timeout_s: float = READY_TIMEOUT_S) -> int:
        """Its exit status, once it ended."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not end within {timeout_s} s; log:\n{self.log}") from None

    def terminate(self, *, timeout_s: float = READY_TIMEOUT_S) -> int:
        """Sends SIGTERM and waits; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait(timeout_s=timeout_s)

    def kill(self) -> None:
        """Sends SIGKILL and waits."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Ends it in whatever state it is."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
        if self.process.poll() is None:
            self.kill()
        if self.process.stdout is not None:
            self.process.stdout.close()


class PsProcess(ServerProcess):
    """A parameter-server shard; `target` is its address, and `http_url` with `--http-bind`, once it is ready."""

    def __init__(self, *arguments: str, redis_url: str, log: Path, environment: dict[str, str] | None = None) -> None:
        if "--bind" not in arguments:
            arguments = ("--bind", "127.0.0.1:0", *arguments)
        super().__init__("ps", "--redis", redis_url, *arguments, log=log, environment=environment)
        self.target = ""
        self.http_url = ""

    def wait_ready(self) -> PsProcess:
        role, name, self.target, *http = self.ready_line().split()
        assert (role, name) == ("ready", "rowbank-ps")
        self.http_url = "".join(http).removeprefix("http=")
        return self


# For services whose answers are compared: one in part, because the machine is busy, is no fault of theirs.
PATIENT = {"ROWBANK_API_QUERY_BUDGET_MS": "30000", "ROWBANK_API_ROW_TIMEOUT_S": "30"}


class UpProcess(ServerProcess):
    """`up`: Redis, a shard and the retrieval service; `target`, `standby` (the second shard's, if there is one),
    `http_url`, `retrieval_target` and `ps_http_url` are known once it is ready."""

    def __init__(self, *arguments: str, log: Path, environment: dict[str, str] | None = None) -> None:
        ports = (
            "--grpc-bind",
            "127.0.0.1:0",
            "--standby-grpc-bind",
            "127.0.0.1:0",
            "--http-bind",
            "127.0.0.1:0",
            "--retrieval-grpc-bind",
            "127.0.0.1:0",
            "--ps-http-bind",
            "127.0.0.1:0",
        )
        super().__init__("up", *ports, *arguments, log=log, environment=environment)
        self.target = ""
        self.standby = ""
        self.http_url = ""
        self.retrieval_target = ""
        self.ps_http_url = ""

    def wait_ready(self) -> UpProcess:
        role, name, *addresses = self.ready_line().split()
        assert (role, name) == ("ready", "rowbank-up")
        named = dict(address.split("=", 1) for address in addresses)
        self.target, self.http_url, self.retrieval_target = named["grpc"], named["http"], named["retrieval_grpc"]
        self.standby = named.get("standby", "")
        self.ps_http_url = named.get("ps_http", "")
        return self


@contextlib.contextmanager
def closing(process: ServerProcess) -> Iterator[ServerProcess]:
    try:
        yield process
    finally:
        process.close()


def until(condition, *, timeout_s: float = READY_TIMEOUT_S, what: str = "condition") -> None:
    """Polls a condition that another process makes true; fails when it does not within `timeout_s`.

    The limit is there to end a test that waits in vain; how fast a machine is, is no test's business.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.01)


def stand_still(pid: int) -> None:
    """Stops a process (SIGSTOP), until it is sent SIGCONT; returns when no thread of it runs any more."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: all(_is_stopped(status) for status in Path(f"/proc/{pid}/task").glob("*/stat")), what="a standstill")


def _is_stopped(status: Path) -> bool:
    try:
        return status.read_text().rpartition(")")[2].split()[0] in "TtZX"
    except OSError:  # That thread has ended.
        return True
