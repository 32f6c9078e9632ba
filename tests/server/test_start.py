"""Starts that cannot work end with one clear line, and no trace."""

from __future__ import annotations

import socket

import grpc
import pytest
import redis
from tests.processes import UpProcess
from tests.server.support import refused

from rowbank.errors import NotReady


def ended(server, status, *words):
    assert server.wait(timeout_s=30) == status
    (line,) = [line for line in server.log.splitlines() if "error:" in line]
    assert "Traceback" not in server.log
    missing = [word for word in words if word not in line]
    assert not missing, f"{missing} not in {line!r}"


def test_port_in_use(start_ps):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended(start_ps("--bind", f"127.0.0.1:{port}", wait=False), 1, f"port {port} is in use")


def test_port_in_use_by_another_shard(start_ps):
    first = start_ps()
    ended(start_ps("--bind", first.target, wait=False), 1, "is in use")


def test_redis_unreachable(start_ps, tmp_path):
    ended(
        start_ps(wait=False, redis=f"unix://{tmp_path}/none.sock"), 1, "Redis failed", "none.sock: there is no socket"
    )
    ended(
        start_ps(wait=False, redis="redis://:secret@127.0.0.1:1/0"),
        1,
        "redis://:***@127.0.0.1:1/0",
        "127.0.0.1:1: connection refused, nothing listens there",
        "start that Redis, or name another: --redis URL",
    )
    sentinels = "redis+sentinel://u:secret@127.0.0.1:1,127.0.0.1:2/main/0?sentinel_password=secret"
    hidden = "redis+sentinel://u:***@127.0.0.1:1,127.0.0.1:2/main/0?sentinel_password=***"
    server = start_ps(wait=False, redis=sentinels)
    ended(server, 1, hidden, "no Sentinel that answers knows a master 'main' that can be reached")
    assert "secret" not in server.log


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--redis", "http://u:secret@127.0.0.1"], ("redis URL", "redis+cluster", "http://u:***@127.0.0.1")),
        (["--redis", "redis://127.0.0.1?decode_responses=yes"], ("redis URL", "leave decode_responses out")),
        (["--redis", "redis://u:secret@127.0.0.1:99999/0"], ("a port from 0 to 65535", "'127.0.0.1:99999/0'")),
        (["--redis", "redis://127.0.0.1:1/rows"], ("the number of a database", "'/rows'")),
        (["--redis", "redis://127.0.0.1:1/0?retries=3"], ("redis URL", "query field 'retries'")),
        (["--redis", ""], ("setting redis (ROWBANK_REDIS)",)),
        (["--redis", "redis+sentinel://127.0.0.1:1"], ("HOST:PORT,HOST:PORT/NAME/DATABASE", "the name of the master")),
        (["--bind", "0.0.0.0:0"], ("bind 0.0.0.0:0", "--insecure")),
        (["--http-bind", "0.0.0.0:0"], ("http_bind 0.0.0.0:0", "--insecure")),
        (["--bind", "nowhere"], ("setting bind (ROWBANK_PS_BIND)", "HOST:PORT", "'nowhere'")),
        (["--shard", "2/2"], ("setting shard", "I from 0 to N-1")),
        (["--flush-interval-s", "0"], ("flush_interval_s", "a number above 0", "'0'")),
        (["--worker-threads", "many"], ("worker_threads", "integer", "'many'")),
    ],
)
def test_settings_that_cannot_be(start_ps, arguments, words):
    ended(start_ps(*arguments, wait=False), 2, *words)


def test_up_names_what_it_cannot_use(tmp_path):
    (tmp_path / "file").write_text("")
    for arguments, environment, words in (
        (["--data-dir", str(tmp_path / "file")], {}, ("data directory", "file")),
        (["--data-dir", str(tmp_path / "d")], {"ROWBANK_REDIS_SERVER": "/no/such"}, ("/no/such", "no such program")),
        (["--redis", f"unix://{tmp_path}/none.sock"], {}, ("rowbank-ps ended with status 1",)),
    ):
        server = UpProcess(*arguments, log=tmp_path / "log", environment=environment)
        try:
            status = server.wait(timeout_s=30)
        finally:
            server.close()
        lines = [line for line in server.log.splitlines() if line.startswith("error:")]
        assert status == 1
        assert all(word in lines[-1] for word in words)
    assert "Traceback" not in server.log


def test_a_shard_that_loads_is_not_serving_yet(start_ps, connect, own_redis):
    """Redis answers but holds back writes, so the start waits at the claim of the shard."""
    with redis.Redis.from_url(own_redis.url) as client, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
        probe.close()
        client.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
        server = start_ps("--bind", address, "--redis-timeout-s", "60", redis=own_redis.url, wait=False)
        wire = connect(address)
        grpc.channel_ready_future(wire.channel).result(timeout=30)
        assert not wire.serving()
        assert not wire.serving("rowbank.v1.RowService")
        with refused(NotReady, "loading"):
            wire.size("t")
        with refused(NotReady, "loading"):
            wire.create("t")
        client.execute_command("CLIENT", "UNPAUSE")
        server.wait_ready()
        assert wire.serving()
        wire.create("t")
