"""Redis over TLS by a user with the rights that the docs name, and no others."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import redis
from tests.processes import PsProcess, ServerProcess, until
from tests.redis_nodes import RedisNode, free_ports
from tests.security.authority import Authority
from tests.security.test_tls_http import context, status
from tests.standby.support import caught_up

from rowbank import Client, Eviction, TableSpec
from rowbank.snapshots import save

_OPTIONAL = {"config|get"}  # Asked for, and done without where it is refused.


class Terminator:
    """Speaks TLS at a port of its own, and hands on what comes to a Redis that speaks none."""

    def __init__(self, authority: Authority, port: int) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(authority.folder / "server.pem", authority.folder / "server.key")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._to = port
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError), line:
            outer = self._context.wrap_socket(line, server_side=True)
            inner = socket.create_connection(("127.0.0.1", self._to))
            back = threading.Thread(target=_pump, args=(inner, outer), daemon=True)
            back.start()
            _pump(outer, inner)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def guarded(
    start_redis: Callable[..., RedisNode], authority: Authority, tmp_path: Path
) -> Iterator[tuple[RedisNode, str]]:
    """A Redis whose default user may do nothing but what tests ask, and the URL for the user of the docs."""
    node = start_redis(free_ports(1)[0])
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    [command] = re.findall(r"^ACL SETUSER (rowbank on (?:.|\n)*?)\n```", page, re.MULTILINE)
    node.client.execute_command("ACL", "SETUSER", *command.replace("\\\n", " ").split())
    terminator = Terminator(authority, node.port)
    yield node, f"rediss://rowbank:password@127.0.0.1:{terminator.port}?ssl_ca_certs={authority.ca}"
    terminator.close()


def test_everything_works_with_the_rights_of_the_docs(
    guarded: tuple[RedisNode, str], authority: Authority, start_ps: Callable[..., PsProcess], tmp_path: Path
) -> None:
    node, url = guarded
    options = ("--namespace", "rowbank", "--http-bind", "127.0.0.1:0", "--eviction-interval-s", "0.05")
    owner = start_ps(*options, redis=url, wait=False)
    owner.target = owner.ready_line().split()[2]
    standby = start_ps("--namespace", "rowbank", "--standby", redis=url)
    api_options = ("--redis", url, "--namespace", "rowbank", "--targets", owner.target, "--bind", "127.0.0.1:0")
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(Client(f"{owner.target}|{standby.target}", timeout_s=60))
        api = ServerProcess("api", *api_options, *authority.options()[:4], log=tmp_path / "api.log")
        stack.callback(api.close)
        http = api.ready_line().split()[2]
        spec = TableSpec(
            "t", dim=4, eviction=Eviction("lfu", max_rows=100, second_chance_bytes=1 << 20), durability="journaled"
        )
        table = client.create_table(spec)
        for start in range(0, 600, 200):
            table.push(np.arange(start, start + 200), np.ones((200, 4), np.float32))
        until(lambda: table.size() <= 100, what="an eviction")
        until(lambda: len(client.evictions("t")) > 0, what="a recorded eviction")
        save(client, str(tmp_path / "snapshot"))
        client.flush()
        client.create_table(TableSpec("gone", dim=2)).upsert(np.array([1]), np.ones((1, 2), np.float32))
        client.drop_table("gone")
        kept = np.sort(np.concatenate([chunk.keys for chunk in table.export()]))
        assert status(http, "/healthz", context(authority)) == 200
        assert status(http, "/v1/models", context(authority)) == 200
        caught_up(standby, owner)
        owner.kill()
        assert np.array_equal(np.sort(np.concatenate([chunk.keys for chunk in table.export()])), kept)
        table.push(np.arange(600), np.ones((600, 4), np.float32))  # Those that were evicted come back.
        assert "Traceback" not in owner.log + standby.log + api.log
    assert standby.terminate() == 0, standby.log
    refused = {str(entry["object"]) for entry in node.client.acl_log()}
    assert refused <= _OPTIONAL, refused


def test_the_rights_end_there(guarded: tuple[RedisNode, str]) -> None:
    node, url = guarded
    node.client.set("other:key", "theirs")
    with contextlib.closing(redis.Redis.from_url(url)) as user:
        assert user.ping()
        for command in (
            ("GET", "other:key"), ("SET", "other:key", "1"), ("DEL", "other:key"), ("FLUSHALL",), ("FLUSHDB",),
            ("KEYS", "*"), ("CONFIG", "SET", "maxmemory", "1"), ("ACL", "LIST"), ("SHUTDOWN",),
            ("SCRIPT", "FLUSH"), ("FUNCTION", "FLUSH"), ("CLIENT", "KILL", "TYPE", "normal"), ("MONITOR",), ("SAVE",),
            ("PUBLISH", "a", "b"), ("REPLICAOF", "NO", "ONE"), ("MIGRATE", "h", "1", "k", "0", "1"),
            ("SWAPDB", "0", "1"),
            ("EVAL", "return redis.call('GET', 'other:key')", "0"),
        ):  # fmt: skip
            with pytest.raises(redis.ResponseError) as failure:
                user.execute_command(*command)
            assert "NOPERM" in str(failure.value) or "permission" in str(failure.value).lower(), command


def test_a_redis_of_another_ca_is_refused(
    guarded: tuple[RedisNode, str], authority: Authority, start_ps: Callable[..., PsProcess]
) -> None:
    _, url = guarded
    stranger = Authority(authority.folder, "stranger")
    ps = start_ps(redis=url.replace(str(authority.ca), str(stranger.ca)), wait=False)
    assert ps.wait() == 1
    assert "CERTIFICATE_VERIFY_FAILED" in ps.log
    assert "password" not in ps.log
    assert "Traceback" not in ps.log
