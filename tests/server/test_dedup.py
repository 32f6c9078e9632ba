"""Repeated mutations: answered again, not applied again."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from tests.server.support import f32, i64, refused

from rowbank.errors import InvalidRequest
from rowbank_protos.v1 import common_pb2, rows_pb2
from rowbank_server.ps.dedup import DedupWindow


def request_id(sequence: int, client: str = "c") -> common_pb2.RequestId:
    return common_pb2.RequestId(client_id=client, sequence=sequence)


@pytest.fixture
def window():
    return DedupWindow(window=3, max_clients=2)


def test_a_repeat_gets_the_first_outcome(window):
    outcomes = iter("ab")
    assert window.apply_once(request_id(1), lambda: next(outcomes)) == ("a", False)
    assert window.apply_once(request_id(1), lambda: next(outcomes)) == ("a", True)
    assert window.apply_once(request_id(1, "other"), lambda: next(outcomes)) == ("b", False)


def test_without_a_client_id_everything_is_applied(window):
    outcomes = iter("ab")
    for expected in "ab":
        assert window.apply_once(common_pb2.RequestId(), lambda: next(outcomes)) == (expected, False)


def test_a_failed_mutation_may_be_tried_again(window):
    with pytest.raises(ZeroDivisionError):
        window.apply_once(request_id(1), lambda: 1 // 0)
    assert window.apply_once(request_id(1), lambda: "done") == ("done", False)


def test_what_fell_out_of_the_window_is_refused(window):
    for sequence in (1, 2, 4, 3, 5):
        window.apply_once(request_id(sequence), lambda: "done")
    assert window.apply_once(request_id(3), lambda: "again") == ("done", True)
    for sequence in (0, 1, 2):
        with pytest.raises(InvalidRequest, match="dedup_window"):
            window.apply_once(request_id(sequence), lambda: "again")


def test_the_clients_heard_last_are_remembered(window):
    for client in ("a", "b", "a", "c"):
        window.apply_once(request_id(1, client), lambda: "done")
    assert window.apply_once(request_id(1, "a"), lambda: "again") == ("done", True)
    assert window.apply_once(request_id(1, "b"), lambda: "again") == ("again", False)


@pytest.mark.parametrize("fails", [False, True])
def test_a_repeat_waits_for_the_one_in_flight(window, fails):
    """It gets the outcome of the first, or its own if the first failed; never do both run at once."""
    entered, leave = threading.Event(), threading.Event()
    applied = []

    def first():
        applied.append("first")
        entered.set()
        assert leave.wait(10)
        if fails:
            raise ZeroDivisionError
        return "first"

    def second():
        assert leave.is_set()
        applied.append("second")
        return "second"

    def run_first():
        try:
            window.apply_once(request_id(1), first)
        except ZeroDivisionError:
            applied.append("failed")

    results = []
    threads = [
        threading.Thread(target=run_first),
        threading.Thread(target=lambda: results.append(window.apply_once(request_id(1), second))),
    ]
    threads[0].start()
    assert entered.wait(10)
    threads[1].start()
    leave.set()
    for thread in threads:
        thread.join(10)
    assert results == ([("second", False)] if fails else [("first", True)])
    assert applied == (["first", "failed", "second"] if fails else ["first"])


def test_every_mutation_over_the_wire_is_applied_once(wire, table_name):
    wire.create(table_name)
    table, keys, rows, client = table_name, i64(1), f32([[1, 1]]), table_name
    part = rows_pb2.TableGradients(table=table, keys=keys, gradients=rows)
    requests: list[tuple[Any, Any]] = [
        (wire.rows.Push, rows_pb2.PushRequest(tables=[part])),
        (wire.rows.Upsert, rows_pb2.UpsertRequest(table=table, keys=i64(2), values=rows)),
        (wire.rows.Accumulate, rows_pb2.AccumulateRequest(table=table, keys=keys, deltas=rows, exists=b"\1")),
        (wire.rows.Touch, rows_pb2.TouchRequest(table=table, keys=keys)),
        (wire.rows.Remove, rows_pb2.RemoveRequest(table=table, keys=i64(2))),
    ]
    for sequence, (verb, request) in enumerate(requests, start=1):
        request.request_id.CopyFrom(request_id(sequence, client))
        first = verb(request)
        assert not first.repeated_request
        again = verb(request)
        assert again.repeated_request
        again.repeated_request = False
        assert again == first
    answer = wire.rows.Lookup(rows_pb2.LookupRequest(table=table, keys=i64(1, 2), with_metadata=True))
    assert list(answer.found) == [1, 0]
    assert np.frombuffer(answer.values, "<f4").tolist() == [0, 0, 0, 0]
    assert np.frombuffer(answer.frequency, "<u4").tolist() == [2, 0]
    clear = rows_pb2.ClearRequest(table=table, request_id=request_id(6, client))
    assert wire.rows.Clear(clear).removed == 1
    wire.push(table, [1], [[1, 1]])
    assert wire.rows.Clear(clear).repeated_request
    assert wire.size(table) == 1


def test_a_refused_mutation_is_not_remembered(wire, table_name):
    wire.create(table_name)
    part = rows_pb2.TableGradients(table=table_name, keys=i64(1), gradients=f32([[1]]))
    request = rows_pb2.PushRequest(tables=[part], request_id=request_id(1, table_name))
    with pytest.raises(Exception, match="dim 2"):
        wire.rows.Push(request)
    request.tables[0].gradients = f32([[1, 1]])
    assert not wire.rows.Push(request).repeated_request
    with refused(InvalidRequest, "sequence 0"):
        wire.rows.Push(rows_pb2.PushRequest(request_id=request_id(0, table_name)))
