"""A collector of spans as OpenTelemetry's OTLP over HTTP has it, on a loopback port."""

from __future__ import annotations

import gzip
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.processes import until


@dataclass(frozen=True)
class Seen:
    """A span as it arrived."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    links: tuple[tuple[str, str], ...]
    failed: bool
    kind: int
    start_ns: int
    end_ns: int
    events: int


class Collector:
    """Keeps what is sent to it; `hold`: takes connections and never answers."""

    def __init__(self) -> None:
        self.spans: list[Seen] = []
        self.raw = b""
        self.requests = 0
        self.hold = threading.Event()
        self.ended = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.requests += 1
                if collector.hold.is_set():
                    collector.ended.wait()
                    return
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.take(body)
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """What makes a server of ours send spans here, soon."""
        return {
            "ROWBANK_TRACING": "1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self._server.server_port}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }

    def take(self, body: bytes) -> None:
        self.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            facts = _attributes(resource.resource.attributes)
            for scope in resource.scope_spans:
                self.spans += [_seen(facts["service.name"], span) for span in scope.spans]

    def named(self, name: str, trace: str = "") -> list[Seen]:
        return [span for span in list(self.spans) if span.name == name and trace in ("", span.trace)]

    def one(self, name: str, trace: str = "") -> Seen:
        """The only span of that name, once it is there."""
        until(lambda: self.named(name, trace), timeout_s=30, what=f"a span {name}")
        (found,) = self.named(name, trace)
        return found

    def close(self) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return None if kind is None else getattr(value, kind)


def _seen(service: str, span: Any) -> Seen:
    return Seen(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        _attributes(span.attributes),
        tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        span.status.code == 2,
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        len(span.events),
    )
