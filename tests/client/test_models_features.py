"""The model registry and the feature store through the client, against a real server."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest

from rowbank import TableSpec, errors
from rowbank.calls import methods
from rowbank.features import FeatureField, FeatureView
from rowbank.models import ModelManifest, Tower, TowerInput
from rowbank_protos.v1 import features_pb2


def identity(dim: int, *, padding: int = 0) -> bytes:
    """A tower that answers its input, [batch, dim] float32; `padding` bytes of documentation make it larger."""
    shape: list[str | int | None] = ["batch", dim]
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("rows", "vector")]
    node = onnx.helper.make_node("Identity", ["rows"], ["vector"])
    graph = onnx.helper.make_graph([node], "tower", values[:1], values[1:], doc_string="x" * padding)
    opset = onnx.helper.make_opsetid("", 13)
    return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()


@pytest.fixture
def manifest(client, table_name):
    """A model over one table of dim 4."""
    client.create_table(TableSpec(table_name, dim=4))
    query = Tower((TowerInput("rows", table_name, "user_id", dim=4),), "vector", "query.onnx")
    candidate = Tower((TowerInput("rows", table_name, "item_id", dim=4),), "vector", "candidate.onnx")
    return ModelManifest(
        name=table_name,
        version="20260131T120000Z-1a2b",
        query=query,
        candidate=candidate,
        vector_dim=4,
        created_at_s=1769860800.5,
        item_view="items",
        user_view="users",
        metrics={"top_100": 0.25},
        logit_scale=2.0,
    )


def other_version(manifest: ModelManifest, version: str) -> ModelManifest:
    return ModelManifest(**{name: getattr(manifest, name) for name in manifest.__slots__} | {"version": version})


def test_publish_list_activate(client, manifest, tmp_path):
    """Two versions, the second's files larger than a chunk of the stream and one of them on disk."""
    large = identity(4, padding=3 << 20)
    (tmp_path / "candidate.onnx").write_bytes(large)
    first = {"query.onnx": identity(4), "candidate.onnx": identity(4)}
    assert client.models.publish(manifest, first, rows="live") == manifest.version
    later = other_version(manifest, "20260201T120000Z-9f9f")
    second = {"query.onnx": large, "candidate.onnx": tmp_path / "candidate.onnx"}
    assert client.models.publish(later, second, rows="live", activate=False) == later.version
    entries = {entry.manifest.version: entry for entry in client.models.list(manifest.name)}
    assert {version: entry.active for version, entry in entries.items()} == {
        manifest.version: True,
        later.version: False,
    }
    entry = client.models.get(manifest.name)
    assert entry.active
    assert (entry.manifest.query, entry.manifest.candidate) == (manifest.query, manifest.candidate)
    assert (entry.manifest.metrics, entry.manifest.logit_scale) == ({"top_100": 0.25}, 2.0)
    (file,) = [file for file in entries[later.version].manifest.files if file.name == "candidate.onnx"]
    assert (file.size, file.sha256) == (len(large), hashlib.sha256(large).hexdigest())
    assert client.models.activate(manifest.name, later.version) == manifest.version
    assert client.models.get(manifest.name).manifest.version == later.version


def test_bad_models_are_refused_whole(client, manifest):
    files = {"query.onnx": identity(4), "candidate.onnx": identity(4)}
    gone = Tower((TowerInput("rows", "no-such-table", "user_id", dim=4),), "vector", "query.onnx")
    changes: dict[str, tuple[dict[str, Any], dict[str, bytes]]] = {
        "no-such-table": ({"query": gone}, files),
        "vector_dim 5": ({"vector_dim": 5}, files),
        "is no ONNX graph": ({}, {**files, "candidate.onnx": b"not a graph"}),
        "expected a file 'candidate.onnx'": ({}, {"query.onnx": identity(4)}),
    }
    fields = {name: getattr(manifest, name) for name in manifest.__slots__}
    for message, (change, contents) in changes.items():
        with pytest.raises(errors.InvalidModel, match=message):
            client.models.publish(ModelManifest(**fields | change), contents)
    assert manifest.name not in [entry.manifest.name for entry in client.models.list()]
    with pytest.raises(errors.ModelNotFound):
        client.models.list(manifest.name)
    with pytest.raises(errors.ModelNotFound):
        client.models.get(manifest.name)
    with pytest.raises(errors.ModelNotFound):
        client.models.activate(manifest.name, "1")
    client.models.publish(manifest, files)
    with pytest.raises(errors.InvalidModel, match="already; publish under another version"):
        client.models.publish(manifest, files)


@pytest.fixture
def view(client, table_name):
    """A view with a feature of every type."""
    fields = (
        FeatureField("count", "int64", default=-1),
        FeatureField("score", "double"),
        FeatureField("title", "string", default="untitled"),
        FeatureField("adult", "bool"),
        FeatureField("tokens", "int64_list"),
        FeatureField("vector", "float_list"),
        FeatureField("genres", "string_list", default=("none",)),
    )
    view = FeatureView(table_name.replace("-", "_"), "item_id", fields)
    assert client.features.put_view(view)
    return view


