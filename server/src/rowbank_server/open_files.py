"""How many files and connections a process may have open."""

from __future__ import annotations

import contextlib
import resource

_MOST = 1 << 20


def raise_file_limit() -> None:
    """Lets this process open as many files as it may: each connection is one, and 1024, the usual limit, are few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # A system may have a limit of its own.
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
