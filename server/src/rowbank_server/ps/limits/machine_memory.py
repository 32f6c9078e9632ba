"""How much more memory a process may take: of its machine, its control group, its own limits.

Each bound has a reserve that is left alone: what one moment's growth, the kernel and others on the machine need.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_RESERVED_SHARE = 0.1
_LEAST_RESERVED, _MOST_RESERVED = 64 << 20, 2 << 30
_UNLIMITED = 1 << 60  # What version 1 of control groups says where there is no limit, about.
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Bound:
    """Something that limits memory: how much there is, and how much of it is still to be had."""

    total: int
    free: int

    @property
    def reserve(self) -> int:
        """What is left alone."""
        return int(min(max(self.total * _RESERVED_SHARE, _LEAST_RESERVED), _MOST_RESERVED))

    @property
    def room(self) -> int:
        """Bytes that may still be taken; below 0: the reserve is touched."""
        return self.free - self.reserve


def sizes() -> tuple[int, int]:
    """Of this process: bytes of address space, and of RAM. 0 where the system does not say."""
    try:
        pages = Path("/proc/self/statm").read_text().split()
    except OSError:
        return 0, 0
    return int(pages[0]) * _PAGE, int(pages[1]) * _PAGE


def give_back() -> None:
    """Has the C library return what it keeps of freed memory to the system, where it is one that can."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def group_limit() -> int:
    """The memory that the control groups of this process may use; 0: they have no limit."""
    return min((bound.total for bound in _groups()), default=0)


def tightest() -> Bound | None:
    """Of all bounds the one with the least room; None: none is known."""
    return min(_bounds(), key=lambda bound: bound.room, default=None)


def _bounds() -> Iterator[Bound]:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        yield Bound(limit, limit - sizes()[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        facts = {name: int(rest.split()[0]) << 10 for name, _, rest in (line.partition(":") for line in lines)}
        yield Bound(facts["MemTotal"], facts["MemAvailable"])
    except (OSError, KeyError, ValueError, IndexError):
        pass
    yield from _groups()


def _groups() -> Iterator[Bound]:
    """Bounds of the control groups that this process is in, of both versions."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            root, names = Path("/sys/fs/cgroup"), ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root = Path("/sys/fs/cgroup/memory")
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        place = root / path.lstrip("/")
        # In a container the path may be that of the host: then the group is at the root of what is mounted.
        for folder in [place, *place.parents] if place.is_dir() else [root]:
            if folder == root or root in folder.parents:
                yield from _group(folder, *names)


def _group(folder: Path, limit_name: str, used_name: str, cache_name: str) -> Iterator[Bound]:
    try:
        limit = int((folder / limit_name).read_text())
        if limit >= _UNLIMITED:
            return
        used = int((folder / used_name).read_text())
        stats = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # There is no such file, or it says "max".
        return
    yield Bound(limit, limit - used + int(stats.get(cache_name, 0)))
