"""Features in Feast's layout, against Feast itself: what either writes, the other reads.

Feast does not go with TensorFlow 2.16, so it has an environment of its own, which `make test` creates. Where it cannot
be installed, these tests are skipped and say so.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis
from tests.redis_nodes import free_ports

from rowbank import Client, feature_files
from rowbank.errors import InvalidFeature
from rowbank.features import FeatureField, FeatureView

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-feast" / "bin" / "python"
EVENT_S = 1_767_225_600.5

# Feature -> Feast's type, ours, and the values of the entities 7 and -8, or "ann" and "7".
FEATURES: dict[str, tuple[str, str, tuple[Any, Any]]] = {
    "age": ("int64", "int64", (2**62, -3)),
    "level": ("int32", "int64", (12, -(2**31))),
    "score": ("double", "double", (0.1, -1e300)),
    "weight": ("float", "double", (0.5, -2.25)),
    "title": ("string", "string", ("Amélie, 長い", "")),
    "adult": ("bool", "bool", (True, False)),
    "since": ("timestamp", "int64", (1_700_000_000, 1_600_000_001)),
    "tokens": ("int64_list", "int64_list", ([1, -2, 2**60], [5])),
    "vector": ("float_list", "float_list", ([0.5, -2.0], [1.25])),
    "wide": ("double_list", "float_list", ([0.25, 8.0], [-0.5])),
    "genres": ("string_list", "string_list", (["Comedy", "Romance"], ["x"])),
}
OURS_TO_FEAST = {"int64": "int64", "double": "double", "string": "string", "bool": "bool"} | {
    kind: kind for kind in ("int64_list", "float_list", "string_list")
}


@pytest.fixture(scope="module")
def feast_redis(tmp_path_factory):
    """Feast's client takes host and port."""
    from tests.redis_nodes import RedisNode

    node = RedisNode(free_ports(1)[0], tmp_path_factory.mktemp("feast-redis") / "redis")
    yield node
    node.close()


