"""What the page is told, as plain values: of messages, of statistics, of models."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from rowbank.insight import FrequencyHistogram
from rowbank_server.registry.store import ModelRegistry

_VERSIONS = 20  # Of a model, the newest.


def of_message(message: Message) -> dict[str, Any]:
    """A message's fields by their names; enums by name; those that are 0 or empty, too."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def of_histogram(histogram: FrequencyHistogram | None) -> dict[str, Any] | None:
    """Rows by level of frequency and of age; None: not known yet."""
    return None if histogram is None else asdict(histogram)


def of_models(registry: ModelRegistry) -> list[dict[str, Any]]:
    """All models with their newest versions and who gets which. Raises RedisUnavailable."""
    told = []
    for name in sorted(registry.names()):
        traffic = registry.traffic(name)
        told.append(
            {
                "name": name,
                "active": traffic.active,
                "shares": dict(traffic.shares),
                "shadow": traffic.shadow,
                "versions": [
                    {
                        "version": stored.manifest.version,
                        "active": stored.active,
                        "created_at_s": stored.manifest.created_at_s,
                        "metrics": dict(stored.manifest.metrics),
                        "tables": sorted({table.name for table in stored.manifest.tables}),
                    }
                    for stored in registry.list(name)[:_VERSIONS]
                ],
            }
        )
    return told
