"""Rows of several tables for the service, from a real parameter server."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from tests.processes import PsProcess
from tests.retrieval.support import until

import rowbank
from rowbank_server.retrieval.rows import ClientRows


def test_several_tables_are_read_without_a_trace(start_ps: Callable[..., PsProcess]) -> None:
    """Unseen keys read zeros, whatever the table would start them with; reading renews nobody's last use."""
    ps = start_ps()
    rows = ClientRows([ps.target], 5.0)
    with rowbank.Client(ps.target) as client:
        for name, tracked in (("a", False), ("b", True), ("c", False)):
            spec = rowbank.TableSpec(name, dim=2, initializer=rowbank.Constant(7.0), track_reads=tracked)
            client.create_table(spec).push([1, 2], [[1.0, 2.0], [3.0, 4.0]])
        pushed = {name: client.table(name).lookup([1, 2], with_metadata=True) for name in "abc"}
        until(lambda: time.time() >= max(table.last_used.max() for table in pushed.values()) + 1)  # type: ignore[union-attr]
        read = rows.lookup({name: np.array([1, 2, 3]) for name in "abc"})
        assert set(read) == set("abc")
        for name, (values, found) in read.items():
            assert found.tolist() == [True, True, False]
            assert values.tolist() == [*pushed[name].values.tolist(), [0.0, 0.0]]
        empty, none_found = rows.lookup({"a": np.array([1]), "c": np.array([], np.int64)})["c"]
        assert (empty.shape, none_found.shape) == ((0, 2), (0,))
        for name in "abc":
            after = client.table(name).lookup([1, 2], with_metadata=True)
            assert after.last_used.tolist() == pushed[name].last_used.tolist()  # type: ignore[union-attr]
            assert client.table(name).size() == 2
    rows.close()