@pytest.fixture(scope="module")
def feast_process(tmp_path_factory):
    """A program that has imported feast, which takes seconds."""
    if not PYTHON.exists():
        pytest.skip("no .venv-feast here: feast could not be installed; `make test` tries to")
    log = tmp_path_factory.mktemp("feast") / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [str(PYTHON), str(Path(__file__).with_name("feast_side.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, text=True,
        )  # fmt: skip
    yield process, log
    process.stdin.close()
    process.wait(30)
    process.stdout.close()


@pytest.fixture
def feast(feast_process, feast_redis, namespace, tmp_path):
    """Asks feast to do something on the shared Redis, in the project that is our namespace."""
    process, log = feast_process

    def ask(act: str, *, fields: dict[str, str], entity: str = "int64", **given: Any) -> Any:
        asked = {
            "act": act, "redis": f"127.0.0.1:{feast_redis.port}", "project": namespace, "folder": str(tmp_path),
            "view": "people", "join_key": "user_id", "entity": entity, "fields": fields, **given,
        }  # fmt: skip
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        assert line, log.read_text()[-3000:]
        return json.loads(line)

    return ask


@pytest.fixture
def client(start_ps, feast_redis):
    with Client(start_ps(redis=feast_redis.url).target) as client:
        yield client


def our_view(kinds: dict[str, str], **changes: Any) -> FeatureView:
    return FeatureView("people", "user_id", tuple(FeatureField(name, kind) for name, kind in kinds.items()), **changes)


def test_what_feast_writes_is_read_here(feast, client):
    rows = [
        {"user_id": entity} | {name: values[place] for name, (_, _, values) in FEATURES.items()}
        for place, entity in enumerate((7, -8))
    ]
    kinds = {name: kind for name, (kind, _, _) in FEATURES.items()}
    assert feast("write", fields=kinds, rows=rows, event_time_s=EVENT_S) == 2
    client.features.put_view(our_view({name: kind for name, (_, kind, _) in FEATURES.items()}))
    seven, eight, nine = client.features.read("people", [7, -8, 9])
    for place, read in enumerate((seven, eight)):
        expected = {name: values[place] for name, (_, _, values) in FEATURES.items()}
        assert {name: list(v) if isinstance(v, tuple) else v for name, v in read.values.items()} == expected
        assert (read.status, read.event_time_s) == ("present", EVENT_S)
    assert nine.status == "not_found"


def test_what_is_written_here_is_read_by_feast(feast, client):
    kinds = {name: kind for name, (_, kind, _) in FEATURES.items()}
    rows = {
        entity: {name: values[place] for name, (_, _, values) in FEATURES.items()}
        for place, entity in enumerate((7, -8))
    }
    client.features.put_view(our_view(kinds))
    client.features.write("people", rows, event_time_s=EVENT_S)
    fields = {name: OURS_TO_FEAST[kind] for name, kind in kinds.items()}
    answer = feast("read", fields=fields, entities=[7, -8, 9])
    for name, (_, _, values) in FEATURES.items():
        assert answer[name] == [*values, None], name
    assert answer["event_time_s"] == [EVENT_S, EVENT_S, 0]


def test_a_feature_that_feast_wrote_as_null_is_absent(feast, client):
    kinds = {"age": "int64", "title": "string"}
    feast("write", fields=kinds, rows=[{"user_id": 1, "age": 4, "title": None}], event_time_s=EVENT_S)
    fields = (FeatureField("age", "int64"), FeatureField("title", "string", default="untitled"))
    client.features.put_view(FeatureView("people", "user_id", fields))
    assert client.features.read("people", [1])[0].values == {"age": 4, "title": "untitled"}


def test_an_age_limit_holds_for_what_feast_wrote(feast, client):
    feast("write", fields={"age": "int64"}, rows=[{"user_id": 1, "age": 4}], event_time_s=EVENT_S)
    client.features.put_view(our_view({"age": "int64"}, max_age_s=60.0))
    read = client.features.read("people", [1])[0]
    assert (read.status, read.values["age"]) == ("outside_max_age", 0)


def test_both_write_the_same_keys_and_fields(feast, client, feast_redis, namespace):
    """One hash for the entity, with the same fields, whoever writes."""
    kinds = {"age": "int64", "genres": "string_list"}
    values = {"age": 4, "genres": ["x", "y"]}
    server = redis.Redis(port=feast_redis.port)

    def hashes() -> Any:
        keys = [key for key in server.scan_iter(match=b"*user_id*") if key.endswith(namespace.encode())]
        return {key: server.hgetall(key) for key in keys}

    feast("write", fields=kinds, rows=[{"user_id": 1, **values}], event_time_s=EVENT_S)
    theirs = hashes()
    for key in theirs:
        server.delete(key)
    client.features.put_view(our_view(kinds))
    client.features.write("people", {1: values}, event_time_s=EVENT_S)
    assert hashes() == theirs
    assert len(theirs) == 1


def test_what_is_imported_from_a_file_is_read_by_feast(feast, client, tmp_path):
    kinds = {name: kind for name, (_, kind, _) in FEATURES.items()}
    types = {"int64_list": pa.list_(pa.int64()), "float_list": pa.list_(pa.float32()), "string": pa.string()}
    columns: dict[str, Any] = {"user_id": [7, -8], "at": [EVENT_S, EVENT_S + 1]}
    for name, (_, kind, values) in FEATURES.items():
        columns[name] = pa.array(list(values), types.get(kind))
    pq.write_table(pa.table(columns), tmp_path / "people.parquet")
    client.features.put_view(our_view(kinds))
    path = str(tmp_path / "people.parquet")
    assert feature_files.import_features(client, "people", path, event_time_column="at").written == 2
    answer = feast("read", fields={name: OURS_TO_FEAST[kind] for name, kind in kinds.items()}, entities=[7, -8, 9])
    for name, (_, _, values) in FEATURES.items():
        assert answer[name] == [*values, None], name
    assert answer["event_time_s"] == [EVENT_S, EVENT_S + 1, 0]


def test_an_empty_cell_is_a_null_to_feast(feast, client, tmp_path):
    (tmp_path / "people.csv").write_text("user_id,age,title\n1,,a\n2,5,\n")
    client.features.put_view(our_view({"age": "int64", "title": "string"}))
    feature_files.import_features(client, "people", str(tmp_path / "people.csv"))
    answer = feast("read", fields={"age": "int64", "title": "string"}, entities=[1, 2])
    assert (answer["age"], answer["title"]) == ([None, 5], ["a", None])


@pytest.mark.parametrize("entity", ["int64", "int32", "string"])
def test_integers_are_read_whatever_type_their_join_key_has(feast, client, entity):
    ids = [7, -8, 2**31 - 1]
    rows = [{"user_id": str(one) if entity == "string" else one, "age": one % 100} for one in ids]
    feast("write", entity=entity, fields={"age": "int64"}, rows=rows, event_time_s=EVENT_S)
    client.features.put_view(our_view({"age": "int64"}))
    reads = client.features.read("people", [*ids, 9])
    assert [read.values["age"] for read in reads] == [7, 92, 47, 0]
    assert [(read.status, read.event_time_s) for read in reads] == [("present", EVENT_S)] * 3 + [("not_found", 0)]
    assert client.features.entities("people").tolist() == sorted(ids)


UNREAD: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "texts": ({"entity": "string"}, {"user_id": "ann"}, "ids that are texts, such as 'ann'"),
    "several": (
        {"more_join_keys": {"item_id": "int64"}}, {"user_id": 7, "item_id": 8}, r"2 join keys \(item_id, user_id\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", UNREAD)
def test_keys_that_are_not_read_are_an_error_that_says_so(feast, client, what):
    """For a view that is defined over them, and for one that was there before."""
    given, keys, message = UNREAD[what]
    expected = (
        f"view 'people': its entities in Redis have {message}, which are not read; expected one join key, 'user_id'"
    )
    client.features.put_view(our_view({"age": "int64"}))
    assert client.features.entities("people").tolist() == []
    feast("write", fields={"age": "int64"}, rows=[{**keys, "age": 4}], event_time_s=EVENT_S, **given)
    with pytest.raises(InvalidFeature, match=expected):
        client.features.entities("people")
    assert client.features.drop_view("people")
    with pytest.raises(InvalidFeature, match=expected):
        client.features.put_view(our_view({"age": "int64"}))
    client.features.put_view(FeatureView("others", "user_id", (FeatureField("age", "int64"),)))
