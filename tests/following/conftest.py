"""Fixtures of the followers' tests."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from tests.server.conftest import connect

from rowbank_server import _core
from rowbank_server.ps.deltas.log import DeltaLog
from rowbank_server.ps.durability.dedup import DedupWindow
from rowbank_server.ps.following.applier import Applier
from rowbank_server.ps.tables.holders import Holders
from rowbank_server.ps.tables.shard import Shard
from rowbank_server.ps.tables.table import Ownership
from rowbank_server.storage.catalog import Catalog
from rowbank_server.storage.connection import connect_at_start
from rowbank_server.storage.holds import JobHolds
from rowbank_server.storage.layout import Layout
from rowbank_server.storage.rows import RowStore
from rowbank_server.storage.state import ShardState

__all__ = ["connect", "follower"]


@pytest.fixture
def follower(redis_url, namespace):
    """A shard that is filled by an owner, and what fills it: `shard`, `applier`, `dedup`, `log`."""
    redis = connect_at_start(redis_url, timeout_s=5, client_name="follower")
    layout = Layout(namespace)
    shard = Shard(
        catalog=Catalog(redis, layout),
        store=RowStore(redis, layout, shard=0, owner="me"),
        state=ShardState(redis, layout, shard=0, shard_count=1, owner="me"),
        synced_supported=lambda: False,
        ownership=Ownership(0, 1),
        holders=Holders(JobHolds(redis, layout), lambda name: []),
        bucket_count=4,
        load_threads=1,
    )
    shard.serve_followed()
    dedup = DedupWindow(window=8, max_clients=8)
    queue = _core.JournalQueue(
        dedup.native, max_pending_bytes=1 << 20, max_bytes=1 << 20, max_released_bytes=1 << 20, wait_s=1.0
    )
    log = DeltaLog(queue, buffer_bytes=1 << 20)
    yield SimpleNamespace(shard=shard, applier=Applier(shard, dedup, log), dedup=dedup, log=log)
    redis.close()
