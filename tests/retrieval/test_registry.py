"""Publishing models to a real parameter server; what is wrong is named and leaves nothing behind."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import redis
from tests.processes import PsProcess
from tests.retrieval.support import DIM, LENGTH, MODEL, World, tower_file

import rowbank
from rowbank.errors import InvalidModel, ModelNotFound
from rowbank.features import FeatureField, FeatureView
from rowbank.models import BucketKey, QuotientKey, Tower, TowerInput
from rowbank_protos.v1 import models_pb2
from rowbank_server.registry import ModelRegistry


@pytest.fixture(scope="module")
def published(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[rowbank.Client, str]]:
    """A client of a parameter server with the world's tables, and its namespace."""
    folder = tmp_path_factory.mktemp("registry")
    ps = PsProcess("--namespace", folder.name, redis_url=redis_url, log=folder / "ps.log")
    try:
        with rowbank.Client(ps.wait_ready().target) as client:
            World("registry").create_tables(client)
            yield client, folder.name
    finally:
        ps.close()


@pytest.fixture
def world() -> World:
    return World("registry")


def test_versions_are_listed_chosen_and_rolled_back(
    published: tuple[rowbank.Client, str], world: World, connection: redis.Redis
) -> None:
    client, namespace = published
    name = "listed"
    for version in ("v1", "v3", "v2"):
        assert client.models.publish(world.manifest(version, name=name), world.files(), activate=False) == version
    assert [entry.manifest.version for entry in client.models.list(name)] == ["v3", "v2", "v1"]
    with pytest.raises(ModelNotFound, match="model 'listed' has no active version"):
        client.models.get(name)
    assert client.models.activate(name, "v1") == ""
    assert client.models.activate(name, "v3") == "v1"
    entry = client.models.get(name)
    assert (entry.manifest.version, entry.active, entry.manifest.metrics) == ("v3", True, {"top_100": 0.5})
    registry = ModelRegistry(connection, namespace)
    assert registry.previous(name) == "v1"
    assert client.models.activate(name, registry.previous(name)) == "v3"
    assert registry.files(registry.get(name).manifest) == world.files()
    with pytest.raises(ModelNotFound, match="has no version v9"):
        client.models.activate(name, "v9")
    with pytest.raises(ModelNotFound, match=r"model 'other' does not exist; known models: .*listed"):
        client.models.list("other")


def test_a_version_is_published_once(published: tuple[rowbank.Client, str], world: World) -> None:
    client, _ = published
    client.models.publish(world.manifest("v1", name="once"), world.files())
    with pytest.raises(InvalidModel, match="has a version v1 already; publish under another version"):
        client.models.publish(world.manifest("v1", name="once"), world.files())


def change_input(world: World, side: str, **changes: Any) -> dict[str, Any]:
    tower: Tower = getattr(world.manifest("x"), side)
    return {side: replace(tower, inputs=(replace(tower.inputs[0], **changes),))}


def change_tower(world: World, side: str, **changes: Any) -> dict[str, Any]:
    return {side: replace(getattr(world.manifest("x"), side), **changes)}


