"""Sends spans to where OpenTelemetry's own variables say, and never lets a request wait for it.

Spans wait in a queue of a fixed size (OTEL_BSP_MAX_QUEUE_SIZE) for a thread that sends them; where nobody takes them,
the queue is full and further ones are dropped. The end of the process waits for the rest a short while only.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from socket import gethostname
from typing import Any

import rowbank_server
from rowbank_server.settings import ApiSettings, CommonSettings, PsSettings, SettingsError

_log = logging.getLogger("rowbank.tracing")

_FLUSH_S = 2.0  # At the end of the process.
_DEFAULT_PROTOCOL = "http/protobuf"
_OTLP = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
_GROUP = "opentelemetry_traces_exporter"
_INSTALL = "pip install 'rowbank-server[tracing]'"


@dataclass(frozen=True, slots=True)
class Exporting:
    """Who sends spans.

    Attributes:
        service: the name of the service, where OTEL_SERVICE_NAME says none.
        facts: more of what tells this process from others.
    """

    service: str
    facts: Mapping[str, Any]


def of_shard(settings: PsSettings) -> Exporting:
    """Of a parameter server."""
    return _of("rowbank-ps", settings, {"rowbank.shard": settings.shard_index})


def of_api(settings: ApiSettings) -> Exporting:
    """Of the retrieval service."""
    return _of("rowbank-api", settings, {})


def _of(service: str, settings: CommonSettings, facts: Mapping[str, Any]) -> Exporting:
    version = {"service.version": rowbank_server.__version__, "service.instance.id": f"{gethostname()}:{os.getpid()}"}
    return Exporting(service, {**version, "rowbank.namespace": settings.namespace, **facts})


@contextlib.contextmanager
def exporting(what: Exporting, *, enabled: bool) -> Iterator[None]:
    """Records and sends spans while it is open, if `enabled`.

    Raises:
        SettingsError: packages are missing, or a variable of OpenTelemetry is wrong.
    """
    if not enabled:
        yield
        return
    provider = _start(what)
    try:
        yield
    finally:
        # The SDK waits for exports that are under way, which a collector that stands still makes long.
        closing = threading.Thread(target=provider.shutdown, name="tracing-end", daemon=True)
        closing.start()
        closing.join(_FLUSH_S)
        if closing.is_alive():
            _log.warning("spans were left unsent: the collector did not take them within %g s", _FLUSH_S)


def _start(what: Exporting) -> Any:
    try:
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise _missing(error) from None
    names = [name.strip() for name in os.environ.get("OTEL_TRACES_EXPORTER", "").split(",")] or [""]
    # The SDK's own end at exit would wait as long as a collector does; `exporting` waits shorter.
    provider = TracerProvider(resource=_resource(what), shutdown_on_exit=False)
    for name in names:
        exporter = _exporter(name or "otlp")
        if exporter is not None:
            provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    _log.info("tracing: spans go to %s", ", ".join(_shown(name or "otlp") for name in names))
    return provider


def _resource(what: Exporting) -> Any:
    from opentelemetry.sdk.resources import Resource

    facts = dict(what.facts)
    # What operators say of the service in OpenTelemetry's variables counts before what is known here.
    said = {pair.partition("=")[0].strip() for pair in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")}
    if not os.environ.get("OTEL_SERVICE_NAME"):
        facts["service.name"] = what.service
    return Resource.create({name: value for name, value in facts.items() if name not in said})


def _exporter(name: str) -> Any:
    """Raises SettingsError: it is not known or not installed."""
    if name == "none":
        return None
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stderr)  # stdout belongs to the ready line.
    entry = name
    if name == "otlp":
        protocol = _protocol()
        if protocol not in _OTLP:
            raise SettingsError(
                f"variable OTEL_EXPORTER_OTLP_PROTOCOL: expected one of {', '.join(_OTLP)}, got {protocol!r}"
            )
        entry = _OTLP[protocol]
    found = next(iter(entry_points(group=_GROUP, name=entry)), None)
    if found is None and name == "otlp":
        raise _missing(None)
    if found is None:
        known = sorted({"otlp", "console", "none", *(one.name for one in entry_points(group=_GROUP))})
        raise SettingsError(f"variable OTEL_TRACES_EXPORTER: expected one of {', '.join(known)}, got {name!r}")
    try:
        return found.load()()
    except ImportError as error:
        raise _missing(error) from None
    except Exception as error:  # Whatever an exporter makes of its variables.
        raise SettingsError(f"tracing: the exporter {name} refuses its OTEL_* variables: {error}") from None


def _protocol() -> str:
    return (
        os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
        or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
        or _DEFAULT_PROTOCOL
    )


def _shown(name: str) -> str:
    return f"{name} ({_protocol()})" if name == "otlp" else name


def _missing(error: ImportError | None) -> SettingsError:
    why = "" if error is None else f" ({error})"
    return SettingsError(f"setting tracing (ROWBANK_TRACING): OpenTelemetry is not installed here{why}: {_INSTALL}")
