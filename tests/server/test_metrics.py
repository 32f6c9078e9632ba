"""What Prometheus sees."""

from __future__ import annotations

import json
import re
import urllib.request

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.server.support import refused

from rowbank.errors import DimMismatch
from rowbank_protos.v1 import admin_pb2


def scraped(server) -> dict[tuple, float]:
    """Sample values by name and labels, as text that a Prometheus would parse."""
    (address,) = re.findall(r"metrics at (http://\S+/metrics)", server.log)
    with urllib.request.urlopen(address, timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}


@pytest.fixture
def server(start_ps):
    return start_ps("--metrics-bind", "127.0.0.1:0", "--log-format", "json")


def test_tables_and_requests_are_counted(server, connect):
    wire = connect(server.target)
    wire.create("t")
    wire.push("t", [1, 2, 3, 1], np.ones((4, 2)))
    wire.pull("t", [1, 9])
    with refused(DimMismatch):
        wire.push("t", [1], [[1, 2, 3]])
    wire.admin.Restrict(admin_pb2.RestrictRequest(table="t", num_reserved=1))
    wire.admin.Flush(admin_pb2.FlushRequest())
    values = scraped(server)
    expected = {
        ("rowbank_table_rows", "t"): 1,
        ("rowbank_table_dirty_rows", "t"): 0,
        ("rowbank_table_step", "t"): 1,
        ("rowbank_pushed_rows_total", "t"): 3,  # Distinct keys.
        ("rowbank_inserted_rows_total", "t"): 3,
        ("rowbank_evicted_rows_total", "t"): 2,
        ("rowbank_removed_rows_total", "t"): 0,
        ("rowbank_regretted_rows_total", "t"): 0,
        ("rowbank_corrupt_rows_total", "t"): 0,
        ("rowbank_pulled_rows_total", "found", "t"): 1,
        ("rowbank_pulled_rows_total", "initialized", "t"): 1,
        ("rowbank_pulled_rows_total", "not_admitted", "t"): 0,
        ("rowbank_redis_connected",): 1,
        ("rowbank_requests_total", "OK", "Push"): 1,
        ("rowbank_requests_total", "INVALID_ARGUMENT", "Push"): 1,
        ("rowbank_request_seconds_count", "Push"): 2,
    }
    assert {key: values[key] for key in expected} == expected
    assert values["rowbank_table_bytes", "t"] > 0
    assert values["rowbank_table_last_write_back_timestamp_seconds", "t"] > 1_700_000_000


def test_logs_can_be_json(server, connect):
    connect(server.target).create("t")
    entries = [json.loads(line) for line in server.log.splitlines()]
    assert all({"at", "level", "logger", "message"} <= entry.keys() for entry in entries)
    assert any(entry["message"].startswith("created table t ") for entry in entries)
