"""RowService: what each verb does, by hand-worked numbers."""

from __future__ import annotations

import numpy as np
import pytest
from tests.server.support import adam, constant, f32, i64, sgd, uniform

from rowbank_protos.columns import bfloat16_bits, bfloat16_to_float32
from rowbank_protos.v1 import common_pb2, rows_pb2
from rowbank_server import _core

FOUND, INITIALIZED = common_pb2.ROW_STATUS_FOUND, common_pb2.ROW_STATUS_INITIALIZED
FLOAT16, BFLOAT16 = common_pb2.DATA_TYPE_FLOAT16, common_pb2.DATA_TYPE_BFLOAT16


@pytest.fixture
def wire(either_wire):
    """Both endpoints answer alike."""
    return either_wire


def test_pull_answers_in_order_and_stores_nothing(wire, table_name):
    wire.create(table_name, initializer=uniform(seed=7))
    values, status = wire.pull(table_name, [3, 1, 3])
    assert status == [INITIALIZED] * 3
    assert values[0].tolist() == values[2].tolist() != values[1].tolist()
    assert (np.abs(values) <= 0.05).all()
    assert wire.size(table_name) == 0


def test_push_sums_repeats_and_moves_rows_down_the_gradient(wire, table_name):
    wire.create(table_name, initializer=constant(10.0), optimizer=sgd(0.5))
    wire.push(table_name, [1, 2, 1], [[1, 2], [4, 4], [3, 0]])
    values, status = wire.pull(table_name, [1, 2, 9])
    assert values.tolist() == [[8.0, 9.0], [8.0, 8.0], [10.0, 10.0]]
    assert status == [FOUND, FOUND, INITIALIZED]


def test_fused_pull_and_push_carry_all_tables(wire, table_name):
    one, two = table_name + "-1", table_name + "-2"
    wire.create(one, 1)
    wire.create(two, 3)
    parts = [
        rows_pb2.TableGradients(table=one, keys=i64(1), gradients=f32([[1]])),
        rows_pb2.TableGradients(table=two, keys=i64(1, 2), gradients=f32([[1, 2, 3], [4, 5, 6]]), step=9),
    ]
    assert list(wire.rows.Push(rows_pb2.PushRequest(tables=parts)).steps) == [1, 9]
    keys = [rows_pb2.TableKeys(table=two, keys=i64(2)), rows_pb2.TableKeys(table=one, keys=i64(1, 7))]
    answer = wire.rows.Pull(rows_pb2.PullRequest(tables=keys))
    assert [rows.table for rows in answer.tables] == [two, one]
    assert np.frombuffer(answer.tables[0].values, "<f4").tolist() == [-4, -5, -6]
    assert np.frombuffer(answer.tables[1].values, "<f4").tolist() == [-1, 0]


def test_steps_count_pushes_unless_given_and_never_fall(wire, table_name):
    wire.create(table_name)
    steps = [wire.push(table_name, [1], [[1, 1]], step=step).steps[0] for step in (0, 0, 7, 3, 0)]
    assert steps == [1, 2, 7, 3, 8]


def test_push_overrides_learning_rate_and_clipping_for_itself_alone(wire, table_name):
    wire.create(table_name)
    wire.push(table_name, [1], [[1, 1]], learning_rate=0.25)
    wire.push(table_name, [2], [[9, -9]], clip_value=2.0)
    wire.push(table_name, [3], [[3, 4]], max_norm=1.0)
    wire.push(table_name, [4], [[9, 9]])
    expected = [[-0.25, -0.25], [-2, 2], [-0.6, -0.8], [-9, -9]]
    np.testing.assert_allclose(wire.pull(table_name, [1, 2, 3, 4])[0], expected, rtol=1e-6)


