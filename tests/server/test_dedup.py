"""Repeated mutations: answered again, not applied again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.server.support import f32, i64, refused

from rowbank.errors import InvalidRequest
from rowbank_protos.v1 import common_pb2, rows_pb2
from rowbank_server.journal.records import Kind
from rowbank_server.ps.durability.dedup import DedupWindow


def request_id(sequence: int, client: str = "c") -> common_pb2.RequestId:
    return common_pb2.RequestId(client_id=client, sequence=sequence)


@pytest.fixture
def window():
    return DedupWindow(window=3, max_clients=2)


def apply(window, sequence, client="c", answer=b"done", kind=Kind.PUSH):
    """What the window answers; a new request is applied and gets `answer`."""
    entered = window.enter(request_id(sequence, client), kind)
    if entered.mine:
        entered.in_flight.complete(answer)
        return answer
    return b"again: " + entered.answer


def test_an_answer_that_is_too_long_leaves_nothing_under_way(window):
    first = window.enter(request_id(1), Kind.PUSH)

    with pytest.raises(ValueError, match="65535"):
        first.in_flight.complete(b"x" * 65536)

    assert first.in_flight.done
    assert window.enter(request_id(1), Kind.PUSH).mine


def test_a_repeat_gets_the_first_answer(window):
    assert apply(window, 1, answer=b"a") == b"a"
    assert apply(window, 1, answer=b"b") == b"again: a"
    assert apply(window, 1, "other", answer=b"b") == b"b"


def test_a_failed_mutation_may_be_tried_again(window):
    window.enter(request_id(1), Kind.PUSH).in_flight.fail()
    assert apply(window, 1) == b"done"


def test_what_fell_out_of_the_window_is_refused(window):
    for sequence in (1, 2, 4, 3, 5):
        apply(window, sequence)
    assert apply(window, 3) == b"again: done"
    for sequence in (0, 1, 2):
        with pytest.raises(InvalidRequest, match="dedup_window"):
            apply(window, sequence)


def test_a_sequence_belongs_to_one_kind_of_mutation(window):
    apply(window, 1)
    window.enter(request_id(2), Kind.PUSH)
    for sequence in (1, 2):
        with pytest.raises(InvalidRequest, match="another kind"):
            window.enter(request_id(sequence), Kind.REMOVE)
    with pytest.raises(InvalidRequest, match="256"):
        apply(window, 1, "c" * 257)


def test_the_clients_heard_last_are_remembered(window):
    for client in ("a", "b", "a", "c"):
        apply(window, 1, client)
    assert apply(window, 1, "a") == b"again: done"
    assert apply(window, 1, "b") == b"done"


def test_one_in_flight_is_known_however_many_later_ones_were_faster(window):
    first = window.enter(request_id(1), Kind.PUSH)
    for sequence in range(2, 9):
        apply(window, sequence)
    second = window.enter(request_id(1), Kind.PUSH)
    assert not second.mine
    first.in_flight.complete(b"late")
    assert second.in_flight.wait(0)


@pytest.mark.parametrize("fails", [False, True])
def test_a_repeat_waits_for_the_one_in_flight(window, fails):
    first = window.enter(request_id(1), Kind.PUSH)
    second = window.enter(request_id(1), Kind.PUSH)
    assert first.mine
    assert not second.mine
    assert not second.in_flight.done
    if fails:
        first.in_flight.fail()
        assert second.in_flight.done
        assert window.enter(request_id(1), Kind.PUSH).mine
    else:
        first.in_flight.complete(b"done")
        assert second.in_flight.done
        assert apply(window, 1) == b"again: done"


def test_stored_windows_answer_as_before(window):
    for sequence in (1, 2, 4, 3, 5):
        apply(window, sequence, answer=b"answer %d" % sequence)
    changes = window.take_changes()
    assert (list(changes.windows), changes.gone) == (["c"], [])
    assert not window.take_changes().windows
    window.give_back(changes)
    assert window.take_changes() == changes
    again = DedupWindow(window=3, max_clients=2)
    assert again.restore(changes.windows) == []
    assert apply(again, 5) == b"again: answer 5"
    with pytest.raises(InvalidRequest, match="dedup_window"):
        apply(again, 2)


def test_forgotten_clients_are_named(window):
    for client in "abc":
        apply(window, 1, client)
    changes = window.take_changes()
    assert (sorted(changes.windows), changes.gone) == (["b", "c"], ["a"])


def test_a_corrupt_window_is_reported(window):
    apply(window, 1)
    data = bytearray(window.take_changes().windows["c"])
    data[-1] ^= 1
    again = DedupWindow(window=3, max_clients=2)
    assert again.restore({"c": bytes(data), "d": b"short"}) == ["c", "d"]


def test_every_mutation_over_the_wire_is_applied_once(wire, table_name):
    wire.create(table_name)
    table, keys, rows, client = table_name, i64(1), f32([[1, 1]]), table_name
    part = rows_pb2.TableGradients(table=table, keys=keys, gradients=rows)
    stored = rows_pb2.TableStore(table=table, keys=keys, values=rows, exists=b"\1", touch=True)
    requests: list[tuple[Any, Any]] = [
        (wire.rows.Push, rows_pb2.PushRequest(tables=[part])),
        (wire.rows.Upsert, rows_pb2.UpsertRequest(table=table, keys=i64(2), values=rows)),
        (wire.rows.Accumulate, rows_pb2.AccumulateRequest(table=table, keys=keys, deltas=rows, exists=b"\1")),
        (wire.rows.Touch, rows_pb2.TouchRequest(table=table, keys=keys)),
        (wire.rows.Store, rows_pb2.StoreRequest(tables=[stored])),
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
    assert np.frombuffer(answer.values, "<f4").tolist() == [1, 1, 0, 0]
    assert np.frombuffer(answer.frequency, "<u4").tolist() == [3, 0]
    clear = rows_pb2.ClearRequest(table=table, request_id=request_id(7, client))
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