def test_views_are_listed_as_they_were_put(client, view):
    assert not client.features.put_view(view)
    assert view in client.features.list_views()
    aging = FeatureView(view.name, view.entity, view.fields, max_age_s=60.0)
    assert client.features.put_view(aging)
    assert aging in client.features.list_views()


def test_features_come_back_with_their_types(client, view):
    values = {
        "count": 2**62,
        "score": 0.1,
        "title": "Amélie",
        "adult": False,
        "tokens": np.array([[1, 2, 3]])[0],
        "vector": [0.5, -2.0],
        "genres": ("Comedy", "Romance"),
    }
    before = time.time()
    assert client.features.write(view.name, {7: values, -8: {"count": 1, "score": None}}) == 2
    seven, eight, nine = client.features.read(view.name, [7, -8, 9])
    assert seven.values == {**values, "tokens": (1, 2, 3), "vector": (0.5, -2.0)}
    assert (seven.entity, seven.status) == (7, "present")
    assert before - 1 <= seven.event_time_s <= time.time() + 1
    assert (eight.values["count"], eight.values["title"], eight.values["genres"]) == (1, "untitled", ("none",))
    assert (eight.values["score"], eight.values["adult"], eight.values["tokens"]) == (0.0, False, ())
    assert (nine.entity, nine.status, nine.values["count"]) == (9, "not_found", -1)
    (only,) = client.features.read(view.name, [7], ["title"])
    assert only.values == {"title": "Amélie"}


def test_old_features_say_so(client, view):
    client.features.put_view(FeatureView(view.name, view.entity, view.fields, max_age_s=60.0))
    client.features.write(view.name, {1: {"count": 5}}, event_time_s=time.time() - 3600)
    client.features.write(view.name, {2: {"count": 6}})
    old, new = client.features.read(view.name, [1, 2])
    assert (old.status, new.status) == ("outside_max_age", "present")
    assert new.values["count"] == 6


def test_many_entities_are_written_and_read_in_parts(client, view):
    rows = {entity: {"count": entity * 2} for entity in range(5000)}
    assert client.features.write(view.name, rows) == 5000
    results = client.features.read(view.name, range(4999, -1, -1), ["count"])
    assert [result.values["count"] for result in results] == list(range(9998, -1, -2))
    assert client.features.write(view.name, {}) == 0
    assert client.features.read(view.name, []) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 1.5}, "feature 'count': expected int64, got 1.5"),
        ({"count": True}, "feature 'count': expected int64, got True"),
        ({"count": 2**63}, "feature 'count': expected int64"),
        ({"title": 3}, "feature 'title': expected string, got 3"),
        ({"adult": 1}, "feature 'adult': expected bool, got 1"),
        ({"tokens": 3}, "feature 'tokens': expected int64_list, got 3"),
        ({"tokens": [1, "a"]}, "feature 'tokens': expected int64_list"),
        ({"genres": "Comedy"}, "feature 'genres': expected string_list, got 'Comedy'"),
        ({"year": 1999}, "has no feature 'year'; its features: count, score"),
    ],
)
def test_features_of_other_types_are_refused(client, view, values, message):
    with pytest.raises(errors.InvalidFeature) as raised:
        client.features.write(view.name, {1: {"title": "written"}, 2: values})
    assert message in str(raised.value)
    assert [result.status for result in client.features.read(view.name, [1, 2])] == ["not_found", "not_found"]


@pytest.mark.parametrize(
    ("values", "stored"),
    [
        ({"tokens": list(np.array([1, 2]))}, {"tokens": (1, 2)}),
        ({"tokens": np.array([1, 2], np.uint8)}, {"tokens": (1, 2)}),
        ({"tokens": (np.int32(1), 2)}, {"tokens": (1, 2)}),
        ({"tokens": pd.Series([1, 2], index=[7, 8])}, {"tokens": (1, 2)}),
        ({"tokens": pd.Index([1, 2])}, {"tokens": (1, 2)}),
        ({"tokens": pd.array([1, 2], dtype="Int64")}, {"tokens": (1, 2)}),
        ({"tokens": np.array([np.int64(1), 2], object)}, {"tokens": (1, 2)}),
        ({"tokens": pd.Series([], dtype="int64")}, {"tokens": ()}),
        ({"count": np.uint64(5)}, {"count": 5}),
        ({"count": np.array(5)}, {"count": 5}),
        ({"score": np.float32(0.5)}, {"score": 0.5}),
        ({"score": np.int16(3)}, {"score": 3.0}),
        ({"score": 1e300}, {"score": 1e300}),
        ({"vector": pd.Series([0.5, 1.0])}, {"vector": (0.5, 1.0)}),
        ({"vector": np.array([0.5, 1.0], np.float16)}, {"vector": (0.5, 1.0)}),
        ({"vector": [np.longdouble(0.5), 2]}, {"vector": (0.5, 2.0)}),
        ({"vector": [3.4028235677973362e38]}, {"vector": (float(np.finfo(np.float32).max),)}),
        ({"title": np.str_("a")}, {"title": "a"}),
        ({"adult": np.bool_(True)}, {"adult": True}),
        ({"genres": np.array(["a", "b"])}, {"genres": ("a", "b")}),
        ({"genres": pd.Series(["a", "b"])}, {"genres": ("a", "b")}),
    ],
)
def test_values_of_numpy_and_pandas_are_taken(client, view, values, stored):
    client.features.write(view.name, {1: values})
    assert client.features.read(view.name, [1], list(stored))[0].values == stored


