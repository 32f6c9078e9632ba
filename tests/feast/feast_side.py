"""What a team that uses Feast does, in the Python of an environment that has feast.

Each line on standard input is a JSON document, {"act": "write"|"read"|"time", "redis", "project", "folder", ...}; each
is answered by one line on standard output. The tests and the benchmark program ask.
"""

from __future__ import annotations

import datetime
import json
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Array, Bool, Float32, Float64, Int32, Int64, String, UnixTimestamp

KINDS = {
    "int64": Int64,
    "int32": Int32,
    "double": Float64,
    "float": Float32,
    "string": String,
    "bool": Bool,
    "timestamp": UnixTimestamp,
    "int64_list": Array(Int64),
    "float_list": Array(Float32),
    "double_list": Array(Float64),
    "string_list": Array(String),
}
ENTITIES = {
    "int64": ValueType.INT64, "int32": ValueType.INT32, "string": ValueType.STRING,
}  # fmt: skip


_opened: dict[str, tuple[FeatureStore, FeatureView]] = {}


def open_store(asked: dict[str, Any]) -> tuple[FeatureStore, FeatureView]:
    """Feast's store on the given Redis, with one view applied; the same one for the same question."""
    what = {
        name: asked.get(name)
        for name in ("redis", "project", "folder", "view", "join_key", "entity", "more_join_keys", "fields")
    }
    key = json.dumps(what)
    if key not in _opened:
        _opened[key] = _open_store(asked)
    return _opened[key]


def _open_store(asked: dict[str, Any]) -> tuple[FeatureStore, FeatureView]:
    folder = Path(asked["folder"])
    config = RepoConfig(
        project=asked["project"],
        provider="local",
        registry=str(folder / "registry.db"),
        online_store={"type": "redis", "connection_string": asked["redis"]},
        offline_store={"type": "file"},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    kinds = {asked["join_key"]: asked["entity"], **asked.get("more_join_keys", {})}
    source = folder / "source.parquet"
    if not source.exists():
        columns = {name: pd.Series([0]) for name in kinds} | {
            "event_timestamp": pd.Series([pd.Timestamp.now(tz="UTC")])
        }
        pd.DataFrame(columns | {name: pd.Series([None], dtype=object) for name in asked["fields"]}).to_parquet(source)
    entities = [Entity(name=name, join_keys=[name], value_type=ENTITIES[kind]) for name, kind in kinds.items()]
    view = FeatureView(
        name=asked["view"],
        entities=entities,
        schema=[
            *(Field(name=name, dtype=KINDS[kind]) for name, kind in kinds.items()),
            *(Field(name=name, dtype=KINDS[kind]) for name, kind in asked["fields"].items()),
        ],
        source=FileSource(path=str(source), timestamp_field="event_timestamp"),
        ttl=datetime.timedelta(days=3650),
    )
    store.apply([*entities, view])
    return store, view


def write(asked: dict[str, Any]) -> Any:
    store, view = open_store(asked)
    frame = pd.DataFrame(asked["rows"])
    frame["event_timestamp"] = pd.to_datetime(asked["event_time_s"], unit="s", utc=True)
    for name, kind in asked["fields"].items():
        if kind == "timestamp":
            frame[name] = pd.to_datetime(frame[name], unit="s", utc=True)
    store.write_to_online_store(view.name, frame)
    return len(frame)


def _names(asked: dict[str, Any]) -> list[str]:
    return [f"{asked['view']}:{name}" for name in asked["fields"]]


def read(asked: dict[str, Any]) -> Any:
    """Values of each feature, and under "event_time_s" when the first was true."""
    store, _ = open_store(asked)
    rows = [{asked["join_key"]: entity} for entity in asked["entities"]]
    response = store.get_online_features(features=_names(asked), entity_rows=rows)
    answer = response.to_dict()
    first = response.proto.results[list(response.proto.metadata.feature_names.val).index(next(iter(asked["fields"])))]
    times = [one.seconds + one.nanos / 1e9 for one in first.event_timestamps]
    return {name: answer[name] for name in asked["fields"]} | {"event_time_s": times}


def measure(asked: dict[str, Any]) -> Any:
    """Seconds of each of `repeats` reads of `count` entities, which are others each time."""
    store, _ = open_store(asked)
    took = []
    for number in range(asked["repeats"]):
        first = number * asked["count"] % (len(asked["entities"]) - asked["count"] + 1)
        rows = [{asked["join_key"]: entity} for entity in asked["entities"][first : first + asked["count"]]]
        started = time.perf_counter()
        store.get_online_features(features=_names(asked), entity_rows=rows).to_dict()
        took.append(time.perf_counter() - started)
    return took


if __name__ == "__main__":
    acts = {"write": write, "read": read, "time": measure}
    answers = sys.stdout
    sys.stdout = sys.stderr  # Where feast may print what it likes.
    for line in sys.stdin:
        question = json.loads(line)
        answers.write(json.dumps(acts[question["act"]](question)) + "\n")
        answers.flush()
