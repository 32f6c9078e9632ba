"""Spans of a client where its process has set OpenTelemetry up, and nothing of it where it has not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys

import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import rowbank
from rowbank import SGD, Client, TableSpec, tracing
from rowbank.errors import InvalidRequest, RequestError, TableNotFound
from rowbank_server.settings import PsSettings, SettingsError, load
from rowbank_server.tracing import Exporting, exporting


@pytest.fixture(scope="module")
def recorded():
    """The process's own OpenTelemetry: what it records, in memory."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    before = trace._TRACER_PROVIDER  # A process sets it once; this is one of many tests in it.
    trace._TRACER_PROVIDER = provider
    yield exporter
    trace._TRACER_PROVIDER = before


def named(exporter, name):
    (span,) = [one for one in exporter.get_finished_spans() if one.name == name]
    return span


def test_pull_and_push_are_parts_of_the_callers_trace(recorded, collector, start_ps):
    ps = start_ps(environment=collector.environment)
    recorded.clear()
    with Client(ps.target) as client:
        table = client.create_table(TableSpec("t", dim=2, optimizer=SGD(1.0)))
        with trace.get_tracer("of-the-user").start_as_current_span("step") as step:
            table.pull([[1, 2], [3, 1]])
            table.push([1, 2], np.ones((2, 2)))
            with pytest.raises(TableNotFound):
                client.pull({"absent": [1]})
    trace_id = f"{step.get_span_context().trace_id:032x}"
    for verb, keys in (("push", 2),):
        mine = named(recorded, f"rowbank.{verb}")
        assert mine.parent.span_id == step.get_span_context().span_id
        assert (mine.attributes["rowbank.tables"], mine.attributes["rowbank.keys"]) == (("t",), keys)
        served = collector.one("rowbank.v1.RowService/Push", trace_id)
        assert served.parent == f"{mine.context.span_id:016x}"
    good, bad = [one for one in recorded.get_finished_spans() if one.name == "rowbank.pull"]
    assert good.attributes["rowbank.keys"] == 4
    assert (bad.attributes["error.type"], bad.status.is_ok, len(bad.events)) == ("TABLE_NOT_FOUND", False, 0)


def test_a_retrieval_clients_calls(recorded, up):
    recorded.clear()

    async def ask():
        async with rowbank.AsyncRetrievalClient(up.retrieval_target) as client:
            await client.models()

    with rowbank.RetrievalClient(up.retrieval_target) as client:
        with trace.get_tracer("of-the-user").start_as_current_span("page") as page:
            for call in (client.models, lambda: asyncio.run(ask())):
                with contextlib.suppress(RequestError):  # No model is published there.
                    call()
    calls = [one for one in recorded.get_finished_spans() if one.name == "rowbank.ListServedModels"]
    assert [one.parent.span_id for one in calls] == [page.get_span_context().span_id] * 2


def test_a_request_id_goes_along(start_ps):
    ps = start_ps("--log-level", "debug")
    with Client(ps.target) as client, tracing.as_request("nightly/42"):
        assert tracing.request_id() == "nightly/42"
        with pytest.raises(TableNotFound) as raised:
            client.table("absent")
    assert raised.value.request_id == "nightly/42"
    assert tracing.request_id() == ""
    assert "request_id=nightly/42" in ps.log


@pytest.mark.parametrize("wrong", ["", "a b", "é", "x" * 129, None, 7])
def test_an_unsound_request_id_is_refused(wrong):
    with pytest.raises(InvalidRequest, match="request_id: expected 1 to 128 characters"), tracing.as_request(wrong):
        pass


def test_nothing_of_opentelemetry_is_imported_where_nobody_set_it_up(target, table_name):
    program = f"""
import sys, rowbank
with rowbank.Client({target!r}) as client:
    table = client.create_table(rowbank.TableSpec({table_name!r}, dim=2))
    table.push([1], [[1.0, 1.0]])
    table.pull([1])
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": ""}, timeout=120)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER: expected one of console, none, otlp"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "expected one of grpc, http/protobuf, got 'http/json'"),
    ],
)
def test_wrong_variables_are_refused_at_start(monkeypatch, variables, words):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=words), exporting(Exporting("x", {}), enabled=True):
        pass


def test_off_unless_it_is_asked_for():
    assert load(PsSettings, {}).tracing is False
    with exporting(Exporting("x", {}), enabled=False):
        pass


def test_without_its_packages_a_server_says_what_to_install(redis_url, namespace, tmp_path):
    """A folder before all others hides the SDK, as an environment without it would."""
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").write_text("raise ImportError('no such package')\n")
    command = [sys.executable, "-m", "rowbank_server", "ps", "--bind", "127.0.0.1:0", "--redis", redis_url]
    ended = subprocess.run(
        [*command, "--namespace", namespace, "--tracing"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert "setting tracing (ROWBANK_TRACING): OpenTelemetry is not installed here" in ended.stderr
    assert "pip install 'rowbank-server[tracing]'" in ended.stderr
    assert "Traceback" not in ended.stderr