@pytest.mark.parametrize(
    ("values", "got"),
    [
        ({"score": float("nan")}, "nan"),
        ({"score": np.float32("inf")}, "inf"),
        ({"score": 10**400}, "an integer of 1329 bits"),
        ({"vector": [1.0, float("nan")]}, "nan in it"),
        ({"vector": [1e300]}, "1e+300 in it"),
        ({"vector": np.array([3.4028236e38])}, "3.4028236e+38 in it"),
        ({"vector": pd.Series([1.0, None])}, "nan in it"),
        ({"tokens": [2**63]}, "9223372036854775808 in it"),
        ({"tokens": np.array([2**63 + 5], np.uint64)}, "9223372036854775813 in it"),
        ({"tokens": [1.0]}, "1.0 in it"),
        ({"tokens": [[1]]}, "[1] in it"),
        ({"tokens": {1, 2}}, "{1, 2}"),
        ({"tokens": pd.Series(pd.to_datetime(["2024-01-31"]))}, "np.datetime64"),
        ({"count": np.datetime64("2024-01-31")}, "np.datetime64"),
        ({"count": pd.NA}, "<NA>"),
    ],
)
def test_values_that_would_not_come_back_are_refused(client, view, values, got):
    kind = next(field.type for field in view.fields if field.name in values)
    with pytest.raises(errors.InvalidFeature) as raised:
        client.features.write(view.name, {1: {"title": "written"}, 2: values})
    assert f"expected {kind}, got {got}" in str(raised.value).replace("numpy.datetime64", "np.datetime64")
    assert [result.status for result in client.features.read(view.name, [1, 2])] == ["not_found", "not_found"]


@pytest.mark.parametrize(
    "value",
    [
        features_pb2.FeatureValue(double_value=float("nan")),
        features_pb2.FeatureValue(double_value=float("-inf")),
        features_pb2.FeatureValue(float_list=features_pb2.FloatList(values=[1.0, float("inf")])),
    ],
)
def test_servers_refuse_what_is_not_finite(client, view, value):
    name = "score" if value.HasField("double_value") else "vector"
    row = features_pb2.FeatureRow(entity=1, values={name: value})
    with pytest.raises(errors.InvalidFeature, match="expected a finite"):
        client.calls.transport.one(
            methods.WRITE_FEATURES, 0, features_pb2.WriteFeaturesRequest(view=view.name, rows=[row])
        )
    field = features_pb2.FeatureField(name="x", type=features_pb2.FEATURE_TYPE_DOUBLE,
                                      default_value=features_pb2.FeatureValue(double_value=float("nan")))  # fmt: skip
    put = features_pb2.PutViewRequest(view=features_pb2.FeatureView(name="nans", entity="item_id", fields=[field]))
    with pytest.raises(errors.InvalidFeature, match="default of 'x': expected a finite number, got nan"):
        client.calls.transport.one(methods.PUT_VIEW, 0, put)


def test_time_zero_is_1970(client, view):
    client.features.write(view.name, {1: {"count": 5}}, event_time_s=0.0)
    assert client.features.read(view.name, [1])[0].event_time_s == 0.0
    client.features.write(view.name, {1: {"count": 6}}, event_time_s=1.5)
    assert client.features.read(view.name, [1])[0].values["count"] == 6
    client.features.write(view.name, {1: {"count": 7}}, event_time_s=0)  # Older than what is there.
    assert client.features.read(view.name, [1])[0].values["count"] == 6
    for wrong in (-1.0, float("nan"), 1e300, "yesterday", 10**400):
        with pytest.raises(errors.InvalidFeature, match="event_time_s: expected Unix seconds from 0 to 1e11, or None"):
            client.features.write(view.name, {1: {"count": 8}}, event_time_s=wrong)


def test_unknown_views_and_types_are_refused(client, view):
    with pytest.raises(errors.ViewNotFound, match="'nowhere'"):
        client.features.write("nowhere", {1: {"count": 1}})
    with pytest.raises(errors.ViewNotFound, match="'nowhere'"):
        client.features.read("nowhere", [1])
    with pytest.raises(errors.InvalidFeature):
        client.features.read(view.name, [1], ["year"])
    for entity in ("7", 2**63, True):
        with pytest.raises(errors.InvalidFeature, match="entity: expected an int64, got"):
            client.features.write(view.name, {entity: {"count": 1}})
        with pytest.raises(errors.InvalidFeature, match="entity: expected an int64, got"):
            client.features.read(view.name, [entity])
    with pytest.raises(errors.InvalidFeature, match="expected a type of int64, double"):
        FeatureField("x", "float128")
