"""Child processes that end when their parent does, however the parent ends."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO

_PR_SET_PDEATHSIG = 1
# Looked up before any fork: between fork and exec a process may not load libraries.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def spawn(
    command: Sequence[str],
    *,
    death_signal: signal.Signals,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    keep_open: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Starts `command` in a session of its own; on Linux the kernel sends it `death_signal` when this thread ends.

    Call it from a thread that lives as long as the process, such as the main one. A session of its own keeps a
    terminal's Ctrl-C from the child, whose end is ordered by its parent.
    """
    parent = os.getpid()

    def die_with_parent() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, int(death_signal))
            if os.getppid() != parent:  # It died before the call above.
                os._exit(1)

    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        pass_fds=keep_open,
        env=dict(environment) if environment is not None else None,
        start_new_session=True,
        preexec_fn=die_with_parent,
    )