BAD: dict[str, tuple[Any, dict[str, bytes | None], str]] = {
    "unknown table": (lambda w: change_input(w, "query", table="nope"), {}, "table 'nope' does not exist; create it"),
    "wrong dim": (lambda w: change_input(w, "query", dim=9), {}, f"has dim {DIM}, the manifest says 9"),
    "no such feature name": (
        lambda w: change_input(w, "query", feature="a:b:c"),
        {},
        "'a:b:c' must be <view>:<feature>",
    ),
    "no input": (lambda w: change_tower(w, "candidate", inputs=()), {}, "the candidate tower has no input"),
    "input name": (
        lambda w: change_input(w, "query", name="user"),
        {},
        r"names inputs \['user'\], the graph \['rows'\]",
    ),
    "output name": (lambda w: change_tower(w, "query", output="out"), {}, r"output 'out', the graph \['vector'\]"),
    "vector_dim": (lambda w: {"vector_dim": 6}, {}, r"must be \[3, 6\] float32"),
    "vector_dim 0": (lambda w: {"vector_dim": 0}, {}, "vector_dim must be 1 to 4096, got 0"),
    "length": (lambda w: change_input(w, "candidate", length=3), {}, "'candidate.onnx'"),
    "rank": (lambda w: change_input(w, "candidate", length=0), {}, r"cannot take inputs of \{'rows': \[3, 8\]\}"),
    "item view": (lambda w: {"item_view": ""}, {}, "item_view is empty"),
    "version": (lambda w: {"version": "a b"}, {}, "model version 'a b' must be"),
    "no ONNX": (lambda w: {}, {"query.onnx": b"hello"}, "'query.onnx' is no ONNX graph"),
    "empty file": (lambda w: {}, {"query.onnx": b""}, "'query.onnx' is no ONNX graph"),
    "fixed batch": (lambda w: {}, {"query.onnx": None}, "'query.onnx'"),
}


def fixed_batch(world: World) -> bytes:
    import onnx

    model = onnx.load_from_string(tower_file([DIM], world.user_weights))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_model_is_refused_and_leaves_nothing(
    published: tuple[rowbank.Client, str], world: World, connection: redis.Redis, case: str
) -> None:
    client, namespace = published
    changes, files, message = BAD[case]
    manifest = world.manifest(**{"version": "v1", "name": "bad", **changes(world)})
    replaced = {name: fixed_batch(world) if data is None else data for name, data in files.items()}
    with pytest.raises(InvalidModel, match=message):
        client.models.publish(manifest, {**world.files(), **replaced})
    assert list(connection.scan_iter(f"{namespace}:models:*bad*")) == []
    assert "bad" not in ModelRegistry(connection, namespace).names()


def message(files: dict[str, bytes]) -> models_pb2.ModelManifest:
    listed = [
        models_pb2.ModelFile(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in files.items()
    ]
    return models_pb2.ModelManifest(name=MODEL, version="v1", files=listed)


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        ({"a": b"1"}, "file 'b' is in the manifest, but did not come"),
        ({"a": b"1", "b": b"2", "c": b"3"}, "file 'c' came, but the manifest does not list it"),
        ({"a": b"1", "b": b"22"}, "file 'b' should have 1 bytes, got 2"),
        ({"a": b"1", "b": b"3"}, "file 'b' should have SHA-256 d4735e3a"),
    ],
)
def test_files_must_be_the_manifests(registry: ModelRegistry, sent: dict[str, bytes], error: str) -> None:
    with pytest.raises(InvalidModel, match=error):
        registry.publish(message({"a": b"1", "b": b"2"}), sent)
    assert registry.names() == []


def test_large_files_come_back_whole(registry: ModelRegistry) -> None:
    files = {"large": np.random.default_rng(1).bytes((5 << 20) + 17), "empty": b""}
    registry.publish(message(files), files)
    assert registry.files(registry.get(MODEL, "v1").manifest) == files


def test_what_a_dead_publisher_left_goes_away_and_is_no_version(
    registry: ModelRegistry, connection: redis.Redis, namespace: str
) -> None:
    """Files without a manifest expire; files of a version do not."""
    registry._write_file(MODEL, "half", "a", b"1")
    assert 0 < connection.ttl(f"{namespace}:models:{{{MODEL}}}:file:half:a") <= 3600
    with pytest.raises(ModelNotFound):
        registry.get(MODEL, "half")
    registry.publish(message({"a": b"1"}), {"a": b"1"})
    assert connection.ttl(f"{namespace}:models:{{{MODEL}}}:file:v1:a") == -1


