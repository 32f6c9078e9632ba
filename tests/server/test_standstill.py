"""A Redis that stands still (SIGSTOP): what needs it says so within its caller's deadline, and the rest goes on."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pool import Default
from tests.processes import stand_still

from rowbank import SGD, Client, TableSpec, errors
from rowbank.features import FeatureField, FeatureView
from rowbank_protos.v1 import features_pb2, features_pb2_grpc, models_pb2, models_pb2_grpc
from rowbank_server.ps.services.waits import WAITS, wait_s

KEYS = np.arange(50)
SLACK_S = 1.5  # What a busy machine may add.


@contextlib.contextmanager
def standing_still(pid: int) -> Iterator[None]:
    stand_still(pid)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.fixture
def server(start_ps, own_redis):
    server = start_ps(redis=own_redis.url)
    with Client(server.target) as client:
        table = client.create_table(TableSpec("t", dim=2, optimizer=SGD(1.0)))
        table.push(KEYS, np.ones((50, 2)))
        client.features.put_view(FeatureView("users", "user_id", (FeatureField("age", "int64"),)))
        client.features.write("users", {1: {"age": 30}})
    return server


def test_features_and_models_fail_within_the_deadline_and_rows_go_on(server, own_redis):
    with Client(server.target, timeout_s=2.0) as client, standing_still(own_redis.pid):
        table = client.table("t")
        for call in (lambda: client.features.read("users", [1]), lambda: client.models.list()):
            started = time.monotonic()
            with pytest.raises(errors.RedisUnavailable):
                call()
            assert time.monotonic() - started < 2.0 + SLACK_S
            assert (table.pull(KEYS) == -1.0).all()
    with Client(server.target) as client:
        assert client.features.read("users", [1])[0].values == {"age": 30}


def test_many_callers_that_wait_for_redis_do_not_keep_the_threads(server, own_redis):
    """Three times as many as the shard has threads for requests; none of them is left when Redis is asked no more."""
    with grpc.insecure_channel(server.target) as channel, Client(server.target) as client:
        features = features_pb2_grpc.FeatureServiceStub(channel)
        models = models_pb2_grpc.ModelServiceStub(channel)
        calls = [
            lambda: features.ReadFeatures(features_pb2.ReadFeaturesRequest(view="users", entities=[1]), timeout=1.0),
            lambda: features.ListViews(features_pb2.ListViewsRequest(), timeout=1.0),
            lambda: models.ListModels(models_pb2.ListModelsRequest(), timeout=1.0),
        ] * 16

        def code(call) -> grpc.StatusCode:
            with pytest.raises(grpc.RpcError) as raised:
                call()
            return raised.value.code()

        with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool, standing_still(own_redis.pid):
            assert grpc.StatusCode.UNAVAILABLE in set(pool.map(code, calls))
            started = time.monotonic()
            assert {code(call) for call in calls} == {grpc.StatusCode.UNAVAILABLE}  # At once: the breaker is open.
            assert [info.name for info in (table.spec for table in client.list_tables())] == ["t"]
            assert time.monotonic() - started < 8.0


def test_an_unknown_table_keeps_no_thread_either(server, own_redis):
    with Client(server.target, timeout_s=2.0) as client, standing_still(own_redis.pid):
        table = client.table("t")
        for _ in range(3):
            with pytest.raises((errors.RedisUnavailable, errors.DeadlineExceeded)):
                client.pull({"nobody": [1]})
        assert (table.pull(KEYS) == -1.0).all()


@pytest.mark.parametrize(
    ("arguments", "codes"),
    [
        (["tables"], {0}),
        (["stats"], {0, 3}),
        (["top", "t"], {0}),
        (["row", "t", "1"], {0}),
        (["table", "describe", "t"], {3}),
        (["evictions"], {1}),
    ],
)
def test_the_command_line_looks_at_what_is_in_ram(server, own_redis, arguments, codes):
    environment = {**os.environ, "ROWBANK_TARGETS": server.target}
    command = [sys.executable, "-m", "rowbank.cli", *arguments, "-o", "json"]
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "rowbank.cli", "tables"], env=environment, check=True, capture_output=True)
    usual_s = time.monotonic() - started
    with standing_still(own_redis.pid):
        started = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        took_s = time.monotonic() - started
    assert done.returncode in codes, done.stderr
    assert took_s < usual_s + 2.0 + SLACK_S
    if done.returncode == 1:
        assert done.stderr.startswith("error: ")
        assert "Redis did not answer" in done.stderr
    else:
        assert json.loads(done.stdout)


def test_waits_are_named_as_the_methods_are():
    pool = Default()
    for path in WAITS:
        service, method = path.strip("/").split("/")
        assert method in pool.FindServiceByName(service).methods_by_name


def test_who_has_little_time_is_told_before_it_is_over():
    assert wait_s(None, None) is None
    assert wait_s(float("inf"), None) is None
    assert wait_s(30.0, 1.5) == 1.5
    assert wait_s(30.0, None) == 29.75
    assert wait_s(1.0, 1.5) == 0.8
