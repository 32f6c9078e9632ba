"""Imports of features before a Redis that is full, stands still, or leaves."""

from __future__ import annotations

import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis
from tests.processes import until

from rowbank import Client, feature_files
from rowbank.errors import InternalError, InvalidFeature, RedisUnavailable, ShardUnavailable
from rowbank.files import feature_source
from rowbank_server.features import layout


def test_a_redis_that_is_full_or_holds_something_else_is_told_in_words(start_ps, own_redis, namespace, tmp_path):
    """And not with the bytes of commands, which are keys and values."""
    pq.write_table(pa.table({"user_id": range(3000), "title": ["x" * 10_000] * 3000}), tmp_path / "f.parquet")
    path = str(tmp_path / "f.parquet")
    ps = start_ps(redis=own_redis.url)
    with Client(ps.target) as client, redis.Redis.from_url(own_redis.url) as server:
        server.config_set("maxmemory", server.info("memory")["used_memory"] + 8_000_000)
        with pytest.raises(
            InternalError, match=r"Redis is full \(.*\); raise its maxmemory or free some of it"
        ) as caught:
            feature_files.import_features(client, "people", path, create="user_id")
        assert "HSET" not in str(caught.value)
        server.config_set("maxmemory", 0)
        assert feature_files.import_features(client, "people", path, create="user_id").written == 3000
        key = layout.entity_key("user_id", 5, namespace)
        assert server.delete(key) == 1
        server.set(key, "x")
        with pytest.raises(InvalidFeature, match="people of user_id 5: what Redis has under its key is no hash"):
            feature_files.import_features(client, "people", path)


def test_a_redis_that_stands_still_for_a_while_only_delays_an_import(start_ps, own_redis, tmp_path):
    count = 40_000
    pq.write_table(pa.table({"user_id": range(count), "age": range(count)}), tmp_path / "f.parquet")
    ps = start_ps("--redis-timeout-s", "0.5", redis=own_redis.url)
    paused = threading.Event()

    def pause(stage, done, total):
        if stage == "writing" and not paused.is_set():
            paused.set()
            with redis.Redis.from_url(own_redis.url) as server:
                server.execute_command("CLIENT", "PAUSE", 1500, "ALL")

    with Client(ps.target, timeout_s=60.0) as client:
        path = str(tmp_path / "f.parquet")
        report = feature_files.import_features(client, "people", path, create="user_id", progress=pause)
        assert paused.is_set()
        assert report.written == count
        reads = client.features.read("people", range(count))
        assert [read.values["age"] for read in reads] == list(range(count))


def test_an_import_that_redis_leaves_says_how_far_it_came_and_may_be_repeated(
    start_ps, own_redis, tmp_path, monkeypatch
):
    monkeypatch.setattr(feature_source, "BATCH_ROWS", 500)  # A request is quick even on a busy machine.
    count = 20_000
    pq.write_table(pa.table({"user_id": range(count), "age": range(count)}), tmp_path / "f.parquet")
    ps = start_ps("--redis-timeout-s", "1", redis=own_redis.url)
    stopped = threading.Event()

    def stop(stage, done, total):
        if stage == "writing" and not stopped.is_set():
            stopped.set()
            own_redis.stop()

    with Client(ps.target, timeout_s=8.0) as client:
        path = str(tmp_path / "f.parquet")
        with pytest.raises((RedisUnavailable, ShardUnavailable)) as caught:
            feature_files.import_features(client, "people", path, create="user_id", progress=stop)
        assert f"{path}: the first " in str(caught.value)
        assert "import the file again, which does no harm to what is there" in str(caught.value)
        done = int(caught.value.metadata["rows_written"])
        assert 0 < done < count
        own_redis.start()

        def again():
            try:
                return feature_files.import_features(client, "people", path, create="user_id").written == count
            except (RedisUnavailable, ShardUnavailable):
                return False

        until(again)
        assert client.features.read("people", [count - 1])[0].values == {"age": count - 1}
        assert len(client.features.entities("people")) == count