def test_every_input_of_the_manifest_must_be_the_graphs(published: tuple[rowbank.Client, str], world: World) -> None:
    client, _ = published
    inputs = (
        TowerInput("rows", world.token_table, "items:title_tokens", DIM, LENGTH, 0),
        TowerInput("more", world.token_table, "items:genres", DIM, LENGTH, 0),
    )
    tower = Tower(inputs, "vector", "candidate.onnx")
    with pytest.raises(InvalidModel, match=r"inputs \['more', 'rows'\], the graph \['rows'\]"):
        client.models.publish(world.manifest("v1", name="several", candidate=tower), world.files())


VIEWS = (
    FeatureView("people", "user_id", (FeatureField("gender", "string"), FeatureField("taste", "float_list", [1.0]))),
    FeatureView("things", "item_id", (FeatureField("title", "string"), FeatureField("title_tokens", "int64_list"))),
)
RULES = {"table": "token-registry", "dim": DIM}
INPUTS: dict[str, tuple[dict[str, Any], str]] = {
    "renamed": (
        {"feature": "people:sex", "kind": "text_keys", **RULES},
        "model 'typed' v1, query tower, input 'rows' takes feature 'sex', which view 'people' does not have; it has: "
        "gender, taste",
    ),
    "type": (
        {"feature": "people:gender", **RULES},
        "query tower, input 'rows' takes keys of dim 8: expected 'people:gender' to be int64, got string",
    ),
    "list": (
        {"feature": "people:gender", "kind": "text_keys", "length": 3, **RULES},
        "takes text_keys with length 3 of dim 8: expected 'people:gender' to be string_list, got string",
    ),
    "words": ({"feature": "people:taste", "kind": "words", "length": 3, **RULES}, "to be string, got float_list"),
    "text as number": ({"feature": "people:gender", "kind": "numbers"}, "to be float_list, got string"),
    "default": (
        {"feature": "people:taste", "kind": "numbers", "dim": DIM},
        "takes 8 numbers: the default of 'people:taste' has 1",
    ),
    "another view": (
        {"feature": "things:title"},
        "takes 'things:title', but the view of this tower's entities is",
    ),
    "another id": ({"feature": "item_id"}, "takes 'item_id', but view 'people' is of 'user_id'"),
    "words without length": ({"feature": "people:gender", "kind": "words", **RULES}, "kind words needs a length"),
    "numbers of a table": ({"feature": "people:taste", "kind": "numbers", **RULES}, "numbers come of no table"),
    "no table": (
        {"feature": "people:gender", "kind": "text_keys", "table": ""},
        "table is empty; only numbers",
    ),
    "text id": ({"feature": "user_id", "kind": "text_keys"}, "is the entity's own id, which is one key"),
    "divisor": ({"rule": QuotientKey(1)}, r"rule: divisor must be 2 to 2\*\*62, got 1"),
    "buckets": ({"rule": BucketKey((0, 1), 0)}, "at least 1 bucket"),
}


@pytest.mark.parametrize("case", INPUTS)
def test_features_must_be_what_the_inputs_take(
    published: tuple[rowbank.Client, str], world: World, connection: redis.Redis, case: str
) -> None:
    """At publish: the model, the tower, the input, what was expected and what there is; nothing is stored."""
    client, namespace = published
    for view in VIEWS:
        client.features.put_view(view)
    changes, text = INPUTS[case]
    if changes.get("kind") == "numbers" and "table" not in changes:
        changes = {"table": "", **changes}
    manifest = world.manifest(
        "v1", name="typed", item_view="things", user_view="people", **change_input(world, "query", **changes)
    )
    candidate = replace(manifest.candidate.inputs[0], feature="things:title_tokens")
    manifest = replace(manifest, candidate=replace(manifest.candidate, inputs=(candidate,)))
    with pytest.raises(InvalidModel, match=text):
        client.models.publish(manifest, world.files())
    assert "typed" not in ModelRegistry(connection, namespace).names()
    assert not [table for table in client.list_tables() if table.spec.name.startswith("typed/")]
