"""Clients whose calls go over the native endpoint: what users see is what they see over gRPC's client."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from tests.processes import stand_still, until

from rowbank import SGD, Client, TableSpec, errors

pytest.importorskip("rowbank._http2")

ONE = np.full((1, 2), -1.0, np.float32)  # Under SGD(1.0), a row is the number of pushes applied.


def lines_of(client):
    return client._transport.shards[0].active.lines


@pytest.fixture
def server(start_ps):
    return start_ps()


def test_every_method_of_rows_goes_there(server, table_name):
    with Client(server.target) as client:
        table = client.create_table(TableSpec(table_name, dim=2, optimizer=SGD(1.0)))
        assert lines_of(client).address
        client._transport._acquaintance.again_at = float("inf")
        client._transport.shards[0].active._channel.close()  # There is no other way from now on.
        table.push([1, 2], np.concatenate([ONE, ONE]))
        assert table.pull([1, 2]).tolist() == [[1, 1], [1, 1]]
        assert table.lookup([1]).values.tolist() == [[1, 1]]
        table.upsert([3], ONE)
        table.accumulate([3], -ONE, True)
        assert table.lookup([3]).values.tolist() == [[0, 0]]
        table.touch([3])
        assert table.size() == 3
        assert table.remove([3]) == 1
        table.clear()
        assert table.size() == 0
        assert len(lines_of(client)._all) == 1
        with Client(server.target) as other:
            other.drop_table(table_name)
        with pytest.raises(errors.TableNotFound, match=table_name):
            table.pull([1])


def test_a_server_that_starts_anew_is_found_again(start_ps, table_name):
    first = start_ps()
    with Client(first.target, timeout_s=60.0) as client:
        table = client.create_table(TableSpec(table_name, dim=2, optimizer=SGD(1.0)))
        table.push([1], ONE)
        old = lines_of(client).server_id
        assert first.terminate() == 0
        start_ps("--bind", first.target)
        table.push([1], ONE)
        assert table.pull([1]).tolist() == [[2, 2]]

        def learnt():
            client._transport._acquaintance.again_at = 0.0
            return table.pull([1]).tolist() == [[2, 2]] and lines_of(client).server_id != old

        until(learnt, what="the new server's address")
        assert lines_of(client).address


def test_a_call_that_hangs_ends_at_its_deadline_and_is_woken_by_close(server, table_name):
    with Client(server.target, timeout_s=0.5) as client, Client(server.target, timeout_s=60.0) as patient:
        table = client.create_table(TableSpec(table_name, dim=2, optimizer=SGD(1.0)))
        table.push([1], ONE)
        waiting = patient.table(table_name)
        waiting.pull([1])
        stand_still(server.process.pid)
        try:
            with pytest.raises(errors.DeadlineExceeded):
                table.pull([1])
            failures = []

            def pull():
                try:
                    waiting.pull([1])
                except errors.RowbankError as error:
                    failures.append(error)

            thread = threading.Thread(target=pull)
            thread.start()
            lines = lines_of(patient)
            until(lambda: len(lines._all) > len(lines._idle), what="the call")
            patient.close()
            thread.join(20)
            assert not thread.is_alive()
            assert [type(one) for one in failures] == [errors.ClientClosed]
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        assert table.pull([1]).tolist() == [[1, 1]]


def test_a_client_that_does_without(server, table_name):
    with Client(server.target, native=False) as client:
        table = client.create_table(TableSpec(table_name, dim=2, optimizer=SGD(1.0)))
        table.push([1], ONE)
        assert table.pull([1]).tolist() == [[1, 1]]
        lines = lines_of(client)
        assert (lines.address, lines._all) == ("", {})
        assert "native=False" in lines.why_not
        assert lines_of(pickle.loads(pickle.dumps(client))).why_not == lines.why_not
    with pytest.raises(errors.InvalidRequest, match="native: expected True or False, got 'no'"):
        Client(server.target, native="no")


_PROGRAM = """
import signal, sys, threading
import numpy as np
from tests.processes import stand_still
from rowbank import Client
how, target, name, pid = sys.argv[1:]
client = Client(target, timeout_s=120.0)
table = client.table(name)
assert table.pull([1]).tolist() == [[1, 1]]
lines = client._transport.shards[0].active.lines
assert lines.address and lines._all
stand_still(int(pid))
if how == "daemon":
    thread = threading.Thread(target=table.pull, args=([1],), daemon=True)
    thread.start()
    while len(lines._all) == len(lines._idle):
        pass
else:
    main = threading.main_thread().ident
    def interrupt():
        while len(lines._all) == len(lines._idle):
            pass
        signal.pthread_kill(main, signal.SIGINT)
    threading.Thread(target=interrupt, daemon=True).start()
    try:
        table.pull([1])
    except KeyboardInterrupt:
        assert not lines._all
        print("interrupted")
print("end")
"""


@pytest.mark.parametrize(("how", "said"), [("daemon", "end\n"), ("interrupt", "interrupted\nend\n")])
def test_programs_end_while_a_call_hangs(how, said, server, table_name):
    """A thread that waits for an answer does not keep the process, nor end it with an error; Ctrl-C ends a call."""
    with Client(server.target) as client:
        client.create_table(TableSpec(table_name, dim=2, optimizer=SGD(1.0))).push([1], ONE)
    pid = server.process.pid
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, how, server.target, table_name, str(pid)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (done.returncode, done.stdout) == (0, said), done.stderr
