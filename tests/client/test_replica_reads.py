"""Reads that replicas may answer: which of them, how old the rows may be, and the owner where none is fresh enough."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from rowbank import Client, TableSpec, errors

KEYS = np.arange(20, dtype=np.int64)
ROWS = np.ones((20, 2), np.float32)


def test_without_replicas_the_owner_answers(target, table_name):
    with Client(target, max_staleness_s=1.0) as client:
        table = client.create_table(TableSpec(table_name, dim=2))
        assert table.upsert(KEYS, ROWS) == 20
        assert (table.pull(KEYS) == 1.0).all()
        assert table.lookup(KEYS, max_staleness_s=0.0).found.all()
        assert client.lookup({table_name: KEYS}, at_least=client.position())[table_name].found.all()
        assert table.size(max_staleness_s=5.0) == 20


def test_only_clients_that_say_so_read_from_replicas(target, table_name):
    with Client(target) as client:
        table = client.create_table(TableSpec(table_name, dim=2))
        for read in (
            lambda: table.pull(KEYS, max_staleness_s=1.0),
            lambda: table.lookup(KEYS, at_least={}),
            lambda: table.size(max_staleness_s=0.0),
            client.position,
        ):
            with pytest.raises(errors.InvalidRequest, match="a client that was made with max_staleness_s"):
                read()


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), "1", True])
def test_a_staleness_is_a_number_of_seconds(target, wrong):
    with pytest.raises(errors.InvalidRequest, match="max_staleness_s: expected seconds of at least 0"):
        Client(target, max_staleness_s=wrong)


def test_a_partial_client_reads_from_owners(target):
    with pytest.raises(errors.InvalidRequest, match="max_staleness_s: expected None with partial"):
        Client(target, partial=True, max_staleness_s=1.0)


def test_the_position_of_another_client_is_checked(target, table_name):
    with Client(target, max_staleness_s=1.0) as client:
        table = client.create_table(TableSpec(table_name, dim=2))
        with pytest.raises(errors.InvalidRequest, match="at_least: the position of shard 0: expected an integer"):
            table.pull(KEYS, at_least={0: -7})


def test_a_client_of_replicas_is_pickled_with_its_staleness(target, table_name):
    with Client(target, max_staleness_s=1.0) as client:
        client.create_table(TableSpec(table_name, dim=2))
        copy = pickle.loads(pickle.dumps(client))
        assert copy.position() == {}
        assert copy.table(table_name).size() == 0
        copy.close()
