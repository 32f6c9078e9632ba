"""What may be wrong with the machine: too few files, memory, disk; settings of the kernel."""

from __future__ import annotations

import os
import re
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

from rowbank_protos.v1.diagnosis_pb2 import Finding
from rowbank_server.ps.diagnosis.verdicts import fail, fine, unknown, warn

_FEW_FILES = 4096
_FILES_FULL = 0.8
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")
_LITTLE_MEMORY, _NO_MEMORY = 0.1, 0.03  # Of the machine's.
_LITTLE_DISK, _NO_DISK = 0.15, 0.05  # Of the disk's.


def of_machine(*, redis_here: bool, redis_dir: str) -> Iterator[Finding]:
    """All checks of the machine that this process runs on.

    Args:
        redis_here: whether Redis runs on this machine, too.
        redis_dir: the folder of its files; empty: not known.
    """
    yield _files()
    yield _memory()
    yield _huge_pages()
    if redis_here:
        yield _overcommit()
    yield _disk(redis_here, redis_dir)


def _files() -> Finding:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        used = len(os.listdir("/proc/self/fd"))
    except OSError:
        used = 0
    if limit == resource.RLIM_INFINITY:
        return fine("file limit", f"none, {used} open")
    detail = f"{used} of {limit} open"
    remedy = "raise it before the start: ulimit -n 65536 (systemd: LimitNOFILE=65536)"
    if used > _FILES_FULL * limit:
        return fail("file limit", f"{detail}: new connections are refused soon", remedy)
    return warn("file limit", detail, remedy) if limit < _FEW_FILES else fine("file limit", detail)


def _memory() -> Finding:
    numbers = dict(re.findall(r"^(\w+):\s+(\d+) kB$", _read(Path("/proc/meminfo")), re.MULTILINE))
    total, free = int(numbers.get("MemTotal", 0)), int(numbers.get("MemAvailable", 0))
    if not total:
        return unknown("memory", "this system does not say")
    detail = f"{free / 2**20:.1f} of {total / 2**20:.1f} GiB available"
    remedy = "set caps on the largest tables (rowbank bigtables), or give the machine more"
    if free < _NO_MEMORY * total:
        return fail("memory", detail, remedy)
    return warn("memory", detail, remedy) if free < _LITTLE_MEMORY * total else fine("memory", detail)


def _huge_pages() -> Finding:
    chosen = re.search(r"\[(\w+)\]", _read(_HUGE_PAGES))
    if chosen is None:
        return unknown("huge pages", "this system does not say")
    if chosen[1] == "always":
        return warn(
            "huge pages",
            "always: a Redis on this machine stalls when it forks",
            f"echo madvise > {_HUGE_PAGES}, at every start of the machine; tables ask for huge pages themselves",
        )
    if chosen[1] == "never":
        remedy = f"echo madvise > {_HUGE_PAGES}, at every start of the machine"
        return warn("huge pages", "never: reads of large tables are about a quarter slower", remedy)
    return fine("huge pages", chosen[1])


def _overcommit() -> Finding:
    value = _read(_OVERCOMMIT).strip()
    if not value:
        return unknown("overcommit", "this system does not say")
    if value == "1":
        return fine("overcommit", "vm.overcommit_memory is 1")
    detail = f"vm.overcommit_memory is {value}: Redis may fail to fork when it saves"
    return warn("overcommit", detail, "sysctl vm.overcommit_memory=1, and in /etc/sysctl.conf")


def _disk(redis_here: bool, redis_dir: str) -> Finding:
    if not redis_here:
        return unknown("disk", "Redis runs elsewhere", "watch the disk there")
    if not redis_dir:
        return unknown("disk", "Redis does not tell its folder (CONFIG is forbidden)", "watch the disk of its folder")
    try:
        usage = shutil.disk_usage(redis_dir)
    except OSError as error:
        return unknown("disk", f"{redis_dir}: {error.strerror or error}")
    share = usage.free / usage.total
    detail = f"{usage.free / 2**30:.1f} of {usage.total / 2**30:.1f} GiB free at {redis_dir}"
    remedy = "make room: Redis refuses writes when the disk is full"
    if share < _NO_DISK:
        return fail("disk", detail, remedy)
    return warn("disk", detail, remedy) if share < _LITTLE_DISK else fine("disk", detail)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
