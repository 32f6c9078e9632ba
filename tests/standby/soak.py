"""Faults of owners, and for how long pushes are not answered then.

`python -m tests.standby.soak --kills 100 --rows 100000`, or `make soak KILLS=100 ROWS=100000`.
`--cold` measures a process without a standby on the same rows: it is killed and started again.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

import numpy as np
from tests.standby.chaos import standby_chaos


def main() -> int:
    parser = argparse.ArgumentParser(description="Takes owners away while workers push, and counts and measures.")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--cold", action="store_true", help="without a standby")
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.kills} faults, {options.rows} rows, {options.workers} workers", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="rowbank-standby-")) / "run"
    with standby_chaos(folder, seed=options.seed, workers=options.workers, rows=options.rows, cold=options.cold) as run:
        run.run(options.kills)
        run.check()
        counted = f"{run.errors} errors in {run.pushes} pushes, {run.native_pushes} over native endpoints"
        print(f"nothing lost, nothing doubled, {counted}", flush=True)
        print("\n| fault | times | p50, s | p95, s | max, s |\n| --- | --- | --- | --- | --- |")
        for name, gaps in run.gaps.items():
            p50, p95 = np.percentile(gaps, [50, 95])
            print(f"| {name} | {len(gaps)} | {p50:.2f} | {p95:.2f} | {max(gaps):.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
