"""Rows read from Redis are those that the table has."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import redis
from tests.processes import PsProcess
from tests.retrieval.support import until

import rowbank
from rowbank.errors import TableNotFound
from rowbank_server.storage.layout import Layout
from rowbank_server.storage.stored_rows import StoredRows

KINDS = ("float32", "float16", "bfloat16")
KEYS = np.arange(-3000, 3000, dtype=np.int64)


@pytest.fixture
def client(start_ps: Callable[..., PsProcess]) -> Iterator[rowbank.Client]:
    with rowbank.Client(start_ps().target) as client:
        yield client


def test_rows_of_every_type_are_read_as_the_table_has_them(
    client: rowbank.Client, redis_url: str, namespace: str
) -> None:
    """Unseen keys are zeros, keys may repeat, and optimizer state is left out."""
    values = np.linspace(-8, 8, len(KEYS) * 3, dtype=np.float32).reshape(len(KEYS), 3)
    for kind in KINDS:
        spec = rowbank.TableSpec(kind, dim=3, value_dtype=kind, optimizer=rowbank.Adagrad(0.1))
        client.create_table(spec).upsert(KEYS, values)
    client.create_table(rowbank.TableSpec("empty", dim=2))
    wanted = np.asarray([2999, -3000, 7, 7, 5000, 0], dtype=np.int64)
    with redis.Redis.from_url(redis_url) as connection:
        rows = StoredRows(connection, Layout(namespace))
        until(lambda: all(found.all() for _, found in rows.lookup(dict.fromkeys(KINDS, KEYS)).values()))
        for kind, (found_values, found) in rows.lookup(dict.fromkeys(KINDS, wanted)).items():
            expected = client.table(kind).lookup(wanted)
            np.testing.assert_array_equal(found, expected.found)
            np.testing.assert_array_equal(found_values[found], expected.values[expected.found])
            assert not found_values[~found].any()
        empty_values, empty_found = rows.lookup({"empty": wanted})["empty"]
        assert empty_values.shape == (6, 2)
        assert not empty_found.any()
        assert rows.lookup({"empty": np.empty(0, np.int64)})["empty"][0].shape == (0, 2)
        with pytest.raises(TableNotFound, match="'none' does not exist"):
            rows.lookup({"none": wanted})
