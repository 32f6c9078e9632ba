"""Owners are killed, stopped and cut off in turns: nothing is lost or doubled, and no caller sees an error.

`make soak KILLS=100` does it for longer, and measures.
"""

from __future__ import annotations

import os
import random

import pytest
from tests.standby.chaos import standby_chaos


@pytest.mark.slow
def test_nobody_sees_more_than_a_pause_whatever_befalls_owners(tmp_path):
    seed = int(os.environ.get("ROWBANK_CHAOS_SEED") or random.randrange(1 << 30))
    print(f"seed {seed}: run again with ROWBANK_CHAOS_SEED={seed}")
    with standby_chaos(tmp_path / "chaos", seed=seed, workers=2) as run:
        run.run(8)
        run.check()
        print(run.gaps)
        assert all(worker.pushes > 0 for worker in run.workers)
