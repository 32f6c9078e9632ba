"""Several workers train one model at once: which one a process is, and how to start them on one machine.

Importing this must stay cheap: it happens before TensorFlow is loaded.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from rowbank_trainer.errors import UsageError

LEASE_S = 15.0


@dataclass(frozen=True, slots=True)
class WorkerPart:
    """One worker of several.

    Attributes:
        index, count: which, from 0, of how many. The first one makes the tables, judges and publishes.
        group: the same for all workers of a run.
        max_staleness_steps: how many steps more than the slowest a worker may have done when it begins another.
    """

    index: int
    count: int
    group: str
    max_staleness_steps: int

    def __post_init__(self) -> None:
        if self.max_staleness_steps < 0:
            raise UsageError(f"--max-staleness-steps must be at least 0, got {self.max_staleness_steps}")

    @classmethod
    def parse(cls, text: str, group: str | None, max_staleness_steps: int) -> WorkerPart:
        """Reads "0/4" and the group. Raises TrainerError."""
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if not found or not int(found.group(1)) < int(found.group(2)):
            raise UsageError(f"--worker: expected I/N with I from 0 to N - 1, such as 0/4, got {text!r}")
        if not group:
            raise UsageError("--worker: name the run with --group, the same for all of its workers and for no other")
        return cls(int(found.group(1)), int(found.group(2)), group, max_staleness_steps)

    @property
    def lead(self) -> bool:
        """Whether this is the first worker."""
        return self.index == 0

    @property
    def worker_id(self) -> str:
        """In the group."""
        return f"worker-{self.index}"


def worker_run(part: WorkerPart, given: str | None) -> str:
    """What the run of several workers is called: as given, else as their group. Raises TrainerError."""
    if given is None and not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", part.group):
        raise UsageError(
            f"--group {part.group!r} names the run's tables, too, which takes letters, digits, dashes and underscores; "
            "choose another, or name the run with --run"
        )
    return part.group if given is None else given


def spawn_workers(arguments: Sequence[str], count: int, run: str, out: Path, console: Console) -> int:
    """Runs a command as `count` workers on this machine; returns the lead's exit status.

    The lead writes to this terminal, the others to `worker-<I>.log` in `out`.

    Args:
        arguments: of `rowbank-train`, without those that say which worker and which run.
        run: what the run is called.
    """
    out.mkdir(parents=True, exist_ok=True)
    for measured in out.glob("worker-*.json"):
        measured.unlink()
    group = f"train-{uuid.uuid4().hex[:12]}"
    program = [sys.executable, "-c", "from rowbank_trainer.cli import main; main()", *arguments]
    processes = []
    try:
        for index in range(count):
            command = [*program, "--worker", f"{index}/{count}", "--group", group, "--run", run]
            if index == 0:
                processes.append(subprocess.Popen(command))
                continue
            with (out / f"worker-{index}.log").open("wb") as log:
                processes.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT))
        return _wait(processes, out, console)
    finally:
        for process in processes:
            if process.poll() is None:
                process.terminate()
                process.wait()


def _wait(processes: list[subprocess.Popen[bytes]], out: Path, console: Console) -> int:
    told: set[int] = set()
    while (status := processes[0].poll()) is None:
        for index, process in enumerate(processes):
            if process.poll() and index not in told:
                told.add(index)
                console.print(
                    f"NOTICE: worker {index} ended with status {process.returncode}; the others go on without it when "
                    f"its lease of {LEASE_S:.0f} s is over (see {out}/worker-{index}.log)",
                    style="bold yellow", highlight=False,
                )  # fmt: skip
        time.sleep(0.1)
    return status


def without_option(arguments: Sequence[str], name: str) -> list[str]:
    """Arguments without `name VALUE` and `name=VALUE`."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip or argument.startswith(f"{name}="):
            skip = False
            continue
        if argument == name:
            skip = True
            continue
        kept.append(argument)
    return kept
