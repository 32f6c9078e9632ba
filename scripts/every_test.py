"""Runs every test; the few that fail beside others once more, alone, to tell a fault from a machine that was too busy.

More than a few failures are a fault, and nothing is run again. What passed only alone is named: such a test depends on
how busy the machine is, and is to be mended.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_FEW = 3
_FAILED = Path(".pytest_cache/v/cache/lastfailed")  # Where pytest keeps what failed last.
_TESTS_FAILED = 1  # Exit status of pytest, as against interrupted, misused, or no tests at all.


def main(arguments: list[str]) -> int:
    """Runs pytest with `arguments`; returns the exit status."""
    _FAILED.unlink(missing_ok=True)
    status = _pytest(*arguments)
    if status != _TESTS_FAILED or not _FAILED.exists():
        return status
    failed = sorted(json.loads(_FAILED.read_text(encoding="utf-8")))
    if not 0 < len(failed) <= _FEW:
        return status
    print(f"== once more, alone: {', '.join(failed)}", flush=True)
    again = _pytest(*failed)
    if again == 0:
        print(f"== failed beside others and passed alone, so they depend on the load: {', '.join(failed)}", flush=True)
    return again


def _pytest(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