@pytest.mark.parametrize("wire_dtype", [FLOAT16, BFLOAT16])
def test_narrow_floats_on_the_wire(wire, table_name, wire_dtype):
    """Values are exact in both types, so nothing may be lost on the way."""
    wire.create(table_name)
    gradients = np.array([[0.5, -1.25], [2.0, 96.0]], np.float32)
    narrow = gradients.astype("<f2") if wire_dtype == FLOAT16 else bfloat16_bits(gradients)
    part = rows_pb2.TableGradients(table=table_name, keys=i64(1, 2), gradients=narrow.tobytes())
    wire.rows.Push(rows_pb2.PushRequest(tables=[part], wire_dtype=wire_dtype))
    assert wire.pull(table_name, [1, 2])[0].tolist() == (-gradients).tolist()
    keys = rows_pb2.TableKeys(table=table_name, keys=i64(1, 2))
    answer = wire.rows.Pull(rows_pb2.PullRequest(tables=[keys], wire_dtype=wire_dtype)).tables[0].values
    assert len(answer) == 8
    looked_up = wire.rows.Lookup(rows_pb2.LookupRequest(table=table_name, keys=i64(1, 2), wire_dtype=wire_dtype))
    assert looked_up.values == answer
    if wire_dtype == FLOAT16:
        got = np.frombuffer(answer, "<f2").astype(np.float32)
    else:
        got = bfloat16_to_float32(np.frombuffer(answer, "<u2"))
    assert got.reshape(2, 2).tolist() == (-gradients).tolist()


def test_lookup_reads_zeros_where_there_is_no_row_and_metadata_if_asked(wire, table_name):
    wire.create(table_name, initializer=constant(1.0))
    wire.push(table_name, [1], [[1, 0]], counts=np.array([3], "<u4").tobytes())
    wire.push(table_name, [1], [[1, 0]])
    answer = wire.rows.Lookup(rows_pb2.LookupRequest(table=table_name, keys=i64(5, 1), with_metadata=True))
    assert np.frombuffer(answer.values, "<f4").tolist() == [0, 0, -1, 1]
    assert list(answer.found) == [0, 1]
    assert np.frombuffer(answer.frequency, "<u4").tolist() == [0, 4]
    never, used = np.frombuffer(answer.last_used, "<u4")
    assert never == 0
    assert used > 1_700_000_000
    plain = wire.rows.Lookup(rows_pb2.LookupRequest(table=table_name, keys=i64(5, 1)))
    assert (plain.values, plain.found, plain.frequency) == (answer.values, answer.found, b"")


def test_upsert_takes_the_last_of_repeats(wire, table_name):
    wire.create(table_name)
    request = rows_pb2.UpsertRequest(table=table_name, keys=i64(1, 2, 1), values=f32([[1, 1], [2, 2], [3, 3]]))
    assert wire.rows.Upsert(request).inserted == 2
    assert wire.rows.Upsert(request).inserted == 0
    assert wire.pull(table_name, [1, 2])[0].tolist() == [[3, 3], [2, 2]]


def test_accumulate_follows_its_truth_table(wire, table_name):
    """Present and believed present: added. Absent and believed absent: inserted. Otherwise ignored."""
    wire.create(table_name)
    wire.rows.Upsert(rows_pb2.UpsertRequest(table=table_name, keys=i64(1, 2), values=f32([[1, 1], [2, 2]])))
    request = rows_pb2.AccumulateRequest(
        table=table_name, keys=i64(1, 2, 3, 4), deltas=f32([[10, 10]] * 4), exists=bytes([1, 0, 1, 0])
    )
    assert wire.rows.Accumulate(request).applied == 2
    values, status = wire.pull(table_name, [1, 2, 3, 4])
    assert values.tolist() == [[11, 11], [2, 2], [0, 0], [10, 10]]
    assert status == [FOUND, FOUND, INITIALIZED, FOUND]


def test_remove_clear_and_size(wire, table_name):
    wire.create(table_name)
    wire.push(table_name, [1, 2, 3], np.ones((3, 2)))
    assert wire.rows.Remove(rows_pb2.RemoveRequest(table=table_name, keys=i64(2, 9, 2))).removed == 1
    assert wire.size(table_name) == 2
    assert wire.rows.Clear(rows_pb2.ClearRequest(table=table_name)).removed == 2
    assert wire.size(table_name) == 0


def test_touch_counts_stored_rows_only(wire, table_name):
    wire.create(table_name)
    wire.push(table_name, [1], [[1, 1]])
    counts = np.array([5, 5], "<u4").tobytes()
    assert wire.rows.Touch(rows_pb2.TouchRequest(table=table_name, keys=i64(1, 2), counts=counts)).touched == 1
    assert wire.rows.Touch(rows_pb2.TouchRequest(table=table_name, keys=i64(1))).touched == 1
    answer = wire.rows.Lookup(rows_pb2.LookupRequest(table=table_name, keys=i64(1, 2), with_metadata=True))
    assert np.frombuffer(answer.frequency, "<u4").tolist() == [7, 0]


