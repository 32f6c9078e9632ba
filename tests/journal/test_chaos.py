"""Faults at random: nothing acknowledged is lost, nothing is applied twice. `make soak` runs it for longer."""

from __future__ import annotations

import os
import random

from tests.journal.chaos import chaos
from tests.processes import until


def test_nothing_acknowledged_is_lost_or_doubled(tmp_path):
    seed = int(os.environ.get("ROWBANK_CHAOS_SEED") or random.randrange(1 << 30))
    print(f"seed {seed}: run again with ROWBANK_CHAOS_SEED={seed}")
    with chaos(tmp_path / "chaos", seed=seed, workers=4) as run:
        run.run(seconds=20)
        run.check()
        print(run.report)
        assert all(worker.pushes > 0 for worker in run.workers)


def test_an_orderly_stop_under_load_shows_clients_nothing_but_a_pause(tmp_path):
    """SIGTERM, then another process at the same address: the client's retries bridge it."""
    with chaos(tmp_path / "chaos", seed=1, workers=4) as run:
        run.start()
        for least in (50, 100):
            until(lambda least=least: min(worker.pushes for worker in run.workers) >= least, what="pushes")
            run.terminate_server()
        until(lambda: min(worker.pushes for worker in run.workers) >= 150, what="pushes")
        run.settle()
        assert sum(worker.unknown_pushes for worker in run.workers) == 0
        run.check()
