"""Child processes that end when their parent does, however the parent ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO

# Asks the kernel (PR_SET_PDEATHSIG, 1) and becomes the command. It is a program and not a function between fork and
# exec, because the parent may have threads, whose locks such a function could find taken for ever.
_LAUNCHER = """
import ctypes, os, sys
death_signal, parent = int(sys.argv[1]), int(sys.argv[2])
ctypes.CDLL(None).prctl(1, death_signal)
if os.getppid() != parent:
    sys.exit("the parent ended first")
os.execv(sys.argv[3], sys.argv[3:])
"""


def spawn(
    command: Sequence[str],
    *,
    death_signal: signal.Signals,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    keep_open: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Starts `command`, an absolute path and its arguments, in a session of its own.

    On Linux the kernel sends it `death_signal` when the calling thread ends, so call this from a thread that lives as
    long as the process, such as the main one. A session of its own keeps a terminal's Ctrl-C from the child, whose end
    is ordered by its parent.
    """
    if sys.platform == "linux":
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(int(death_signal)), str(os.getpid())]
        command = [*launcher, *command]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        pass_fds=keep_open,
        env=None if environment is None else dict(environment),
        start_new_session=True,
    )
