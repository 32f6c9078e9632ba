"""`rowbank doctor` against what is really wrong: Redis that forgets, is away or syncs too little; clocks; processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
import redis as redis_py

from rowbank import Client, TableSpec
from rowbank.calls.servers import Server
from rowbank.cli.health.own_checks import (
    Asked,
    of_certificate,
    of_clock,
    of_native,
    of_processes,
    of_token,
    of_versions,
)
from rowbank.credentials import Credentials
from rowbank.diagnosis import Diagnosis
from rowbank_protos.v1 import admin_pb2, diagnosis_pb2
from rowbank_server.ps.diagnosis.redis_checks import of_redis
from rowbank_server.ps.diagnosis.redis_look import RedisFacts
from rowbank_server.ps.diagnosis.shard_checks import of_network, of_owner
from rowbank_server.settings import PsSettings, load

NOBODY = "127.0.0.1:9"


def ask(target: str, *arguments: str, code: int) -> str:
    environment = {**os.environ, "ROWBANK_TARGETS": target, "ROWBANK_RETRIEVAL": NOBODY, "NO_COLOR": "1"}
    command = [sys.executable, "-m", "rowbank.cli", "doctor", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def found(target: str, code: int) -> dict[str, dict]:
    return {one["check"]: one for one in json.loads(ask(target, "-o", "json", code=code))}


def test_doctor_looks_at_redis_as_it_is_now(start_ps, own_redis):
    server = start_ps(redis=own_redis.url)
    told = found(server.target, 0)
    assert (told["redis policy"]["verdict"], told["redis policy"]["detail"]) == ("ok", "noeviction")
    assert told["standby"]["verdict"] == "warn"
    assert told["models"]["where"] == ["retrieval"]
    for check in ("process", "versions", "clock", "journal", "write-back", "corruption", "network", "redis memory"):
        assert told[check]["verdict"] == "ok", told[check]
    assert {"file limit", "memory", "huge pages", "overcommit", "disk"} <= told.keys()
    with Client(server.target) as client, redis_py.Redis.from_url(own_redis.url) as redis:
        client.create_table(TableSpec("t", dim=2))
        redis.config_set("maxmemory", "100mb")
        redis.config_set("maxmemory-policy", "allkeys-lru")
        time.sleep(1.1)  # What was said within a second may be said again.
        told = found(server.target, 3)
        assert told["redis policy"]["verdict"] == "fail"
        assert "noeviction" in told["redis policy"]["remedy"]
        text = ask(server.target, code=3).splitlines()
        assert text[0].startswith("fail     redis policy (shard 0 owner): allkeys-lru with a limit")
        remedy = next(line.strip() for line in text if line.lstrip().startswith("->"))
        assert remedy.startswith("-> set it: CONFIG SET maxmemory-policy noeviction")
        assert text[-1].startswith("1 failed, ")
    own_redis.stop()
    told = found(server.target, 3)
    assert told["redis"]["verdict"] == "fail"
    assert told["memory"]["verdict"] in ("ok", "warn", "fail")  # The rest is looked at all the same.


def test_doctor_works_where_nobody_answers():
    told = found(NOBODY, 3)
    assert told["process"]["verdict"] == "fail"
    assert told["versions"]["verdict"] == "ok"


def verdicts(findings) -> dict[str, str]:
    names = diagnosis_pb2.Verdict.Name
    return {one.check: names(one.verdict).removeprefix("VERDICT_").lower() for one in findings}


GOOD = {
    "redis_version": "7.2.4", "maxmemory_policy": "noeviction", "maxmemory": 100, "used_memory": 50, "aof_enabled": 1,
    "role": "master", "connected_slaves": 0, "connected_clients": 5, "maxclients": 100,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "settings", "synced", "check", "verdict"),
    [
        ({}, {}, [], "redis version", "ok"),
        ({"redis_version": "6.0.16"}, {}, [], "redis version", "fail"),
        ({"used_memory": 85}, {}, [], "redis memory", "warn"),
        ({"used_memory": 96}, {}, [], "redis memory", "fail"),
        ({"maxmemory_policy": "volatile-lru"}, {}, [], "redis policy", "warn"),
        ({"maxmemory_policy": ""}, {}, [], "redis policy", "unknown"),
        ({"aof_enabled": 0}, {}, [], "redis persistence", "fail"),
        ({"aof_enabled": 0}, {"save": "3600 1"}, [], "redis persistence", "warn"),
        ({}, {"appendfsync": "no"}, [], "redis persistence", "warn"),
        ({}, {"appendfsync": "everysec"}, [], "redis persistence", "ok"),
        ({}, {"appendfsync": "everysec"}, ["t"], "redis persistence", "fail"),
        ({}, {"appendfsync": "always"}, ["t"], "redis persistence", "ok"),
        ({}, {"auto-aof-rewrite-min-size": "67108864"}, [], "redis rewriting", "warn"),
        ({}, {"auto-aof-rewrite-min-size": "2147483648"}, [], "redis rewriting", "ok"),
        ({"aof_last_write_status": "err"}, {}, [], "redis disk", "fail"),
        ({"role": "slave"}, {}, [], "redis role", "fail"),
        ({}, {"min-replicas-to-write": "1"}, [], "redis role", "fail"),
        ({"connected_clients": 90}, {}, [], "redis clients", "warn"),
    ],
)
def test_redis_is_judged(changes, settings, synced, check, verdict):
    facts = RedisFacts(nodes=({**GOOD, **changes},), settings=settings, ahead_s=0.0)
    assert verdicts(of_redis(facts, synced_tables=synced, embedded=False))[check] == verdict


def test_a_file_that_is_not_written_is_not_said_to_be_rewritten():
    facts = RedisFacts(nodes=({**GOOD, "aof_enabled": 0},), settings={"auto-aof-rewrite-min-size": "67108864"})
    assert "redis rewriting" not in verdicts(of_redis(facts, synced_tables=[], embedded=False))


def test_clocks_of_redis_are_compared():
    facts = RedisFacts(nodes=(GOOD,), ahead_s=5.0)
    assert verdicts(of_redis(facts, synced_tables=[], embedded=False))["redis clock"] == "warn"


@pytest.mark.parametrize(
    ("health", "table", "check", "verdict"),
    [
        ({}, {}, "journal", "ok"),
        ({"journal_failure": "gone"}, {}, "journal", "fail"),
        ({"journal_bytes": 95}, {}, "journal", "fail"),
        ({"journal_bytes": 70}, {}, "journal", "ok"),
        ({"journal_bytes": 85}, {}, "journal", "warn"),
        ({"journal_lag_s": 3.0}, {}, "journal", "warn"),
        ({"write_back_lag_s": 60.0}, {}, "write-back", "warn"),
        ({"dirty_rows": 95}, {}, "write-back", "fail"),
        ({"corrupt_records": 1}, {}, "corruption", "fail"),
        ({}, {"corrupt_rows": 1}, "corruption", "fail"),
        ({}, {"evicted_rows": 100, "regretted_rows": 6}, "eviction", "warn"),
        ({}, {"evicted_rows": 100, "regretted_rows": 5}, "eviction", "ok"),
    ],
)
def test_a_shard_is_judged(health, table, check, verdict):
    message = diagnosis_pb2.GetHealthResponse(**{"journal_max_bytes": 100, "max_dirty_rows": 100, **health})
    stats = [admin_pb2.TableStats(table="t", **table)]
    assert verdicts(of_owner(message, stats, has_standby=True))[check] == verdict


def test_an_open_door_is_a_failure():
    def judged(**settings) -> dict[str, str]:
        return verdicts([of_network(load(PsSettings, settings))])

    assert judged(bind="0.0.0.0:7700") == {"network": "fail"}
    assert judged(bind="127.0.0.1:7700") == {"network": "ok"}
    secured = {"tls_certificate": "c.pem", "tls_key": "k.pem"}
    assert judged(bind="0.0.0.0:7700", require_tokens=True, **secured) == {"network": "ok"}
    assert judged(bind="0.0.0.0:7700", **secured) == {"network": "fail"}


def test_a_servers_clock_may_be_off_by_what_the_call_took():
    def judged(at_s: float) -> str:
        return of_clock(Diagnosis("a:1", 0, "id", "1", "owner", int(at_s * 1000), ()), Asked(100.0, 104.0)).verdict

    assert [judged(at_s) for at_s in (97.0, 98.5, 102.0, 105.5, 107.0)] == ["warn", "ok", "ok", "ok", "warn"]


def test_versions_and_owners_are_compared():
    from rowbank.admin import ShardProcess

    def process(role: str, version: str, *, answers: bool = True) -> ShardProcess:
        return ShardProcess(0, role, f"{role}:1", "serving", 1, 1, 0.0, 1, version, role, answers)

    assert of_versions([process("owner", "1.0")], "1.0").verdict == "ok"
    assert of_versions([process("owner", "1.0"), process("standby", "0.9")], "1.0").verdict == "warn"
    assert [one.verdict for one in of_processes([process("owner", "1")])] == ["ok"]
    assert [one.verdict for one in of_processes([process("standby", "1")])] == ["fail"]


def test_whether_the_native_endpoint_is_reached_is_said(start_ps):
    pytest.importorskip("rowbank._http2")
    pytest.importorskip("rowbank_server._http2")
    ours = start_ps()
    address = found(ours.target, 0)["native endpoint"]["detail"].rpartition(" ")[2]
    listed = subprocess.run(
        [sys.executable, "-m", "rowbank.cli", "shards", "--target", ours.target, "-o", "json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert address == json.loads(listed.stdout)[0]["native_address"] != ""
    server = Server("10.0.0.1:7700", Credentials())
    told = []
    for at, reached_at in ((NOBODY, "10.0.0.1:7700"), (NOBODY, "10.0.0.2:7700"), ("", "10.0.0.1:7700")):
        server.lines.learn(at, f"id of the server at {reached_at}", [reached_at])
        told.append(of_native(server))
    server.close()
    assert [one.verdict for one in told] == ["warn", "ok", "ok"]
    assert NOBODY in told[0].detail
    assert "native_bind" in told[0].remedy
    assert "something is in between" in told[1].detail
    assert "the server has none" in told[2].detail


def test_a_token_that_others_can_read_is_said(tmp_path):
    path = tmp_path / "token"
    path.write_text("t")
    path.chmod(0o644)
    (warned,) = of_token(Credentials(token_file=str(path)))
    assert (warned.verdict, warned.remedy) == ("warn", f"chmod 600 {path}")
    path.chmod(0o600)
    assert [one.verdict for one in of_token(Credentials(token_file=str(path)))] == ["ok"]
    assert [one.verdict for one in of_token(Credentials(token_file=str(tmp_path / "none")))] == ["fail"]


def test_a_certificate_that_cannot_be_read_is_a_failure():
    told = of_certificate(NOBODY, Credentials(ca_file="system"))
    assert told.verdict == "fail"
    assert NOBODY in told.detail
