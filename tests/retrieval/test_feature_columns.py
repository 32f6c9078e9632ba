"""Rows in columns end in Redis as rows written one by one do, and as protobuf itself makes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import redis

from rowbank.errors import IdCollision, InvalidFeature, ViewNotFound
from rowbank_protos.v1 import features_pb2
from rowbank_server.features import FeatureField, FeatureStatus, FeatureStore, FeatureType, FeatureView, layout
from rowbank_server.features.columns import columns_from_message, entity_keys, timestamps
from rowbank_server.features.values import encode, encode_time

NUMBERS = {FeatureType.INT64: "<i8", FeatureType.DOUBLE: "<f8", FeatureType.BOOL: "u1"}
ELEMENTS = {FeatureType.INT64_LIST: "<i8", FeatureType.FLOAT_LIST: "<f4"}
# Sizes on both sides of where a varint of lengths or of numbers gets another byte.
VALUES: dict[FeatureType, list[Any]] = {
    FeatureType.INT64: [0, 1, -1, 127, 128, 2**14, 2**63 - 1, -(2**63), 300],
    FeatureType.DOUBLE: [0.0, -0.0, 1.5, -1e300, 5e-324, 0.1, 2.0, 3.0, 4.0],
    FeatureType.BOOL: [True, False, True, True, False, False, True, False, True],
    FeatureType.STRING: ["", "a", "é長", "x" * 127, "x" * 128, "y" * 20000, "b", "c\0d", " "],
    FeatureType.INT64_LIST: [[], [0], [-1, 127, 128], list(range(-40, 40)), [2**63 - 1], [], [1] * 127, [1] * 126, [9]],
    FeatureType.FLOAT_LIST: [[], [0.0], [1.5] * 31, [1.5] * 32, [-2.0, 0.25], [], [1.0], [3.0], [4.0, 5.0]],
    FeatureType.STRING_LIST: [[], [""], ["a", "", "長"], ["x" * 130], ["y"] * 70, [], ["b"], ["c"], ["d", "e"]],
}
VIEW = FeatureView(
    name="people", entity="user_id", fields=tuple(FeatureField(name=kind.value, type=kind) for kind in VALUES)
)


def column(kind: FeatureType, values: list, **changes: object) -> features_pb2.FeatureColumn:
    """A column as its message describes it."""
    made = features_pb2.FeatureColumn(name=kind.value, type=f"FEATURE_TYPE_{kind.name}")  # type: ignore[arg-type]
    if kind in NUMBERS:
        made.numbers = np.asarray(values, NUMBERS[kind]).tobytes()
    elif kind in ELEMENTS:
        made.numbers = np.asarray([one for value in values for one in value], ELEMENTS[kind]).tobytes()
        made.counts = np.asarray([len(value) for value in values], "<u4").tobytes()
    else:
        if kind is FeatureType.STRING_LIST:
            made.counts = np.asarray([len(value) for value in values], "<u4").tobytes()
            values = [one for value in values for one in value]
        texts = [value.encode() for value in values]
        made.texts, made.text_bytes = b"".join(texts), np.asarray([len(text) for text in texts], "<u4").tobytes()
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def request(columns: list, entities: list[int], times_us: Sequence[int] = (), view: str = "people"):
    return features_pb2.WriteColumnsRequest(
        view=view,
        entities=np.asarray(entities, "<i8").tobytes(),
        columns=columns,
        event_times_us=np.asarray(times_us, "<i8").tobytes(),
    )


def write(store: FeatureStore, view: FeatureView, message: features_pb2.WriteColumnsRequest) -> int:
    return store.write_columns(view, columns_from_message(view, message, now_us=10**15))


@pytest.mark.parametrize("kind", VALUES)
def test_a_column_is_encoded_as_protobuf_encodes_each_value(kind):
    values = VALUES[kind]
    made = columns_from_message(VIEW, request([column(kind, values)], list(range(len(values)))), 0)
    assert made.fields[layout.feature_field("people", kind.value)] == [encode(value, kind) for value in values]


def test_keys_and_times_are_those_of_single_rows():
    entities = np.array([0, -1, 2**63 - 1, -(2**63), 7], np.int64)
    assert entity_keys("user_id", entities, "p") == [layout.entity_key("user_id", int(one), "p") for one in entities]
    times = np.array([0, 1, 999_999, 10**6, 1_767_225_600_500_000, 99_999_999_999_999_999], np.int64)
    assert timestamps(times) == [encode_time(int(one) / 1e6) for one in times[:-1]] + timestamps(times[-1:])


def test_columns_are_read_as_they_were_written(store: FeatureStore):
    store.put_view(VIEW)
    columns = [column(kind, values) for kind, values in VALUES.items()]
    entities = [5, -5, 2**63 - 1, -(2**63), 0, 1, 2, 3, 4]
    assert write(store, VIEW, request(columns, entities, [1_700_000_000_000_001])) == len(entities)
    for place, read in enumerate(store.read("people", entities)):
        assert dict(read.values) == {kind.value: values[place] for kind, values in VALUES.items()}
        assert (read.status, read.event_time_s) == (FeatureStatus.PRESENT, 1_700_000_000.000001)
    assert store.entities("people", indexed_only=True).tolist() == sorted(entities)


def test_a_row_without_a_value_has_none_from_then_on(store: FeatureStore):
    view = FeatureView(
        name="people", entity="user_id", fields=(FeatureField(name="int64", type=FeatureType.INT64, default=9),)
    )
    store.put_view(view)
    store.write("people", [(1, {"int64": 4}), (2, {"int64": 5})], 1000.0)
    write(store, view, request([column(FeatureType.INT64, [0, 6], present=b"\0\1")], [1, 2], [2_000_000_000]))
    assert [read.values["int64"] for read in store.read("people", [1, 2])] == [9, 6]


def test_columns_that_a_request_leaves_out_keep_their_values(store: FeatureStore):
    store.put_view(VIEW)
    store.write("people", [(1, {"string": "a", "int64": 4})], 1000.0)
    write(store, VIEW, request([column(FeatureType.INT64, [5])], [1], [2_000_000_000]))
    assert store.read("people", [1], ["string", "int64"])[0].values == {"string": "a", "int64": 5}


def test_of_each_entity_the_latest_event_counts(store: FeatureStore):
    """Within a request, against what is stored, and whatever the order; of equally late ones the last."""
    store.put_view(VIEW)
    store.write("people", [(4, {"int64": 40})], 5.0)
    entities, values = [1, 1, 2, 2, 3, 3, 4], [10, 11, 20, 21, 30, 31, 41]
    times = [3, 2, 2, 3, 4, 4, 4]
    message = request([column(FeatureType.INT64, values)], entities, [one * 10**6 for one in times])
    assert write(store, VIEW, message) == 6
    reads = store.read("people", [1, 2, 3, 4], ["int64"])
    assert [(read.values["int64"], read.event_time_s) for read in reads] == [(10, 3), (21, 3), (31, 4), (40, 5)]


def test_many_rows_go_in_several_round_trips(store: FeatureStore):
    store.put_view(VIEW)
    count = 2500
    entities = list(range(count))
    times = [10**6 * (count - one) for one in entities]
    assert write(store, VIEW, request([column(FeatureType.INT64, entities)], entities, times)) == count
    reads = store.read("people", entities, ["int64"])
    assert [read.values["int64"] for read in reads] == entities
    assert [read.event_time_s for read in reads] == [float(count - one) for one in entities]


BAD = [
    (column(FeatureType.DOUBLE, [1.0, float("nan")]), "people:double: expected finite numbers, got nan"),
    (column(FeatureType.DOUBLE, [1.0, float("inf")]), "expected finite numbers, got inf"),
    (column(FeatureType.FLOAT_LIST, [[1.0], [float("inf")]]), "expected finite numbers, got inf"),
    (column(FeatureType.BOOL, [1, 1], numbers=b"\1\2"), "people:bool: expected 0 or 1, got 2"),
    (column(FeatureType.INT64, [1]), "people:int64: numbers: expected 2 numbers, got 1"),
    (column(FeatureType.INT64, [1, 2], numbers=b"\1\2\3"), "expected whole numbers of 8 bytes, got 3 bytes"),
    (column(FeatureType.INT64, [1, 2], present=b"\1"), "present: expected 2 bytes, or none, got 1"),
    (column(FeatureType.STRING, ["a", "b"], texts=b"abc"), "texts: expected 2 bytes as text_bytes says, got 3"),
    (column(FeatureType.STRING, ["a", "b"], texts=b"a\xff"), "people:string: texts: expected UTF-8"),
    (column(FeatureType.STRING, ["a", "b"], texts="é".encode()), "a text that begins within a character"),
    (column(FeatureType.INT64_LIST, [[1], [2]], counts=b"\1\0\0\0"), "people:int64_list: counts: expected 2 numbers"),
    (column(FeatureType.INT64, [1, 2], name="string"), "the view has string, the column is int64; read the view again"),
    (column(FeatureType.INT64, [1, 2], name="x"), "has no feature 'x'"),
    (column(FeatureType.INT64, [1, 2], name="_removed"), "column '_removed' cannot be written; leave it out"),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "message"), BAD, ids=[str(number) for number in range(len(BAD))])
def test_a_bad_column_is_named_and_nothing_is_written(store: FeatureStore, bad, message):
    store.put_view(VIEW)
    with pytest.raises(InvalidFeature, match=message):
        write(store, VIEW, request([bad], [1, 2]))
    assert store.read("people", [1])[0].status is FeatureStatus.NOT_FOUND


def test_bad_requests_are_refused(store: FeatureStore):
    good = column(FeatureType.INT64, [1, 2])
    with pytest.raises(InvalidFeature, match="expected one event time, or one for each of 2 rows, got 3"):
        write(store, VIEW, request([good], [1, 2], [1, 2, 3]))
    with pytest.raises(InvalidFeature, match="expected microseconds from 0 to 1e17, got -1 in row 2"):
        write(store, VIEW, request([good], [1, 2], [1, -1]))
    with pytest.raises(InvalidFeature, match="at least one column"):
        write(store, VIEW, request([], [1, 2]))
    with pytest.raises(InvalidFeature, match="'int64' came twice"):
        write(store, VIEW, request([good, good], [1, 2]))


def test_what_was_encoded_for_a_view_that_is_gone_is_not_written(store: FeatureStore, connection: redis.Redis):
    store.put_view(VIEW)
    columns = columns_from_message(VIEW, request([column(FeatureType.INT64, [1])], [1]), now_us=10**15)
    store.drop_view("people")
    with pytest.raises(ViewNotFound, match="dropped meanwhile"):
        store.write_columns(VIEW, columns)
    store.put_view(
        FeatureView(name="people", entity="user_id", fields=(FeatureField(name="int64", type=FeatureType.STRING),))
    )
    with pytest.raises(InvalidFeature, match="replaced meanwhile"):
        store.write_columns(VIEW, columns)
    assert store.entities("people").tolist() == []


def test_a_removed_item_that_is_imported_is_there_again(store: FeatureStore):
    fields = (FeatureField(name="int64", type=FeatureType.INT64), FeatureField(name="_removed", type=FeatureType.BOOL))
    view = FeatureView(name="items", entity="item_id", fields=fields)
    store.put_view(view)
    store.write("items", [(1, {"_removed": True})], 1.0)
    write(store, view, request([column(FeatureType.INT64, [3])], [1], [2 * 10**6], "items"))
    assert store.read("items", [1])[0].values == {"int64": 3, "_removed": False}


def test_two_texts_of_ids_with_one_key_are_told_and_not_written(store: FeatureStore):
    """Among the rows of a request, and against what is stored."""
    fields = (FeatureField(name="int64", type=FeatureType.INT64), FeatureField(name="_id", type=FeatureType.STRING))
    view = FeatureView(name="people", entity="user_id", fields=fields)
    store.put_view(view)

    def texts(*ids: str) -> features_pb2.FeatureColumn:
        return column(FeatureType.STRING, list(ids), name="_id")

    number = column(FeatureType.INT64, [5, 6])
    with pytest.raises(
        IdCollision, match="ids 'ann' and 'bob' of view 'people' have the same key, 1; write one of them"
    ):
        write(store, view, request([number, texts("ann", "bob")], [1, 1]))
    assert write(store, view, request([number, texts("ann", "bob")], [1, 2])) == 2
    assert write(store, view, request([number, texts("ann", "ann")], [1, 1])) == 2
    with pytest.raises(IdCollision, match="ids 'bob' and 'cid' of view 'people' have the same key, 2"):
        write(store, view, request([number, texts("ann", "cid")], [1, 2]))
    assert [read.values["_id"] for read in store.read("people", [1, 2], ["_id"])] == ["ann", "bob"]
