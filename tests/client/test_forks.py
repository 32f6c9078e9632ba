"""Clients in forked children, and in processes that they are sent to."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys

import pytest

from rowbank import SGD, Client, TableSpec
from rowbank.errors import InvalidRequest
from rowbank.workers import WorkerGroup


def _program(scenario, target, name):
    command = [sys.executable, "-m", "tests.client.forking", scenario, target, name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": "."})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_pool_of_forked_processes_stores_all_of_its_rows(target, table_name):
    found = _program("pool", target, table_name)
    assert found == {"answers": [10] * 4, "rows": 40, "then": 10, "all": 50}


@pytest.mark.parametrize("attempt", range(3))
def test_every_push_and_removal_of_forked_children_counts_once(attempt, target, table_name):
    """One push before, five in each of four children, one after, while threads of the parent push another key."""
    found = _program("arithmetic", target, table_name)
    assert found == {"statuses": [0] * 4, "rows": [22.0], "busy": 0.0, "removed": [10] * 4, "size": 17}


def test_the_shared_client_is_another_one_in_each_child(target, table_name):
    found = _program("shared", target, table_name)
    assert found == {"statuses": [0] * 4, "then": 10, "rows": 51}


def test_children_fork_again_and_end_as_programs_do(target, table_name):
    found = _program("servers", target, table_name)
    assert found == {"statuses": [0, 0], "then": 10, "rows": 90}


def test_tables_are_sent_to_processes_of_every_start_method(target, table_name):
    found = _program("methods", target, table_name)
    assert found == {
        "answers": {"spawn": [10, 10], "forkserver": [10, 10], "fork": [10, 10]},
        "rows": 60,
        "one": True,
        "own": True,
    }


def test_what_is_under_way_stays_the_parents(target, table_name):
    found = _program("belongs", target, table_name)
    assert found == {"statuses": [0, 0], "left": 2000, "read": 2000, "advanced": [0, 0], "held": 1}


def test_a_child_whose_calls_process_is_killed_goes_on(target, table_name, monkeypatch):
    """What was under way is sent again under its request id; the process that took over ends with the child."""
    monkeypatch.setenv("ROWBANK_NATIVE", "0")  # Rows that go over the native transport need no such process.
    found = _program("bereft", target, table_name)
    assert found == {"statuses": [0], "rows": [2.0], "busy": 0.0, "ended": True}


def test_errors_and_streams_are_the_same_in_a_child(target, table_name):
    found = _program("trouble", target, table_name)
    assert found == {"statuses": [0, 0], "then": 10, "rows": 30}


def test_pickled_clients_keep_their_options(target, table_name):
    with Client(target, timeout_s=7.0, wire_dtype="float16") as client:
        table = client.create_table(TableSpec(table_name, dim=2, optimizer=SGD(1.0)))
        again = pickle.loads(pickle.dumps(table))
        assert again.spec == table.spec
        assert again._client._options == client._options
        assert copy.deepcopy(table)._client is again._client
        opened = again._client
        assert isinstance(opened, Client)
        opened.close()
        assert pickle.loads(pickle.dumps(table)).size() == 0  # A closed one is not given out again.


def test_what_cannot_be_pickled_says_why(target, table_name):
    with Client(target) as client, WorkerGroup(client, table_name, "w", max_staleness_steps=0) as group:
        with pytest.raises(InvalidRequest, match="pickle the Client or a Table"):
            pickle.dumps(client.features)
        with pytest.raises(InvalidRequest, match="make a WorkerGroup with another worker_id"):
            pickle.dumps(group)
