"""The chaos test for as long as wanted: python -m tests.journal.soak --minutes 30 [--seed N] [--workers N]."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.journal.chaos import chaos

ROUND_S = 300.0  # Each round has a seed of its own and is checked by itself.


def main() -> int:
    parser = argparse.ArgumentParser(description="Kills servers while workers push, and counts.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--workers", type=int, default=6)
    options = parser.parse_args()
    left_s, seed = options.minutes * 60, options.seed
    while left_s > 0:
        round_s = min(left_s, ROUND_S)
        print(f"seed {seed}, {round_s:.0f} s, {options.workers} workers", flush=True)
        with chaos(Path(tempfile.mkdtemp(prefix="rowbank-soak-")) / "run", seed=seed, workers=options.workers) as run:
            run.run(seconds=round_s)
            run.check()
            print(f"  nothing lost, nothing doubled: {run.report}", flush=True)
        left_s, seed = left_s - round_s, seed + 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
