"""Reads of features beside Feast's own, on the same Redis, whoever wrote them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis

from rowbank import Client
from rowbank.features import FeatureField, FeatureView
from rowbank_server.features import FeatureStore, LayeredView

from .report import Figure, Settings, speedup
from .services import running_ps, running_redis
from .timing import Timing

_ROOT = Path(__file__).parents[1]
_PYTHON = _ROOT / ".venv-feast" / "bin" / "python"
_SIDE = _ROOT / "tests" / "feast" / "feast_side.py"
_ENTITIES = 2000
_COUNTS = (1, 10, 100)
_KINDS = {
    "age": "int64", "score": "double", "city": "string", "adult": "bool",
    "genres": "string_list", "taste": "float_list",
}  # fmt: skip

Ask = Callable[..., Any]


def feature_reads(settings: Settings) -> list[Figure]:
    """Reads of 1, 10 and 100 entities' six features beside Feast's get_online_features, written by either."""
    if not _PYTHON.exists():
        raise RuntimeError("no .venv-feast here; `make .venv-feast/.tried` installs Feast into it")
    rows = {entity: _row(entity) for entity in range(_ENTITIES)}
    figures = []
    with running_redis() as port, running_ps(port) as target, Client(target) as client, _feast(port) as ask:
        store = FeatureStore(redis.Redis(port=port), "rowbank")
        for view in ("by_feast", "by_rowbank"):
            client.features.put_view(
                FeatureView(view, "user_id", tuple(FeatureField(name, kind) for name, kind in _KINDS.items()))
            )
            if view == "by_rowbank":
                client.features.write(view, rows)
            else:
                listed = [{"user_id": entity, **row} for entity, row in rows.items()]
                ask("write", view=view, rows=listed, event_time_s=time.time())
            figures += _measured(settings, view, ask, LayeredView(store, view), client, rows)
    return figures


def feature_import(settings: Settings) -> list[Figure]:
    """Rows of six features a second from a Parquet file, beside the same HSETs through redis-py pipelines."""
    import pyarrow
    import pyarrow.parquet

    from rowbank import feature_files

    with running_redis() as port, running_ps(port) as target, Client(target) as client:
        bare = redis.Redis(port=port)
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "people.parquet")
            rows = [_row(entity) for entity in range(settings.rows)]
            columns = {name: [row[name] for row in rows] for name in _KINDS}
            del rows
            pyarrow.parquet.write_table(pyarrow.table({"user_id": range(settings.rows), **columns}), path)
            del columns
            started = time.perf_counter()
            report = feature_files.import_features(client, "people", path, create="user_id")
            ours = Timing("rowbank import", (time.perf_counter() - started,))
        if report.written != settings.rows or len(client.features.entities("people")) != settings.rows:
            raise RuntimeError(f"{report.written} of {settings.rows} rows were written")
        keys = [key for key in bare.scan_iter(count=10_000) if b"user_id" in key]
        seconds = 0.0
        for start in range(0, len(keys), 1000):
            part = keys[start : start + 1000]
            with bare.pipeline(transaction=False) as pipe:
                for key in part:
                    pipe.hgetall(key)
                hashes = pipe.execute()
                bare.delete(*part)
                started = time.perf_counter()
                for key, fields in zip(part, hashes, strict=True):
                    pipe.hset(key, mapping=fields)
                pipe.execute()
                seconds += time.perf_counter() - started
    theirs = Timing("redis-py pipelines of the same HSETs", (seconds,))
    return [speedup("feature_import", ours, theirs, at_least=None, rows=settings.rows)]


def _measured(
    settings: Settings, view: str, ask: Ask, layers: LayeredView, client: Client, rows: dict[int, dict[str, Any]]
) -> list[Figure]:
    entities = list(rows)
    ours: dict[str, Callable[[list[int]], Any]] = {
        "rowbank in process": layers.read,
        "rowbank over gRPC": lambda chosen: client.features.read(view, chosen),
    }
    _require_equal(ask, view, ours, rows)
    figures = []
    for count in _COUNTS:
        seconds: dict[str, list[float]] = {"feast get_online_features": [], **{name: [] for name in ours}}
        for turn in range(settings.rounds + 1):
            # Feast is another program, so it has its turn by itself; the first is for everybody to get warm.
            found = {"feast get_online_features": ask("time", view=view, entities=entities, count=count,
                                                      repeats=settings.calls_per_round)}  # fmt: skip
            for name, read in ours.items():
                found[name] = [_timed(read, entities, count, number) for number in range(settings.calls_per_round)]
            for name, took in found.items() if turn else ():
                seconds[name] += took
        timings = {name: Timing(name, tuple(took)) for name, took in seconds.items()}
        reference = timings.pop("feast get_online_features")
        what = f"feature_reads of {count}, {view}"
        figures += [speedup(what, timing, reference, at_least=None, rows=count) for timing in timings.values()]
    return figures


def _timed(read: Callable[[list[int]], Any], entities: list[int], count: int, number: int) -> float:
    first = number * count % (len(entities) - count + 1)
    chosen = entities[first : first + count]
    started = time.perf_counter()
    read(chosen)
    return time.perf_counter() - started


def _require_equal(
    ask: Ask, view: str, ours: dict[str, Callable[[list[int]], Any]], rows: dict[int, dict[str, Any]]
) -> None:
    """Everybody has to read what was written."""
    chosen = [0, _ENTITIES - 1]
    theirs = ask("read", view=view, entities=chosen)
    for place, entity in enumerate(chosen):
        expected = rows[entity]
        answers = {"feast": {name: theirs[name][place] for name in _KINDS}}
        answers |= {name: dict(read(chosen)[place].values) for name, read in ours.items()}
        for name, answer in answers.items():
            plain = {key: list(value) if isinstance(value, tuple) else value for key, value in answer.items()}
            if plain != expected:
                raise RuntimeError(f"{name} reads {plain} of view {view}, where {expected} was written")


def _row(entity: int) -> dict[str, Any]:
    return {
        "age": entity % 90,
        "score": entity / 7,
        "city": f"city {entity % 50}",
        "adult": entity % 2 == 0,
        "genres": ["Comedy", f"g{entity % 9}"],
        "taste": [0.5 * place for place in range(16)],
    }


@contextlib.contextmanager
def _feast(port: int) -> Iterator[Ask]:
    """A program that has imported Feast and does what it is asked on the Redis."""
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(_PYTHON), str(_SIDE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert process.stdin is not None
        assert process.stdout is not None
        questions, answers = process.stdin, process.stdout

        def ask(act: str, **given: Any) -> Any:
            asked = {
                "act": act, "redis": f"127.0.0.1:{port}", "project": "rowbank", "folder": folder,
                "join_key": "user_id", "entity": "int64", "fields": _KINDS, **given,
            }  # fmt: skip
            questions.write(json.dumps(asked) + "\n")
            questions.flush()
            line = answers.readline()
            if not line:
                raise RuntimeError(f"feast failed: {(Path(folder) / 'log').read_text()[-2000:]}")
            return json.loads(line)

        try:
            yield ask
        finally:
            questions.close()
            process.wait(30)
