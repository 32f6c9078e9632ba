"""What Prometheus sees."""

from __future__ import annotations

import json
import re
import time
import urllib.request

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.server.support import refused

from rowbank import Client
from rowbank.errors import DimMismatch
from rowbank.features import FeatureField, FeatureView
from rowbank_protos.v1 import admin_pb2


def scraped(server) -> dict[tuple, float]:
    """Sample values by name and labels, as text that a Prometheus would parse."""
    (address,) = re.findall(r"metrics at (http://\S+/metrics)", server.log)
    with urllib.request.urlopen(address, timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}


@pytest.fixture
def server(start_ps):
    return start_ps("--http-bind", "127.0.0.1:0", "--log-format", "json")


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


def test_reads_of_features_are_counted_with_their_ages(server):
    """One that was never written, one within the maximum age, one beyond it, and one of an event to come."""
    now = time.time()
    with Client(server.target) as client:
        client.features.put_view(FeatureView("users", "user_id", (FeatureField("age", "int64"),), max_age_s=600.0))
        for entity, at in ((1, now - 90), (2, now - 5000), (3, now + 5000)):
            client.features.write("users", {entity: {"age": 7}}, event_time_s=at)
        reads = client.features.read("users", [1, 2, 3, 4])
        assert [(read.status, read.values["age"]) for read in reads] == [
            ("present", 7), ("outside_max_age", 0), ("present", 7), ("not_found", 0),
        ]  # fmt: skip
        values = scraped(server)
        expected = {
            ("rowbank_feature_status_total", "present", "users"): 2,
            ("rowbank_feature_status_total", "outside_max_age", "users"): 1,
            ("rowbank_feature_status_total", "not_found", "users"): 1,
            ("rowbank_feature_age_seconds_bucket", "1.0", "users"): 1,
            ("rowbank_feature_age_seconds_bucket", "60.0", "users"): 1,
            ("rowbank_feature_age_seconds_bucket", "600.0", "users"): 2,
            ("rowbank_feature_age_seconds_bucket", "21600.0", "users"): 3,
            ("rowbank_feature_age_seconds_bucket", "+Inf", "users"): 3,
            ("rowbank_feature_age_seconds_count", "users"): 3,
        }
        assert {key: values[key] for key in expected} == expected
        assert values["rowbank_feature_newest_event_timestamp_seconds", "users"] == pytest.approx(now + 5000, abs=1e-3)
        assert 5090 <= values["rowbank_feature_age_seconds_sum", "users"] <= 5090 + 2 * (time.time() - now)
        client.features.drop_view("users")
        assert not [key for key in scraped(server) if "users" in key]
