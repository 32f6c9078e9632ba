"""Tracing of the servers: where spans go, and the span that each request gets."""

from rowbank_server.tracing.exporting import Exporting, exporting, of_api, of_shard
from rowbank_server.tracing.http import Traced
from rowbank_server.tracing.serving import served

__all__ = ["Exporting", "Traced", "exporting", "of_api", "of_shard", "served"]
