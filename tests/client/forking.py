"""Programs whose processes fork while they use a client: python -m tests.client.forking NAME TARGET TABLE.

Each prints what it found as JSON. Rows of the table start at 0 and are pushed -1 at a rate of 1, so that a row is the
number of pushes that counted.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from rowbank import SGD, Client, Table, TableSpec
from rowbank.errors import RowbankError
from rowbank.remote.clients import shared_client
from rowbank.remote.pipeline import Pipeline
from rowbank.workers import WorkerGroup

_KEYS = np.arange(16)
_table: Table


def _open(target: str, name: str) -> Table:
    """The table, and in this process a client that has been used for a mutation."""
    global _table
    client = Client(target)
    _table = client.create_table(TableSpec(name, dim=2, optimizer=SGD(1.0)), exist_ok=True)
    _push(_table, 1000)
    _table.remove([1000])
    return _table


def _push(table: Table, keys: Any) -> None:
    flat = np.atleast_1d(keys)
    table.push(flat, np.full((len(flat), 2), -1.0, np.float32))


def _upsert(part: int, table: Table | None = None) -> int:
    rows = np.full((10, 2), part + 1, np.float32)
    return (table or _table).upsert(np.arange(part * 10, part * 10 + 10), rows)


def _in_children(count: int, work: Callable[[int], Any], *, leave: Callable[[int], Any] = os._exit) -> list[int]:
    """Runs `work(child)` in forked children; their exit statuses. One that hangs is killed, and its status is -9."""
    pids = []
    for child in range(count):
        pid = os.fork()
        if pid == 0:
            try:
                work(child)
            except BaseException as error:
                print(f"child {child}: {error!r}", file=sys.stderr, flush=True)
                os._exit(1)
            leave(0)
        pids.append(pid)
    deadline = time.monotonic() + 60.0
    return [_status(pid, deadline) for pid in pids]


def _status(pid: int, deadline: float) -> int:
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, 9)
        time.sleep(0.005)


@contextmanager
def _busy(table: Table, threads: int) -> Iterator[Callable[[], int]]:
    """Threads of this process push key 99 all the while; how often they did."""
    done, stop = [0] * threads, threading.Event()

    def push(number: int) -> None:
        while not stop.is_set():
            _push(table, [99])
            done[number] += 1

    running = [threading.Thread(target=push, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield lambda: sum(done)
    finally:
        stop.set()
        for thread in running:
            thread.join()


def _failure(call: Callable[[], Any]) -> Exception | None:
    """What it raises."""
    try:
        call()
    except RowbankError as error:
        return error
    return None


def pool(target: str, name: str) -> Any:
    """A pool of forked processes upserts through the parent's table; then the parent goes on."""
    table = _open(target, name)
    with ProcessPoolExecutor(4, multiprocessing.get_context("fork")) as workers:
        answers = list(workers.map(_upsert, range(4)))
    with Client(target) as other:
        return {"answers": answers, "rows": other.table(name).size(), "then": _upsert(9), "all": table.size()}


def arithmetic(target: str, name: str) -> Any:
    """Children push and remove while threads of the parent do; every push counts once."""
    table = _open(target, name)
    _push(table, _KEYS)
    table.upsert(np.arange(200, 240), np.zeros((40, 2), np.float32))
    removed = multiprocessing.get_context("fork").Array("i", 4)

    def work(child: int) -> None:
        for _ in range(5):
            _push(table, _KEYS)
        removed[child] = table.remove(np.arange(200 + 10 * child, 210 + 10 * child))

    with _busy(table, 2) as pushed:
        statuses = _in_children(4, work)
    _push(table, _KEYS)
    with Client(target) as other:
        values = other.table(name).lookup([*_KEYS, 99]).values[:, 0]
        size = other.table(name).size()
    return {
        "statuses": statuses,
        "rows": sorted(set(values[:-1].tolist())),
        "busy": float(values[-1]) - pushed(),
        "removed": removed[:],
        "size": size,
    }


def shared(target: str, name: str) -> Any:
    """As `pool`, through the shared client of the layers for frameworks."""
    global _table
    _table = shared_client(target).create_table(TableSpec(name, dim=2, optimizer=SGD(1.0)), exist_ok=True)
    _push(_table, 1000)
    statuses = _in_children(4, lambda child: _upsert(child, shared_client(target).table(name)))
    return {"statuses": statuses, "then": _upsert(9), "rows": _table.size()}


def servers(target: str, name: str) -> Any:
    """Children that fork children, and end as programs end, while the parent's connection stays as it is."""
    table = _open(target, name)

    def fork_again(child: int) -> None:
        _upsert(child)
        assert _in_children(2, lambda grandchild: _upsert(10 + 2 * child + grandchild)) == [0, 0]
        _upsert(20 + child)

    statuses = _in_children(2, fork_again, leave=sys.exit) if os.getpid() else []
    return {"statuses": statuses, "then": _upsert(30), "rows": table.size()}


