"""The work that clients of every parameter server are given, and where they run."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from bench.peers.work import BATCHES, Work
from bench.placement import pinned, placement


def work(**other) -> Work:
    return Work(**{"rows": 1000, "dim": 4, "batch": 100, "seed": 7, "optimizer": "adagrad", "tables": ("a",), **other})


@pytest.mark.parametrize("keys", ["uniform", "zipf"])
def test_keys_are_distinct_within_a_batch_and_in_the_table(keys):
    batches = work(keys=keys).batches()
    assert batches.shape == (BATCHES, 100)
    assert batches.dtype == np.int64
    assert batches.min() >= 0
    assert batches.max() < 1000
    assert all(len(np.unique(batch)) == 100 for batch in batches)


def test_every_client_has_keys_of_its_own_and_the_same_ones_again():
    assert (work(client=1).batches() == work(client=1).batches()).all()
    assert (work(client=1).batches() != work(client=0).batches()).any()


def test_hot_keys_are_hot_for_every_client():
    drawn = [
        np.bincount(work(keys="zipf", batch=20, client=client).batches().ravel(), minlength=1000) for client in (0, 1)
    ]
    assert drawn[0].argmax() == drawn[1].argmax()
    assert drawn[0].max() > 10 * BATCHES * 20 / 1000


def test_one_core_for_the_server_leaves_the_others_to_clients():
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("needs two cores")
    found = placement(1)
    assert found.server == (cores[0],)
    assert found.clients == tuple(cores[1:])
    shared = placement(len(cores))
    assert shared.server == shared.clients == tuple(cores)
    assert "shared" in str(shared)


def test_a_program_starts_on_the_cores_it_is_given():
    core = min(os.sched_getaffinity(0))
    asks = "import os; print(*os.sched_getaffinity(0))"
    told = subprocess.run(pinned([sys.executable, "-c", asks], (core,)), check=True, capture_output=True, text=True)
    assert told.stdout.split() == [str(core)]
