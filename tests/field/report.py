"""Runs every case against the installed packages and prints what came of each beside what is right.

    PYTHONPATH=. .venv/bin/python -m tests.field.report [KIND ...] > report.md

Run with the environment of an older version (and this checkout on PYTHONPATH for the cases), it shows what that did.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.field.case import World
from tests.field.catalogue import cases
from tests.processes import UpProcess


def main(kinds: list[str]) -> int:
    """Prints the table; returns how many cases came out wrong."""
    wrong = 0
    print("| kind | case | outcome | right |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        up = UpProcess("--data-dir", str(folder / "data"), log=folder / "log")
        try:
            up.wait_ready()
            for number, (kind, case) in enumerate(cases()):
                if kinds and kind not in kinds:
                    continue
                own = folder / f"case{number}"
                own.mkdir()
                outcome = case.outcome(World(up.target, up.http_url, own, f"field{number}"))
                held = case.holds(outcome)
                wrong += not held
                shown = outcome.replace("|", "\\|")[:300]
                print(f"| {kind} | {case.name} | {shown} | {'yes' if held else 'NO'} |", flush=True)
        finally:
            up.close()
    return wrong


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