def methods(target: str, name: str) -> Any:
    """Tables are sent to processes that were spawned, and to those of a fork server; clients are opened there."""
    table = _open(target, name)
    answers = {}
    for number, method in enumerate(("spawn", "forkserver", "fork")):
        with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as workers:
            answers[method] = list(workers.map(_upsert, range(2 * number, 2 * number + 2), [table] * 2))
    first, second = (pickle.loads(pickle.dumps(table._client)) for _ in range(2))
    return {"answers": answers, "rows": table.size(), "one": first is second and first is not table._client,
            "own": first._transport.client_id != table._client.calls.transport.client_id}  # fmt: skip


def belongs(target: str, name: str) -> Any:
    """What is under way when a process forks stays the parent's, and the child is told so."""
    table: Any = _open(target, name)
    table.upsert(np.arange(2000), np.zeros((2000, 2), np.float32))
    reading, pipeline = table.export(chunk_rows=100), Pipeline(background=True)
    read = pipeline.read(lambda: table.size())
    first = len(next(reading).keys)
    group = WorkerGroup(table._client, name, "parent", max_staleness_steps=0)
    hold = table._client.hold_tables(f"job {name}", [name])

    def work(child: int) -> None:
        for what in (lambda: next(reading), read.result, lambda: group.advance(1)):
            assert "forked this one" in str(_failure(what))
        group.leave()
        hold.close()
        assert pipeline.read(lambda: table.size()).result() == 2000
        pipeline.close()
        rest = sum(len(chunk.keys) for chunk in table.export(chunk_rows=100))
        assert rest == 2000, rest
        with WorkerGroup(table._client, name, f"child {child}", max_staleness_steps=0):
            pass

    statuses = _in_children(2, work, leave=sys.exit)
    left = first + sum(len(chunk.keys) for chunk in reading)
    rejoined = group.advance(1).steps, group.staleness.rejoins
    held = len(table._client.holders(name))
    hold.close()
    group.leave()
    pipeline.close()
    return {"statuses": statuses, "left": left, "read": read.result(), "advanced": rejoined, "held": held}


def bereft(target: str, name: str) -> Any:
    """The process that makes a child's calls is killed between two of them, and while threads make calls."""
    table = _open(target, name)

    def work(child: int) -> None:
        _push(table, _KEYS)
        _relay_process().kill()
        _push(table, _KEYS)
        with _busy(table, 2) as pushed:
            for _ in range(3):
                before = pushed()
                while pushed() < before + 20:
                    time.sleep(0.001)
                _relay_process().kill()
            before = pushed()
            while pushed() < before + 20:
                time.sleep(0.001)
        with open(f"/proc/{_relay_process().pid}/stat") as stat:
            assert stat.read().split()[2] != "Z"
        told.put((pushed(), _relay_process().pid))

    told = multiprocessing.get_context("fork").SimpleQueue()
    statuses = _in_children(1, work)
    pushed, relay = told.get()
    deadline = time.monotonic() + 20.0
    while os.path.exists(f"/proc/{relay}") and time.monotonic() < deadline:
        time.sleep(0.01)
    rows = table.lookup([*_KEYS, 99]).values[:, 0]
    return {
        "statuses": statuses,
        "rows": sorted(set(rows[:-1].tolist())),
        "busy": float(rows[-1]) - pushed,
        "ended": not os.path.exists(f"/proc/{relay}"),
    }


def _relay_process() -> Any:
    from rowbank.calls.forked import relayed

    return relayed._relay._process


def trouble(target: str, name: str) -> Any:
    """A child meets errors, streams and closed clients as its parent does."""
    table = _open(target, name)
    closed = Client(target)
    closed.close()

    def fails(call: Callable[[], Any], kind: str) -> None:
        assert type(_failure(call)).__name__ == kind

    def work(child: int) -> None:
        _upsert(child)
        fails(lambda: table._client.table_info("nosuch"), "TableNotFound")
        fails(closed.list_tables, "ClientClosed")
        with Client(target) as mine:
            fails(lambda: mine.table(name).import_rows([_bad_chunk(table)]), "NonFiniteGradient")
            stored = mine.table(name).import_rows(table.export(with_slots=True))
            assert stored >= 10, stored
        fails(mine.list_tables, "ClientClosed")
        fails(lambda: Client("127.0.0.1:1", connect_timeout_s=0.3), "ShardUnavailable")

    return {"statuses": _in_children(2, work), "then": _upsert(9), "rows": table.size()}


def _bad_chunk(table: Table) -> Any:
    chunk = next(table.export())
    values = np.array(chunk.values)
    values[0, 0] = np.nan
    return type(chunk)(chunk.keys, values, chunk.frequency, chunk.last_used, None)


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])), flush=True)
