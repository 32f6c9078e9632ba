"""Everything that changes tables, while a replica follows, is cut off, and ends: see `tests.following.soak`."""

from __future__ import annotations

import pytest
from tests.following.soak import soaking


@pytest.mark.parametrize("seed", [11])
def test_a_replica_equals_its_owner_bit_for_bit_whatever_happened(tmp_path, seed):
    with soaking(tmp_path / "run", seed=seed, pause_s=6.0) as soak:
        soak.run(seconds=18)
        assert soak.events["compared"] >= 2
        assert soak.rows_compared > 0
        assert soak.done["push"] > 0