def test_keys_of_all_64_bits_are_kept_apart(wire, table_name):
    """Ids that agree in their lower 32 bits are different rows."""
    wire.create(table_name)
    keys = [12345, 12345 + 2**32, 12345 + 7 * 2**40, -1, 2**63 - 1, -(2**63), 0]
    wire.push(table_name, keys, [[float(place), 0] for place in range(len(keys))])
    assert wire.size(table_name) == len(keys)
    assert wire.pull(table_name, keys)[0][:, 0].tolist() == [-float(place) for place in range(len(keys))]


def test_export_and_import_move_whole_rows(wire, table_name):
    source, copy = table_name + "-a", table_name + "-b"
    for name in (source, copy):
        wire.create(name, optimizer=adam(), initializer=uniform())
    keys = list(range(-50, 50))
    for _ in range(3):
        wire.push(source, keys, np.linspace(-1, 1, 200).reshape(100, 2))
    chunks = list(wire.rows.Export(rows_pb2.ExportRequest(table=source, with_slots=True, chunk_rows=3)))
    assert all(0 < len(chunk.keys) <= 24 for chunk in chunks)
    assert sorted(np.concatenate([np.frombuffer(chunk.keys, "<i8") for chunk in chunks])) == keys

    def requests():
        for place, chunk in enumerate(chunks):
            yield rows_pb2.ImportRequest(
                table=copy if place == 0 else "",
                keys=chunk.keys,
                values=chunk.values,
                frequency=chunk.frequency,
                last_used=chunk.last_used,
                slots=chunk.slots,
                slot_width=chunk.slot_width,
            )

    assert wire.rows.Import(requests()).imported == 100
    for name in (source, copy):
        wire.push(name, keys, np.ones((100, 2)), step=4)
    assert wire.pull(copy, keys)[0].tobytes() == wire.pull(source, keys)[0].tobytes()
    with_metadata = [
        wire.rows.Lookup(rows_pb2.LookupRequest(table=name, keys=i64(*keys), with_metadata=True))
        for name in (source, copy)
    ]
    assert with_metadata[0] == with_metadata[1]


def test_empty_batches_answer_empty(wire, table_name):
    wire.create(table_name)
    values, status = wire.pull(table_name, [])
    assert (values.shape, status) == ((0, 2), [])
    assert list(wire.push(table_name, [], []).steps) == [1]
    assert wire.rows.Pull(rows_pb2.PullRequest()) == rows_pb2.PullResponse()
    assert wire.rows.Push(rows_pb2.PushRequest()) == rows_pb2.PushResponse()
    assert wire.rows.Lookup(rows_pb2.LookupRequest(table=table_name, with_metadata=True)) == rows_pb2.LookupResponse()
    assert wire.rows.Upsert(rows_pb2.UpsertRequest(table=table_name)).inserted == 0
    assert wire.rows.Accumulate(rows_pb2.AccumulateRequest(table=table_name)).applied == 0
    assert wire.rows.Remove(rows_pb2.RemoveRequest(table=table_name)).removed == 0
    assert wire.rows.Touch(rows_pb2.TouchRequest(table=table_name)).touched == 0
    assert list(wire.rows.Export(rows_pb2.ExportRequest(table=table_name))) == []
    assert wire.rows.Import(iter([])).imported == 0


def test_initial_values_are_those_of_the_core(wire, table_name):
    """The same function of seed, table and key in the server as anywhere."""
    wire.create(table_name, dim=8, initializer=uniform(seed=11))
    table = _core.RowTable(
        name=table_name,
        dim=8,
        value_dtype="float32",
        initializer=_core.Initializer("uniform", -0.05, 0.05, seed=11),
        optimizer=_core.Optimizer("sgd"),
    )
    keys = [0, 1, -1, 2**40]
    expected = np.stack([table.initial_value(key) for key in keys])
    assert wire.pull(table_name, keys, dim=8)[0].tobytes() == expected.tobytes()
