"""An owner, replicas of it, and a proxy between them that cuts; and whether they hold the same."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tests.journal.support import CuttingProxy
from tests.processes import PsProcess, until
from tests.server.support import Wire, i64

from rowbank_protos.v1 import admin_pb2, deltas_pb2, deltas_pb2_grpc, rows_pb2, tables_pb2

READY = "following"


class Pair:
    """An owner behind a proxy, which it advertises, and a replica that follows it through that."""

    def __init__(self, folder: Path, redis_url: str, namespace: str, *options: str) -> None:
        self._folder = folder
        self._redis_url = redis_url
        self._options = ("--namespace", namespace, *options)
        self._bind = f"127.0.0.1:{_free_port()}"
        self._processes: list[PsProcess] = []
        self._wires: dict[str, Wire] = {}
        self.proxy = CuttingProxy(self._bind)
        self.owner = self.start_owner()
        self.replica = self.start_replica()

    def start_owner(self) -> PsProcess:
        """At the same address as one before it."""
        self.owner = self._start("--bind", self._bind, "--advertise", self.proxy.target)
        return self.owner

    def start_replica(self) -> PsProcess:
        self.replica = self._start("--replica")
        return self.replica

    def start_standby(self) -> PsProcess:
        return self._start("--standby")

    def wire(self, process: PsProcess) -> Wire:
        if process.target not in self._wires:
            self._wires[process.target] = Wire(process.target)
        return self._wires[process.target]

    def info(self, process: PsProcess) -> admin_pb2.GetServerInfoResponse:
        return self.wire(process).admin.GetServerInfo(admin_pb2.GetServerInfoRequest())

    def released(self) -> int:
        """The position of the owner's last mutation; positions that came to nothing do not count."""
        stub = deltas_pb2_grpc.DeltaServiceStub(self.wire(self.owner).channel)
        return int(stub.ListFollowers(deltas_pb2.ListFollowersRequest()).position)

    def caught_up(self) -> bool:
        """Whether the replica has everything that the owner has done."""
        owner, replica = self.info(self.owner), self.info(self.replica)
        if replica.state != READY or replica.epoch != owner.epoch or replica.position < self.released():
            return False
        theirs, ours = (tables_of(self.wire(process)) for process in (self.owner, self.replica))
        # A table that came or went is no mutation and has no position.
        return {name: info.table_id for name, info in theirs.items()} == {
            name: info.table_id for name, info in ours.items()
        }

    def require_equal(self) -> int:
        """Waits until the replica has caught up, which needs an owner at rest, and compares; returns the rows.

        Rows that expire meanwhile are no rest: then both are looked at again.
        """
        repeats = 0
        while True:
            before = self.released()
            until(self.caught_up, what="the replica catches up")
            try:
                return require_equal(self.wire(self.owner), self.wire(self.replica))
            except AssertionError:
                repeats += self.released() == before
                if repeats > 2:
                    raise

    def close(self) -> None:
        self.proxy.close()
        for wire in self._wires.values():
            wire.close()
        for process in self._processes:
            process.close()

    def _start(self, *arguments: str) -> PsProcess:
        log = self._folder / f"ps{len(self._processes)}.log"
        process = PsProcess(*arguments, *self._options, redis_url=self._redis_url, log=log)
        self._processes.append(process)
        return process.wait_ready()


@contextlib.contextmanager
def pair(folder: Path, redis_url: str, namespace: str, *options: str) -> Iterator[Pair]:
    """A pair that ends with the block."""
    made = Pair(folder, redis_url, namespace, *options)
    try:
        yield made
    finally:
        made.close()


def require_equal(owner: Wire, replica: Wire) -> int:
    """Fails unless both have the same tables, bit for bit: rows, slots, metadata, positions, steps, common rows."""
    theirs, ours = (tables_of(wire) for wire in (owner, replica))
    assert theirs.keys() == ours.keys()
    total = 0
    for name, info in theirs.items():
        assert ours[name].spec == info.spec, name
        assert _facts(ours[name]) == _facts(info), f"{name}: {_facts(ours[name])} is not {_facts(info)}"
        total += _require_equal_rows(owner, replica, info)
    return total


def tables_of(wire: Wire) -> dict[str, tables_pb2.TableInfo]:
    return {info.spec.name: info for info in wire.tables.ListTables(tables_pb2.ListTablesRequest()).tables}


def _facts(info: tables_pb2.TableInfo) -> tuple[int, int, int]:
    return info.table_id, info.step, info.rows


def _require_equal_rows(owner: Wire, replica: Wire, info: tables_pb2.TableInfo) -> int:
    name = info.spec.name
    theirs, ours = exported(owner, name), exported(replica, name)
    assert theirs["keys"].tolist() == ours["keys"].tolist(), f"{name}: other keys"
    # No record has reads, where a table tracks them.
    skipped = {"last_used"} if info.spec.track_reads else set()
    for column in theirs.keys() - skipped:
        unequal = theirs[column] != ours[column]
        differ = np.flatnonzero(unequal.any(axis=1) if unequal.ndim > 1 else unequal)
        assert not len(differ), f"{name}: {column} of keys {theirs['keys'][differ[:10]]}"
    for key in theirs["keys"][:: max(1, len(theirs["keys"]) // 40)]:
        mine, other = (describe(wire, name, int(key)) for wire in (owner, replica))
        assert mine.position == other.position, f"{name}: position of key {key}"
    if info.spec.admission.min_count > 1:
        absent = int(theirs["keys"].max(initial=0)) + 1_000_003
        assert pull(owner, name, absent) == pull(replica, name, absent), f"{name}: the common row"
    return len(theirs["keys"])


def exported(wire: Wire, table: str) -> dict[str, np.ndarray]:
    """All rows by key, bits and not numbers."""
    parts = list(wire.rows.Export(rows_pb2.ExportRequest(table=table, with_slots=True)))
    columns: dict[str, Any] = {"keys": "<i8", "values": "<u4", "frequency": "<u4", "last_used": "<u4", "slots": "<u4"}
    joined = {
        name: np.concatenate([np.frombuffer(getattr(part, name), dtype) for part in parts] or [np.empty(0, dtype)])
        for name, dtype in columns.items()
    }
    order = np.argsort(joined["keys"])
    count = len(order)
    return {name: column.reshape(count, -1)[order] if count else column for name, column in joined.items()} | {
        "keys": joined["keys"][order]
    }


def describe(wire: Wire, table: str, key: int) -> admin_pb2.DescribeRowResponse:
    return wire.admin.DescribeRow(admin_pb2.DescribeRowRequest(table=table, key=key))


def pull(wire: Wire, table: str, key: int) -> bytes:
    request = rows_pb2.PullRequest(tables=[rows_pb2.TableKeys(table=table, keys=i64(key))])
    return bytes(wire.rows.Pull(request).SerializeToString())


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
