"""What the nodes of Redis say of themselves."""

from __future__ import annotations

from typing import Any

from rowbank_server.storage.connection import Redis, is_cluster, translated


def nodes_info(redis: Redis, section: str | None = None) -> list[dict[str, Any]]:
    """The fields of INFO, of each node that is written to; one, where Redis is no Cluster. Raises RedisUnavailable."""
    sections = () if section is None else (section,)
    with translated(f"INFO {section or ''}".strip()):
        if not is_cluster(redis):
            return [redis.info(*sections)]
        told = redis.info(*sections, target_nodes=redis.PRIMARIES)
    return list(told.values()) if all(isinstance(one, dict) for one in told.values()) else [told]
