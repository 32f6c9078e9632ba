"""Tracing of the servers: where spans go, and the span that each request gets."""

from rowbank_server.tracing.exporting import Exporting, exporting
from rowbank_server.tracing.serving import served

__all__ = ["Exporting", "exporting", "served"]
