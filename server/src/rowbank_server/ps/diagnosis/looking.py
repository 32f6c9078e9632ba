"""All findings of one process, one check after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from rowbank_protos.v1 import admin_pb2, common_pb2, diagnosis_pb2
from rowbank_protos.v1.diagnosis_pb2 import Finding
from rowbank_server.ps.diagnosis.health import Health
from rowbank_server.ps.diagnosis.machine_checks import of_machine
from rowbank_server.ps.diagnosis.redis_checks import of_redis
from rowbank_server.ps.diagnosis.redis_look import RedisLook
from rowbank_server.ps.diagnosis.shard_checks import of_network, of_owner
from rowbank_server.ps.roles.part import Part
from rowbank_server.ps.tables.shard import Shard
from rowbank_server.settings import PsSettings

_REDIS_WAIT_S = 1.5
_HERE = ("localhost", "127.", "[::1]", "::1")


class Looking:
    """What a diagnosis of this process finds. Changes nothing.

    Args:
        members: all processes of the shard that are known.
    """

    def __init__(
        self,
        settings: PsSettings,
        shard: Shard,
        part: Part,
        health: Health,
        redis: RedisLook,
        members: Callable[[], list[admin_pb2.ShardMember]],
    ) -> None:
        self._settings = settings
        self._shard = shard
        self._part = part
        self._health = health
        self._redis = redis
        self._members = members

    def about(self) -> diagnosis_pb2.DiagnoseResponse:
        """Who this process is."""
        return diagnosis_pb2.DiagnoseResponse(
            shard=self._settings.shard_index,
            server_id=self._part.server_id,
            version=self._part.version,
            role=self._part.role,
            at_ms=int(time.time() * 1000),
        )

    def findings(self) -> Iterator[Finding]:
        """One for each check."""
        facts = self._redis.facts(within_s=_REDIS_WAIT_S)
        tables = self._shard.tables()
        synced = sorted(table.name for table in tables if table.durability == common_pb2.DURABILITY_SYNCED)
        embedded = urlsplit(self._settings.redis).scheme == "unix"
        yield from of_redis(facts, synced_tables=synced, embedded=embedded)
        if self._part.role == "owner":
            stats = [table.stats() for table in tables]
            yield from of_owner(self._health.now(), stats, has_standby=self._has_standby())
        yield of_network(self._settings)
        yield from of_machine(redis_here=_is_here(self._settings.redis), redis_dir=facts.settings.get("dir", ""))

    def _has_standby(self) -> bool:
        return any(member.role == "standby" and member.state == "following" for member in self._members())


def _is_here(url: str) -> bool:
    """Whether the Redis at `url` is on this machine, as far as its address tells."""
    parts = urlsplit(url)
    hosts = parts.netloc.rpartition("@")[2]
    return parts.scheme == "unix" or hosts.startswith(_HERE)
