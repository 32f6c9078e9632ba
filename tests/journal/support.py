"""What the journal's tests share: trained rows as bytes, and a proxy that cuts connections."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from pathlib import Path

from tests.processes import until
from tests.server.support import f32, i64

from rowbank_protos.v1 import admin_pb2, common_pb2, rows_pb2, tables_pb2


def request_id(sequence, client="c"):
    return common_pb2.RequestId(client_id=client, sequence=sequence)


def push_request(table, keys, gradients, *, sequence=0, client="c", **fields):
    part = rows_pb2.TableGradients(table=table, keys=i64(*keys), gradients=f32(gradients), **fields)
    request = rows_pb2.PushRequest(tables=[part])
    if sequence:
        request.request_id.CopyFrom(request_id(sequence, client))
    return request


def flush(wire):
    return wire.admin.Flush(admin_pb2.FlushRequest()).rows


def step_of(wire, table):
    return wire.tables.GetTable(tables_pb2.GetTableRequest(name=table)).table.step


def streams(client, namespace):
    """The journals of shard 0 that exist, by what follows the writer's name: {"1": key, "1:sealed": key}."""
    prefix = f"{namespace}:{{s0}}:journal:"
    keys = [key.decode() for key in client.keys(prefix.replace("{", "[{]") + "[0-9]*")]
    return {re.sub(":[0-9a-f]{32}", "", key.removeprefix(prefix)): key for key in keys}


class CuttingProxy:
    """Forwards connections to `target`; `cut` ends all that are open, in the middle of whatever they carry.

    Args:
        target: HOST:PORT or unix:PATH.
        path: where it listens; None: at a free port of loopback.
    """

    def __init__(self, target: str, path: Path | None = None) -> None:
        self.backend: tuple[str, int] | str = target
        if not target.startswith("unix:"):
            host, port = target.rsplit(":", 1)
            self.backend = (host, int(port))
        if path is None:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.target = f"127.0.0.1:{self._listener.getsockname()[1]}"
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(path))
            self._listener.listen()
            self.target = f"unix:{path}"
        self.connections = 0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    @classmethod
    def in_place_of(cls, path: Path) -> CuttingProxy:
        """One that listens where a server's unix socket was, and forwards to that."""
        moved = path.with_suffix(".moved")
        path.rename(moved)
        return cls(f"unix:{moved}", path)

    def cut(self) -> int:
        """Returns how many connections were cut."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        return len(pairs)

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = _connected(self.backend)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._pairs.append((client, server))
                self.connections += 1
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _connected(backend: tuple[str, int] | str) -> socket.socket:
    if isinstance(backend, tuple):
        return socket.create_connection(backend, 2)
    opened = socket.socket(socket.AF_UNIX)
    try:
        opened.connect(backend.removeprefix("unix:"))
    except OSError:
        opened.close()
        raise
    return opened


def redis_is_away(wire):
    until(lambda: not wire.admin.GetStats(admin_pb2.GetStatsRequest()).redis_connected, what="notice")


def redis_is_back(wire):
    until(lambda: wire.admin.GetStats(admin_pb2.GetStatsRequest()).redis_connected, what="reconnect")
